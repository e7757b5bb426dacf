from __future__ import annotations

from typing import Any

import pytest

from prunebench.common.errors import ConfigError
from prunebench.config.loading import Config
from prunebench.experiment.plan import PlannedVariant, plan_variants, size_notes


def test_the_reference_experiment_has_six_variants_and_a_control_of_each_round() -> None:
    variants = plan_variants(Config(model="best.pt"))
    assert [v.name for v in variants] == [
        "baseline",
        "pruned",
        "standard-1",
        "standard-2",
        "preserving-1",
        "preserving-2",
        "retrained-1",
        "retrained-2",
    ]


def test_every_parent_comes_first_and_its_steps_are_the_start_of_its_childs() -> None:
    seen = {}
    for variant in plan_variants(Config(model="best.pt", retrain={"rounds": 4})):
        if variant.parent is not None:
            parent = seen[variant.parent]
            assert variant.steps[:-1] == parent.steps
        seen[variant.name] = variant
    assert len(seen) == 2 + 3 * 4


def test_no_rounds_leave_the_pruned_network_alone() -> None:
    variants = plan_variants(Config(model="best.pt", retrain={"rounds": 0}))
    assert [v.name for v in variants] == ["baseline", "pruned"]


def test_a_network_description_is_trained_first() -> None:
    baseline, *_ = plan_variants(Config(model="yolov8n.yaml"))
    assert baseline.steps == ("train baseline",)


def test_another_activation_is_a_chain_beside_the_one_that_keeps_it() -> None:
    retrain = {"rounds": 2, "activation": "relu", "control": False}
    variants = planned(retrain=retrain, quantize={"variants": ["preserving-relu-2"]})
    assert [(v.name, v.parent, v.beside) for v in variants.values()] == [
        ("baseline", None, None),
        ("pruned", "baseline", None),
        ("standard-1", "pruned", None),
        ("standard-2", "standard-1", None),
        ("preserving-1", "pruned", None),
        ("preserving-2", "preserving-1", None),
        ("preserving-relu-1", "pruned", ("activation", "preserving-1")),
        ("preserving-relu-2", "preserving-relu-1", ("activation", "preserving-2")),
        ("preserving-relu-2-int8", "preserving-relu-2", None),
    ]
    assert variants["preserving-relu-2"].steps[-1] == "retrain preserving with relu round 2"
    assert variants["preserving-relu-2"].strategy == "preserving-relu"
    named = planned(prune={"target": ["1.5x", "8 ms"]}, retrain={"activation": "hardswish"})
    assert named["preserving-hardswish-8ms-1"].beside == ("activation", "preserving-8ms-1")


def test_qat_stands_beside_the_training_without_it_and_needs_int8_files() -> None:
    strategies = {"preserving": {}, "qat": {}}
    retrain = {"rounds": 1, "activation": "relu", "control": False, "strategies": strategies}
    variants = planned(retrain=retrain, quantize="int8")
    assert {v.name: v.beside for v in variants.values() if v.strategy} == {
        "preserving-1": None,
        "preserving-relu-1": ("activation", "preserving-1"),
        "qat-1": ("qat", "preserving-1"),
        "qat-relu-1": ("activation", "qat-1"),
    }
    assert "qat-relu-1-int8" in variants
    alone = planned(retrain={"strategies": {"qat": {}}}, quantize="int8")
    assert alone["qat-1"].beside is None
    for quantize in (None, {"variants": ["baseline", "preserving-1"]}):
        with pytest.raises(ConfigError, match="qat trains for INT8 files, and none is made of its"):
            planned(retrain=retrain, quantize=quantize)


def test_several_targets_each_have_their_own_chain() -> None:
    config = Config(
        model="best.pt",
        prune={"target": ["1.5x", "8 ms"]},
        retrain={"rounds": 1, "strategies": {"preserving": {}}},
    )
    assert [(v.name, v.parent) for v in plan_variants(config)] == [
        ("baseline", None),
        ("pruned-1.5x", "baseline"),
        ("preserving-1.5x-1", "pruned-1.5x"),
        ("pruned-8ms", "baseline"),
        ("preserving-8ms-1", "pruned-8ms"),
        ("retrained-1", "baseline"),
    ]


def test_a_target_of_the_int8_file_has_names_of_its_own_and_needs_the_file() -> None:
    values = {
        "model": "best.pt",
        "prune": {"target": ["2x", "2x int8"]},
        "retrain": {"rounds": 1, "strategies": {"preserving": {}}, "control": False},
    }
    names = [v.name for v in plan_variants(Config.model_validate(values | {"quantize": "int8"}))]
    assert len(names) == len({*names}) == 10
    assert {"pruned-2x-int8", "pruned-int8-2x", "preserving-int8-2x-1-int8"} <= {*names}
    for quantize in (None, {"variants": ["baseline", "preserving-2x-1"]}):
        config = Config.model_validate(values | {"quantize": quantize})
        with pytest.raises(ConfigError, match=r"quantize: the target int8-2x is that of an INT8"):
            plan_variants(config)


