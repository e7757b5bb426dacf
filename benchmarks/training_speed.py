"""What are the settings of a training worth? Images per second, one setting changed at a time.

    python benchmarks/training_speed.py [--rounds 4] [--images 160] [--imgsz 160]
        [--checkpoint FILE] [--threads N] [--only-arithmetic]

In every round each setting trains two epochs of a network on the built-in scenes, in a fresh
process and in shuffled order, so that what the host does to a round it does to all of them. The
first row is what prunebench uses; the others change one thing. The rate is that of the second
epoch, whole: images loaded and augmented, trained on, a fifth as many validated, and a checkpoint
saved. Ratios are paired by round. Data loader processes are no setting here: Ultralytics uses none
on a CPU.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from kit import CHECKPOINT, host_line, in_workspace
from rich.console import Console
from rich.table import Table

from prunebench.common.cores import usable_cores
from prunebench.common.statistics import FEWEST_ROUNDS, locate
from prunebench.data.scenes import generate_scenes
from prunebench.measuring.host.fingerprint import cpu_flags, training_precision
from prunebench.steps.child import WAITING, thread_environment

LEVEL = 0.95


@dataclass(frozen=True)
class Setting:
    """How one epoch is trained.

    Attributes:
        threads: Threads of torch.
        spins: How often a thread that has nothing to do looks for work before it sleeps.
        cache: Whether images are kept decoded in memory (``ram``) or read every time (``none``).
        batch: Images per batch.
        arithmetic: What layers multiply in, channels last, or ``contiguous``: in float32, as
            Ultralytics does.
    """

    threads: int
    arithmetic: str
    spins: str = WAITING["GOMP_SPINCOUNT"]
    cache: str = "ram"
    batch: int = 16

    def changed_from(self, other: Setting) -> str:
        """What differs, in words."""
        before = asdict(other)
        changed = [f"{key} {value}" for key, value in asdict(self).items() if value != before[key]]
        return ", ".join(changed) or "as prunebench trains"


def settings(threads: int, *, only_arithmetic: bool) -> list[Setting]:
    """What prunebench does first, then each change."""
    usual = Setting(threads=threads, arithmetic=training_precision(cpu_flags()))
    changes: list[dict[str, Any]] = [
        {"arithmetic": "float32"},
        {"arithmetic": "contiguous"},
    ]
    others: list[dict[str, Any]] = [
        {"threads": 1},
        {"spins": "0"},
        {"spins": "infinite"},
        {"cache": "none"},
        {"batch": 8},
    ]
    changes += [] if only_arithmetic else others
    return list(dict.fromkeys([usual, *(replace(usual, **change) for change in changes)]))


def train(setting: Setting, checkpoint: str, data_yaml: str, imgsz: int, folder: str) -> float:
    """Train two epochs in this process and give the images per second of the second."""
    import torch
    from ultralytics import YOLO

    from prunebench.variants.retraining.arithmetic import train_in
    from prunebench.variants.retraining.fit import isolate_ultralytics
    from prunebench.variants.retraining.trainers import preserving_trainer

    isolate_ultralytics()
    ends: list[float] = []
    model = YOLO(checkpoint)
    # Ultralytics leaves a training on a CPU one thread less than there are cores.
    model.add_callback(
        "on_pretrain_routine_start", lambda _: torch.set_num_threads(setting.threads)
    )
    if setting.arithmetic != "contiguous":
        precision: Any = setting.arithmetic
        model.add_callback("on_pretrain_routine_end", lambda trainer: train_in(precision, trainer))
    # After the epoch was saved; once more, later, for what is validated at the very end.
    model.add_callback("on_fit_epoch_end", lambda _: ends.append(time.perf_counter()))
    model.train(
        trainer=preserving_trainer("detect"),
        data=data_yaml,
        epochs=2,
        imgsz=imgsz,
        batch=setting.batch,
        cache="ram" if setting.cache == "ram" else False,
        workers=0,
        device="cpu",
        optimizer="SGD",
        lr0=0.001,
        amp=False,
        plots=False,
        save_dir=folder,
        exist_ok=True,
    )
    images = len(model.trainer.train_loader.dataset)
    return images / (ends[1] - ends[0])


def in_child(
    setting: Setting, checkpoint: Path, data_yaml: Path, imgsz: int, folder: Path
) -> float:
    """Images per second of one epoch in a fresh process."""
    files = str(checkpoint), str(data_yaml)
    request = json.dumps([asdict(setting), *files, imgsz, str(folder / "fit")])
    environment = {**os.environ, **thread_environment(setting.threads)}
    done = subprocess.run(
        [sys.executable, __file__, "--child", request],
        env={**environment, "GOMP_SPINCOUNT": setting.spins},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    return float(done.stdout.split()[-1])


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
    tried = settings(options.threads, only_arithmetic=options.only_arithmetic)
    rates: dict[Setting, list[float]] = {setting: [] for setting in tried}
    rng = np.random.default_rng(0)
    for number in range(options.rounds):
        for index in rng.permutation(len(tried)):
            setting = tried[index]
            rates[setting].append(
                in_child(setting, options.checkpoint, data_yaml, options.imgsz, folder)
            )
            name = setting.changed_from(tried[0])
            print(f"round {number + 1}, {name}: {rates[setting][-1]:.1f}", file=sys.stderr)
    table = Table(
        "setting", "images/s, median", f"times the first [{LEVEL:.0%}]", title=host_line()
    )
    first = np.log(rates[tried[0]])
    for setting in tried:
        middle = f"{np.median(rates[setting]):.1f}"
        location = locate(np.log(rates[setting]) - first)
        half = location.half_width(LEVEL)
        low, ratio, high = np.exp([location.centre - half, location.centre, location.centre + half])
        shown = "1" if setting is tried[0] else f"{ratio:.2f} [{low:.2f}, {high:.2f}]"
        table.add_row(setting.changed_from(tried[0]), middle, shown)
    console.print(table)
    usual = tried[0]
    console.print(
        f"The first: {usual.threads} threads, {usual.spins} spins, cache {usual.cache}, batch "
        f"{usual.batch}, {usual.arithmetic}; {options.images} images at {options.imgsz}, "
        f"{options.rounds} rounds."
    )
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=4, help=f"at least {FEWEST_ROUNDS}")
    parser.add_argument("--images", type=int, default=160)
    parser.add_argument("--imgsz", type=int, default=160)
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT)
    parser.add_argument("--threads", type=int, default=usable_cores())
    parser.add_argument("--only-arithmetic", action="store_true")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        values = json.loads(arguments.child)
        print(train(Setting(**values[0]), *values[1:]))
        sys.exit(0)
    in_workspace(lambda folder, console: main(folder, console, arguments))
