"""Which steps lead to a pruned checkpoint, and what each is given."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import block_kit
import pytest
from experiment_kit import bare_experiment

from prunebench.common.errors import ConfigError, EnvironmentMismatch
from prunebench.common.records import FileRef, Interval, Record
from prunebench.config.loading import parse_config
from prunebench.config.sections import LatencyConfig
from prunebench.config.strategy_settings import SparseSettings
from prunebench.experiment import requirements
from prunebench.experiment.plan import plan_variants
from prunebench.experiment.prune import prune
from prunebench.measuring.host.block import Block
from prunebench.measuring.host.fingerprint import fingerprint
from prunebench.measuring.remote.there import There
from prunebench.measuring.session import SessionSettings
from prunebench.steps.cache import StepRun, step_key
from prunebench.variants.pruning import alignment
from prunebench.variants.rewriting.choice import Passes

INPUTS = {"checkpoint": "of the baseline", "data_yaml": "of the data"}


def steps_of(
    settings: Mapping[str, Any], block: Block | None = None, **known: Any
) -> list[tuple[str, Any, Mapping[str, str]]]:
    """Name, request and digests of every step that a configuration's pruning runs."""
    config = parse_config({"model": "best.pt", **settings})
    steps: list[tuple[str, Any, Mapping[str, str]]] = []

    def note(step: str, request: Record, inputs: Mapping[str, str]) -> StepRun:
        steps.append((step, request, dict(inputs)))
        file = FileRef(path="model.pt", sha256=f"of {step}", bytes=1)
        fields = {"train": "checkpoint", "costs": "table", "sensitivity": "curves"}
        result = {fields.get(step, "checkpoint"): file.model_dump()}
        return StepRun(folder=f"/out/.steps/{step}", result=result, seconds=0, cached=False)

    experiment = bare_experiment(
        config,
        Path("/out/run"),
        data_yaml="/data.yaml",
        data_digest=INPUTS["data_yaml"],
        block=block,
        **known,
    )
    planned = next(v for v in experiment.variants if v.name == "pruned")
    prune(experiment, planned, Path("/baseline.pt"), INPUTS, note)
    return steps


def test_without_sparsity_the_baseline_is_pruned() -> None:
    ((name, request, inputs),) = steps_of(
        {"prune": {"target": 0.3, "allocation": "uniform", "round_to": 8}}
    )
    assert (name, request.checkpoint, inputs) == ("prune", "/baseline.pt", INPUTS)
    assert request.round_to == 8


def test_widths_of_a_file_need_no_measurement_and_are_in_the_key() -> None:
    widths = {"model.0.conv": 8}
    ((name, request, inputs),) = steps_of({"prune": {"widths": "widths.yaml"}}, widths=widths)
    assert (name, inputs, request.widths, request.round_to) == ("prune", INPUTS, widths, None)
    ((_, other, _),) = steps_of({"prune": {"widths": "other.yaml"}}, widths=widths)
    assert step_key("prune", request, inputs) == step_key("prune", other, inputs)
    # Which layers an allocation would narrow means nothing then.
    uniform = {"widths": "widths.yaml", "allocation": "uniform"}
    ((_, other, _),) = steps_of({"prune": uniform}, widths=widths)
    assert step_key("prune", request, inputs) == step_key("prune", other, inputs)
    edited = {"model.0.conv": 9}
    ((_, other, _),) = steps_of({"prune": {"widths": "widths.yaml"}}, widths=edited)
    assert step_key("prune", request, inputs) != step_key("prune", other, inputs)


def test_candidates_are_exported_and_rewritten_as_the_variants_are() -> None:
    asked = {"prune": {"target": "2x", "allocation": "uniform", "round_to": 8}}
    faster = {"halves": Interval(0.9, 0.8, 0.95), "upsampling": Interval(1.1, 1.05, 1.2)}
    passes = Passes(imgsz=(192, 320), faster=faster)
    for found, applied in ((passes, ("upsampling",)), (None, ())):
        ((_, request, _),) = steps_of(asked, passes=found)
        assert request.timing.passes == applied
        assert request.timing.head == "one_to_many"
    ((_, request, _),) = steps_of({**asked, "export": {"head": "one_to_one"}})
    assert request.timing.head == "one_to_one"


def test_what_the_block_was_measured_to_be_decides_and_not_its_timings() -> None:
    uniform = {"prune": {"target": 0.3, "allocation": "uniform"}}
    ((_, request, _),) = steps_of(uniform, block_kit.BLOCKED)
    assert request.round_to == 16
    elsewhere = {width: 2 * took for width, took in block_kit.BLOCKED.microseconds.items()}
    slower = block_kit.BLOCKED.model_copy(update={"microseconds": elsewhere})
    assert steps_of(uniform, slower) == steps_of(uniform, block_kit.BLOCKED)
    ((_, unaligned, _),) = steps_of(uniform, block_kit.PLAIN)
    assert unaligned.round_to == 1
    with pytest.raises(ValueError, match="not measured"):
        steps_of(uniform)


