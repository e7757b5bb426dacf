"""Several trainings of one variant: what is planned and counted, and which file is shipped."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from experiment_kit import bare_experiment
from rich.console import Console

from prunebench.cli.views.plan import plan_view
from prunebench.common.errors import ConfigError
from prunebench.common.records import Accuracy, Exported, FileRef, TrainingSummary
from prunebench.common.variant_record import Judgement, VariantRecord
from prunebench.config.loading import Config, parse_config
from prunebench.experiment import make
from prunebench.experiment.duration import parents_of, workload
from prunebench.experiment.plan import PlannedVariant, plan_variants
from prunebench.experiment.shipping import median_of, ship_variant
from prunebench.results.run_folder import read_variant
from prunebench.steps.cache import step_key


def config(**retrain: Any) -> Config:
    return Config(model="best.pt", retrain={"strategies": {"preserving": {}}, **retrain})


def named(settings: Config, name: str) -> PlannedVariant:
    return next(v for v in plan_variants(settings) if v.name == name)


def record(seed: int, validation: float | None, map50: float = 0.5) -> VariantRecord:
    training = TrainingSummary(
        strategy="preserving",
        round=1,
        epochs=1,
        minutes=1,
        transferred=1,
        tensors=1,
        validation=validation,
    )
    ref = FileRef(path=f"variants/v/seeds/{seed}/detections.npz", sha256="0", bytes=1)
    accuracy = Accuracy(
        map50=map50,
        map50_95=map50,
        per_class={},
        per_class_50_95={},
        images=20,
        instances=20,
        imgsz=(64, 96),
        detections=ref,
    )
    return VariantRecord(
        name="v", parent="pruned", steps=(), seed=seed, training=training, accuracy=accuracy
    )


def test_what_is_retrained_has_a_training_per_seed_and_nothing_else() -> None:
    settings = config(seeds=3, rounds=2).model_copy(update={"seed": 7})
    plan = plan_variants(settings)
    several = {v.name: v.seeds for v in plan if v.seeds}
    assert several == dict.fromkeys(
        ("preserving-1", "preserving-2", "retrained-1", "retrained-2"), (7, 8, 9)
    )
    assert [one.seed for one in named(settings, "preserving-2").trainings] == [7, 8, 9]
    assert named(settings, "pruned").trainings == (named(settings, "pruned"),)
    parents = parents_of(plan)
    assert parents["preserving-2, seed 8"] == "preserving-1, seed 8"
    assert parents["preserving-1, seed 8"] == "pruned"


def test_the_plan_shows_the_trainings() -> None:
    settings = config(seeds=3)
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(plan_view(settings, plan_variants(settings)))
    assert console.export_text().count("3 trainings") == len(("preserving", "retrained")) * 2


def test_a_plan_of_one_training_is_as_it_was() -> None:
    assert plan_variants(config(seeds=1)) == plan_variants(config())


def test_every_training_is_counted() -> None:
    once, often = (config(seeds=n, rounds=2, epochs=5) for n in (1, 4))
    trained, trained_often = (
        sum(workload(c, plan_variants(c)).epochs.values()) for c in (once, often)
    )
    assert (trained, trained_often) == (4 * 5, 16 * 5)
    assert (
        workload(often, plan_variants(often)).round_s == workload(once, plan_variants(once)).round_s
    )


def test_two_seeds_are_refused_with_the_reason() -> None:
    with pytest.raises(ConfigError, match=r"retrain\.seeds.*cover only 88 %"):
        parse_config({"model": "best.pt", "retrain": {"seeds": 2}})


@pytest.mark.parametrize(
    ("scores", "shipped"),
    [
        ((0.3, 0.1, 0.2), 2),
        ((0.1, 0.4, 0.2, 0.3), 2),  # Of two in the middle the lower one.
        ((0.5, 0.5, 0.5), 0),
        ((0.1, 0.5, 0.5, 0.9, 0.5), 1),
    ],
)
def test_the_median_is_shipped_whatever_the_accuracy(scores: Sequence[float], shipped: int) -> None:
    trained = [record(seed, score, 1 - score) for seed, score in enumerate(scores)]
    assert median_of(trained).seed == shipped


def test_without_a_validation_score_the_accuracy_stands_for_it() -> None:
    trained = [record(0, 0.9, 0.3), record(1, None, 0.1), record(2, 0.1, 0.2)]
    assert median_of(trained).seed == 2
    # That of the metric that ranks.
    masks = [
        one.model_copy(
            update={"accuracy": one.accuracy and one.accuracy.model_copy(update={"mask_map50": m})}
        )
        for one, m in zip(trained, (0.2, 0.1, 0.3), strict=True)
    ]
    assert median_of(masks, "mask").seed == 0


def test_the_files_of_the_median_become_the_variants_own(tmp_path: Path) -> None:
    experiment = bare_experiment(config(seeds=3), tmp_path)
    trained = []
    for seed, score in enumerate((0.2, 0.4, 0.3)):
        one, home = record(seed, score), tmp_path / "variants" / "v" / "seeds" / str(seed)
        home.mkdir(parents=True)
        refs = {}
        for name in ("model.pt", "model.onnx", "detections.npz"):
            (home / name).write_text(f"{name} of {seed}")
            refs[name] = FileRef.of(home / name, tmp_path)
        assert one.accuracy is not None
        exported = Exported(onnx=refs["model.onnx"], parity=None, opset=17, imgsz=(64, 96))
        accuracy = one.accuracy.model_copy(update={"detections": refs["detections.npz"]})
        files = {"checkpoint": refs["model.pt"], "exported": exported, "accuracy": accuracy}
        trained.append(one.model_copy(update=files))
    planned = named(config(seeds=3), "preserving-1").model_copy(update={"name": "v"})
    found = ship_variant(experiment, planned, trained, lambda _: None)
    assert (found.seed, found.shipped, found.trainings) == (None, 2, tuple(trained))
    assert read_variant(tmp_path, "v") == found
    own = [ref for ref in found.files if "seeds" not in ref.path]
    assert [ref.path for ref in own] == [
        f"variants/v/{name}" for name in ("model.pt", "model.onnx", "detections.npz")
    ]
    assert all((tmp_path / ref.path).read_text().endswith("of 2") for ref in own)
    assert all(ref.holds(tmp_path) for ref in found.files)


def test_what_is_left_out_has_no_trainings(tmp_path: Path) -> None:
    stopped = Judgement(round=2, finding="no_gain")
    trained = [record(n, None).model_copy(update={"judgement": stopped}) for n in range(3)]
    planned = named(config(seeds=3), "preserving-1")
    experiment = bare_experiment(config(seeds=3), tmp_path)
    found = ship_variant(experiment, planned, trained, lambda _: None)
    assert found.not_trained == stopped
    assert found.trainings == ()


def test_the_first_seed_is_the_training_of_a_run_with_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys: list[str] = []

    def asked(_: Any, step: str, request: Any, inputs: Any, *__: Any, **___: Any) -> Any:
        keys.append(step_key(step, request, inputs))
        raise InterruptedError

    monkeypatch.setattr(make, "run_cached", asked)
    (tmp_path / "model.pt").write_bytes(b"weights")
    checkpoint = FileRef.of(tmp_path / "model.pt", tmp_path)
    parent = VariantRecord(name="pruned", parent="baseline", steps=(), checkpoint=checkpoint)
    for seeds in (1, 3):
        experiment = bare_experiment(config(seeds=seeds), tmp_path)
        for planned in named(experiment.config, "preserving-1").trainings:
            with pytest.raises(InterruptedError):
                make.make_variant(experiment, planned, parent, parent, lambda _: None)
    once, *often = keys
    assert once == often[0]
    assert len(set(often)) == 3
