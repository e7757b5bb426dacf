"""What loading a checkpoint would import, read from its pickles' opcodes; nothing is executed.

A pickle is a program for a stack machine, and whatever it calls it has to import first. The machine
is followed here without calling anything, so that a name is known also where it lies in the memo or
was put on the stack long before it is used.
"""

from __future__ import annotations

import pickletools
import re
import zipfile
from pathlib import Path
from typing import Any

COMPUTED = "a name that is computed"
"""Stands for an import whose module or name is no literal."""

KNOWN = re.compile(
    r"""
    torch\.nn\.modules(\.\w+)?:[A-Z]\w* | torch\.nn\.parameter:Parameter
    | torch:(Size|device|Tensor|bool|b?complex\d+|b?float\d+\w*|u?int\d+|qu?int\w+|bits\w+|per_\w+)
    | torch(\.cuda|\.sparse|\.cuda\.sparse)?:\w+(Storage|Tensor)
    | torch\.storage:(Typed|Untyped)Storage
    | torch\._utils:_rebuild_\w+ | torch\._tensor:_rebuild_from_type_v2
    | torch\.serialization:_get_layout
    | ultralytics\.nn\.(modules(\.\w+)?|tasks|distill_model):(v10)?[A-Z]\w*
    | ultralytics\.utils\.(loss|tal):\w+ | ultralytics(\.yolo)?\.utils:IterableSimpleNamespace
    | collections:(OrderedDict|Counter) | _codecs:encode
    | (builtins|__builtin__):(set|bytearray|complex|getattr)
    | numpy:dtype | numpy\._?core\.multiarray:scalar
    | pathlib(\._local)?:(Posix|Windows)Path
    """,
    re.VERBOSE,
)
"""``module:name`` of what Ultralytics' restricted loader and PyTorch's own allow."""

_MARK = object()
_PUTS = ("PUT", "BINPUT", "LONG_BINPUT")
_GETS = ("GET", "BINGET", "LONG_BINGET")


def unknown_globals(path: Path) -> tuple[str, ...]:
    """What loading an archive would import beyond Ultralytics' and PyTorch's own, sorted.

    Args:
        path: A zip archive as ``torch.save`` writes it.

    Raises:
        ValueError: A pickle in it breaks off or is none.
    """
    found: set[tuple[str, str]] = set()
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if name.endswith(".pkl"):
                found |= globals_of(archive.read(name))
    unknown = [(m, n) for m, n in found if not KNOWN.fullmatch(f"{m}:{n}")]
    return tuple(sorted(f"{module}.{name}" if name else module for module, name in unknown))


def globals_of(program: bytes) -> set[tuple[str, str]]:
    """Module and name of everything a pickle imports.

    Raises:
        ValueError: It breaks off or is no pickle.
    """
    found: set[tuple[str, str]] = set()
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    try:
        for opcode, argument, _ in pickletools.genops(program):
            if opcode.name in ("GLOBAL", "INST"):
                module, _, name = str(argument).partition(" ")
                found.add((module, name))
            elif opcode.name == "STACK_GLOBAL":
                module, name = stack[-2:]
                literal = isinstance(module, str) and isinstance(name, str)
                found.add((module, name) if literal else (COMPUTED, ""))
            elif opcode.name in ("EXT1", "EXT2", "EXT4"):
                found.add((f"extension {argument} of copyreg", ""))
            _step(opcode, argument, stack, memo)
    except (IndexError, KeyError) as error:
        raise ValueError("the pickle takes from an empty stack") from error
    return found


def _step(
    opcode: pickletools.OpcodeInfo, argument: Any, stack: list[Any], memo: dict[int, Any]
) -> None:
    """What an opcode does to the stack; a value that is no string stands there as ``None``."""
    if opcode.name == "MARK":
        stack.append(_MARK)
    elif opcode.name == "DUP":
        stack.append(stack[-1])
    elif opcode.name == "POP":
        stack.pop()
    elif opcode.name in _PUTS:
        memo[int(argument)] = stack[-1]
    elif opcode.name == "MEMOIZE":
        memo[len(memo)] = stack[-1]
    elif opcode.name in _GETS:
        stack.append(memo[int(argument)])
    elif "UNICODE" in opcode.name or opcode.name.endswith("STRING"):
        stack.append(argument)
    else:
        before = list(opcode.stack_before)
        if pickletools.markobject in before:
            while stack.pop() is not _MARK:
                pass
            before = before[: before.index(pickletools.markobject)]
        for _ in before:
            stack.pop()
        stack += [None] * len(opcode.stack_after)
