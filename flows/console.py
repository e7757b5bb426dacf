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

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from prunebench.experiment.duration import TimeLeft, in_words
from prunebench.steps.events import (
    Batch,
    Event,
    Failed,
    Finished,
    Restored,
    Timed,
    Waiting,
    line,
    listening,
    share_done,
)
from prunebench.steps.events import Progress as Counted

QUIET_LIMIT_S = 5.0
"""Longest silence: after it the last stage is repeated with its elapsed time."""


@contextlib.contextmanager
def shown_progress(console: Console, *, quiet: bool = False) -> Iterator[Clock]:
    """Show progress events on ``console`` while the block runs.

    ``quiet`` shows only what is finished, restored or failed, a line each. The clock that is given
    is to be told what the whole run has to do.
    """
    clock = Clock()
    kind = _Quiet if quiet else _Live if console.is_terminal else _Lines
    view = kind(console, clock)
    ended = threading.Event()

    def on_event(event: Event) -> None:
        if clock.left is not None:
            clock.left.on_event(event)
        view.on_event(event)

    def tick() -> None:
        while not ended.wait(QUIET_LIMIT_S):
            view.tick()

    ticker = threading.Thread(target=tick, daemon=True)
    with listening(on_event):
        ticker.start()
        try:
            yield clock
        finally:
            ended.set()
            ticker.join()
            view.stop()


class Clock:
    """The time a run has taken and, once it is known what there is to do, still takes."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.left: TimeLeft | None = None

    def remaining(self) -> str:
        """ "about 4 min left", or nothing while it cannot be told."""
        seconds = None if self.left is None else self.left.seconds()
        if self.left is None or seconds is None:
            return ""
        return f"{'at most' if self.left.is_most else 'about'} {in_words(seconds)} left"


class _Quiet:
    """A line for what a log is read for later; nothing else, and nothing while all goes well."""

    def __init__(self, console: Console, clock: Clock) -> None:
        self._console = console
        self._clock = clock
        self._lock = threading.Lock()

    def on_event(self, event: Event) -> None:
        if isinstance(event, Finished | Restored | Failed):
            self._write(line(event))

    def tick(self) -> None:
        """Called when nothing may have been shown for a while."""

    def stop(self) -> None:
        """Called at the end."""

    def _write(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


class _Lines(_Quiet):
    """One plain line per event, thinned out to one every few seconds for the frequent kinds."""

    def __init__(self, console: Console, clock: Clock) -> None:
        super().__init__(console, clock)
        self._last_line = clock.started
        self._last_text = "starting"

    def on_event(self, event: Event) -> None:
        text = line(event)
        with self._lock:
            self._last_text = text
            frequent = isinstance(event, Batch | Counted | Timed)
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
        self._write(f"[{elapsed:5.0f} s{remaining and f', {remaining}'}] {text}")


class _Live(_Quiet):
    """A bar per variant at work and a line for the whole run, finished stages printed above."""

    def __init__(self, console: Console, clock: Clock) -> None:
        super().__init__(console, clock)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TimeElapsedColumn(),
            console=console,
            auto_refresh=False,
            transient=True,
        )
        self._bars: dict[str, TaskID] = {}
        self._whole = self._progress.add_task("the whole run", total=None)
        self._progress.start()

    def stop(self) -> None:
        self._progress.stop()

    def on_event(self, event: Event) -> None:
        text, share = line(event), share_done(event)
        # One bar shows the whole measurement, whichever variant is measured just now.
        shared = isinstance(event, Timed | Waiting)
        key = "latency" if shared else event.variant or "run"
        with self._lock:
            if isinstance(event, Finished | Failed):
                bar = self._bars.pop(key, None)
                if bar is not None:
                    self._progress.remove_task(bar)
                self._progress.console.print(text, markup=False, highlight=False)
            else:
                if key not in self._bars:
                    self._bars[key] = self._progress.add_task(text, total=None)
                total = None if share is None else 1.0
                bar = self._bars[key]
                self._progress.update(bar, description=text, total=total, completed=share or 0.0)
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
