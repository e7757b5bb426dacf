"""The session options of a configuration reach every place that runs an ONNX file."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import onnx
import onnxruntime as ort
import pytest
import quantize_kit as kit
import torch
from experiment_kit import bare_experiment

from prunebench.common.errors import StepError
from prunebench.common.records import Exported, FileRef, Record, sha256_of
from prunebench.common.variant_record import VariantRecord
from prunebench.config.loading import parse_config
from prunebench.config.sections import LatencyConfig
from prunebench.experiment import alternatives, make
from prunebench.experiment.prune import prune
from prunebench.measuring import accuracy, profile
from prunebench.measuring.latency.measure import Target, measure
from prunebench.measuring.latency.samples import read_samples
from prunebench.measuring.session import SessionSettings, session_options
from prunebench.results.report.gallery import _scene
from prunebench.steps.cache import StepRun
from prunebench.steps.events import Event
from prunebench.variants import export
from prunebench.variants.int8 import step as quantize
from prunebench.variants.pruning import costs

BASIC = LatencyConfig(
    graph_level="basic", threads=(1,), rounds_min=3, rounds_max=3, seconds=0.02, paced=False
)
SESSION = SessionSettings.of(BASIC)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ...]:
    return kit.write_images(tmp_path_factory.mktemp("data"), count=3)


@pytest.fixture(scope="module")
def detector(images: tuple[Path, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = kit.write_detector(tmp_path_factory.mktemp("float") / "model.onnx")
    kit.label(path, images)
    return path


def ignore(event: Event) -> None:
    pass


def evaluate(detector: Path, images: tuple[Path, ...], folder: Path) -> None:
    asked = kit.request(detector, images, session=SESSION)
    fields = set(accuracy.Request.model_fields)
    accuracy.run(accuracy.Request.model_validate(asked.model_dump(include=fields)), folder, ignore)


def compare(detector: Path, images: tuple[Path, ...], folder: Path) -> None:
    output = onnx.load(detector).graph.output[0].type.tensor_type.shape
    shape = [dim.dim_value for dim in output.dim]

    class Zeros:
        names = kit.NAMES

        def __call__(self, tensor: torch.Tensor) -> list[torch.Tensor]:
            return [torch.zeros(shape)]

    request = export.Request(
        checkpoint="",
        imgsz=kit.IMGSZ,
        opset=17,
        images=(str(images[0]),),
        box_tolerance_px=1e9,
        score_tolerance=1e9,
        thresholds={},
        session=SESSION,
    )
    network: Any = Zeros()
    export.compare(network, detector, request)


def quantize_(detector: Path, images: tuple[Path, ...], folder: Path) -> None:
    # No loss at all is allowed, so that layers are tried alone too.
    asked = kit.request(detector, images, session=SESSION, max_map50_loss=-0.5)
    with pytest.raises(StepError, match="still loses too much"):
        quantize.run(asked, folder, ignore)


def diagnose(detector: Path, images: tuple[Path, ...], folder: Path) -> None:
    request = profile.Request(
        onnx=str(detector), baseline=str(detector), threads=1, session=SESSION, block=8
    )
    profile.run(request, folder, ignore)


def time_layers(detector: Path, images: tuple[Path, ...], folder: Path) -> None:
    request = costs.Request(
        checkpoint="", ignore=(), block=8, imgsz=kit.IMGSZ, threads=1, session=SESSION, host=""
    )
    layer = ("Conv", (3, 3), 1, 1, (8, 8), True, 8, 8)
    costs._time_here([(costs._graph([layer]), 1)], request, ignore)


def draw(detector: Path, images: tuple[Path, ...], folder: Path) -> None:
    run: Any = SimpleNamespace(
        folder=detector.parent,
        config=SimpleNamespace(latency=BASIC, image=SimpleNamespace(hw=kit.IMGSZ)),
    )
    audit = SimpleNamespace(structure=SimpleNamespace(names=kit.NAMES))
    variant: Any = SimpleNamespace(name="a", audit=audit, exported=exported(detector))
    _scene(run, images[0], [variant])


@pytest.mark.parametrize("execute", [evaluate, compare, quantize_, diagnose, time_layers, draw])
def test_a_file_is_run_at_the_graph_level_asked_for(
    execute: Callable[[Path, tuple[Path, ...], Path], None],
    detector: Path,
    images: tuple[Path, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    levels = []

    class Watched(ort.InferenceSession):
        def __init__(self, model: Any, options: Any = None, **given: Any) -> None:
            super().__init__(model, options, **given)
            levels.append(self.get_session_options().graph_optimization_level.name)

    monkeypatch.setattr(ort, "InferenceSession", Watched)
    execute(detector, images, tmp_path)
    assert set(levels) == {"ORT_ENABLE_BASIC"}


def test_latency_is_measured_at_the_graph_level_asked_for(detector: Path, tmp_path: Path) -> None:
    target = Target("a", detector, sha256_of(detector))
    result = measure(
        [target],
        [],
        BASIC,
        realtime_fps=20.0,
        imgsz=kit.IMGSZ,
        nc=len(kit.NAMES),
        seed=0,
        folder=tmp_path,
    )
    samples = read_samples(tmp_path / result.samples.path)
    assert {s.session["graph_optimization_level"] for s in samples} == {"ORT_ENABLE_BASIC"}
    # What the diagnosis takes its options from.
    assert result.fingerprint.session == SESSION


def exported(detector: Path) -> Exported:
    file = FileRef.of(detector, detector.parent)
    return Exported(onnx=file, parity=None, opset=17, imgsz=kit.IMGSZ)


class Asked(Exception):
    """Ends a step's caller once it has asked."""


