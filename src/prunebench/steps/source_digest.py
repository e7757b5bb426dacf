"""A digest of the source a step depends on, so that editing it invalidates the step's cache."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

PACKAGE = "prunebench"
PACKAGE_ROOT = Path(__file__).parents[1]


@cache
def source_digest(module: str) -> str:
    """SHA-256 over ``module`` and every module of this package it imports, at any depth.

    Imports are read from the syntax tree, those inside functions included, so nothing is
    executed and no list of files has to be kept by hand.

    Args:
        module: Dotted name inside this package (``prunebench.variants.export``).

    Raises:
        ModuleNotFoundError: The module is not part of this package.
    """
    digest = hashlib.sha256()
    for name in sorted(import_closure(module)):
        digest.update(name.encode())
        digest.update(_file_of(name).read_bytes())
    return digest.hexdigest()


def import_closure(module: str) -> frozenset[str]:
    """Names of ``module`` and of every module of this package it imports, at any depth."""
    seen: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        # The package itself hands on its public functions, and so everything.
        if name in seen or name == PACKAGE:
            continue
        seen.add(name)
        waiting.extend(_imports_of(name))
    return frozenset(seen)


def _imports_of(module: str) -> Iterator[str]:
    path = _file_of(module)
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if _exists(alias.name):
                    yield alias.name
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, base]).rstrip(".")
            if not _exists(base):
                continue
            yield base
            for alias in node.names:
                if _exists(f"{base}.{alias.name}"):
                    yield f"{base}.{alias.name}"


def _exists(module: str) -> bool:
    if module != PACKAGE and not module.startswith(f"{PACKAGE}."):
        return False
    try:
        _file_of(module)
    except ModuleNotFoundError:
        return False
    return True


def _file_of(module: str) -> Path:
    stem = PACKAGE_ROOT.joinpath(*module.split(".")[1:])
    for candidate in (stem.with_suffix(".py"), stem / "__init__.py"):
        if candidate.is_file():
            return candidate
    raise ModuleNotFoundError(module)
