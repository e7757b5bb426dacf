"""Real trainings of a tiny pruned network: what each strategy does to it, and how it ends."""

from __future__ import annotations

import gc
import hashlib
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from retraining_kit import (
    make_dataset,
    make_network,
    parameters_in,
    request,
)

from prunebench.common.errors import ConfigError, DatasetError, StepError, StructureChanged
from prunebench.common.records import sha256_of
from prunebench.steps.events import Event
from prunebench.variants.checkpoint import inspect_checkpoint, load_checkpoint
from prunebench.variants.retraining import integers
from prunebench.variants.retraining.saved import tensor_shapes
from prunebench.variants.retraining.step import Result, run

TENSORS = 16 * 6 + 2 * 2 * (2 * 6 + 2) + 1
"""16 convolutions with BatchNorm (6 tensors each), two levels of two branches, DFL."""

LOST = 3 * 6
"""Each of three bottlenecks: weight and 4 BatchNorm vectors, and the next layer's weight."""


@pytest.fixture(scope="module")
def data_yaml(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def unpruned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_network(tmp_path_factory.mktemp("network") / "unpruned.pt")


@pytest.fixture(scope="module")
def pruned(unpruned: Path) -> Path:
    return make_network(unpruned.with_name("pruned.pt"), pruned=True)


@pytest.fixture(scope="module", autouse=True)
def _quick_garbage_collection(unpruned: Path) -> None:
    """Ultralytics collects garbage several times a training: spare it what is imported by now."""
    gc.freeze()


class Recorder:
    """Receives events."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def __call__(self, event: Event) -> None:
        self.events.append(event)

    def kinds(self) -> list[str]:
        return [event.kind for event in self.events]


@dataclass(frozen=True)
class Done:
    """A training that has ended, what it said, and the batches it saw."""

    folder: Path
    result: Result
    recorder: Recorder
    seen: list[tuple[int, str]]

    @property
    def model(self) -> Path:
        return self.folder / self.result.checkpoint.path


@pytest.fixture(scope="module", autouse=True)
def seen() -> Iterator[list[tuple[int, str]]]:
    """(epoch, digest of the images and boxes) of every training batch, in order."""
    from ultralytics.models.yolo.detect import DetectionTrainer

    batches: list[tuple[int, str]] = []
    original = DetectionTrainer.preprocess_batch

    def note(trainer: Any, batch: Any) -> Any:
        content = batch["img"].numpy().tobytes() + batch["bboxes"].numpy().tobytes()
        batches.append((trainer.epoch, hashlib.sha256(content).hexdigest()))
        return original(trainer, batch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DetectionTrainer, "preprocess_batch", note)
        yield batches


Train = Callable[..., Done]


@pytest.fixture(scope="module")
def train(seen: list[tuple[int, str]]) -> Train:
    def run_it(folder: Path, *args: Any, **changes: Any) -> Done:
        seen.clear()
        recorder = Recorder()
        return Done(folder, run(request(*args, **changes), folder, recorder), recorder, [*seen])

    return run_it


@pytest.fixture(scope="module")
def preserved(
    pruned: Path, data_yaml: Path, train: Train, tmp_path_factory: pytest.TempPathFactory
) -> Done:
    return train(tmp_path_factory.mktemp("preserving"), pruned, data_yaml, "preserving")


@pytest.fixture(scope="module")
def restored(
    pruned: Path, data_yaml: Path, train: Train, tmp_path_factory: pytest.TempPathFactory
) -> Done:
    return train(tmp_path_factory.mktemp("standard"), pruned, data_yaml, "standard")


def test_preserving_keeps_the_structure_in_both_rounds(
    preserved: Done, pruned: Path, data_yaml: Path, train: Train, tmp_path: Path
) -> None:
    second = train(tmp_path, preserved.model, data_yaml, "preserving", round=2, epochs=1)
    expected = tensor_shapes(load_checkpoint(pruned))
    for done, epochs in ((preserved, 2), (second, 1)):
        assert tensor_shapes(load_checkpoint(done.model)) == expected
        assert done.result.structure.parameters == parameters_in(pruned)
        training = done.result.training
        assert (training.transferred, training.tensors) == (TENSORS, TENSORS)
        assert (training.epochs, training.resumed, training.stopped) == (epochs, 0, None)
        assert done.result.checkpoint.holds(done.folder)
        assert 0 < training.minutes < 2
        assert "metrics/mAP50(B)" in done.result.metrics
    assert sha256_of(second.model) != sha256_of(preserved.model)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["curves.csv", "model.pt", "state.json"]


def test_another_activation_is_trained_from_the_first_round_on(
    pruned: Path, data_yaml: Path, train: Train, tmp_path: Path
) -> None:
    """It stays in the second one, whose start has it already."""
    changes: dict[str, Any] = {"activation": "relu", "epochs": 1}
    first = train(tmp_path / "1", pruned, data_yaml, "preserving", **changes)
    second = train(tmp_path / "2", first.model, data_yaml, "preserving", round=2, **changes)
    for done in (first, second):
        structure = done.result.structure
        assert (structure.activations, structure.replaced_activation) == (
            {"ReLU": 16 + 2 * 2 * 2},
            "SiLU",
        )
        assert done.result.training.strategy == "preserving-relu"
        assert done.result.training.transferred == TENSORS
        assert inspect_checkpoint(done.model).provenance["activation"] == "relu"
        assert sorted(p.name for p in done.folder.iterdir()) == [
            "curves.csv",
            "model.pt",
            "state.json",
        ]


@pytest.mark.parametrize("distill", ["none", "features", "predictions"])
def test_qat_trains_and_judges_what_rounds_and_saves_what_does_not(
    pruned: Path,
    unpruned: Path,
    data_yaml: Path,
    train: Train,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    distill: str,
) -> None:
    rounded, original = Counter[bool](), integers.rounded

    def note(x: Any) -> Any:
        rounded[x.requires_grad] += 1
        return original(x)

    monkeypatch.setattr(integers, "rounded", note)
    known = {"settings": {"distill": distill}, "teacher": str(unpruned)}
    done = train(tmp_path, pruned, data_yaml, "qat", epochs=1, **known)
    # What each layer takes and gives, but for the first one, which stays in float: with a gradient
    # where the network is trained, without where its average is validated. A teacher never rounds.
    batches, layers = 2, 16 + 2 * 2 * 3 - 1
    assert rounded[True] == batches * (2 * layers)
    assert rounded[False] == 2 * layers
    network = load_checkpoint(done.model)
    assert tensor_shapes(network) == tensor_shapes(load_checkpoint(pruned))
    assert not any("forward" in module.__dict__ for module in network.modules())
    assert done.result.training.strategy == "qat"


def test_progress_is_told_as_it_happens(preserved: Done) -> None:
    events = preserved.recorder.events
    assert preserved.recorder.kinds()[:2] == ["stage", "stage"]
    epochs = [event for event in events if event.kind == "epoch"]
    assert [event.epoch for event in epochs] == [1, 2]
    assert all(event.epochs == 2 and event.loss > 0 for event in epochs)
    assert epochs[-1].seconds_left == 0
    assert "restored" not in preserved.recorder.kinds()
    curves = (preserved.folder / "curves.csv").read_text().splitlines()
    assert len(curves) == 3
    assert curves[0].startswith("epoch,time,train/box_loss")


def test_the_saved_file_needs_plain_ultralytics_only(preserved: Done) -> None:
    code = (
        "import sys; sys.modules['prunebench'] = None\n"
        "from ultralytics import YOLO\n"
        "import numpy as np\n"
        "model = YOLO(sys.argv[1])\n"
        "model.predict(np.zeros((32, 32, 3), np.uint8), imgsz=32, verbose=False)\n"
        "print(sum(p.numel() for p in YOLO(sys.argv[1]).model.parameters()))\n"
    )
    command = [sys.executable, "-I", "-c", code, str(preserved.model)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout.split()[-1]) == parameters_in(preserved.model)


def test_the_saved_file_names_no_path_of_this_machine(preserved: Done, data_yaml: Path) -> None:
    import zipfile

    with zipfile.ZipFile(preserved.model) as archive:
        pickle = next(name for name in archive.namelist() if name.endswith("data.pkl"))
        content = archive.read(pickle)
    assert str(data_yaml.parent).encode() not in content
    assert str(preserved.folder).encode() not in content


def test_standard_rebuilds_the_unpruned_network_and_says_so(
    restored: Done, pruned: Path, unpruned: Path
) -> None:
    assert parameters_in(restored.model) == parameters_in(unpruned)
    training = restored.result.training
    assert (training.transferred, training.tensors) == (TENSORS - LOST, TENSORS)
    kinds = restored.recorder.kinds()
    assert kinds.index("restored") < kinds.index("epoch")
    event = restored.recorder.events[kinds.index("restored")]
    assert (event.transferred, event.tensors) == (TENSORS - LOST, TENSORS)
    assert event.parameters == parameters_in(unpruned)
    assert event.parent_parameters == parameters_in(pruned)


def test_both_strategies_see_the_same_images(preserved: Done, restored: Done) -> None:
    assert preserved.seen == restored.seen
    assert [epoch for epoch, _ in preserved.seen] == [0, 0, 1, 1]
    assert len({digest for _, digest in preserved.seen}) == 4, "and each epoch sees others"


class Interrupted(Exception):
    """Stands for a kill right after an epoch was saved."""


def interrupt_after_first_epoch(event: Event) -> None:
    if event.kind == "epoch":
        raise Interrupted


@pytest.mark.parametrize("strategy", ["preserving", "standard"])
def test_an_interrupted_training_continues_at_its_epoch(
    strategy: str,
    preserved: Done,
    restored: Done,
    pruned: Path,
    data_yaml: Path,
    train: Train,
    tmp_path: Path,
    seen: list[tuple[int, str]],
) -> None:
    undisturbed = preserved if strategy == "preserving" else restored
    seen.clear()
    with pytest.raises(StepError, match="Interrupted"):
        run(request(pruned, data_yaml, strategy), tmp_path, interrupt_after_first_epoch)
    before = [*seen]
    last = tmp_path / "fit" / "weights" / "last.pt"
    last.write_bytes(last.read_bytes()[:1000])  # killed while it saved the next epoch

    done = train(tmp_path, pruned, data_yaml, strategy)
    assert [e.epoch for e in done.recorder.events if e.kind == "epoch"] == [2]
    assert before + done.seen == undisturbed.seen, "the same images as undisturbed"
    assert done.result.structure == undisturbed.result.structure
    training = done.result.training
    assert (training.resumed, training.epochs) == (1, 2)
    assert training.transferred == undisturbed.result.training.transferred
    assert len((tmp_path / "curves.csv").read_text().splitlines()) == 3


def test_a_finished_training_is_not_repeated(
    preserved: Done, pruned: Path, data_yaml: Path
) -> None:
    recorder = Recorder()
    again = run(request(pruned, data_yaml, "preserving"), preserved.folder, recorder)
    assert again == preserved.result
    assert recorder.kinds() == ["stage"]


def test_max_minutes_ends_it_with_what_it_has(
    pruned: Path, data_yaml: Path, train: Train, tmp_path: Path
) -> None:
    done = train(tmp_path, pruned, data_yaml, "preserving", epochs=50, max_minutes=1e-4)
    assert done.result.training.stopped == "max_minutes (0.0001) reached in epoch 1 of 50"
    assert done.result.training.epochs == 1
    assert parameters_in(done.model) == parameters_in(pruned)


def test_patience_ends_it_and_is_named(
    pruned: Path, data_yaml: Path, train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ultralytics.models.yolo.detect import DetectionTrainer

    fitness = iter([0.5, 0.6, 0.55])
    original = DetectionTrainer.validate

    def validate(trainer: Any) -> Any:
        metrics, _ = original(trainer)
        value = next(fitness)
        trainer.best_fitness = max(value, trainer.best_fitness)
        return metrics, value

    monkeypatch.setattr(DetectionTrainer, "validate", validate)
    done = train(tmp_path, pruned, data_yaml, "preserving", epochs=50, patience=1)
    assert done.result.training.stopped == "no gain since epoch 2 (patience 1)"
    assert done.result.training.epochs == 3
    assert done.result.metrics["fitness"] == 0.6


@pytest.fixture
def poison(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Epochs, counted from 0, at whose next batch a weight becomes NaN; each entry works once."""
    import torch
    from ultralytics.models.yolo.detect import DetectionTrainer

    epochs: list[int] = []
    original = DetectionTrainer.preprocess_batch

    def preprocess(trainer: Any, batch: Any) -> Any:
        if trainer.epoch in epochs:
            epochs.remove(trainer.epoch)
            with torch.no_grad():
                next(trainer.model.parameters()).fill_(float("nan"))
        return original(trainer, batch)

    monkeypatch.setattr(DetectionTrainer, "preprocess_batch", preprocess)
    return epochs


@pytest.mark.parametrize("epochs", [[0], [1] * 8])
def test_a_diverging_training_fails_with_the_reason(
    epochs: list[int], poison: list[int], pruned: Path, data_yaml: Path, tmp_path: Path
) -> None:
    poison.extend(epochs)
    with pytest.raises(StepError, match=r"lower the learning rate \(lr0\)"):
        run(request(pruned, data_yaml, "preserving"), tmp_path, Recorder())
    assert not (tmp_path / "model.pt").exists()


def test_a_passing_nan_is_recovered_from_the_last_epoch(
    poison: list[int], pruned: Path, data_yaml: Path, train: Train, tmp_path: Path
) -> None:
    poison.append(1)
    done = train(tmp_path, pruned, data_yaml, "preserving")
    assert poison == []
    assert parameters_in(done.model) == parameters_in(pruned)
    weights = load_checkpoint(done.model).state_dict().values()
    assert all(bool(tensor.isfinite().all()) for tensor in weights)


def test_a_structure_that_changes_stops_the_training_at_once(
    pruned: Path, data_yaml: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torch import nn
    from ultralytics.models.yolo.detect import DetectionTrainer

    original = DetectionTrainer.save_model

    def save(trainer: Any) -> Any:
        trainer.ema.ema.model[0].conv.bias = nn.Parameter(trainer.ema.ema.model[0].bn.bias.clone())
        return original(trainer)

    monkeypatch.setattr(DetectionTrainer, "save_model", save)
    recorder = Recorder()
    with pytest.raises(StructureChanged, match="the checkpoint of epoch 1 has"):
        run(request(pruned, data_yaml, "preserving"), tmp_path, recorder)
    assert "epoch" not in recorder.kinds()
    assert not (tmp_path / "model.pt").exists()


def test_standard_fails_before_the_first_epoch_where_it_is_told_to(
    pruned: Path, unpruned: Path, data_yaml: Path, train: Train, tmp_path: Path
) -> None:
    recorder = Recorder()
    arguments = request(pruned, data_yaml, "standard", settings={"on_restore": "fail"})
    with pytest.raises(StructureChanged, match=f"{parameters_in(unpruned):,}"):
        run(arguments, tmp_path, recorder)
    assert recorder.kinds()[-1] == "restored"
    done = train(
        tmp_path / "unpruned",
        unpruned,
        data_yaml,
        "standard",
        settings={"on_restore": "fail"},
        epochs=1,
    )
    assert done.result.training.transferred == TENSORS, "an unpruned network loses nothing"


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({0: "green", 1: "blue", 2: "red"}, "the data has 3 classes, the checkpoint 2"),
        ({0: "blue", 1: "green"}, "class 0 is 'blue', in the checkpoint 'green'"),
    ],
)
def test_preserving_refuses_other_classes(
    names: dict[int, str], message: str, pruned: Path, tmp_path: Path
) -> None:
    other = make_dataset(tmp_path / "data", names=names)
    with pytest.raises(DatasetError, match=message):
        run(request(pruned, other, "preserving"), tmp_path / "work", Recorder())


