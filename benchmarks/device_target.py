"""Is a target met on a device that ``prune.measure_on`` names, while this host trains?

    python benchmarks/device_target.py

The device is an sshd of this host whose sessions have the last core and a CPU quota of their own.
The kernel looks at a quota where it schedules, every few milliseconds for a process that never
sleeps: inferences then take none or a whole stop. So one in the same group wakes all the time. On
the first core a training goes on without an end. The shipped network is pruned for the device to a
speed-up and to milliseconds, and what came of each is measured there once more, beside the
baseline, as soon as it is made: the state of a shared host lasts for minutes.
``--quick`` lets nothing but candidates be measured there. Needs root, to make a control
group, and Debian's openssh-server. Ten minutes at most; exit status 1 where a claim does not hold.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kit import CHECKPOINT, IMGSZ, Claim, arguments, in_workspace, print_claims, show
from rich.console import Console

from prunebench.common.errors import StepError
from prunebench.common.statistics import locate
from prunebench.common.variant_record import VariantRecord
from prunebench.config.loading import parse_config
from prunebench.config.sections import LatencyConfig
from prunebench.data.scenes import generate_scenes
from prunebench.experiment.inputs import Experiment
from prunebench.experiment.make import export_variant, make_variant
from prunebench.experiment.prepare import prepare
from prunebench.measuring.latency.intervals import ratio_interval
from prunebench.measuring.latency.rounds import Target
from prunebench.measuring.latency.stopping import round_medians
from prunebench.measuring.remote.asking import device_at
from prunebench.variants.pruning.search import TOLERANCE

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "support"))
from device_kit import bare_python
from quota_kit import quota_group
from ssh_kit import Board, served_board

NAME = "board"
QUOTA, OTHER_QUOTA = 0.6, 0.8
PERIOD_US = 2000
WAKING = "import time\nwhile True: time.sleep(0.0002)"
SPEEDUP = 1.5
LEVEL = 0.95
SHARE = 0.7  # Of the baseline's milliseconds.
ROUNDS = 16

TRAINING = """
import os, sys
os.sched_setaffinity(0, {int(sys.argv[1])})
from pathlib import Path
import torch
from prunebench.variants.checkpoint import load_checkpoint
from prunebench.variants.pruning.batches import batches_for
from prunebench.variants.pruning.importance import training_losses
torch.set_num_threads(1)
network = load_checkpoint(Path(sys.argv[2])).train().requires_grad_(True)
images = sorted(Path(sys.argv[3]).rglob("train/*.jpg"))
mine = os.getppid()
print("training", flush=True)
while os.getppid() == mine:
    for loss in training_losses(network, batches_for(network, images, 3, imgsz=(320, 320), seed=0)):
        loss.backward()
        print("step", flush=True)
