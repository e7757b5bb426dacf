"""That a step's key covers what the step runs: real steps, watched while they run."""

from __future__ import annotations

import inspect
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from retraining_kit import make_dataset, make_network, request

from prunebench.config.sections import LatencyConfig
from prunebench.config.targets import parse_goal
from prunebench.measuring.session import SessionSettings
from prunebench.steps import source_digest as source
from prunebench.steps.cache import _named_in
from prunebench.steps.child import STEP_MODULES
from prunebench.variants import export, structure
from prunebench.variants.pruning import step as prune
from prunebench.variants.rewriting.apply import PASSES


def functions_run(work: Callable[[], object]) -> set[tuple[str, str]]:
    """Module and top-level name of every function of this package that ``work`` calls."""
    seen: set[tuple[str, str]] = set()
    root = str(source.PACKAGE_ROOT)

    def note(frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        # The bodies of modules and classes run when a module is imported, used or not.
        is_function = code.co_flags & inspect.CO_OPTIMIZED
        if event == "call" and is_function and code.co_filename.startswith(root):
            seen.add((frame.f_globals["__name__"], code.co_qualname.split(".")[0]))

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    return seen


@pytest.mark.parametrize(
    "kind",
    [
        "standard",
        "preserving",
        "features",
        "predictions",
        "sparse",
        "prune",
        "staged",
        "inspect",
        "export",
    ],
)
def test_the_key_covers_every_function_that_a_step_runs(tmp_path: Path, kind: str) -> None:
    data_yaml = make_dataset(tmp_path / "data")
    checkpoint = make_network(tmp_path / "tiny.pt")
    workdir = tmp_path / "work"
    workdir.mkdir()
    step, asked = _request(kind, checkpoint, data_yaml)
    module = sys.modules[STEP_MODULES[step]]
    ran = functions_run(lambda: module.run(asked, workdir, lambda _: None))
    reached, _ = source.follow(
        [(module.__name__, "run"), (module.__name__, "Request")], frozenset(_named_in(asked))
    )
    covered = {
        (name, bound)
        for name, number in reached
        for bound, numbers in source._module(name).binds.items()
        if number in numbers
    }
    assert (module.__name__, "run") in ran
    assert {(name, bound) for name, bound in ran if name != source.EVENTS} <= covered


def _request(kind: str, checkpoint: Path, data_yaml: Path) -> tuple[str, Any]:
    if kind == "inspect":
        return kind, structure.Request(checkpoint=str(checkpoint), imgsz=(64, 64))
    if kind == "export":
        image = next((data_yaml.parent / "images" / "val").iterdir())
        return kind, export.Request(
            checkpoint=str(checkpoint),
            imgsz=(64, 64),
            opset=17,
            images=(str(image),),
            box_tolerance_px=0.5,
            score_tolerance=0.005,
            passes=tuple(PASSES),
            thresholds={"conf": 0.25},
            session=SessionSettings.of(LatencyConfig()),
        )
    if kind in ("prune", "staged"):
        staged = (
            request(checkpoint, data_yaml, "preserving", epochs=1) if kind == "staged" else None
        )
        return "prune", prune.Request(
            checkpoint=str(checkpoint),
            data_yaml=str(data_yaml),
            goal=parse_goal("0.5"),
            round_to=None,
            importance="taylor",
            bn_batches=1,
            imgsz=(64, 64),
            stages=1 if staged is None else 2,
            stage_training=staged,
        )
    own: dict[str, Any] = {"epochs": 1}
    if kind == "sparse":
        own |= {"settings": {"kind": "bn_l1"}}
    distilled = kind in ("features", "predictions")
    if distilled:
        own |= {"settings": {"distill": kind}, "teacher": str(checkpoint)}
    strategy = "preserving" if distilled else kind
    return "train", request(checkpoint, data_yaml, strategy, **own)
