from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from prunebench.common.records import FileRef
from prunebench.config.sections import LatencyConfig
from prunebench.measuring.session import SessionSettings
from prunebench.steps import cache as steps
from prunebench.steps.cache import Done, file_refs, step_key
from prunebench.variants.export import Request


def request(**changes: Any) -> Request:
    values = {
        "checkpoint": "/somewhere/model.pt",
        "imgsz": (64, 96),
        "opset": 17,
        "images": ("a.png",),
        "box_tolerance_px": 0.5,
        "score_tolerance": 0.005,
        "thresholds": {"conf": 0.25},
        "session": SessionSettings.of(LatencyConfig()),
    }
    return Request(**{**values, **changes})


INPUTS = {"checkpoint": "digest of the checkpoint", "images": "digest of the images"}
KEY = step_key("export", request(), INPUTS)


def test_moving_the_input_files_keeps_the_key() -> None:
    moved = request(checkpoint="/elsewhere/best.pt", images=("/elsewhere/a.png",))
    assert step_key("export", moved, INPUTS) == KEY


@pytest.mark.parametrize(
    ("changed", "inputs"),
    [
        (request(opset=18), INPUTS),
        (request(imgsz=(96, 96)), INPUTS),
        (request(), {**INPUTS, "checkpoint": "other content"}),
        (request(), {**INPUTS, "images": "other images"}),
    ],
)
def test_changed_settings_and_changed_content_change_the_key(
    changed: Request, inputs: dict[str, str]
) -> None:
    assert step_key("export", changed, inputs) != KEY


def test_another_library_version_changes_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "version_of", lambda name: "0")
    assert step_key("export", request(), INPUTS) != KEY


def test_every_file_of_a_result_is_found_and_its_content_checked(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"network")
    ref = FileRef.of(tmp_path / "model.onnx", tmp_path)
    result = {"onnx": ref.model_dump(), "deep": [{"files": (ref.model_dump(),)}], "opset": 17}
    assert list(file_refs(result)) == [ref, ref]
    done = Done(step="export", result=result, seconds=1.0)
    assert all(found.holds(tmp_path) for found in file_refs(done.model_dump()["result"]))
    (tmp_path / "model.onnx").write_bytes(b"another")
    assert not ref.holds(tmp_path)
