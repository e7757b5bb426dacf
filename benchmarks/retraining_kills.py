"""Does a run survive being killed? Ten times SIGKILL at random moments, then the tables compared.

    python benchmarks/retraining_kills.py [--kills 10] [--seed 0] [--out FOLDER]

A small experiment runs undisturbed once by ``prunebench run``. Then the same command is started
again and again in another folder and killed after a random time, and at last left to finish. The
first table says when each kill came, the second compares the two final rankings. The exit status is
1 where a variant's figures lie outside each other's intervals, a finished training or epoch was
repeated, or a kill left a process behind. Speed is compared as each run tells it, relative to the
run's own baseline: how fast the host was at two different times is no matter of being killed.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil
import yaml
from kit import CHECKPOINT, Claim, print_claims
from rich.console import Console
from rich.table import Table

from prunebench.common.records import Interval
from prunebench.results.outcome import read_outcome
from prunebench.results.ranking.records import Ranking

SCRIPT = Path(sys.executable).with_name("prunebench")
EPOCH = re.compile(r"\] (\S+): epoch (\d+)/\d+, loss")
ENDED_S = 20
BASELINE = "baseline"


@dataclass
class Attempt:
    """One start of the command.

    Attributes:
        seconds: How long it ran.
        folder: The run's folder, where it finished.
        last: Its last progress line.
        left: Processes that outlived it.
    """

    seconds: float
    folder: Path | None
    last: str
    left: int = 0


@dataclass
class Watched:
    """What was seen over all attempts at one experiment.

    Attributes:
        epochs: How often each epoch of each variant was said to be finished.
        done: Time at which each finished training was written.
        rewritten: Finished trainings that were written again.
    """

    epochs: Counter[tuple[str, str]] = field(default_factory=Counter)
    done: dict[str, int] = field(default_factory=dict)
    rewritten: set[str] = field(default_factory=set)

    def look(self, out: Path) -> None:
        """Note which trainings are finished by now."""
        for path in out.glob(".steps/train-*/done.json"):
            stamp = path.stat().st_mtime_ns
            if self.done.setdefault(path.parent.name, stamp) != stamp:
                self.rewritten.add(path.parent.name)


def experiment(folder: Path, data_yaml: str) -> Path:
    """Write the configuration of a run below ``folder``."""
    values = {
        "name": "kills",
        "model": str(CHECKPOINT.resolve()),
        "data": data_yaml,
        "out": str(folder / "runs"),
        "image": {"height": 64, "width": 96},
        "prune": {"target": 0.3, "allocation": "uniform", "bn_batches": 2},
        "retrain": {
            "rounds": 2,
            "epochs": 3,
            "imgsz": 64,
            "batch": 8,
            "strategies": {"standard": {"nbs": 8}, "preserving": {"nbs": 8}},
        },
        "latency": {
            "threads": [1],
            "rounds_min": 6,
            "rounds_max": 6,
            "seconds": 0.1,
            "images": 4,
            "paced": False,
        },
        "ranking": {"bootstrap": 500},
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def attempt(config: Path, watched: Watched, kill_after_s: float | None) -> Attempt:
    """Start the command and kill it after some time, or let it finish."""
    started = time.monotonic()
    log, answer = config.parent / "progress.log", config.parent / "answer.json"
    with log.open("w") as progress, answer.open("w") as stdout:
        process = subprocess.Popen(
            [str(SCRIPT), "run", "--config", str(config), "--json"],
            env={**os.environ, "PREFECT_HOME": str(config.parent / "prefect")},
            stdout=stdout,
            stderr=progress,
        )
        try:
            process.wait(kill_after_s)
        except subprocess.TimeoutExpired:
            children = psutil.Process(process.pid).children(recursive=True)
            process.send_signal(signal.SIGKILL)
            process.wait()
            _, left = psutil.wait_procs(children, timeout=ENDED_S)
            for orphan in left:
                orphan.kill()
            outcome = Attempt(time.monotonic() - started, None, "", len(left))
        else:
            if process.returncode:
                sys.exit(f"the run failed with {process.returncode}:\n{log.read_text()}")
            folder = Path(json.loads(answer.read_text())["folder"])
            outcome = Attempt(time.monotonic() - started, folder, "")
    lines = log.read_text().splitlines()
    watched.epochs.update((m[1], m[2]) for m in map(EPOCH.search, lines) if m)
    watched.look(config.parent / "runs")
    outcome.last = lines[-1] if lines else "nothing yet"
    return outcome


def start_up_seconds(log: Path) -> float:
    """Seconds until the first variant was worked on, by the progress lines."""
    for line in log.read_text().splitlines():
        if "baseline: " in line:
            return float(line[1:].split(" s]")[0])
    return 0.0


def overlap(a: Interval, b: Interval) -> bool:
    """Whether two intervals share a value."""
    return a.low <= b.high and b.low <= a.high


def speed_change(ranking: Ranking, name: str) -> Interval:
    """How much faster than the run's baseline a variant is, in percent."""
    if name == BASELINE:
        return Interval(estimate=0, low=0, high=0)
    difference = ranking.difference("speed", name, BASELINE)
    found = difference.interval
    if found is None:
        sys.exit(f"{name} was measured in too few rounds")
    if difference.first == name:
        return found
    ends = (1 / (1 + value / 100) for value in (found.estimate, found.high, found.low))
    estimate, low, high = (100 * (value - 1) for value in ends)
    return Interval(estimate=estimate, low=low, high=high)


