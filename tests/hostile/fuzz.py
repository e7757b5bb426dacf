"""Damage inputs at random, and see that each command says what is wrong and leaves them alone.

    python -m tests.hostile.fuzz [--seconds 60] [--seed 0] [--kind data]

A seed and a number name an input: ``--seed 0 --only 17`` makes that one again and prints what was
said. Exit status 1 where an input ends in a traceback, in an exit code without a meaning or a
sentence, in a half written file, or changed; also where a command takes longer than a minute.

A kind of input is a function in ``KINDS``: it writes one into a folder and returns a command line.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import importlib
import os
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import torch
import yaml

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests" / "support"))

from dataset_kit import make_images, state_of  # noqa: E402

from prunebench.cli.options import run_app  # noqa: E402
from prunebench.results.run_folder import DEVICES_FILE  # noqa: E402
from tests.hostile import damaged_checkpoints, damaged_onnx, damaged_runs  # noqa: E402
from tests.hostile.damage import damaged, mutated, odd_value, write_yaml  # noqa: E402
from tests.hostile.operated import OPERATED, measure_nothing  # noqa: E402

LONGEST_SECONDS = 60
MEANT = (0, 1, 2, 3, 4)
KEPT_WITH_AN_ERROR = "runs"  # What was read of good files is remembered.

HISTORY = "history.db"  # Beside the runs it tells of.
MADE_AGAIN = ("report.html", "report.md", "report.ko.html", "report.ko.md", "README.md")


def label(rng: Random) -> str:
    """A line of a label file, mostly none."""
    token = ["0", "1", "7", "-1", "0.5", "1.005", "1.2", "nan", "inf", "1e-3", "x", "0x1", "1_0"]
    return " ".join(rng.choice(token) for _ in range(rng.choice([0, 1, 4, 5, 5, 5, 6, 7, 9])))


def data(rng: Random, folder: Path) -> list[str]:
    """A data YAML with images and labels."""
    root = folder / "data"
    path = make_images(root, turned=rng.random() < 0.3, suffix=rng.choice(["png", "jpg", "bmp"]))
    values = yaml.safe_load(path.read_text())
    for _ in range(rng.randrange(1, 4)):
        images = [f for f in (root / "images").rglob("*") if f.is_file()]
        labels = [f for f in (root / "labels").rglob("*") if f.is_file()]
        if not images or not labels:
            break
        image, text = rng.choice(images), rng.choice(labels)
        kind = rng.randrange(11)
        if kind == 0:
            image.write_bytes(damaged(rng, image.read_bytes()))
        elif kind == 1:
            text.write_bytes(damaged(rng, text.read_bytes()))
        elif kind == 2:
            text.write_text("\n".join(label(rng) for _ in range(rng.randrange(4))))
        elif kind == 3:
            image.rename(image.with_suffix(rng.choice([".gif", ".tif", ".JPG", ".heic", ".txt"])))
        elif kind == 4:
            image.unlink()
            if rng.random() < 0.4:
                image.mkdir()
            elif rng.random() < 0.6:
                image.symlink_to("nowhere")
        elif kind == 5:
            text.unlink()
        elif kind == 6:
            (root / "list.txt").write_bytes(damaged(rng, f"./{image.relative_to(root)}\n".encode()))
            values = {**values, "val": "list.txt"} if isinstance(values, dict) else values
        elif kind == 7 and isinstance(values, dict):
            key = rng.choice(["path", "nc", "test", "channels", "download", "names"])
            values = {**values, key: odd_value(rng)}
        else:
            values = mutated(rng, values)
    write_yaml(rng, path, values)
    return ["init", "--model", "yolov8n.yaml", "--data", str(path)]


def configuration(rng: Random, folder: Path) -> list[str]:
    """A configuration file."""
    from prunebench.config.loading import Config

    values = Config(model="yolov8n.yaml").model_dump(mode="json")
    for _ in range(rng.randrange(1, 3)):
        values = mutated(rng, values)
    path = folder / "config.yaml"
    write_yaml(rng, path, values)
    return ["plan", "--config", str(path)]


TABLE = """\
variant,params,size_mb,map50,fps,latency_ms
baseline,3012213,12.2,0.841,91.5,10.9
pruned,1800000,7.4,0.802,120.25,8.3
preserving-1,1800000,7.4,0.835,119.5,8.4
"""
CELLS = ("", " ", "nan", "inf", "-1", "0", "1e400", "x", '"', "'", "1,5", "0.9\n", "baseline", "é")


def table(rng: Random, folder: Path) -> list[str]:
    """A CSV of measurements."""
    rows = [line.split(",") for line in TABLE.splitlines()]
    for _ in range(rng.randrange(3)):
        row = rng.choice(rows)
        row[rng.randrange(len(row))] = rng.choice(CELLS)
    if rng.random() < 0.3:
        rows.append(rng.choice(rows)[: rng.randrange(7)])
    text = "".join(f"{','.join(row)}\n" for row in rows).encode()
    path = folder / "table.csv"
    path.write_bytes(damaged(rng, text) if rng.random() < 0.5 else text)
    return ["rank", str(path)]


KINDS: dict[str, Callable[[Random, Path], list[str]]] = {
    "data": data,
    "configuration": configuration,
    "table": table,
    "checkpoint": damaged_checkpoints.checkpoint,
    "onnx": damaged_onnx.exported,
    "run": damaged_runs.run,
}


def called(arguments: list[str], work: Path) -> tuple[int, str]:
    """Exit code and output of a command line, run in a fork of this process."""
    from flows import cli

    said = work.parent / "said"
    child = os.fork()
    if child == 0:
        code = 70
        with contextlib.suppress(BaseException):
            file = os.open(said, os.O_WRONLY | os.O_CREAT)
            os.dup2(file, 1)
            os.dup2(file, 2)
            os.chdir(work)
            # The lock of the host lies there: no input waits for a measurement.
            tempfile.tempdir = str(work.parent)
            os.setpgid(0, 0)
            sys.argv = ["prunebench", *arguments]
            try:
                if arguments[0] in OPERATED:
                    run_app(functools.partial(OPERATED[arguments[0]], *arguments[1:]))
                    code = 0
                else:
                    cli.main()
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else int(end.code is not None)
            except BaseException:
                os.write(2, traceback.format_exc().encode())
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)
    until = time.monotonic() + LONGEST_SECONDS
    while time.monotonic() < until:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status), said.read_text(errors="replace")
        time.sleep(0.01)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return -1, said.read_text(errors="replace")


def faults(
    code: int, said: str, before: Any, arguments: list[str], folder: Path, work: Path
) -> Iterator[str]:
    """What is wrong with how a command ended."""
    if code == -1:
        yield f"it took longer than {LONGEST_SECONDS} s"
    elif code not in MEANT:
        yield f"exit code {code}"
    elif code in (1, 2) and "prunebench: " not in said and "Usage: " not in said:
        yield f"exit code {code} without a sentence"
    if "Traceback (most recent call last)" in said:
        yield "a traceback"
    left = [path.name for path in work.iterdir() if path.name != KEPT_WITH_AN_ERROR]
    if code and left:
        yield f"left {left}"
    if any(path.name.startswith(".") and path.suffix == ".tmp" for path in work.rglob("*")):
        yield "a half written file"
    after = state_of(folder)
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    if told := [name for name in sorted(changed) if not may_change(Path(name), arguments, code)]:
        yield f"the input changed: {told}"


def may_change(path: Path, arguments: list[str], code: int) -> bool:
    """Whether a command writes there: a report that is made again, and the history of runs."""
    if arguments[0] == "report":
        return not code and (path.is_dir() or path.name in MADE_AGAIN)
    if arguments[0] == "devices":
        written = path.is_dir() or path.name in (*MADE_AGAIN, DEVICES_FILE)
        return written or not {"devices", ".store"}.isdisjoint(path.parts)
    if arguments[0] == "rebenchmark" and any(part.endswith("-rebenchmark") for part in path.parts):
        return code != 2
    runs = arguments[0] in ("compare", "gate", "history", "rebenchmark") and "runs" in path.parts
    return runs and (path.name == "runs" or path.name.startswith(HISTORY))


def try_one(kind: str, name: str) -> tuple[int, list[str], str, list[str]]:
    """Make an input and give it to its command: exit code, faults, output, command line."""
    with tempfile.TemporaryDirectory(prefix="prunebench-fuzz-") as place:
        folder, work = Path(place) / "input", Path(place) / "work"
        folder.mkdir()
        work.mkdir()
        arguments = KINDS[kind](Random(name), folder)
        before = state_of(folder)
        code, said = called(arguments, work)
        return code, list(faults(code, said, before, arguments, folder, work)), said, arguments


def main() -> int:
    """Try inputs until the time is over, and print how they ended."""
    parser = argparse.ArgumentParser(description="Damage inputs at random.")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", choices=[*KINDS], action="append")
    parser.add_argument("--only", type=int)
    asked = parser.parse_args()
    kinds = asked.kind or [*KINDS]
    preload()
    ends: Counter[tuple[str, int]] = Counter()
    bad = 0
    until = time.monotonic() + asked.seconds
    number = asked.only or 0
    while time.monotonic() < until:
        kind = kinds[number % len(kinds)]
        code, found, said, arguments = try_one(kind, f"{asked.seed} {kind} {number}")
        ends[kind, code] += 1
        if found:
            bad += 1
            print(f"{kind}, --seed {asked.seed} --only {number}: {'; '.join(found)}", flush=True)
        if found or asked.only is not None:
            print(" ".join(arguments), said[-3000:], sep="\n", flush=True)
        if asked.only is not None:
            break
        number += 1
    for (kind, code), count in sorted(ends.items()):
        print(f"{kind}: {count} ended with {code}")
    print(f"{sum(ends.values())} inputs, {bad} with a fault")
    return int(bad > 0)


def preload() -> None:
    """Import what takes time once, for every fork; threads of torch do not outlive one."""
    torch.set_num_threads(1)
    for module in (
        "ultralytics.nn.tasks",
        "flows.cli",
        "prunebench.experiment.first_config",
        "prunebench.results.report.build",
        "prunebench.results.history.lookup",
        "prunebench.operating.store.runs",
        "prunebench.variants.audit",
        "prunebench.results.table.ranked",
    ):
        importlib.import_module(module)
    measure_nothing()


if __name__ == "__main__":
    sys.exit(main())