def test_segmentation_keeps_its_structure(train: Train, tmp_path: Path) -> None:
    data_yaml = make_dataset(tmp_path / "data", polygons=True)
    pruned = make_network(tmp_path / "pruned.pt", pruned=True, task="segment")
    done = train(tmp_path / "work", pruned, data_yaml, "preserving", epochs=1)
    assert done.result.structure.task == "segment"
    assert tensor_shapes(load_checkpoint(done.model)) == tensor_shapes(load_checkpoint(pruned))
    assert "metrics/mAP50(M)" in done.result.metrics


@pytest.mark.parametrize(
    ("what", "loss"), [("features", "dis_loss"), ("predictions", "teacher_loss")]
)
def test_distillation_keeps_the_structure_and_continues(
    what: str, loss: str, pruned: Path, unpruned: Path, data_yaml: Path, tmp_path: Path
) -> None:
    arguments = request(
        pruned,
        data_yaml,
        "preserving",
        teacher=str(unpruned),
        settings={"distill": what, "distill_warmup_epochs": 1},
    )
    with pytest.raises(StepError, match="Interrupted"):
        run(arguments, tmp_path, interrupt_after_first_epoch)
    result = run(arguments, tmp_path, Recorder())
    assert (result.training.resumed, result.training.epochs) == (1, 2)
    network: Any = load_checkpoint(tmp_path / "model.pt")
    assert tensor_shapes(network) == tensor_shapes(load_checkpoint(pruned))
    assert not any(module._forward_hooks for module in network.modules())
    header, *rows = (tmp_path / "curves.csv").read_text().splitlines()
    losses = [float(row.split(",")[header.split(",").index(f"train/{loss}")]) for row in rows]
    assert all(loss > 0 for loss in losses)
    # The weight was half in the first epoch and is whole in the second.
    assert losses[1] / losses[0] == pytest.approx(2, rel=0.3)


