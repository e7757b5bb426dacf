from __future__ import annotations

from prunebench.config import Config
from prunebench.plan import plan_variants


def test_the_reference_experiment_has_six_variants() -> None:
    variants = plan_variants(Config(model="best.pt"))
    assert [v.name for v in variants] == [
        "baseline",
        "pruned",
        "standard-1",
        "standard-2",
        "preserving-1",
        "preserving-2",
    ]


def test_every_parent_comes_first_and_its_steps_are_the_start_of_its_childs() -> None:
    seen = {}
    for variant in plan_variants(Config(model="best.pt", retrain={"rounds": 4})):
        if variant.parent is not None:
            parent = seen[variant.parent]
            assert variant.steps[:-1] == parent.steps
        seen[variant.name] = variant
    assert len(seen) == 2 + 2 * 4


def test_no_rounds_leave_the_pruned_network_alone() -> None:
    variants = plan_variants(Config(model="best.pt", retrain={"rounds": 0}))
    assert [v.name for v in variants] == ["baseline", "pruned"]


def test_a_network_description_is_trained_first() -> None:
    baseline, *_ = plan_variants(Config(model="yolov8n.yaml"))
    assert baseline.steps == ("train baseline",)


def test_several_targets_each_have_their_own_chain() -> None:
    config = Config(
        model="best.pt",
        prune={"targets": ["1.5x", "8 ms"]},
        retrain={"rounds": 1, "strategies": {"preserving": {}}},
    )
    assert [(v.name, v.parent) for v in plan_variants(config)] == [
        ("baseline", None),
        ("pruned-1.5x", "baseline"),
        ("preserving-1.5x-1", "pruned-1.5x"),
        ("pruned-8ms", "baseline"),
        ("preserving-8ms-1", "pruned-8ms"),
    ]
