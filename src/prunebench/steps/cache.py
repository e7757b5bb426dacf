"""Cached steps: a finished step is never repeated while nothing it depends on has changed.

A step's key is a digest of its settings, the SHA-256 of its input files, the source of this
package that it runs and the versions of the libraries that this source uses. Its folder is
``<out>/.steps/<step>-<key>/``; ``done.json`` appears there, by a rename, when it has finished.
A folder without ``done.json`` is an interrupted step: it runs again in the same folder, where a
training finds its last good epoch.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from filelock import FileLock
from pydantic import ValidationError

from prunebench.common.files import write_atomically
from prunebench.common.records import FOR_A_KEY, FileRef, Record
from prunebench.common.versions import version_of
from prunebench.steps.child import STEP_MODULES, run_child
from prunebench.steps.events import Emit
from prunebench.steps.source_digest import source_of

KEY_DIGITS = 20


class Done(Record):
    """What a finished step left in its folder: its result as plain JSON values.

    ``seconds`` is the wall time of the last attempt, ``ran_on`` another host's worker that ran it.
    """

    step: str
    result: dict[str, Any]
    seconds: float
    ran_on: str | None = None


class StepRun(Record):
    """A finished step as its caller sees it.

    Files in ``result`` are relative to ``folder``, an absolute path. ``seconds`` is the wall time
    of the attempt that finished it, ``cached`` says that nothing ran now.
    """

    folder: str
    result: dict[str, Any]
    seconds: float
    cached: bool


class Elsewhere(Protocol):
    """Where steps run that this host need not run itself."""

    def takes(self, step: str, request: Record) -> bool:
        """Whether it runs such a step."""

    def run(
        self, step: str, request: Record, folder: Path, *, threads: int, on_event: Emit | None
    ) -> tuple[dict[str, Any], str]:
        """Run a step and put its files into ``folder``, as ``run_child`` does here.

        Returns the result as plain JSON values, and who ran it.
        """


def step_key(step: str, request: Record, inputs: Mapping[str, str]) -> str:
    """Key of a step.

    ``inputs``: field of the request that names files, to the digest of their content. The digest
    replaces the path, so that moving a file does not run the step again.
    """
    settings = request.model_dump(mode="json", context=FOR_A_KEY)
    settings.update({field: f"sha256:{digest}" for field, digest in inputs.items()})
    parts = {"step": step, "settings": settings, **code_of(step, request)}
    text = json.dumps(parts, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:KEY_DIGITS]


def code_of(step: str, request: Record | None = None) -> dict[str, Any]:
    """What a step's result depends on besides its settings; of any request, where none is given."""
    named = None if request is None else frozenset(_named_in(request))
    source = source_of(STEP_MODULES[step], named)
    return {
        "versions": {name: version_of(name) for name in source.libraries},
        "source": source.digest,
    }


def _named_in(request: Record) -> Iterator[str]:
    """Names of the fields that are set, and of strategies, in nested requests too."""
    for field, value in request:
        if value is not None:
            yield field
        if field == "strategy":
            yield value
        if isinstance(value, Record):
            yield from _named_in(value)


def run_step(
    steps_root: Path,
    step: str,
    request: Record,
    inputs: Mapping[str, str],
    *,
    threads: int,
    on_event: Emit | None = None,
    timeout_s: float | None = None,
    elsewhere: Elsewhere | None = None,
) -> StepRun:
    """Return the finished step's result, running its child process only where needed.

    Args:
        elsewhere: Runs the steps it takes in place of a child of this process.

    Raises:
        InputError: The child found bad input.
        StepError: The step failed; its folder stays, so that a training can continue.
    """
    folder = steps_root / f"{step}-{step_key(step, request, inputs)}"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"):
        found = _read_done(folder)
        if found is None:
            started, ran_on = time.monotonic(), None
            asked: Any = {"threads": threads, "on_event": on_event}
            if elsewhere is not None and elsewhere.takes(step, request):
                result, ran_on = elsewhere.run(step, request, folder, **asked)
            else:
                result = run_child(step, request, folder, **asked, timeout_s=timeout_s)
            seconds = time.monotonic() - started
            done = Done(step=step, result=result, seconds=seconds, ran_on=ran_on)
            write_atomically(folder / "done.json", done.model_dump_json())
        else:
            done = found
    return StepRun(
        folder=str(folder), result=done.result, seconds=done.seconds, cached=found is not None
    )


def _read_done(folder: Path) -> Done | None:
    """The finished step, or ``None`` where a file it names no longer has its content."""
    path = folder / "done.json"
    try:
        done = Done.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValidationError):
        return None
    if all(ref.holds(folder) for ref in file_refs(done.result)):
        return done
    path.unlink()
    return None


def file_refs(value: Any) -> Iterator[FileRef]:
    """Every ``FileRef`` inside plain JSON values."""
    if isinstance(value, Mapping) and set(value) == set(FileRef.model_fields):
        yield FileRef.model_validate(value)
    elif isinstance(value, Mapping | list | tuple):
        for inner in value.values() if isinstance(value, Mapping) else value:
            yield from file_refs(inner)
