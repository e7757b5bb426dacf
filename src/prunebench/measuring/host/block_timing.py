"""Graphs timed in turns, and the layout onnxruntime runs a row of convolutions in.

Runs with numpy and onnxruntime alone.
"""

from __future__ import annotations

import json
import time
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np

from prunebench.measuring.session import SessionSettings, open_session, session_options

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
