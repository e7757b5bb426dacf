"""Processes that load a training's images: continued after a kill, they load the same ones."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from retraining_kit import make_dataset, make_network, request

from prunebench.common.errors import StepError
from prunebench.steps.events import Event
from prunebench.variants.retraining.step import run


def kill_after_first_epoch(event: Event) -> None:
    if event.kind == "epoch":
        raise RuntimeError("killed")


def test_a_continued_training_sees_the_images_of_an_undisturbed_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ultralytics.models.yolo.detect import DetectionTrainer

    seen: list[tuple[int, str]] = []
    original = DetectionTrainer.preprocess_batch

    def note(trainer: Any, batch: Any) -> Any:
        seen.append((trainer.epoch, hashlib.sha256(batch["img"].numpy().tobytes()).hexdigest()))
        return original(trainer, batch)

    monkeypatch.setattr(DetectionTrainer, "preprocess_batch", note)
    data_yaml, network = make_dataset(tmp_path / "data"), make_network(tmp_path / "n.pt")
    asked = request(network, data_yaml, "preserving", workers=2)
    done = run(asked, tmp_path / "undisturbed", lambda _: None)
    assert done.training.trained_on is not None
    assert done.training.trained_on.workers == 2
    undisturbed = [*seen]
    assert len(set(undisturbed)) == 4
    seen.clear()
    with pytest.raises(StepError, match="killed"):
        run(asked, tmp_path / "killed", kill_after_first_epoch)
    run(asked, tmp_path / "killed", lambda _: None)
    assert seen == undisturbed
