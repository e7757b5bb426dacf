"""What are the settings of a training worth? Images per second, one setting changed at a time.

    python benchmarks/training_speed.py [--rounds 4] [--images 160] [--imgsz 160]
        [--checkpoint FILE] [--threads N] [--only-arithmetic] [--before FOLDER]

In every round each setting trains three epochs of a network on the built-in scenes, in a fresh
process and in shuffled order, so that what the host does to a round it does to all of them. The
first row is what prunebench does; the others change one thing. ``--before`` adds a row for another
build, the ``src`` folder of a checkout of it:

    git worktree add /tmp/before COMMIT

The rate is that of the second and third epoch, whole: images loaded and augmented, trained on, a
fifth as many validated, and a checkpoint saved and looked at. Ratios are paired by round. Data
loader processes are no setting here: Ultralytics uses none on a CPU.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from kit import CHECKPOINT, host_line, in_workspace
from rich.console import Console
from rich.table import Table

import prunebench
from prunebench.common.cores import usable_cores
from prunebench.common.statistics import FEWEST_ROUNDS, locate
from prunebench.data.scenes import generate_scenes
from prunebench.measuring.host.fingerprint import cpu_flags, training_precision
from prunebench.steps.child import binding
from prunebench.steps.environment import WAITING, thread_environment

LEVEL = 0.95
EPOCHS = 3

CHILD = """
import json, sys, time
from pathlib import Path
from prunebench.variants.retraining.step import Request, run

asked, folder = json.loads(sys.argv[1]), Path(sys.argv[2])
ends = []
run(
    Request(**{name: value for name, value in asked.items() if name in Request.model_fields}),
    folder,
    lambda event: ends.append(time.perf_counter()) if event.kind == "epoch" else None,
)
print((len(ends) - 1) / (ends[-1] - ends[0]))
"""
"""Prints epochs per second. A build from before a setting does not know it."""


@dataclass(frozen=True)
class Setting:
    """How an epoch is trained.

    Attributes:
        threads: Threads of torch.
        precision: What layers multiply in.
        bound: Whether each thread has a core of its own.
        spins: How often a thread that has nothing to do looks for work before it sleeps.
        cache: Whether images are kept decoded in memory (``ram``) or read every time (``none``).
        batch: Images per batch.
        build: Its ``src`` folder.
    """

    threads: int
    precision: str
    bound: bool = True
    spins: str = WAITING["GOMP_SPINCOUNT"]
    cache: str = "ram"
    batch: int = 16
    build: str = str(Path(prunebench.__file__).parents[1])

    def changed_from(self, other: Setting) -> str:
        """What differs, in words."""
        if self.build != other.build:
            return "as it trained before"
        before = asdict(other)
        changed = [f"{key} {value}" for key, value in asdict(self).items() if value != before[key]]
        return ", ".join(changed) or "as prunebench trains"


def settings(options: argparse.Namespace) -> list[Setting]:
    """What prunebench does first, then each change."""
    usual = Setting(threads=options.threads, precision=training_precision(cpu_flags()))
    changes: list[dict[str, Any]] = [{"precision": "float32"}, {"bound": False}]
    if options.before is not None:
        changes.append({"build": str(options.before.resolve()), "bound": False})
    others: list[dict[str, Any]] = [
        {"threads": 1},
        {"spins": "0"},
        {"spins": "infinite"},
        {"cache": "none"},
        {"batch": 8},
    ]
    changes += [] if options.only_arithmetic else others
    return list(dict.fromkeys([usual, *(replace(usual, **change) for change in changes)]))


def images_per_second(setting: Setting, data_yaml: Path, options: argparse.Namespace) -> float:
    """The rate of whole epochs in a fresh process."""
    asked = {
        "strategy": "preserving",
        "settings": {"lr0": 0.001},
        "checkpoint": str(options.checkpoint),
        "data_yaml": str(data_yaml),
        "round": 1,
        "epochs": EPOCHS,
        "imgsz": options.imgsz,
        "image_hw": (options.imgsz, options.imgsz),
        **asdict(setting),
    }
    environment = {
        **os.environ,
        **thread_environment(setting.threads),
        **(binding("train", None, setting.threads) if setting.bound else {}),
        "GOMP_SPINCOUNT": setting.spins,
        "PYTHONPATH": setting.build,
    }
    with tempfile.TemporaryDirectory(dir=data_yaml.parent.parent) as folder:
        done = subprocess.run(
            [sys.executable, "-c", CHILD, json.dumps(asked), folder],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    return float(done.stdout.split()[-1]) * int(options.images)


def main(folder: Path, console: Console, options: argparse.Namespace) -> int:
    """Measure every setting in every round and print the table."""
    data_yaml = generate_scenes(
        folder / "scenes",
        train=options.images,
        val=options.images // 5,
        test=8,
        width=160,
        height=90,
    )
    tried = settings(options)
    rates: dict[Setting, list[float]] = {setting: [] for setting in tried}
    rng = np.random.default_rng(0)
    for number in range(options.rounds):
        for index in rng.permutation(len(tried)):
            setting = tried[index]
            rates[setting].append(images_per_second(setting, data_yaml, options))
            name = setting.changed_from(tried[0])
            print(f"round {number + 1}, {name}: {rates[setting][-1]:.1f}", file=sys.stderr)
    compared = [(setting, tried[0]) for setting in tried]
    if options.before is not None:
        before = next(setting for setting in tried if setting.build != tried[0].build)
        compared += [(setting, before) for setting in tried[:2]]
    table = Table("setting", "images/s, median", f"times [{LEVEL:.0%}]", "the", title=host_line())
    for setting, other in compared:
        table.add_row(
            setting.changed_from(tried[0]),
            f"{np.median(rates[setting]):.1f}",
            "1" if setting is other else ratio(rates[setting], rates[other]),
            "first" if other is tried[0] else "build before",
        )
    console.print(table)
    usual = tried[0]
    console.print(
        f"The first: {usual.threads} threads, {usual.spins} spins, cache {usual.cache}, batch "
        f"{usual.batch}, {usual.precision}; {options.images} images at {options.imgsz}, "
        f"{options.rounds} rounds."
    )
    return 0


def ratio(rates: Sequence[float], others: Sequence[float]) -> str:
    """How many times as fast, paired by round, with its interval."""
    location = locate(np.log(rates) - np.log(others))
    half = location.half_width(LEVEL)
    low, middle, high = np.exp([location.centre - half, location.centre, location.centre + half])
    return f"{middle:.2f} [{low:.2f}, {high:.2f}]"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=4, help=f"at least {FEWEST_ROUNDS}")
    parser.add_argument("--images", type=int, default=160)
    parser.add_argument("--imgsz", type=int, default=160)
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT)
    parser.add_argument("--threads", type=int, default=usable_cores())
    parser.add_argument("--only-arithmetic", action="store_true")
    parser.add_argument("--before", type=Path, help="the src folder of another build")
    arguments = parser.parse_args()
    in_workspace(lambda folder, console: main(folder, console, arguments))
