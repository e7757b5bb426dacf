"""Opening, pruning, training and exporting, in a folder of an odd name and offline throughout.

None of it changes anything in the modules and classes of Ultralytics and torch-pruning.
"""

from __future__ import annotations

import contextlib
import importlib
import pkgutil
import socket
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from retraining_kit import make_dataset, make_network, parameters_in, request

from prunebench.common.errors import StepError
from prunebench.common.ultralytics_files import import_offline
from prunebench.config.sections import LatencyConfig
from prunebench.config.targets import Goal
from prunebench.measuring.session import SessionSettings
from prunebench.steps.events import Event
from prunebench.variants import export
from prunebench.variants.given import Request as GivenRequest
from prunebench.variants.given import open_given
from prunebench.variants.pruning import step as prune
from prunebench.variants.retraining import step as retrain
from prunebench.variants.retraining.fit import fit
from prunebench.variants.retraining.job import Job
from prunebench.variants.retraining.trainers import preserving_trainer

ROOMS = ("ultralytics.nn", "ultralytics.engine", "ultralytics.models.yolo", "ultralytics.data")
ROOMS += ("ultralytics.utils", "ultralytics.cfg", "torch_pruning")
ODD = "John's yolov5?"

THEIR_OWN = {
    "ultralytics.nn.modules.head.Detect.legacy",
    "ultralytics.nn.tasks._SafeLoad._registry",
    "torch_pruning._helpers.GroupItem.root_idxs",
}
"""What they set themselves: building a network, loading one, and making a group of layers."""


def ignore(_: Event) -> None:
    pass


def import_all() -> None:
    """Import what a step may import later on, so that it is seen before and after."""
    import_offline()
    for room in ROOMS:
        for found in pkgutil.walk_packages(importlib.import_module(room).__path__, f"{room}."):
            if found.name != "ultralytics.nn.text_model":  # it would install packages
                with contextlib.suppress(Exception):  # one that needs a package that is not there
                    importlib.import_module(found.name)


def attributes() -> Iterator[tuple[str, Any]]:
    """Every attribute of every module of theirs and of the classes it defines."""
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] not in ("ultralytics", "torch_pruning"):
            continue
        for key, value in list(vars(module).items()):
            if isinstance(value, types.ModuleType) or key.startswith("__"):
                continue
            yield f"{name}.{key}", value
            if isinstance(value, type) and value.__module__ == name:
                for inner, kept in list(vars(value).items()):
                    if inner != "__slotnames__":  # which copying sets
                        yield f"{name}.{key}.{inner}", kept


def test_no_step_changes_a_module_or_asks_the_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []

    def no_network(*given: object, **_: object) -> None:
        asked.append(given)
        raise OSError("there is none")

    import_all()
    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    monkeypatch.setattr(socket.socket, "connect", no_network)
    before = dict(attributes())
    assert len(before) > 5000

    home = tmp_path / ODD
    data = make_dataset(home / "data")
    given = make_network(home / "yolov5n.pt")
    make_network(home / "yolov5nu.pt", pruned=True)  # which Ultralytics would take for it
    opened = open_given(GivenRequest(model=str(given), hw=(32, 32)))
    assert opened.info.parameters == parameters_in(given) != parameters_in(home / "yolov5nu.pt")

    goal = Goal(kind="ratio", value=0.3, label="0.3")
    asked_of = {"checkpoint": str(given), "data_yaml": str(data), "goal": goal, "round_to": None}
    (home / "pruned").mkdir()
    pruned = prune.run(
        prune.Request(**asked_of, importance="taylor", bn_batches=1, imgsz=(32, 32)),
        home / "pruned",
        ignore,
    )
    model = home / "pruned" / pruned.checkpoint.path
    for strategy, settings, kept in (
        ("preserving", {"distill": "features"}, True),
        ("preserving", {"distill": "predictions"}, True),
        ("standard", {}, False),
    ):
        folder = home / settings.get("distill", strategy)
        folder.mkdir()
        asked_for = request(model, data, strategy, epochs=1, settings=settings, teacher=str(given))
        result = retrain.run(asked_for, folder, ignore)
        count = parameters_in(model if kept else given)
        assert parameters_in(folder / result.checkpoint.path) == count
    (home / "exported").mkdir()
    exported = export.run(
        export.Request(
            checkpoint=str(model),
            imgsz=(32, 32),
            opset=17,
            images=(str(home / "data" / "images" / "val" / "0.png"),),
            box_tolerance_px=0.5,
            score_tolerance=0.005,
            thresholds={},
            session=SessionSettings.of(LatencyConfig()),
        ),
        home / "exported",
        ignore,
    )
    assert exported.parity.images == 1

    after = dict(attributes())
    changed = [name for name, value in before.items() if after.get(name) is not value]
    assert set(changed) <= THEIR_OWN
    assert after.keys() - before.keys() <= THEIR_OWN
    assert asked == []


def test_a_training_in_such_a_folder_is_continued(tmp_path: Path) -> None:
    home = tmp_path / ODD
    data = make_dataset(home / "data")
    model = make_network(home / "yolov5n.pt", pruned=True)
    teacher = make_network(home / "yolov5nu.pt")
    job = Job(
        checkpoint=model,
        folder=home / "work",
        arguments={"lr0": 0.001, "warmup_epochs": 0, "distill_model": str(teacher)},
        budget=request(model, data, "preserving", epochs=3),
        provenance={},
        emit=ignore,
    )

    def stop(trainer: Any) -> None:
        if trainer.epoch == 1:
            raise RuntimeError("killed")

    trainer = preserving_trainer("detect")
    with pytest.raises(StepError, match="killed"):
        fit(job, trainer=trainer, keep_structure=True, callbacks={"on_train_epoch_start": stop})
    trained = fit(job, trainer=trainer, keep_structure=True)
    assert (trained.state.resumed, trained.state.epochs) == (1, 3)
    assert parameters_in(job.folder / trained.checkpoint.path) == parameters_in(model)
