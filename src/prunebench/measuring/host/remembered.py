"""What a step measures once on a host, remembered in the temporary folder."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from prunebench.common.files import write_atomically
from prunebench.common.records import Record
from prunebench.measuring.host.fingerprint import Fingerprint
from prunebench.steps.cache import step_key
from prunebench.steps.child import run_child
from prunebench.steps.events import announce

R = TypeVar("R", bound=Record)


def measured_once(
    step: str,
    request: Record,
    host: Fingerprint,
    kind: type[R],
    settled: Callable[[R], bool] = lambda found: True,
) -> R:
    """The result of a step that measures a host, run in a child process where nobody knows it.

    It holds for as long as the host's fingerprint and the step's key stay the same. One that a busy
    host left open, not ``settled``, is measured again by whoever asks next.
    """

    def measured() -> R:
        with tempfile.TemporaryDirectory() as folder:
            plain = run_child(step, request, Path(folder), threads=1, on_event=announce)
        return kind.model_validate(plain)

    return remembered(step, request, host, kind, measured, settled)


def remembered(
    step: str,
    request: Record,
    host: Fingerprint,
    kind: type[R],
    measure: Callable[[], R],
    settled: Callable[[R], bool] = lambda found: True,
) -> R:
    """What a step measured on a host, from memory; else ``measure`` it, and keep it there."""
    name = f"prunebench-{step}-{host.digest()}-{step_key(step, request, {})}.json"
    memory = Path(tempfile.gettempdir()) / name
    with contextlib.suppress(OSError, ValidationError):
        return kind.model_validate_json(memory.read_text(encoding="utf-8"))
    found = measure()
    if settled(found):
        with contextlib.suppress(OSError):
            write_atomically(memory, found.model_dump_json())
    return found
