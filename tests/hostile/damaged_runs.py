"""A run's folder with one or two of its files gone, damaged, or replaced by other valid content."""

from __future__ import annotations

import functools
import hashlib
import io
import json
import shutil
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import yaml
from whole_run_kit import OTHER, RUN, make_whole_runs

from prunebench.operating.devices import answer
from prunebench.operating.store.runs import open_store, push_run
from prunebench.results.history.recording import record_run
from prunebench.results.history.store import Store, default_url
from tests.hostile.damage import damaged, mutated, odd_value, shared_folder
from tests.hostile.operated import DEVICE

COMMANDS = (
    ("report", "{run}"),
    ("report", "{run}"),
    ("report", "{run}", "--lang", "ko"),
    ("compare", "{other}", "{run}"),
    ("compare", "{run}", "{other}", "--across-hosts"),
    ("promote", "{run}", "preserving-1", "--anyway", "--registry", "{work}/registry"),
    ("push", "{run}", "--store", "file://{work}/store"),
    ("rank", "{run}/ranking.csv"),
    ("rank", "{run}/latency/result.json"),
    ("history", "--out", "{runs}"),
    ("history", "--out", "{runs}", "--json"),
    ("compare", "1", "2", "--out", "{runs}"),
    ("gate", "{run}:preserving-1", "{other}:preserving-1"),
    ("gate", "{other}", "{run}"),
    ("audit", "{run}/variants/preserving-1/model.onnx"),
    ("mlflow", "{run}"),
    ("plan", "--config", "{run}/config.yaml"),
    ("rebenchmark", "{run}"),
    ("devices", "{other}", "file://{runs}/store"),
)
DIGESTS = ("latency/result.json", "variants/*/record.json")
"""Where the digests of a run's other files are."""


@functools.cache
def whole() -> Path:
    """Both runs, the history of them, and a store with the later one as an answer."""
    home = make_whole_runs(shared_folder())
    with Store(default_url(home), create=True) as store:
        for name in (OTHER, RUN):
            record_run(store, home / name)
    files = open_store(f"file://{home}/store", home)
    push_run(home / RUN, files)
    answer(files, OTHER, DEVICE, RUN)
    return home


def run(rng: Random, folder: Path) -> list[str]:
    """Two runs, one of them damaged, and a command that reads them."""
    runs, command = folder / "runs", rng.choice(COMMANDS)
    shutil.copytree(whole(), runs)
    for _ in range(rng.choice([1, 1, 1, 2])):
        files = sorted(path for path in (runs / RUN).rglob("*") if path.is_file())
        if rng.random() < 0.1:
            files = sorted(path for path in runs.glob("history.db") if path.is_file())
        if command[0] == "devices":
            files = sorted(path for path in (runs / "store").rglob("*") if path.is_file())
        if files:
            damage_file(rng, rng.choice(files), runs / RUN)
    given = {"run": runs / RUN, "other": runs / OTHER, "runs": runs, "work": folder.parent / "work"}
    return [part.format(**given) for part in command]


def damage_file(rng: Random, path: Path, home: Path) -> None:
    content, kind = path.read_bytes(), rng.random()
    if kind < 0.1:
        path.unlink()
        if rng.random() < 0.3:
            path.mkdir()
        elif rng.random() < 0.3:
            path.symlink_to(rng.choice(["nowhere", path.name, "/dev/null"]))
        return
    if kind < 0.3:
        path.write_bytes(damaged(rng, content))
    elif kind < 0.35:
        others = [other for other in sorted(home.rglob("*")) if other.is_file()]
        path.write_bytes(rng.choice(others).read_bytes())
    else:
        path.write_bytes(reshaped(rng, path.suffix, content))
    if rng.random() < 0.6:
        follow_digest(content, path.read_bytes(), home)


def reshaped(rng: Random, suffix: str, content: bytes) -> bytes:
    """Valid content of the same kind, with something in it changed."""
    if suffix == ".json":
        return json.dumps(mutated(rng, json.loads(content)), default=str).encode("utf-8", "replace")
    if suffix == ".yaml":
        return yaml.safe_dump(mutated(rng, yaml.safe_load(content))).encode()
    if suffix == ".jsonl":
        lines = content.splitlines()
        place = rng.randrange(len(lines))
        lines[place] = json.dumps(mutated(rng, json.loads(lines[place])), default=str).encode()
        return b"\n".join(lines) + b"\n"
    if suffix == ".csv":
        rows = [line.split(",") for line in content.decode().split("\n")]
        row = rng.choice(rows)
        row[rng.randrange(len(row))] = str(odd_value(rng))
        return "\n".join(",".join(row) for row in rows).encode("utf-8", "replace")
    if suffix == ".npz":
        with np.load(io.BytesIO(content)) as read:
            return rewritten(rng, dict(read))
    return damaged(rng, content)


def rewritten(rng: Random, arrays: dict[str, Any]) -> bytes:
    """An archive of arrays with one of them of another kind, shape, or content."""
    name = rng.choice(sorted(arrays))
    array = arrays.pop(name)
    changes = [
        None,
        array[:-1],
        array[:0],
        array.astype(float) * np.nan,
        array.astype("U4"),
        array[None],
        array.ravel(),
        np.array(3),
        array.astype(np.int64) - 5,
        array.astype(np.int64) + 10**9,
    ]
    if (changed := rng.choice(changes)) is not None:
        arrays[name] = changed
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def follow_digest(before: bytes, after: bytes, home: Path) -> None:
    """Make a run's records say that a file is as it should be, so that it is read."""
    old, new = (hashlib.sha256(content).hexdigest() for content in (before, after))
    for pattern in DIGESTS:
        for path in home.glob(pattern):
            if not path.is_file():
                continue
            text = path.read_bytes().replace(old.encode(), new.encode())
            text = text.replace(b'"bytes": %d' % len(before), b'"bytes": %d' % len(after))
            path.write_bytes(text.replace(b'"bytes":%d' % len(before), b'"bytes":%d' % len(after)))