def test_the_costs_and_targets_of_a_device_are_keyed_by_what_it_is_and_not_by_where() -> None:
    asked = {
        "prune": {"measure_on": "pi5", "round_to": 8},
        "devices": {"pi5": "ssh://pi@board"},
    }
    here = fingerprint(SessionSettings.of(LatencyConfig())).fields()

    def keys(address: str, **changes: Any) -> list[str]:
        there = There(name="pi5", address=address, host={**here, **changes})
        steps = [one for one in steps_of(asked, there=there) if one[0] != "sensitivity"]
        assert steps[0][1].there == steps[1][1].timing.there == there
        return [step_key(step, request, inputs) for step, request, inputs in steps]

    first = keys("ssh://pi@board")
    assert keys("ssh://pi@another") == first
    assert not {*first} & {*keys("ssh://pi@board", onnxruntime="1.23.0")}


def test_the_sparse_network_takes_the_baselines_place_in_every_later_step() -> None:
    (first, *later) = steps_of(
        {
            "prune": {
                "round_to": 8,
                "allocation": "latency-aware",
                "ignore": ["model.0"],
                "stages": 2,
                "sparsity": {"kind": "bn_l1", "weight": 0.01, "epochs": 7},
            },
            "retrain": {
                "imgsz": 96,
                "batch": 3,
                "patience": 5,
                "strategies": {"preserving": {"lr0": 0.004, "nbs": 3, "distill": "predictions"}},
            },
        }
    )
    step, request, inputs = first
    assert (step, request.strategy, request.checkpoint) == ("train", "sparse", "/baseline.pt")
    assert request.settings == SparseSettings(
        lr0=0.004, nbs=3, kind="bn_l1", weight=0.01, ignore=("model.0",)
    )
    assert (request.epochs, request.imgsz, request.batch, request.patience) == (7, 96, 3, 0)
    assert type(request).model_validate_json(request.model_dump_json()) == request
    assert inputs == INPUTS
    assert [step for step, _, _ in later] == ["costs", "sensitivity", "prune"]
    for _, request, inputs in later:
        assert request.checkpoint == "/out/.steps/train/model.pt"
        assert inputs["checkpoint"] == "of train"
    # Where the files of the stages lie is no part of the step's key.
    stage = later[-1][1].stage_training
    assert (stage.checkpoint, stage.data_yaml, stage.teacher) == ("", "", None)


@pytest.mark.parametrize(
    ("target", "numbers"), [("2x", "float"), ("4x int8", "int8"), (["2x", "4x int8"], "float")]
)
def test_the_block_is_that_of_the_file_that_the_targets_are_of(
    target: Any, numbers: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alignment, "measure_block", lambda latency, numbers: numbers)
    config = parse_config({"model": "best.pt", "prune": {"target": target}})
    assert alignment.block_for(config.prune, config.latency) == numbers


def test_a_target_of_the_int8_file_is_refused_where_int8_does_not_pay() -> None:
    config = parse_config({"model": "best.pt", "prune": {"target": ["2x", "8 ms int8"]}})
    for flags, refused in (({"avx2"}, True), ({"avx2", "avx_vnni"}, False), (set(), False)):
        if refused:
            with pytest.raises(EnvironmentMismatch, match=r"int8-8ms .* CPU has no VNNI"):
                requirements.check_int8_targets(config, frozenset(flags))
        else:
            requirements.check_int8_targets(config, frozenset(flags))
    float_file = parse_config({"model": "best.pt", "prune": {"target": "2x"}})
    requirements.check_int8_targets(float_file, frozenset({"avx2"}))


def test_the_plan_says_that_the_baseline_is_trained_before_it_is_pruned() -> None:
    config = parse_config({"model": "best.pt", "prune": {"sparsity": {"kind": "group_lasso"}}})
    steps = {variant.name: variant.steps for variant in plan_variants(config)}
    assert steps["baseline"] == ("load checkpoint",)
    assert steps["pruned"] == ("load checkpoint", "train sparse", "prune")
    assert steps["preserving-1"] == (*steps["pruned"], "retrain preserving round 1")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"prune": {"sparsity": {}}}, r"the key prune\.sparsity\.kind is missing"),
        (
            {"prune": {"sparsity": {"kin": "bn_l1"}}},
            r"unknown key prune\.sparsity\.kin; did you mean prune\.sparsity\.kind",
        ),
        ({"prune": {"sparsity": {"kind": "l2"}}}, r"prune\.sparsity\.kind: .*got 'l2'"),
        (
            {"prune": {"sparsity": {"kind": "bn_l1", "weight": -1}}},
            r"prune\.sparsity\.weight: .*got -1",
        ),
        (
            {"prune": {"sparsity": {"kind": "bn_l1", "epoch": 3}}},
            r"unknown key prune\.sparsity\.epoch.*prune\.sparsity\.epochs",
        ),
        (
            {"retrain": {"strategies": {"sparse": {"kind": "bn_l1"}}}},
            r"'sparse' trains before pruning, set prune\.sparsity; the strategies are standard",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused(settings: Mapping[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_config({"model": "best.pt", **settings})