def test_distillation_without_a_teacher_is_refused(
    pruned: Path, data_yaml: Path, tmp_path: Path
) -> None:
    arguments = request(pruned, data_yaml, "preserving", settings={"distill": "features"})
    with pytest.raises(ConfigError, match="teacher"):
        run(arguments, tmp_path, Recorder())


def test_missing_images_are_the_datasets_fault(
    pruned: Path, data_yaml: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.yaml"
    broken.write_text(data_yaml.read_text().replace("images/train", "images/gone"))
    with pytest.raises(DatasetError, match="gone"):
        run(request(pruned, broken, "standard"), tmp_path / "work", Recorder())


ALLOCATOR_SAYS = (
    "[enforce fail at alloc_cpu.cpp:130] err == 0. DefaultCPUAllocator: can't allocate memory: "
    "you tried to allocate 68719476736 bytes. Error code 12 (Cannot allocate memory)"
)


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError(ALLOCATOR_SAYS)])
def test_running_out_of_memory_is_named(
    error: Exception,
    pruned: Path,
    data_yaml: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from ultralytics.models.yolo.detect import DetectionTrainer

    def allocate(trainer: Any, batch: Any) -> Any:
        raise error

    monkeypatch.setattr(DetectionTrainer, "preprocess_batch", allocate)
    with pytest.raises(StepError, match="out of memory with batches of 3 images at 32 pixels"):
        run(request(pruned, data_yaml, "preserving"), tmp_path, Recorder())


def test_a_full_disk_is_named_and_the_training_continues_later(
    pruned: Path, data_yaml: Path, tmp_path: Path
) -> None:
    work = tmp_path / "work"
    work.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=18m", "tmpfs", str(work)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip("mounting a small file system needs root and the right to mount")
    arguments = request(pruned, data_yaml, "preserving")

    def fill(event: Event) -> None:
        if event.kind == "epoch" and event.epoch == 1:
            with (work / "ballast").open("wb", buffering=0) as stream:
                try:
                    while stream.write(b"\0" * 65536):
                        pass
                except OSError:
                    pass

    try:
        with pytest.raises(StepError, match="the disk is full"):
            run(arguments, work, fill)
        assert not (work / "model.pt").exists()
        (work / "ballast").unlink()
        result = run(arguments, work, Recorder())
        assert result.training.resumed == 1
        assert parameters_in(work / "model.pt") == parameters_in(pruned)
    finally:
        subprocess.run(["umount", "-l", str(work)], check=True)
