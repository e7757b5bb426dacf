"""A local file is read without a question to the network, from the first import on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ASSET, ROOT

WATCHED = """
import socket, sys

def asked(*given, **named):
    print("asked the network for", *given, file=sys.stderr)
    raise OSError("there is none")

socket.getaddrinfo = socket.socket.connect = asked
from flows import cli
cli.main()
"""


@pytest.mark.parametrize(
    "command",
    [
        ["audit", str(ASSET)],
        ["init", "--model", str(ASSET), "--data", "scenes:train=4,val=4,test=4"],
        ["plan", "--model", str(ASSET)],
    ],
    ids=lambda command: command[0],
)
def test_a_local_file_asks_nobody(command: list[str], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, *command],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={
            "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}",
            "PATH": "/usr/bin:/bin",
            "HOME": str(tmp_path),
        },
    )
    assert done.returncode == 0, done.stderr
    assert "asked the network" not in done.stderr
