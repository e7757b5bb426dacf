"""Is a target met on a device that ``prune.measure_on`` names, while this host trains?

    python benchmarks/device_target.py

The device is an sshd of this host whose sessions have the last core and a CPU quota of their own;
on the first core a training goes on without an end. The shipped network is pruned for the device to
a speed-up and to milliseconds, and what came of it is then measured there once more, beside the
baseline, in more rounds than the search had. ``--quick`` lets nothing but candidates be measured
there. Needs root, to make a control group, and Debian's openssh-server. Five minutes; exit status 1
where a claim does not hold.
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
from prunebench.common.variant_record import VariantRecord
from prunebench.config.loading import parse_config
from prunebench.config.sections import LatencyConfig
from prunebench.data.scenes import generate_scenes
from prunebench.experiment.inputs import Experiment
from prunebench.experiment.make import export_variant, make_variant
from prunebench.experiment.prepare import prepare
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
SPEEDUP = 1.5
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
        processes, set_quota = stack.enter_context(quota_group())
        set_quota(QUOTA)
        monkeypatch = stack.enter_context(pytest.MonkeyPatch.context())
        first = f"echo $$ > {processes}; taskset -pc {cores[-1]} $$ > /dev/null"
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
        variants = [baseline, *(made(experiment, n, baseline) for n in (1, 2))]
        trained = log.read_text().count("step")
        found = measured(experiment, variants)
        set_quota(OTHER_QUOTA)
        changed = refusal(experiment, baseline)
    claims = [*target_claims(variants, found, goal)]
    claims.append(("the host trained meanwhile", f"{trained} batches", trained > 0))
    claims.append(("another quota is another device", changed, "quota: 0.6 -> 0.8" in changed))
    return print_claims(console, claims)


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
    variants: list[VariantRecord], found: dict[str, Any], goal: float
) -> Iterator[Claim]:
    """What each target came to, by the search and measured anew."""
    baseline, faster, timed = variants
    for variant in (faster, timed):
        reached = variant.reached
        text = f"{reached.speedup:.2f}x, {reached.latency_ms:.2f} ms on {reached.there}"
        yield f"{variant.name} was met there", text, reached.met and reached.there == NAME
    before = found[baseline.name]
    ratio = np.median([before[r] / found[faster.name][r] for r in before])
    off = ratio / SPEEDUP - 1
    text = f"{ratio:.3f}x, off by {off:+.1%}"
    yield f"{faster.name} measured anew, within {TOLERANCE:.0%}", text, abs(off) <= TOLERANCE
    took = np.median(list(found[timed.name].values()))
    off = took / goal - 1
    text = f"{took:.2f} ms, off by {off:+.1%}; the baseline {np.median(list(before.values())):.2f}"
    yield f"{timed.name} measured anew, within {TOLERANCE:.0%}", text, abs(off) <= TOLERANCE


def refusal(experiment: Experiment, baseline: VariantRecord) -> str:
    """What is said where the device is another by now."""
    try:
        measured(experiment, [baseline])
    except StepError as error:
        return str(error)
    return "nothing"


if __name__ == "__main__":
    in_workspace(partial(main, quick=arguments(__doc__).quick))