"""
"""Ends with the process that started it, however that ends."""


def main(work: Path, console: Console, *, quick: bool) -> int:
    """Serve the device, train beside it, prune for it, and measure what came of it."""
    cores = sorted(os.sched_getaffinity(0))
    data = generate_scenes(work / "scenes", train=48, val=16, test=16)
    with contextlib.ExitStack() as stack:
        processes, set_quota = stack.enter_context(quota_group(period_us=PERIOD_US))
        set_quota(QUOTA)
        monkeypatch = stack.enter_context(pytest.MonkeyPatch.context())
        first = f"echo $$ > {processes}; taskset -pc {cores[-1]} $$ > /dev/null"
        stack.enter_context(waking(first))
        serving = contextlib.contextmanager(served_board)
        (work / "board").mkdir()
        board = stack.enter_context(serving(work / "board", monkeypatch, first))
        python = str(bare_python(board.home / "venv"))
        log = stack.enter_context(training(cores[0], data, work))
        config = configuration(board, python, data, work, [f"{SPEEDUP}x"], quick)
        experiment = prepare(config)
        baseline = made(experiment, None)
        before = measured(experiment, [baseline])["baseline"]
        goal = round(SHARE * float(np.median(list(before.values()))), 1)
        config = configuration(board, python, data, work, [f"{SPEEDUP}x", f"{goal} ms"], quick)
        experiment = prepare(config)
        baseline = made(experiment, None)
        claims: list[Claim] = []
        for number, target in ((1, SPEEDUP), (2, goal)):
            variant = made(experiment, number, baseline)
            found = measured(experiment, [baseline, variant])
            claims += target_claims(variant, found["baseline"], found[variant.name], target)
        trained = log.read_text().count("step")
        set_quota(OTHER_QUOTA)
        changed = refusal(experiment, baseline)
    claims.append(("the host trained meanwhile", f"{trained} batches", trained > 0))
    claims.append(("another quota is another device", changed, "quota: 0.6 -> 0.8" in changed))
    return print_claims(console, claims)


@contextlib.contextmanager
def waking(first: str) -> Iterator[None]:
    """Have the quota looked at all the time in the block, in the group that ``first`` joins."""
    command = ["sh", "-c", f'{first}; exec "$0" -c "$1"', sys.executable, WAKING]
    with subprocess.Popen(command) as process:
        try:
            yield
        finally:
            process.kill()


@contextlib.contextmanager
def training(core: int, data: Path, work: Path) -> Iterator[Path]:
    """Train on a core of this host in the block; gives what it prints."""
    log = work / "training.log"
    command = [sys.executable, "-c", TRAINING, str(core), str(CHECKPOINT), str(data.parent)]
    with log.open("w") as out, subprocess.Popen(command, stdout=out) as process:
        try:
            yield log
        finally:
            process.kill()


def configuration(
    board: Board, python: str, data: Path, work: Path, targets: list[str], quick: bool
) -> Any:
    """Prune for the device alone: nothing is retrained."""
    allocation = "global" if quick else "latency-aware"
    at = board.device(python)
    return parse_config(
        {
            "model": str(CHECKPOINT),
            "data": str(data),
            "out": str(work / "runs"),
            "image": {"height": IMGSZ[0], "width": IMGSZ[1]},
            "devices": {NAME: {"address": at.address, "python": at.python}},
            "prune": {"target": targets, "measure_on": NAME, "allocation": allocation},
            "retrain": {"rounds": 0, "control": False},
            "latency": {"threads": [1]},
        }
    )


def made(
    experiment: Experiment, index: int | None, baseline: VariantRecord | None = None
) -> VariantRecord:
    """A planned variant, pruned and exported; ``None``: the baseline."""
    planned = experiment.variants[index or 0]
    variant = make_variant(experiment, planned, baseline, baseline, show)
    return export_variant(experiment, variant, show)


def measured(experiment: Experiment, variants: list[VariantRecord]) -> dict[str, Any]:
    """Each variant's milliseconds on the device, by round, all side by side."""
    settings = LatencyConfig(threads=(1,), rounds_min=ROUNDS, rounds_max=ROUNDS, paced=False)
    folder = experiment.run_folder
    targets = [
        Target(v.name, folder / v.exported.onnx.path, v.exported.onnx.sha256) for v in variants
    ]
    shared = {"realtime_fps": 1.0, "imgsz": IMGSZ, "nc": 1, "seed": 0}
    with device_at(experiment.there, settings.model_dump(mode="json"), print) as device:
        medians = round_medians(device.rounds(targets, shared), "model")
    return {target.name: medians[target.name, 1] for target in targets}


def target_claims(
    variant: VariantRecord, before: dict[int, float], after: dict[int, float], target: float
) -> Iterator[Claim]:
    """What a target came to, by the search and measured anew."""
    reached = variant.reached
    text = f"{reached.speedup:.2f}x, {reached.latency_ms:.2f} ms on {reached.there}"
    yield f"{variant.name} was met there", text, reached.met and reached.there == NAME
    if target == SPEEDUP:
        found = ratio_interval(before, after, LEVEL)
    else:
        found = locate(np.log([*after.values()])).ratio(LEVEL)
    off = found.estimate / target - 1
    text = f"{found.estimate:.2f} [{found.low:.2f}, {found.high:.2f}], off by {off:+.1%}"
    yield f"{variant.name} measured anew, within {TOLERANCE:.0%}", text, abs(off) <= TOLERANCE


def refusal(experiment: Experiment, baseline: VariantRecord) -> str:
    """What is said where the device is another by now."""
    try:
        measured(experiment, [baseline])
    except StepError as error:
        return str(error)
    return "nothing"


if __name__ == "__main__":
    in_workspace(partial(main, quick=arguments(__doc__).quick))