@pytest.mark.parametrize("step", ["export", "accuracy", "quantize"])
def test_a_step_is_asked_for_the_options_of_the_configuration(
    step: str,
    detector: Path,
    images: tuple[Path, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    requests: dict[str, Any] = {}

    def note(experiment: object, step: str, request: Record, *given: Any, **named: Any) -> Any:
        requests[step] = request
        raise Asked

    for module in (make, alternatives):
        monkeypatch.setattr(module, "run_cached", note)
    names = "".join(f"\n  {index}: {name}" for index, name in kit.NAMES.items())
    data_yaml = tmp_path / "data.yaml"
    folder = images[0].parent
    data_yaml.write_text(f"path: {folder.parent}\ntrain: images\nval: images\nnames:{names}\n")
    config = parse_config({"model": "best.pt", "latency": {"graph_level": "basic"}})
    done = bare_experiment(config, detector.parent, data_yaml=str(data_yaml), class_names=kit.NAMES)
    variant: Any = VariantRecord.model_construct(
        name="baseline",
        parent=None,
        audit=None if step == "export" else object(),
        exported=exported(detector),
        checkpoint=None,
    )
    planned: Any = SimpleNamespace(name="int8", parent="baseline", steps=())
    caller = {
        "export": lambda: make.export_variant(done, variant, ignore),
        "accuracy": lambda: make.evaluate_variant(done, variant, ignore),
        "quantize": lambda: alternatives.quantize_variant(done, planned, variant, ignore),
    }
    monkeypatch.setattr(make, "checkpoint_of", lambda experiment, variant: detector)
    with pytest.raises(Asked):
        caller[step]()
    assert requests[step].session == SessionSettings.of(config.latency) == SESSION


def test_pruning_times_layers_and_candidates_with_the_options_of_the_configuration(
    detector: Path,
) -> None:
    requests: dict[str, Any] = {}

    def note(step: str, request: Record, inputs: Mapping[str, str]) -> StepRun:
        requests[step] = request
        file = FileRef(path="x", sha256="", bytes=1).model_dump()
        result = {"table": file, "curves": file, "checkpoint": file}
        return StepRun(folder="/x", result=result, seconds=0, cached=False)

    config = parse_config(
        {
            "model": "best.pt",
            "latency": {"graph_level": "basic"},
            "prune": {"target": "1.3x", "allocation": "latency-aware", "round_to": 8},
        }
    )
    asker = bare_experiment(config, detector.parent)
    planned = next(v for v in asker.variants if v.name.startswith("pruned"))
    inputs = {"checkpoint": "", "data_yaml": ""}
    prune(asker, planned, detector, inputs, note)
    assert requests["costs"].session == SessionSettings.of(config.latency)
    assert requests["costs"].session.graph_level == "basic"
    assert requests["prune"].timing.latency == config.latency


def test_every_option_is_set_as_asked_for() -> None:
    asked = SessionSettings(
        graph_level="disabled",
        execution_mode="parallel",
        arena=False,
        flush_denormals=True,
        spinning=True,
    )
    options = session_options(asked, 2)
    assert options.graph_optimization_level == ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    assert options.execution_mode == ort.ExecutionMode.ORT_PARALLEL
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (2, 2)
    assert not options.enable_cpu_mem_arena
    for key in ("set_denormal_as_zero", "intra_op.allow_spinning", "inter_op.allow_spinning"):
        assert options.get_session_config_entry(f"session.{key}") == "1"


def test_a_step_takes_the_threads_its_process_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRUNEBENCH_CHILD_THREADS", "3")
    assert session_options(SESSION).intra_op_num_threads == 3
    monkeypatch.delenv("PRUNEBENCH_CHILD_THREADS")
    assert session_options(SESSION).intra_op_num_threads == 1


def test_onnxruntime_keeps_nothing_to_report_of_its_user(tmp_path: Path) -> None:
    code = (
        "from prunebench.measuring.session import SessionSettings, session_options; "
        "session_options(SessionSettings('all', 'sequential', True, False, False), 1)"
    )
    known = {k: v for k, v in os.environ.items() if k not in ("CI", "ORT_DISABLE_TELEMETRY")}
    known |= {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], check=True, env=known)
    assert not [*tmp_path.rglob("*onnxruntime*")]
