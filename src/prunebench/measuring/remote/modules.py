"""The modules of this package that a kit carries: those that its agent imports, early or late."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from prunebench.measuring.agent import AGENT, FRAMES
from prunebench.measuring.latency.together import CHILD

PACKAGE = "prunebench"
ROOT = Path(__file__).parents[2]

PROCESSES = (AGENT, CHILD, FRAMES)
"""What runs on the device: each is a process of its own."""

ON_DEVICE = frozenset({"numpy", "onnxruntime", "cv2", "openvino", "ncnn", "MNN", "ai_edge_litert"})
"""What may be imported there besides Python's own: from OpenCV on, only where it is installed."""


def carried_modules(roots: Sequence[str] = PROCESSES) -> dict[str, Path]:
    """Name and file of every module behind ``roots``, packages included, sorted."""
    found: dict[str, Path] = {}
    waiting = [*roots]
    while waiting:
        name = waiting.pop()
        path = file_of(name)
        if name in found or path is None:
            continue
        found[name] = path
        waiting += [name.rpartition(".")[0], *imported_by(path)]
    return dict(sorted(found.items()))


def foreign_modules(roots: Sequence[str] = PROCESSES) -> set[str]:
    """Top-level modules of others that the modules behind ``roots`` import."""
    names = {
        name.partition(".")[0]
        for path in carried_modules(roots).values()
        for name in imported_by(path)
    }
    return names - {PACKAGE} - sys.stdlib_module_names


def file_of(module: str) -> Path | None:
    """The file of a module of this package, ``None`` where it is none."""
    package, *inner = module.split(".")
    stem = ROOT.joinpath(*inner)
    files = (stem.with_suffix(".py"), stem / "__init__.py")
    return next((f for f in files if f.is_file()), None) if package == PACKAGE else None


def imported_by(path: Path) -> Iterator[str]:
    """What a file imports anywhere, but not what only a type checker reads."""
    waiting: list[ast.AST] = [ast.parse(path.read_bytes())]
    while waiting:
        match waiting.pop():
            case ast.If(test=ast.Name(id="TYPE_CHECKING")):
                continue
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=str(module), names=names):
                yield from (module, *(f"{module}.{alias.name}" for alias in names))
            case node:
                waiting += ast.iter_child_nodes(node)
