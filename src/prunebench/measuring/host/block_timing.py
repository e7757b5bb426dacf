"""Graphs timed in turns, the layout a row of convolutions runs in, and what both say of it.

Runs with numpy and onnxruntime alone.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np

from prunebench.measuring.session import SessionSettings, open_session, session_options

WIDEST_BLOCK = 16  # No wider one has a whole step among the widths.
PAID = 0.5  # Share of the added arithmetic from which a step costs what it should.

SECONDS = 1.5  # Of timing, before it is looked at.
TRIES = 3  # Looks at most, until two halves of the turns say the same.
RUNS = 3  # Timed inferences of a turn.
REORDER = "ReorderInput_kernel_time"


Key = TypeVar("Key", bound=Hashable)


class Turns(Generic[Key]):
    """ONNX files by a key, all loaded; ``microseconds`` has a figure per turn."""

    def __init__(self, files: Mapping[Key, bytes], settings: SessionSettings) -> None:
        self.microseconds: dict[Key, list[float]] = {key: [] for key in files}
        self._rng = np.random.default_rng(0)
        self._sessions = []
        for key, file in files.items():
            session = open_session(file, session_options(settings, 1))
            [given] = session.get_inputs()
            feed = {given.name: self._rng.random(given.shape, dtype=np.float32)}
            session.run(None, feed)
            self._sessions.append((key, session, feed))

    def take(self, seconds: float) -> None:
        """Let every file have its turn, in an order shuffled anew, for some seconds."""
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            for index in self._rng.permutation(len(self._sessions)):
                key, session, feed = self._sessions[index]
                # Another file has had the caches since this one's last turn.
                session.run(None, feed)
                # Of one thread, CPU time is wall time without what other processes take from it.
                began = time.thread_time_ns()
                for _ in range(RUNS):
                    session.run(None, feed)
                took = (time.thread_time_ns() - began) / 1000 / RUNS
                self.microseconds[key].append(took)

    def take_at_least(self, turns: int, seconds: float) -> None:
        """Let every file have so many turns, some seconds at a time."""
        while min(map(len, self.microseconds.values())) < turns:
            self.take(seconds)


def padded_width(row: bytes, settings: SessionSettings, folder: Path) -> int | None:
    """Channels that a row is run with in the blocked layout, ``None`` where it is not blocked."""
    options = session_options(settings, 1)
    options.enable_profiling = True
    options.profile_file_prefix = str(folder / "layout")
    session = open_session(row, options)
    [given] = session.get_inputs()
    session.run(None, {given.name: np.zeros(given.shape, dtype=np.float32)})
    for event in json.loads(Path(session.end_profiling()).read_text(encoding="utf-8")):
        if event["name"].endswith(REORDER):
            [[_, channels, *_]] = event["args"]["output_type_shape"][0].values()
            return int(channels)
    return None


def timed_rows(
    rows: Mapping[int, bytes], session: SessionSettings, workdir: Path
) -> dict[str, Any]:
    """Time rows of every width until two halves of the turns agree: what a ``Block`` holds."""
    padded = {
        width: channels
        for width, row in rows.items()
        if (channels := padded_width(row, session, workdir)) is not None
    }
    turns = Turns(rows, session)
    settled = False
    for _ in range(TRIES):
        turns.take(SECONDS)
        halves = (_shortest(turns.microseconds, slice(start, None, 2)) for start in (0, 1))
        found = {block_of(half) for half in halves}
        settled = len(found) == 1 and (not padded or found == {block_of_layout(padded)})
        if settled:
            break
    return {
        "microseconds": _shortest(turns.microseconds, slice(None)),
        "padded": padded,
        "turns": min(map(len, turns.microseconds.values())),
        "settled": settled,
    }


def block_of(microseconds: Mapping[int, float]) -> int:
    """Channels in a block, by the time of each of ``WIDTHS``: a power of two."""
    block = 1
    while block < WIDEST_BLOCK and cost_of_steps(microseconds, block) < PAID:
        block *= 2
    return block


def cost_of_steps(microseconds: Mapping[int, float], step: int) -> float:
    """What steps of so many channels cost, as a share of the arithmetic they add.

    They go from each odd multiple of ``step`` to the next multiple of two; both are logarithms.
    """
    pairs = [(w, w + step) for w in microseconds if w % (2 * step) == step]
    pairs = [(narrow, wide) for narrow, wide in pairs if wide in microseconds]
    cost = sum(math.log(microseconds[wide] / microseconds[narrow]) for narrow, wide in pairs)
    # Input and output channels grow alike.
    return cost / sum(2 * math.log(wide / narrow) for narrow, wide in pairs)


def block_of_layout(padded: Mapping[int, int]) -> int:
    """The smallest power of two whose next multiple is what each width is padded to."""
    block = 1
    while block < WIDEST_BLOCK and any(-w // block * -block != to for w, to in padded.items()):
        block *= 2
    return block


def _shortest(turns: Mapping[int, Sequence[float]], chosen: slice) -> dict[int, float]:
    """What disturbs a turn makes it longer, so the shortest of many is the width's own."""
    return {width: round(min(took[chosen]), 2) for width, took in turns.items()}
