"""Run folders whose files are each what they should be, and do not fit together."""

from __future__ import annotations

import io
import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from hostile_kit import Case
from whole_run_kit import OTHER, OWN, RUN

from tests.hostile.damaged_runs import follow_digest, whole

REPORT = f"report {{inputs}}/{RUN}"
PROMOTE = f"promote {{inputs}}/{RUN} pruned --anyway"
REBENCHMARK = f"rebenchmark {{inputs}}/{RUN}"
HISTORY = "history --out {inputs}"
COMPARE = f"compare {{inputs}}/{OTHER} {{inputs}}/{RUN}"
APART = "its files do not fit together"


def changed(file: str, change: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    """Both runs, with a file of the later one changed and its digest with it."""

    def make(folder: Path) -> None:
        shutil.copytree(whole(), folder, dirs_exist_ok=True)
        path = folder / RUN / file
        before = path.read_bytes()
        path.write_bytes(change(before))
        follow_digest(before, path.read_bytes(), folder / RUN)

    return make


def entry(name: str, value: Any) -> Callable[[bytes], bytes]:
    return lambda content: json.dumps({**json.loads(content), name: value}).encode()


def without_matches(content: bytes) -> bytes:
    with np.load(io.BytesIO(content)) as read:
        kept = {name: array for name, array in read.items() if name != "tp"}
    stream = io.BytesIO()
    np.savez(stream, **kept)
    return stream.getvalue()


def as_one(content: bytes) -> bytes:
    with np.load(io.BytesIO(content)) as read:
        kept = {**read, "image": np.array(3)}
    stream = io.BytesIO()
    np.savez(stream, **kept)
    return stream.getvalue()


def damaged_history(folder: Path) -> None:
    shutil.copytree(whole(), folder, dirs_exist_ok=True)
    with closing(sqlite3.connect(folder / "history.db")) as database, database:
        database.execute("UPDATE run SET name = CAST(x'ff' AS TEXT)")


SAMPLES = changed("latency/samples.jsonl", lambda content: b"{}\n" + content)
SCALAR = changed(f"{OWN}/detections.npz", as_one)

CASES = (
    *(
        Case("no ranking", changed("ranking.json", entry("rankings", [])), command, 2, "ranking.j")
        for command in (REPORT, PROMOTE, COMPARE)
    ),
    Case("samples of another kind", SAMPLES, COMPARE, 2, "samples.jsonl: the latency samples are"),
    Case(
        "detections without matches",
        changed(f"{OWN}/detections.npz", without_matches),
        REPORT,
        2,
        APART,
    ),
    Case(
        "detections that are no list",
        changed(f"{OWN}/detections.npz", as_one),
        REBENCHMARK,
        2,
        APART,
    ),
    Case("a history of bytes", damaged_history, HISTORY, 2, "the history store cannot be read"),
)