def planned(**values: Any) -> dict[str, PlannedVariant]:
    found = plan_variants(Config.model_validate({"model": "best.pt", **values}))
    return {variant.name: variant for variant in found}


def test_controls_and_quantized_siblings_follow_what_they_are_made_from() -> None:
    variants = planned(
        retrain={"rounds": 1, "strategies": {"preserving": {}}},
        controls=["int8", "resolution", "smaller"],
        quantize={"variants": ["preserving-1"]},
    )
    assert [(v.name, v.parent, v.control, v.quantized) for v in variants.values()] == [
        ("baseline", None, None, False),
        ("pruned", "baseline", None, False),
        ("preserving-1", "pruned", None, False),
        ("retrained-1", "baseline", "retrained", False),
        ("baseline-160x288", "baseline", "resolution", False),
        ("smaller", "pruned", "smaller", False),
        ("baseline-int8", "baseline", "int8", True),
        ("preserving-1-int8", "preserving-1", None, True),
    ]
    assert variants["baseline-160x288"].imgsz == (160, 288)
    assert variants["preserving-1-int8"].steps[-1] == "quantize to int8"


def test_the_plain_export_is_the_baselines_own_checkpoint_and_its_int8_file_too() -> None:
    variants = planned(controls=["plain-export"], quantize="int8", retrain={"rounds": 0})
    plain, int8 = variants["baseline-plain"], variants["baseline-plain-int8"]
    assert (plain.parent, plain.control, plain.is_plain) == ("baseline", "plain-export", True)
    assert plain.steps[-1] == "export without rewriting"
    assert (int8.parent, int8.control, int8.is_plain) == ("baseline-plain", "plain-export", False)


def test_the_other_head_is_the_baselines_own_checkpoint() -> None:
    variants = planned(controls=["other-head"], quantize="int8", retrain={"rounds": 0})
    variant = variants["baseline-one-to-one"]
    assert (variant.parent, variant.control) == ("baseline", "other-head")
    assert variant.has_other_head
    # Finished detections cannot be quantized.
    assert [v.name for v in variants.values() if v.quantized] == ["baseline-int8", "pruned-int8"]
    named = planned(controls=["other-head"], export={"head": "one_to_one"})
    assert "baseline-one-to-many" in named


def test_each_target_has_a_smaller_network_of_its_own() -> None:
    variants = planned(prune={"target": ["0.2", "0.4"]}, controls=["smaller"])
    smaller = {v.name: v.parent for v in variants.values() if v.control == "smaller"}
    assert smaller == {
        "smaller-ratio-0.2": "pruned-ratio-0.2",
        "smaller-ratio-0.4": "pruned-ratio-0.4",
    }


def test_the_int8_baseline_exists_once() -> None:
    variants = planned(controls=["int8", "resolution"], quantize="int8", retrain={"rounds": 0})
    assert [(v.name, v.control) for v in variants.values() if v.quantized] == [
        ("baseline-int8", "int8"),
        ("pruned-int8", None),
        ("baseline-160x288-int8", "resolution"),
    ]
    assert variants["baseline-160x288-int8"].imgsz == (160, 288)


def test_the_baseline_at_its_training_size_stands_beside_another_letterbox() -> None:
    config = Config(model="best.pt", retrain={"rounds": 0}, quantize="int8")
    variants = plan_variants(config, 640)
    assert [(v.name, v.parent, v.control, v.imgsz) for v in variants if v.imgsz] == [
        ("baseline-384x640", "baseline", "trained-size", (384, 640)),
        ("baseline-384x640-int8", "baseline-384x640", "trained-size", (384, 640)),
    ]
    assert variants[2].steps == ("load checkpoint", "change the input size to 384x640")
    assert size_notes(config, variants) == (
        "The baseline's training size is 640 pixels, but it is deployed at 192 x 320 (H x W): "
        "another size costs accuracy, and baseline-384x640 measures how much.",
    )


def test_the_training_size_of_the_baseline_may_be_its_own_or_not_known() -> None:
    for config, trained_at in (
        (Config(model="best.pt"), 320),
        (Config(model="best.pt"), None),
        (Config(model="yolov8n.yaml", baseline={"imgsz": 320}), None),
    ):
        variants = plan_variants(config, trained_at)
        assert not any(variant.imgsz for variant in variants)
        assert size_notes(config, variants) == ()
    trained = Config(model="yolov8n.yaml", baseline={"imgsz": 160})
    assert plan_variants(trained)[-1].name == "baseline-96x160"


