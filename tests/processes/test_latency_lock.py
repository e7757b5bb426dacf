"""The host lock across real processes."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from prunebench.measuring.host import lock
from prunebench.measuring.host.lock import host_lock, timing_on_host, working_on_host
from prunebench.measuring.host.sensors import Sensors

HOLDER = """
import sys
from pathlib import Path
from prunebench.measuring.host.lock import host_lock
with host_lock("run nightly", print, folder=Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def _release_when_waiting(holder: subprocess.Popen[str], folder: Path, how: str) -> list[str]:
    """Take the lock while another process has it; that one ends once we say we wait."""
    said: list[str] = []
    waiting = threading.Event()

    def on_wait(sentence: str) -> None:
        said.append(sentence)
        waiting.set()

    def end() -> None:
        waiting.wait(20)
        if how == "killed":
            holder.send_signal(signal.SIGKILL)
        elif holder.stdin is not None:
            holder.stdin.close()

    thread = threading.Thread(target=end)
    thread.start()
    began = time.monotonic()
    with host_lock("second", on_wait, folder=folder):
        thread.join()
        holder.wait(20)
    assert time.monotonic() - began < 20
    return said


@pytest.mark.parametrize("how", ["done", "killed"])
def test_the_second_waits_and_says_for_whom(
    tmp_path: Path, holder: subprocess.Popen[str], how: str
) -> None:
    (sentence,) = _release_when_waiting(holder, tmp_path, how)
    assert "waiting for run nightly" in sentence
    assert f"process {holder.pid}" in sentence


def test_a_free_lock_is_taken_silently_and_again(tmp_path: Path) -> None:
    for _ in range(2):
        with host_lock("me", pytest.fail, folder=tmp_path):
            signed = (tmp_path / "prunebench-measuring.json").read_text()
            assert '"who": "me"' in signed
        assert not (tmp_path / "prunebench-measuring.json").exists()


def test_what_times_alone_says_that_its_cpu_was_throttled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counter = tmp_path / "sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count"
    counter.parent.mkdir(parents=True)
    monkeypatch.setattr(lock.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(lock, "Sensors", lambda: Sensors(tmp_path / "sys"))
    for after, said in ((7, []), (8, ["This CPU was throttled while it timed the layers."])):
        counter.write_text("7")
        told: list[str] = []
        with timing_on_host("all", "the layers", told.append):
            counter.write_text(str(after))
        assert told == said


def test_every_user_may_take_it(tmp_path: Path) -> None:
    with host_lock("me", pytest.fail, folder=tmp_path):
        mode = (tmp_path / "prunebench-measuring.lock").stat().st_mode & 0o777
    assert mode == 0o666


def test_an_error_inside_frees_it(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), host_lock("me", pytest.fail, folder=tmp_path):
        raise RuntimeError
    with host_lock("me", pytest.fail, folder=tmp_path):
        pass


WORKER = """
import sys
from pathlib import Path
from prunebench.measuring.host.lock import working_on_host
with working_on_host(print, folder=Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("how", ["ended", "killed"])
def test_measuring_waits_for_a_step_that_works(tmp_path: Path, how: str) -> None:
    worker = subprocess.Popen(
        [sys.executable, "-c", WORKER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert worker.stdout is not None
    assert worker.stdout.readline() == "held\n"
    said = _release_when_waiting(worker, tmp_path, how)
    assert any(f"process {worker.pid}" in sentence for sentence in said)
    assert list(tmp_path.glob("prunebench-working-*")) == []


def test_a_step_waits_for_a_measurement_but_not_for_another_step(
    holder: subprocess.Popen[str], tmp_path: Path
) -> None:
    said: list[str] = []

    def on_wait(sentence: str) -> None:
        said.append(sentence)
        assert holder.stdin is not None
        holder.stdin.close()

    with working_on_host(on_wait, folder=tmp_path), working_on_host(on_wait, folder=tmp_path):
        holder.wait(20)
    assert len(said) == 1
    assert "run nightly" in said[0]
