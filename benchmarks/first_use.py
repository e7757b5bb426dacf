"""Does the first use of a device over ssh make what it needs there, and no more?

    python benchmarks/first_use.py

The device is an sshd of this host whose user has nothing but the system's Python; pip takes what it
installs from wherever it is set up to. First the device is looked at, as pruning for it does, which
takes numpy and onnxruntime; then a kit measures whole frames there, which takes OpenCV too, and
last one of a run that has a file for MNN. Needs Debian's openssh-server and python3-venv. Two
minutes; exit status 1 where a claim does not hold.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from pathlib import Path

import pytest
from kit import Claim, arguments, in_workspace, print_claims
from rich.console import Console

from prunebench.config.sections import LatencyConfig
from prunebench.measuring.remote.asking import device_at
from prunebench.measuring.remote.there import There
from prunebench.measuring.remote.transport import ENVIRONMENT
from prunebench.operating.kit.ssh import measure_there

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "support"))
from device_kit import make_run_to_carry
from ssh_kit import served_board

MOST_MB = {"numpy and onnxruntime": 250, "whole frames": 400, "another runtime": 500}
"""Of the environment, in 10^6 bytes."""


def main(work: Path, console: Console) -> int:
    """Serve a bare device, look at it, measure on it, and say what was installed."""
    (work / "board").mkdir()
    (work / "runs").mkdir()
    run = make_run_to_carry(work / "runs")
    (work / "others").mkdir()
    other = make_run_to_carry(work / "others", ["mnn"])
    with contextlib.ExitStack() as stack:
        monkeypatch = stack.enter_context(pytest.MonkeyPatch.context())
        serving = contextlib.contextmanager(served_board)
        board = stack.enter_context(serving(work / "board", monkeypatch, "true"))
        environment = board.home / ENVIRONMENT
        claims: list[Claim] = []

        def claim(what: str, began: float, holds: bool) -> None:
            took, size = time.monotonic() - began, megabytes(environment)
            found = f"{took:.0f} s, {size:.0f} MB"
            claims.append((what, found, holds and size < MOST_MB[what.split(":")[0]]))

        began = time.monotonic()
        settings = LatencyConfig().model_dump(mode="json")
        there = There(name="board", address=board.device().address)
        with device_at(there, settings, print) as device:
            host = device.look().host
        bare = not list(environment.glob("lib/python*/site-packages/cv2"))
        claim("numpy and onnxruntime: looked at, no OpenCV", began, bare and host is not None)
        began = time.monotonic()
        with device_at(there, settings, print) as device:
            device.look()
        claim("numpy and onnxruntime: looked at again", began, bare)
        began = time.monotonic()
        column = measure_there(run, "board", board.device(), lambda line, name: print(line))
        measured = column.ranking is not None and not column.model_only
        claim("whole frames: measured by a kit", began, measured)
        began = time.monotonic()
        column = measure_there(other, "board", board.device(), lambda line, name: print(line))
        rows = [] if column.ranking is None else column.ranking.rankings[0].elsewhere
        there_too = [row.name for row in rows] == ["baseline-mnn"]
        claim("another runtime: measured by a kit", began, there_too)
    return print_claims(console, claims)


def megabytes(folder: Path) -> float:
    """Bytes on disk below a folder, in 10^6."""
    asked = ["du", "-s", "--block-size=1", folder]
    ended = subprocess.run(asked, capture_output=True, text=True, check=True)
    return int(ended.stdout.split()[0]) / 1e6


if __name__ == "__main__":
    arguments(__doc__)
    in_workspace(main)
