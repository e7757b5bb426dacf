"""What a checkpoint would import is found without loading it, however it is hidden."""

from __future__ import annotations

import io
import os
import pickle
import pickletools
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from prunebench.common.errors import CheckpointError
from prunebench.variants.audit import audit_file
from prunebench.variants.pickles import COMPUTED, globals_of, unknown_globals
from tests.conftest import ASSET


class Command:
    """Unpickling it would run a shell command."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (self.command,)


def archive(path: Path, program: bytes, name: str = "archive/data.pkl") -> Path:
    with zipfile.ZipFile(path, "w") as out:
        out.writestr(name, program)
    return path


def test_an_ultralytics_checkpoint_imports_nothing_unknown() -> None:
    assert unknown_globals(ASSET) == ()


def test_a_command_is_named_and_never_run(tmp_path: Path) -> None:
    path, trace = tmp_path / "model.pt", tmp_path / "trace"
    torch.save({"model": Command(f"touch {trace}")}, path)
    with pytest.raises(CheckpointError, match=r"would import posix\.system, .*--trust"):
        audit_file(path)
    assert not trace.exists()
    with pytest.raises(CheckpointError):
        audit_file(path, trust=True)
    assert trace.exists()


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_every_protocol(protocol: int) -> None:
    value = {"a": [Command("true"), {1, 2}], "b": nn.Conv2d, "c": (1, 2.0, b"3", None)}
    found = globals_of(pickle.dumps(value, protocol))
    assert {("posix", "system"), ("torch.nn.modules.conv", "Conv2d")} <= found


HIDDEN = {
    # The strings that stand last are not those that are used.
    "decoys": b"\x80\x04\x8c\x05posix\x8c\x06system\x8c\x0bcollections\x8c\x07Counter00\x93.",
    "memo": b"\x80\x04\x8c\x06system\x94\x8c\x05posix\x94h\x00\x93.",
    "memo without a number": b"\x80\x04\x8c\x05posix\x94\x8c\x06system\x940h\x01\x93.",
    "duplicate": b"\x80\x04\x8c\x05posix\x8c\x06system2\x93.",
}


@pytest.mark.parametrize("name", HIDDEN)
def test_an_import_that_is_hidden(name: str) -> None:
    program = HIDDEN[name]
    found = globals_of(program)
    seen: list[tuple[str, str]] = []

    class Watching(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> Any:
            seen.append((module, name))
            return object

    try:
        Watching(io.BytesIO(program)).load()
    except (pickle.UnpicklingError, TypeError):
        pytest.fail(f"no pickle: {pickletools.dis(program)}")
    # Exactly what Python's own unpickler would import.
    assert found == set(seen)


def test_a_name_that_is_no_literal_and_another_pickle_in_the_archive(tmp_path: Path) -> None:
    computed = b"\x80\x04]\x8c\x06system\x93."
    assert unknown_globals(archive(tmp_path / "a.pt", computed)) == (COMPUTED,)
    inside = archive(tmp_path / "b.pt", pickle.dumps(Command("true")), "archive/more.pkl")
    assert unknown_globals(inside) == ("posix.system",)
    dotted = b"\x80\x04\x8c\x15torch.nn.modules.conv\x8c\x0fConv2d.__init__\x93."
    assert unknown_globals(archive(tmp_path / "c.pt", dotted)) == (
        "torch.nn.modules.conv.Conv2d.__init__",
    )


@pytest.mark.parametrize("program", [b"", b"\x80\x04\x93.", b"nonsense", b"\x80\x04\x8c\x05po"])
def test_what_is_no_pickle(tmp_path: Path, program: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - pickletools has its own words for each
        unknown_globals(archive(tmp_path / "model.pt", program))
