"""Progress events from the steps to whoever shows them: the terminal, the Prefect UI, a test."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from prunebench.steps.child import Emit, Event

_lock = threading.Lock()
_listeners: list[Emit] = []


@contextlib.contextmanager
def listening(listener: Emit) -> Iterator[None]:
    """Deliver every event of this process to ``listener`` while the block runs."""
    with _lock:
        _listeners.append(listener)
    try:
        yield
    finally:
        with _lock:
            _listeners.remove(listener)


def announce(event: Event) -> None:
    """Deliver ``event`` to every listener.

    Args:
        event: JSON values. ``kind`` says what it is: ``stage`` (``text``), ``progress``
            (``done``, ``total``, ``unit``), ``epoch``, ``batch``, ``finished`` or ``failed``;
            ``variant`` names the variant where there is one.
    """
    with _lock:
        listeners = tuple(_listeners)
    for listener in listeners:
        listener(event)


def finished_epoch(event: Event) -> str:
    """An ``epoch`` event in words, with what is known: a loss may be no number for a while."""
    parts = [f"epoch {event['epoch']}/{event['epochs']}"]
    for key, form in (("loss", "loss {:.2f}"), ("map50", "mAP50 {:.3f}")):
        if event.get(key) is not None:
            parts.append(form.format(event[key]))
    if event.get("seconds_left") is not None:
        parts.append(f"{event['seconds_left']:.0f} s left")
    return ", ".join(parts)
