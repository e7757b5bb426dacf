"""The measuring children of one round: all alive, one at work at a time, in short slices.

What disturbs a shared host lasts seconds: a neighbour on the sibling hyperthread, a clock that
falls. Children measured one after the other meet different disturbances; children that take turns
every tenth of a second meet the same ones, and a comparison slice by slice is free of them.
While one works the others block on their standard input, and the parent on the worker's answer.
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
from typing import IO, Any, NamedTuple, cast

from prunebench.common.errors import ChildFailed
from prunebench.steps.ended import ENDED_REASON, was_ended
from prunebench.steps.environment import thread_environment

STEP = "latency"
SLICE_S = 0.1
"""Seconds of a turn. On a busy shared host the ratio of two equal copies varied from round to round
by 7 % with turns of half a second, by 4 % with a quarter, by 1 to 4 % with a tenth.
"""

MOST_AT_ONCE = 16  # Children alive at once: each holds a model in memory.
TIMEOUT_BASE_S = 60.0
TIMEOUT_FACTOR = 10.0  # A turn may load from a slow disk and take ten times its timed seconds.
CHILD = "prunebench.measuring.latency.child"
START = "import sys; sys.path = [*filter(None, sys.path)]; from {} import main; main(sys.argv[1:])"
"""Runs a module without the folder it is started in, as Python's option -P does from 3.11 on."""

INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Lane(NamedTuple):
    """One child of a round: what it measures, and where it imports libraries from first.

    The request is what ``latency/child.py`` reads but ``slices``; its docstring names the keys.
    """

    variant: str
    request: dict[str, Any]
    packages: Path | None = None


class Raw(NamedTuple):
    """What a child measured: the fields of ``records.Sample`` that it knows, and two more."""

    figures: dict[str, Any]
    started_s: float
    process_s: float


def slices_of(seconds: float) -> int:
    """Turns that ``seconds`` of timed inference are taken in."""
    return max(1, round(seconds / SLICE_S))


def measure_together(
    lanes: Sequence[Lane], seconds: float, workdir: Path, rng: random.Random
) -> list[Raw | ChildFailed]:
    """Measure every lane once, each in a fresh process, taking turns: figures, or why it failed.

    At most ``MOST_AT_ONCE`` lanes, shuffled for each cycle of turns; ``seconds`` decide how many.
    ChildFailed where a child was interrupted by a signal, which stops the measurement.
    """
    slices = slices_of(seconds)
    with contextlib.ExitStack() as stack:

        def turns(command: str, times: int, among: Sequence[_Child]) -> None:
            for _ in range(times):
                for child in rng.sample(among, len(among)):
                    if was_ended():
                        raise ChildFailed(STEP, ENDED_REASON)
                    child.turn(command)

        children = []
        for number, lane in enumerate(lanes):
            child = _Child(lane, slices, workdir / f"child-{number}")
            stack.callback(child.kill)
            child.wait()
            children.append(child)
        turns("model", slices, children)
        framed = [child for child in children if child.request["frames"]]
        turns("open", 1, framed)
        turns("frames", slices, framed)
        turns("paced", 1, [child for child in framed if child.request["paced_seconds"] > 0])
        return [child.finish() for child in children]


class _Child:
    """A process that works when told to. Once it has failed, every further turn is skipped."""

    def __init__(self, lane: Lane, slices: int, folder: Path) -> None:
        self.request = {**lane.request, "slices": slices}
        self._variant, self._folder = lane.variant, folder
        self._result = folder / "result.json"
        self._failure: ChildFailed | None = None
        self._busy_s = 0.0
        folder.mkdir(parents=True, exist_ok=True)
        self._result.unlink(missing_ok=True)
        request_file = folder / "request.json"
        request_file.write_text(json.dumps(self.request), encoding="utf-8")
        environment = {**os.environ, **thread_environment(self.request["threads"])}
        if lane.packages is not None:
            paths = [str(lane.packages), os.environ.get("PYTHONPATH", "")]
            environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
        self._started_s, self._began = time.time(), time.perf_counter()
        with (folder / "child.log").open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", START.format(CHILD), str(request_file), str(self._result)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                bufsize=0,
                env=environment,
            )
        self._commands = cast(IO[bytes], self._process.stdin)
        self._answers = cast(IO[bytes], self._process.stdout)

    def turn(self, command: str) -> None:
        """Have it work once."""
        if self._failure is None:
            self._began = time.perf_counter()
            self._tell(command)
            self.wait()

    def finish(self) -> Raw | ChildFailed:
        """Have it write its result and end."""
        if self._failure is None:
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
        self._process.kill()
        self._process.wait()
        for stream in (self._commands, self._answers):
            with contextlib.suppress(OSError):
                stream.close()

    def wait(self) -> None:
        """Block until it answers: that its model is warm, or that its turn is over."""
        timed_s = max(self.request["seconds"], self.request["paced_seconds"])
        ready, _, _ = select.select(
            [self._answers], [], [], TIMEOUT_BASE_S + TIMEOUT_FACTOR * timed_s
        )
        answered = bool(ready) and self._answers.read(1) == b"."
        self._busy_s += time.perf_counter() - self._began
        if not answered:
            if not ready:
                self._process.kill()
            self._fail()

    def _tell(self, command: str) -> None:
        # A process that is gone is found by the wait for its answer.
        with contextlib.suppress(BrokenPipeError):
            self._commands.write(f"{command}\n".encode())

    def _fail(self) -> None:
        returncode = self._process.wait()
        printed = (self._folder / "child.log").read_text(encoding="utf-8", errors="replace")
        self._failure = ChildFailed(
            STEP,
            _reason(returncode, printed),
            returncode=returncode,
            output_tail=printed[-2000:],
            variant=self._variant,
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
