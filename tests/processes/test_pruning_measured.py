"""Targets and allocations that are measured on this host, each step as its child runs it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import pytest
from pruning_kit import stock_network

from prunebench.common.errors import StepError
from prunebench.common.records import FileRef
from prunebench.config.sections import LatencyConfig
from prunebench.config.strategy_settings import PreservingSettings
from prunebench.config.targets import parse_goal
from prunebench.data.scenes import SCENE_NAMES, generate_scenes
from prunebench.measuring.onnx_graph import integer_convolutions, is_quantized
from prunebench.measuring.profile import Request as DiagnoseRequest
from prunebench.measuring.session import SessionSettings
from prunebench.steps.child import run_child
from prunebench.variants.checkpoint import load_checkpoint, save_checkpoint
from prunebench.variants.graph.groups import trace
from prunebench.variants.graph.surgery import split_c2f
from prunebench.variants.pruning import costs, search, sensitivity, timing
from prunebench.variants.pruning.costs import CostModel, read_costs
from prunebench.variants.pruning.shapes import shapes_of
from prunebench.variants.pruning.step import Pruned, Request, Timing, run
from prunebench.variants.pruning.timing import Stopwatch
from prunebench.variants.retraining.step import Request as TrainRequest
from prunebench.variants.rewriting.apply import PASSES
from prunebench.variants.structure import structure_of

HW = (64, 96)
BLOCK = 8
LATENCY = LatencyConfig(threads=(1,), rounds_min=3, rounds_max=3)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("baseline") / "baseline.pt"
    save_checkpoint(stock_network("yolov8n", names=SCENE_NAMES), path, {})
    return path


@pytest.fixture(scope="module")
def data_yaml(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("scenes") / "set"
    return generate_scenes(root, train=8, val=1, test=1, width=96, height=64)


@pytest.fixture(scope="module")
def table(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("costs")
    request = costs.Request(
        checkpoint=str(checkpoint),
        ignore=(),
        block=BLOCK,
        imgsz=HW,
        threads=1,
        session=SessionSettings.of(LATENCY),
        host="this one",
    )
    result = run_child("costs", request, folder, threads=1)
    return folder / FileRef.model_validate(result["table"]).path


@pytest.fixture(scope="module")
def curves(checkpoint: Path, data_yaml: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("curves")
    request = sensitivity.Request(
        checkpoint=str(checkpoint),
        data_yaml=str(data_yaml),
        importance="magnitude",
        ignore=(),
        seed=0,
        imgsz=HW,
    )
    result = run_child("sensitivity", request, folder, threads=1)
    return folder / FileRef.model_validate(result["curves"]).path


def test_the_layers_together_take_about_what_the_network_takes(
    checkpoint: Path, table: Path, tmp_path: Path
) -> None:
    network: Any = load_checkpoint(checkpoint)
    split_c2f(network)
    shapes = shapes_of(trace(network), HW)
    model = CostModel(shapes.parts, read_costs(table))
    whole = model.microseconds(shapes.full)
    half = model.microseconds({root: width // 2 for root, width in shapes.full.items()})
    assert 0 < half < 0.7 * whole
    stopwatch = Stopwatch(checkpoint, (), HW, 17, tuple(PASSES), LATENCY, tmp_path)
    onnx = str(stopwatch.candidate({root: w // 2 for root, w in shapes.full.items()}, None))
    found = run_child(
        "diagnose",
        DiagnoseRequest(
            onnx=onnx,
            baseline=str(tmp_path / "baseline.onnx"),
            threads=1,
            session=SessionSettings.of(LATENCY),
            block=BLOCK,
        ),
        tmp_path,
        threads=1,
    )
    convolutions = {"Conv", "QuickGelu"}
    shares = found["baseline"]["time_shares"]
    profiled = (
        1000
        * found["baseline"]["kernel_ms"]
        * sum(share for name, share in shares.items() if name in convolutions)
    )
    assert 0.5 < whole / profiled < 2


def test_a_candidate_for_an_int8_target_is_on_integers_and_timed_beside_the_float_baseline(
    checkpoint: Path, data_yaml: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timing, "ROUNDS", 3)
    network: Any = load_checkpoint(checkpoint)
    split_c2f(network)
    kept = {group.root: min(group.width, 16) for group in trace(network).groups}
    images = sorted(data_yaml.parent.rglob("train/*.jpg"))[:1]
    stopwatch = Stopwatch(checkpoint, (), HW, 17, tuple(PASSES), LATENCY, tmp_path, images)
    candidate = stopwatch.candidate(kept, 16)
    integers = integer_convolutions(onnx.load(candidate))
    assert len(integers) > len(kept) / 2
    assert not is_quantized(onnx.load(tmp_path / "baseline.onnx"))
    found = stopwatch.time(candidate, lambda timed: True, lambda sentence: None)
    assert 0 < found.ratio.estimate < 1


def asked(checkpoint: Path, data_yaml: Path, **changes: Any) -> Request:
    return Request(
        **{
            "checkpoint": str(checkpoint),
            "data_yaml": str(data_yaml),
            "goal": parse_goal("1.3x"),
            "round_to": BLOCK,
            "importance": "magnitude",
            "bn_batches": 1,
            "imgsz": HW,
            **changes,
        }
    )


def prune(checkpoint: Path, data_yaml: Path, folder: Path, **changes: Any) -> Pruned:
    request = asked(checkpoint, data_yaml, **changes)
    return Pruned.model_validate(run_child("prune", request, folder, threads=1))


def test_a_speed_up_is_reached_by_measuring(
    checkpoint: Path,
    data_yaml: Path,
    table: Path,
    curves: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Each try takes seconds; how many are needed is for the tests of the search.
    monkeypatch.setattr(search, "TRIES", 2)
    monkeypatch.setattr(timing, "ROUNDS", 3)
    request = asked(
        checkpoint,
        data_yaml,
        allocation="latency-aware",
        costs=str(table),
        curves=str(curves),
        timing=Timing(latency=LATENCY, opset=17, host="this one"),
    )
    pruned = run(request, tmp_path, lambda event: None)
    assert pruned.reached.goal == "1.3x"
    assert pruned.reached.latency_ms is not None
    if pruned.reached.met:
        assert pruned.reached.speedup == pytest.approx(1.3, rel=0.035)
    assert pruned.reached.parameters == pruned.structure.parameters
    before = structure_of(load_checkpoint(checkpoint), HW).widths
    assert all(
        width % BLOCK == 0 or width == before[name]
        for name, width in pruned.structure.widths.items()
    )


def test_no_network_is_a_hundred_times_as_fast(
    checkpoint: Path, data_yaml: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timing, "ROUNDS", 3)
    timed = Timing(latency=LATENCY, opset=17, host="this one")
    request = asked(checkpoint, data_yaml, goal=parse_goal("100x"), timing=timed)
    with pytest.raises(StepError, match=r"100x cannot be reached: the narrowest network"):
        run(request, tmp_path, lambda event: None)


def test_stages_end_at_the_same_widths_and_train_between(
    checkpoint: Path, data_yaml: Path, tmp_path: Path
) -> None:
    training = TrainRequest(
        strategy="preserving",
        settings=PreservingSettings(),
        checkpoint="",
        data_yaml="",
        round=1,
        epochs=1,
        imgsz=64,
        batch=8,
        image_hw=HW,
    )
    goal = parse_goal("0.4")
    once = prune(checkpoint, data_yaml, tmp_path / "once", goal=goal)
    staged = prune(
        checkpoint, data_yaml, tmp_path / "staged", goal=goal, stages=2, stage_training=training
    )
    assert staged.structure.widths == once.structure.widths
    assert staged.left_alone == once.left_alone
    assert staged.checkpoint.sha256 != once.checkpoint.sha256
    between = load_checkpoint(tmp_path / "staged" / "stage-1" / "pruned.pt")
    counts = [sum(p.numel() for p in between.parameters()), once.structure.parameters]
    assert counts[0] > counts[1]
