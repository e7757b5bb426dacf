"""What a device does of a job, beside the measuring itself."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from prunebench.common.errors import StepError
from prunebench.config.sections import LatencyConfig
from prunebench.measuring import agent
from prunebench.measuring.latency.rounds import Target
from prunebench.measuring.remote.asking import Device
from prunebench.measuring.remote.pack import Content
from prunebench.measuring.remote.there import There
from prunebench.measuring.remote.transport import Ended, Remote

SETTINGS = LatencyConfig().model_dump(mode="json")


def test_a_job_writes_nothing_beside_its_kit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The agent ends itself where nobody waits for it, and only the kit's folder is removed."""

    def job(job: Any, path: Any, session: Any, work: Path, tell: Any) -> float:
        assert work.parent == tmp_path
        return 1.0

    monkeypatch.setitem(agent.JOBS, "look", job)  # type: ignore[arg-type]
    kit: Any = SimpleNamespace(
        manifest={
            "format": 2,
            "job": {"kind": "look"},
            "settings": SETTINGS,
        },
        folder=tmp_path,
        path=None,
        results=tmp_path / "results.zip",
    )
    assert agent.answer(kit) == kit.results
    assert [*tmp_path.iterdir()] == [kit.results]


def test_a_damaged_answer_fails_the_step_and_is_no_file_of_the_users(tmp_path: Path) -> None:
    (tmp_path / "results.zip").write_bytes(b"half of a zip")
    remote: Any = SimpleNamespace(answer=lambda content, work: tmp_path / "results.zip")
    device = Device(There(name="pi5", address="ssh://pi5"), remote, tmp_path, SETTINGS)
    targets = [Target("baseline", tmp_path / "model.onnx", "0" * 64)]
    said = "measuring on pi5 failed: its answer is damaged"
    with pytest.raises(StepError, match=said):
        device.rounds(targets, {"realtime_fps": 1.0, "imgsz": (32, 32), "nc": 1, "seed": 0})
    with pytest.raises(StepError, match=said):
        device.layers([], 1)


def test_a_device_gets_the_runtimes_that_a_kit_has_files_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    runtimes = {"a": None, "b": {"name": "openvino-default"}, "c": {"name": "mnn"}}
    runtimes |= {"d": {"name": "openvino"}, "e": {"name": "openvino-nncf"}}
    needs = Content({"protocol": {"runtimes": runtimes}, "inputs": {"1x1": "0"}}, {}).needs
    assert needs == ("frames", "mnn", "openvino")
    assert Content({"job": {"kind": "look"}}, {}).needs == ()
    said: list[str] = []
    asked: list[str] = []

    def ask(remote: Remote, command: str) -> Ended:
        asked.append(command)
        if command.startswith("pwd"):
            return Ended(0, "/home/pi\nready\nframes\n", "")
        return Ended(int("MNN" in command), "", "No matching distribution found")

    monkeypatch.setattr(Remote, "_ask", ask)
    remote = Remote("pi5", "ssh://pi", None, "a folder", lambda line, name: said.append(line))
    assert remote._environment(10**9, needs) == "/home/pi/.prunebench/environment/bin/python"
    assert [command.split(" && ")[0].split()[-1] for command in asked[1:]] == ["MNN", "openvino"]
    # A device that some runtime is not made for measures the others.
    assert "MNN cannot be installed there (No matching distribution found)" in said
