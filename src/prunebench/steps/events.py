"""Progress as typed events, from the steps to whoever shows them: a terminal, Prefect, a test."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Annotated, Final, Literal, TypeVar

from pydantic import Field, TypeAdapter

from prunebench.common.records import Record
from prunebench.common.text import counted

T = TypeVar("T")
TOLD_S: Final = 10.0  # Longest silence of what counts


class _Told(Record):
    """What every event has; ``variant`` is ``None`` where it is about the whole run."""

    kind: str
    variant: str | None = None


class Stage(_Told):
    """Something begins."""

    kind: Literal["stage"] = "stage"
    what: str


class Waiting(Stage):
    """Something has to wait for another process of this host."""

    kind: Literal["waiting"] = "waiting"  # type: ignore[assignment]


class StepBegun(_Told):
    """A step of a variant begins, or what it left earlier is taken over."""

    kind: Literal["step"] = "step"
    step: str


class Evaluating(_Told):
    """The accuracy of a file is being measured."""

    kind: Literal["evaluating"] = "evaluating"
    images: int


class Progress(_Told):
    """``done`` of ``total`` are done."""

    kind: Literal["progress"] = "progress"
    done: int
    total: int
    unit: str


class Batch(_Told):
    """A batch of a training, or of its validation, is done; epochs and batches count from 1."""

    kind: Literal["batch"] = "batch"
    phase: Literal["train", "val"]
    epoch: int
    epochs: int
    batch: int
    batches: int
    loss: float | None = None
    seconds_left: float | None = None


class Epoch(_Told):
    """An epoch is trained, validated and saved; a loss may be no number for a while.

    ``map50`` is what ``metric`` says.
    """

    kind: Literal["epoch"] = "epoch"
    epoch: int
    epochs: int
    loss: float | None = None
    map50: float | None = None
    metric: str = "mAP50"
    seconds_left: float | None = None


class Restored(_Told):
    """The network that is trained is not the checkpoint's (its parent), before the first epoch."""

    kind: Literal["restored"] = "restored"
    transferred: int
    tensors: int
    parameters: int
    parent_parameters: int


class Timed(_Told):
    """A variant is measured in a round of latency, as its ``run`` (from 1) of ``runs``."""

    kind: Literal["timed"] = "timed"
    round: int
    run: int
    runs: int
    threads: int
    model_ms: float


class Finished(_Told):
    """A variant is made or evaluated."""

    kind: Literal["finished"] = "finished"
    step: Literal["make", "accuracy"]
    found: str


class Failed(_Told):
    """A step of a variant failed."""

    kind: Literal["failed"] = "failed"
    reason: str


Event = (
    Stage
    | Waiting
    | StepBegun
    | Evaluating
    | Progress
    | Batch
    | Epoch
    | Restored
    | Timed
    | Finished
    | Failed
)
Emit = Callable[[Event], None]

EVENT: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="kind")])
"""Reads an event that came as JSON from another process."""

EVENT_MARK = "\x1e"
"""Starts an event's line, so that a library's own printing is never taken for one."""

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
    """Deliver ``event`` to every listener."""
    with _lock:
        listeners = tuple(_listeners)
    for listener in listeners:
        listener(event)


def counting(items: Iterable[T], total: int, what: str) -> Iterator[T]:
    """The items; how many were taken is told after 1, 2, 4 ... seconds, then every ``TOLD_S``."""
    began = told = time.monotonic()
    for done, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if now - told >= min(TOLD_S, max(1, told - began)):
            told = now
            stage(f"read {done:,} of {total:,} {what}")


def stage(what: str, variant: str | None = None) -> None:
    """Announce that something begins."""
    announce(Stage(what=what, variant=variant))


def of_variant(announce: Emit, variant: str) -> Emit:
    """An emitter that says which variant its events belong to, where they do not say it."""

    def emit(event: Event) -> None:
        announce(event if event.variant else event.model_copy(update={"variant": variant}))

    return emit


def line(event: Event) -> str:
    """An event as one line, its variant first."""
    text = text_of(event)
    return text if event.variant is None or isinstance(event, Timed) else f"{event.variant}: {text}"


def text_of(event: Event) -> str:
    """An event in words, without its variant."""
    match event:
        case Stage(what=text) | Finished(found=text):
            return text
        case StepBegun():
            return f"step {event.step}"
        case Evaluating():
            return f"evaluating on {event.images} images"
        case Progress():
            return f"{event.unit} {event.done}/{event.total}"
        case Batch():
            kind = "batch" if event.phase == "train" else "validation batch"
            return f"epoch {event.epoch}/{event.epochs}, {kind} {event.batch}/{event.batches}"
        case Epoch():
            figures = (
                ("loss {:.2f}", event.loss),
                (f"{event.metric} {{:.3f}}", event.map50),
                ("{:.0f} s left", event.seconds_left),
            )
            known = [text.format(value) for text, value in figures if value is not None]
            return ", ".join([f"epoch {event.epoch}/{event.epochs}", *known])
        case Restored():
            taken = f"only {event.transferred} of {event.tensors} tensors were taken over"
            return f"{taken}: the network is rebuilt unpruned"
        case Timed():
            threads = counted(event.threads, "thread")
            place = f"latency: round {event.round}, {event.variant}, {threads}"
            return f"{place}, {event.model_ms:.1f} ms"
        case Failed():
            return f"failed: {event.reason}"


def to_parent(event: Event) -> None:
    """Tell whoever follows this process by its output; processes that it starts may do so too."""
    sys.stdout.write(f"{EVENT_MARK}{event.model_dump_json()}\n")
    sys.stdout.flush()


def share_done(event: Event) -> float | None:
    """How much of what an event counts is done, in 0..1, ``None`` where it counts nothing."""
    match event:
        case Progress():
            return event.done / event.total if event.total else None
        case Batch():
            trained = event.batch / event.batches if event.phase == "train" else 1.0
            return (event.epoch - 1 + trained) / event.epochs
        case Epoch():
            return event.epoch / event.epochs
        case Timed():
            return event.run / event.runs
    return None
