"""A console script that runs in this process, without a network."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hostile_kit import good_data

from flows import cli


@pytest.fixture
def console(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[[list[str]], tuple[int, str]]:
    """Exit code and everything printed of a command line, run in a folder of its own."""
    folder = tmp_path / "work"
    folder.mkdir()

    def no_network(self: socket.socket, address: object) -> None:
        raise AssertionError(f"it asked the network: {address}")

    def call(arguments: list[str]) -> tuple[int, str]:
        monkeypatch.chdir(folder)
        monkeypatch.setattr(socket.socket, "connect", no_network)
        monkeypatch.setattr(sys, "argv", ["prunebench", *arguments])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        code = caught.value.code
        captured = capsys.readouterr()
        said = " ".join(f"{captured.out} {captured.err}".split())
        return (code if isinstance(code, int) else int(code is not None)), said

    return call


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return good_data(tmp_path_factory.mktemp("scenes"))
