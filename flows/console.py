"""Progress on standard error: a live display on a terminal, plain lines elsewhere, or very little.

The display is redrawn by events and a slow ticker only, so that it takes no core from a
measurement that runs beside it.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from prunebench.experiment.duration import TimeLeft, in_words
from prunebench.steps.events import finished_epoch, listening

QUIET_LIMIT_S = 5.0
"""Longest silence: after it the last stage is repeated with its elapsed time."""


@contextlib.contextmanager
def shown_progress(console: Console, *, quiet: bool = False) -> Iterator[Clock]:
    """Show progress events on ``console`` while the block runs.

    Args:
        console: Where to.
        quiet: Only what is finished, restored or failed, a line each.

    Yields:
        The clock of the display, to be told what the whole run has to do.
    """
    clock = Clock()
    kind = _Quiet if quiet else _Live if console.is_terminal else _Lines
    view: _Quiet | _Live | _Lines = kind(console, clock)
    ended = threading.Event()

    def on_event(event: dict[str, Any]) -> None:
        if clock.left is not None:
            clock.left.on_event(event)
        view.on_event(event)

    def tick() -> None:
        while not ended.wait(QUIET_LIMIT_S):
            view.tick()

    ticker = threading.Thread(target=tick, daemon=True)
    with listening(on_event), view:
        ticker.start()
        try:
            yield clock
        finally:
            ended.set()
            ticker.join()


def describe(event: dict[str, Any]) -> tuple[str, float | None]:
    """An event as one line and, where it has one, the finished share between 0 and 1."""
    kind = event["kind"]
    subject = f"{event['variant']}: " if event.get("variant") else ""
    if kind == "epoch":
        return f"{subject}{finished_epoch(event)}", event["epoch"] / event["epochs"]
    if kind == "batch":
        share = (event["epoch"] - 1 + event["batch"] / event["batches"]) / event["epochs"]
        text = f"{subject}epoch {event['epoch']}/{event['epochs']}"
        return f"{text}, batch {event['batch']}/{event['batches']}", share
    if kind == "progress":
        share = event["done"] / event["total"] if event.get("total") else None
        what = event.get("text", event.get("unit", ""))
        return f"{subject}{what} {event['done']}/{event['total']}", share
    if kind == "sample":
        # The package's own `counted` would import scipy when a command starts.
        threads = "1 thread" if event["threads"] == 1 else f"{event['threads']} threads"
        text = f"latency: round {event['round']}, {event['variant']}, {threads}"
        return f"{text}, {event['model_ms']:.1f} ms", event["run"] / event["runs"]
    if kind == "restored":
        text = f"only {event['transferred']} of {event['tensors']} tensors were taken over"
        return f"{subject}{text}: the network is rebuilt unpruned", None
    if kind == "failed":
        return f"{subject}failed: {event['reason']}", None
    return f"{subject}{event.get('text', kind)}", None


class Clock:
    """The time a run has taken and, once it is known what there is to do, still takes.

    Attributes:
        left: Learns from the run's events; ``None`` before the work is known.
    """

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.left: TimeLeft | None = None

    def remaining(self) -> str:
        """ "about 4 min left", or nothing while it cannot be told."""
        seconds = None if self.left is None else self.left.seconds()
        if self.left is None or seconds is None:
            return ""
        return f"{'at most' if self.left.is_most else 'about'} {in_words(seconds)} left"


class _Lines:
    """One plain line per event, thinned out to one every second for the frequent kinds."""

    def __init__(self, console: Console, clock: Clock) -> None:
        self._console = console
        self._clock = clock
        self._lock = threading.Lock()
        self._last_line = clock.started
        self._last_text = "starting"

    def __enter__(self) -> None:
        return None

    def __exit__(self, *exc: object) -> None:
        return None

    def on_event(self, event: dict[str, Any]) -> None:
        text, _ = describe(event)
        with self._lock:
            self._last_text = text
            frequent = event["kind"] in ("batch", "progress", "sample")
            if not frequent or time.monotonic() - self._last_line >= QUIET_LIMIT_S:
                self._print(text)

    def tick(self) -> None:
        with self._lock:
            if time.monotonic() - self._last_line >= QUIET_LIMIT_S:
                self._print(f"... {self._last_text}")

    def _print(self, text: str) -> None:
        self._last_line = time.monotonic()
        elapsed = self._last_line - self._clock.started
        remaining = self._clock.remaining()
        line = f"[{elapsed:5.0f} s{remaining and f', {remaining}'}] {text}"
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)


class _Quiet:
    """A line for what a log is read for later; nothing else, and nothing while all goes well."""

    KEPT = ("finished", "restored", "failed")

    def __init__(self, console: Console, clock: Clock) -> None:
        self._console = console

    def __enter__(self) -> None:
        return None

    def __exit__(self, *exc: object) -> None:
        return None

    def on_event(self, event: dict[str, Any]) -> None:
        if event["kind"] in self.KEPT:
            self._console.print(describe(event)[0], markup=False, highlight=False, soft_wrap=True)

    def tick(self) -> None:
        return None


class _Live:
    """A bar per variant at work and a line for the whole run, finished stages printed above."""

    def __init__(self, console: Console, clock: Clock) -> None:
        self._clock = clock
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TimeElapsedColumn(),
            console=console,
            auto_refresh=False,
            transient=True,
        )
        self._bars: dict[str, TaskID] = {}
        self._lock = threading.Lock()
        self._whole = self._progress.add_task("the whole run", total=None)

    def __enter__(self) -> None:
        self._progress.start()

    def __exit__(self, *exc: object) -> None:
        self._progress.stop()

    def on_event(self, event: dict[str, Any]) -> None:
        text, share = describe(event)
        # One bar shows the whole measurement, whichever variant is measured just now.
        own_bar = event["kind"] not in ("sample", "waiting")
        key = str(event.get("variant", "run")) if own_bar else "latency"
        with self._lock:
            if event["kind"] in ("finished", "failed"):
                bar = self._bars.pop(key, None)
                if bar is not None:
                    self._progress.remove_task(bar)
                self._progress.console.print(text, markup=False, highlight=False)
            else:
                if key not in self._bars:
                    self._bars[key] = self._progress.add_task(text, total=None)
                total = None if share is None else 1.0
                completed = 0.0 if share is None else share
                self._progress.update(
                    self._bars[key], description=text, total=total, completed=completed
                )
        self.tick()

    def tick(self) -> None:
        remaining = self._clock.remaining()
        text = f"the whole run{remaining and f', {remaining}'}"
        seconds = None if self._clock.left is None else self._clock.left.seconds()
        elapsed = time.monotonic() - self._clock.started
        whole = None if seconds is None else elapsed + seconds
        self._progress.update(self._whole, description=text, total=whole, completed=elapsed)
        self._progress.refresh()


def stderr_console() -> Console:
    """The console progress goes to; results go to standard output."""
    return Console(file=sys.stderr)