def test_the_training_size_may_be_the_next_lower_letterbox() -> None:
    config = Config(model="best.pt", controls=["resolution"], retrain={"rounds": 0})
    controls = [(v.name, v.control) for v in plan_variants(config, 288) if v.control]
    assert controls == [("baseline-160x288", "trained-size")]


def test_retraining_at_another_size_than_the_letterbox_is_told() -> None:
    config = Config(model="best.pt", retrain={"imgsz": 640})
    assert size_notes(config, plan_variants(config)) == (
        "Retraining is at 640 pixels (retrain.imgsz), but the variants are deployed at 192 x 320 "
        "(H x W): another size costs accuracy.",
    )
    pruned_only = Config(model="best.pt", retrain={"imgsz": 640, "rounds": 0})
    assert size_notes(pruned_only, plan_variants(pruned_only)) == ()


def test_the_unpruned_network_is_retrained_in_one_chain_whatever_is_compared() -> None:
    variants = planned(
        prune={"target": ["1.5x", "2x"]}, retrain={"rounds": 3, "strategies": {"standard": {}}}
    )
    chain = [v for v in variants.values() if v.control == "retrained"]
    assert [(v.name, v.parent, v.round) for v in chain] == [
        ("retrained-1", "baseline", 1),
        ("retrained-2", "retrained-1", 2),
        ("retrained-3", "retrained-2", 3),
    ]
    assert {v.strategy for v in chain} == {"preserving"}
    assert {v.goal for v in chain} == {None}


@pytest.mark.parametrize(
    "values",
    [
        {"retrain": {"rounds": 0}},
        {"retrain": {"strategies": {}}},
        {"retrain": {"control": False}},
        {"retrain": {"control": False}, "prune": {"stages": 3}},
    ],
)
def test_without_retraining_there_is_no_such_control_nor_where_it_is_off(
    values: dict[str, Any],
) -> None:
    assert not [v for v in planned(**values).values() if v.control == "retrained"]


@pytest.mark.parametrize("strategies", [{}, {"standard": {}, "preserving": {}}])
@pytest.mark.parametrize(
    "prune",
    [{}, {"stages": 3, "stage_epochs": 2}, {"sparsity": {"kind": "bn_l1", "epochs": 7}}],
)
def test_every_trained_variant_has_a_control_of_as_many_epochs(
    prune: dict[str, Any], strategies: dict[str, Any]
) -> None:
    variants = planned(
        prune=prune, retrain={"epochs": 5, "strategies": strategies}, quantize="int8"
    )
    budgets = {v.epochs for v in variants.values() if v.control is None and v.epochs}
    found = [v for v in variants.values() if v.control == "retrained" and not v.quantized]
    assert sorted(budgets) == [v.epochs for v in found]
    for variant in variants.values():
        if variant.quantized and variant.parent is not None:
            assert variant.epochs == variants[variant.parent].epochs


def test_the_control_ends_with_the_chains_it_is_held_against() -> None:
    variants = planned(retrain={"rounds": 4, "stop_when": "no_gain"})
    assert {n: v.judged_by for n, v in variants.items() if v.control} == {
        "retrained-1": (),
        "retrained-2": (),
        "retrained-3": ("standard-3", "preserving-3"),
        "retrained-4": ("standard-4", "preserving-4"),
    }


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (
            {"quantize": {"variants": ["preserving-9"]}},
            "quantize.variants: there is no variant preserving-9; did you mean preserving-",
        ),
        (
            {"controls": ["resolution"], "image": {"height": 32, "width": 64}},
            "controls: there is no input size below 32 x 64, a side has 32 pixels already; "
            "leave resolution out or enlarge `image`.",
        ),
        (
            {"controls": ["plain-export"], "export": {"rewrite": "none"}},
            "controls: every variant is exported plainly already, export.rewrite is none; "
            "leave plain-export out.",
        ),
        (
            {"quantize": "int8", "export": {"head": "one_to_one"}},
            "export.head: INT8 files are made of raw predictions, and one_to_one ends in finished "
            "detections; set it to one_to_many",
        ),
        (
            {
                "quantize": {"variants": ["baseline-one-to-one"]},
                "controls": ["other-head"],
            },
            "quantize.variants: baseline-one-to-one ends in finished detections",
        ),
        (
            {"quantize": "int8", "ranking": {"size_of": "checkpoint"}},
            "ranking.size_of: a variant in INT8 has no checkpoint whose size could count; "
            "set it to onnx.",
        ),
    ],
)
def test_what_cannot_be_made_is_one_sentence(values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        planned(**values)
    assert str(caught.value).startswith(sentence)