def compare(name: str, before: Ranking, after: Ranking) -> tuple[list[str], bool]:
    """A row of the second table, and whether its figures agree."""
    rows = before.row(name), after.row(name)
    accuracy = [row.map50 for row in rows]
    speed = [speed_change(ranking, name) for ranking in (before, after)]
    texts = [name]
    texts += [f"{v.estimate:.3f} [{v.low:.3f}, {v.high:.3f}]" for v in accuracy]
    texts += [f"{v.estimate:+.0f} % [{v.low:+.0f}, {v.high:+.0f}]" for v in speed]
    same = rows[0].verdict == rows[1].verdict
    agree = same and overlap(*accuracy) and overlap(*speed)
    return [*texts, "yes" if agree else "NO"], agree


def main() -> int:
    """Run undisturbed, run and kill, compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=None)
    options = parser.parse_args()
    console = Console(width=150)
    out = options.out or Path(tempfile.mkdtemp(prefix="kills-"))
    data = "scenes:train=48,val=16,test=32"

    calm_watched, watched = Watched(), Watched()
    calm_config = experiment(out / "undisturbed", data)
    calm = attempt(calm_config, calm_watched, None)
    start_up_s = start_up_seconds(calm_config.parent / "progress.log")
    # On average half of this is progress, so that all kills fit into one run.
    longest_s = start_up_s + (calm.seconds - start_up_s) / options.kills
    print(f"undisturbed: {calm.seconds:.0f} s, {start_up_s:.0f} s of it start-up", file=sys.stderr)

    config = experiment(out / "killed", data)
    rng = np.random.default_rng(options.seed)
    kills: list[Attempt] = []
    finished: Attempt | None = None
    while len(kills) < options.kills and finished is None:
        done = attempt(config, watched, float(rng.uniform(0.5, longest_s)))
        if done.folder is None:
            kills.append(done)
            print(f"kill {len(kills)} after {done.seconds:.1f} s: {done.last}", file=sys.stderr)
        else:
            finished = done
    if finished is None:
        finished = attempt(config, watched, None)
    if calm.folder is None or finished.folder is None:
        return 1

    table = Table("kill", "after s", "last progress", "left behind", title="Kills")
    for number, kill in enumerate(kills, 1):
        table.add_row(str(number), f"{kill.seconds:.1f}", kill.last, str(kill.left))
    console.print(table)
    rankings = [read_outcome(folder).rankings[0] for folder in (calm.folder, finished.folder)]
    columns = [f"{what}, {run}" for what in ("mAP50", "speed") for run in ("calm", "killed")]
    table = Table("variant", *columns, "agree", title="Final tables")
    agreed = []
    for name in sorted(row.name for row in rankings[0].rows):
        texts, agree = compare(name, *rankings)
        table.add_row(*texts)
        agreed.append(agree)
    console.print(table)
    repeated = {key: count for key, count in watched.epochs.items() if count > 1}
    # Not the same ones: Ultralytics goes on from the averaged weights, so that a training that was
    # hit ends in other digits, and those that start from it are others.
    as_many = len(watched.done) == len(calm_watched.done)
    claims: list[Claim] = [
        ("the run was killed", f"{len(kills)} times", len(kills) == options.kills),
        ("figures agree", f"{sum(agreed)} of {len(agreed)} variants", all(agreed)),
        (
            "no finished training repeated",
            f"{len(watched.done)} trainings, {len(watched.rewritten)} written again",
            as_many and not watched.rewritten,
        ),
        ("no finished epoch repeated", f"{len(repeated)} of {len(watched.epochs)}", not repeated),
        (
            "no process left behind",
            str(sum(kill.left for kill in kills)),
            not any(kill.left for kill in kills),
        ),
    ]
    return print_claims(console, claims)


if __name__ == "__main__":
    sys.exit(main())
