"""The measuring children of one round: all alive, one at work at a time, in short slices.

What disturbs a shared host lasts seconds: a neighbour on the sibling hyperthread, a clock that
falls. Children measured one after the other meet different disturbances; children that take
turns every tenth of a second meet the same ones, and a comparison slice by slice is free of them.
While one works the others block on their standard input, and so does the parent on the worker.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from prunebench.common.errors import ChildFailed
from prunebench.steps.child import thread_environment

STEP = "latency"
SLICE_S = 0.1
"""Seconds of a turn. On a busy shared host the ratio of two equal copies varied from round to round
by 7 % with turns of half a second, by 4 % with a quarter, by 1 to 4 % with a tenth.
"""

MOST_AT_ONCE = 16
"""Children alive at once: each holds a model in memory."""

TIMEOUT_BASE_S = 60.0
TIMEOUT_FACTOR = 10.0
"""A turn may take a minute (loading on a slow disk) and ten times its timed seconds."""

INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Lane(NamedTuple):
    """One child of a round.

    Attributes:
        variant: Name of the variant, for the error.
        request: What ``latency/child.py`` reads but ``slices``; its docstring names the keys.
        packages: Folder it imports libraries from first; ``None``: those installed.
    """

    variant: str
    request: dict[str, Any]
    packages: Path | None = None


class Raw(NamedTuple):
    """What a child measured.

    Attributes:
        figures: The fields of ``records.Sample`` that a child knows.
        started_s: Unix time it was started at, in seconds.
        process_s: Wall time its start and its turns took, in seconds.
    """

    figures: dict[str, Any]
    started_s: float
    process_s: float


def slices_of(seconds: float) -> int:
    """Turns that ``seconds`` of timed inference are taken in."""
    return max(1, round(seconds / SLICE_S))


def measure_together(
    lanes: Sequence[Lane], seconds: float, workdir: Path, rng: random.Random
) -> list[Raw | ChildFailed]:
    """Measure every lane once, each in a fresh process, taking turns.

    Args:
        lanes: At most ``MOST_AT_ONCE``; each gets as many turns as the others.
        seconds: Timed seconds of a back-to-back part of a variant: they decide how many turns.
        workdir: Folder for requests, results and what the processes print.
        rng: Shuffles the lanes anew for each cycle of turns.

    Returns:
        For each lane what it measured, or why it failed.

    Raises:
        ChildFailed: Somebody stopped a child, which stops the measurement.
    """
    slices = slices_of(seconds)
    children = [_Child(lane, slices, workdir / f"child-{n}") for n, lane in enumerate(lanes)]
    with contextlib.ExitStack() as stack:
        for child in children:
            stack.callback(child.kill)

        def turns(command: str, times: int, among: Sequence[_Child]) -> None:
            for _ in range(times):
                for child in rng.sample(among, len(among)):
                    child.turn(command)

        for child in children:
            child.start()
        turns("model", slices, children)
        framed = [child for child in children if child.lane.request["frames"]]
        turns("open", 1, framed)
        turns("frames", slices, framed)
        turns("paced", 1, [c for c in framed if c.lane.request["paced_seconds"] > 0])
        return [child.finish() for child in children]


class _Child:
    """A process that works when told to. Once it has failed, every further turn is skipped."""

    def __init__(self, lane: Lane, slices: int, folder: Path) -> None:
        self.lane = lane
        self._request = {**lane.request, "slices": slices}
        self._folder = folder
        self._result = folder / "result.json"
        self._process: subprocess.Popen[bytes] | None = None
        self._failure: ChildFailed | None = None
        self._started_s = 0.0
        self._busy_s = 0.0

    def start(self) -> None:
        """Start the process and wait until its model is warm."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._result.unlink(missing_ok=True)
        request_file = self._folder / "request.json"
        request_file.write_text(json.dumps(self._request), encoding="utf-8")
        self._started_s, began = time.time(), time.perf_counter()
        with (self._folder / "child.log").open("wb") as log:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-P", "-m", "prunebench.measuring.latency.child"),
                    *(str(request_file), str(self._result)),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                bufsize=0,
                env={**os.environ, **thread_environment(self._request["threads"]), **self._path()},
            )
        self._wait(began)

    def turn(self, command: str) -> None:
        """Have it work once."""
        if self._failure is None:
            began = time.perf_counter()
            self._tell(command)
            self._wait(began)

    def finish(self) -> Raw | ChildFailed:
        """Have it write its result and end."""
        if self._failure is None and self._process is not None:
            self._tell("end")
            self._process.wait(TIMEOUT_BASE_S)
            if not self._result.is_file():
                self._fail()
        if self._failure is not None:
            return self._failure
        figures = json.loads(self._result.read_text(encoding="utf-8"))
        return Raw(figures, self._started_s, self._busy_s)

    def kill(self) -> None:
        """End the process, whatever it does."""
        process = self._process
        if process is None:
            return
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()

    def _path(self) -> dict[str, str]:
        if self.lane.packages is None:
            return {}
        given = os.environ.get("PYTHONPATH")
        paths = [str(self.lane.packages), *([given] if given else [])]
        return {"PYTHONPATH": os.pathsep.join(paths)}

    def _tell(self, command: str) -> None:
        if self._process is not None and self._process.stdin is not None:
            # A process that is gone is found by the wait for its answer.
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.write(f"{command}\n".encode())

    def _wait(self, began: float) -> None:
        """Block until it answers."""
        if self._process is None or self._process.stdout is None:
            return
        timed_s = max(self._request["seconds"], self._request["paced_seconds"])
        timeout_s = TIMEOUT_BASE_S + TIMEOUT_FACTOR * timed_s
        ready, _, _ = select.select([self._process.stdout], [], [], timeout_s)
        answered = bool(ready) and self._process.stdout.read(1) == b"."
        self._busy_s += time.perf_counter() - began
        if not answered:
            if not ready:
                self._process.kill()
            self._fail()

    def _fail(self) -> None:
        if self._process is None:
            return
        returncode = self._process.wait()
        printed = (self._folder / "child.log").read_text(encoding="utf-8", errors="replace")
        self._failure = ChildFailed(
            STEP,
            _reason(returncode, printed),
            returncode=returncode,
            output_tail=printed[-2000:],
            variant=self.lane.variant,
        )
        if -returncode in INTERRUPTS:
            raise self._failure


def _reason(returncode: int, printed: str) -> str:
    if returncode < 0:
        name = signal.Signals(-returncode).name
        hint = ", out of memory or out of time" if name == "SIGKILL" else ""
        return f"the measuring process was ended by {name}{hint}"
    last = next((line for line in reversed(printed.splitlines()) if line.strip()), "no output")
    return f"the measuring process exited with {returncode} ({last.strip()})"
