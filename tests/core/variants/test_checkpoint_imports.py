"""A checkpoint that would import foreign code is refused without running any of it."""

from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from prunebench.common.errors import CheckpointError
from prunebench.variants.audit import audit_file
from prunebench.variants.checkpoint import load_checkpoint
from tests.conftest import ASSET


class Command:
    """Unpickling it would run a shell command."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (self.command,)


def archive(path: Path, program: bytes) -> Path:
    """A checkpoint as ``torch.save`` lays it out, around a pickle of any kind."""
    torch.save({}, path)
    with zipfile.ZipFile(path) as given:
        members = {name: given.read(name) for name in given.namelist()}
    with zipfile.ZipFile(path, "w") as out:
        for name, content in members.items():
            out.writestr(name, program if name.endswith("/data.pkl") else content)
    return path


def test_an_ultralytics_checkpoint_is_read() -> None:
    assert load_checkpoint(ASSET).training is False


def test_a_command_is_named_and_never_run(tmp_path: Path) -> None:
    path, trace = tmp_path / "model.pt", tmp_path / "trace"
    torch.save({"model": Command(f"touch {trace}")}, path)
    with pytest.raises(CheckpointError, match=r"would import posix\.system, which no Ultralytics"):
        audit_file(path)
    assert not trace.exists()


def test_only_what_is_foreign_is_named(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    torch.save({"model": load_checkpoint(ASSET), "more": Command("true")}, path)
    with pytest.raises(CheckpointError, match=r"would import posix\.system, which"):
        load_checkpoint(path)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_every_protocol(tmp_path: Path, protocol: int) -> None:
    trace = tmp_path / "trace"
    program = pickle.dumps({"model": Command(f"touch {trace}")}, protocol)
    with pytest.raises(CheckpointError, match=r"would import|cannot be read") as caught:
        load_checkpoint(archive(tmp_path / "model.pt", program))
    assert "\n" not in str(caught.value)
    assert not trace.exists()


HIDDEN = {
    # The strings that stand last are not those that are used.
    "decoys": b"\x80\x04\x8c\x05posix\x8c\x06system\x8c\x0bcollections\x8c\x07Counter00\x93.",
    "memo": b"\x80\x04\x8c\x06system\x94\x8c\x05posix\x94h\x00\x93.",
    "memo without a number": b"\x80\x04\x8c\x05posix\x94\x8c\x06system\x940h\x01\x93.",
    "duplicate": b"\x80\x04\x8c\x05posix\x8c\x06system2\x93.",
    "no literal": b"\x80\x04]\x8c\x06system\x93.",
    "dotted": b"\x80\x04\x8c\x15torch.nn.modules.conv\x8c\x0fConv2d.__init__\x93.",
    "empty": b"",
    "empty stack": b"\x80\x04\x93.",
    "nonsense": b"nonsense",
    "cut": b"\x80\x04\x8c\x05po",
}


@pytest.mark.parametrize("name", HIDDEN)
def test_a_pickle_whose_imports_cannot_be_read(tmp_path: Path, name: str) -> None:
    with pytest.raises(CheckpointError, match="cannot be read as an Ultralytics checkpoint"):
        load_checkpoint(archive(tmp_path / "model.pt", HIDDEN[name]))


def test_an_activation_of_a_description_is_not_evaluated(tmp_path: Path) -> None:
    network: Any = load_checkpoint(ASSET)
    trace = tmp_path / "trace"
    network.yaml["activation"] = f"torch.nn.SiLU(open({str(trace)!r}, 'w').close())"
    path = tmp_path / "model.pt"
    torch.save({"model": network.half()}, path)
    with pytest.raises(CheckpointError, match=r"description of its network \(yaml\) cannot be"):
        audit_file(path)
    assert not trace.exists()
