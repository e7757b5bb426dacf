"""A local file is read without a question to the network, from the first import on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hostile_kit import good_data

from prunebench.variants.retraining.fit import isolate_ultralytics
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


def test_a_training_fetches_no_font(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from ultralytics.data import utils as data_utils
    from ultralytics.utils import checks

    asked: list[str] = []
    monkeypatch.setattr(data_utils, "check_font", checks.check_font)
    monkeypatch.setattr(checks, "USER_CONFIG_DIR", tmp_path)
    monkeypatch.setattr(checks.downloads, "is_url", lambda url, check: asked.append(url))
    isolate_ultralytics()
    data = data_utils.check_det_dataset(str(good_data(tmp_path / "scenes")))
    assert len(data["names"]) == 7
    assert asked == []


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
