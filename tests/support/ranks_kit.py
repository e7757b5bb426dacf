"""One process of a training on several GPUs, started as Ultralytics starts them, on a CPU.

What is real: the file that Ultralytics pickles the trainer's class, the network and the callbacks
to, its script in a fresh process, and a process group of one. What is not: the GPUs, and that there
are two of them.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import torch.distributed as dist
from prefect_kit import free_port
from torch import nn
from ultralytics.utils import RANK
from ultralytics.utils.dist import ddp_cleanup, generate_ddp_command

from prunebench.variants.devices import Device
from prunebench.variants.retraining.trainers import PreservingDetectionTrainer


class TwoGpus(Device):
    """Two GPUs by what prunebench asks of them, a CPU for Ultralytics."""

    @property
    def ultralytics_name(self) -> str:
        return "cpu"


class InAnotherProcess(PreservingDetectionTrainer):
    """Trains in a process of its own, as on the first of several GPUs."""

    def run_callbacks(self, event: str) -> None:
        # Ultralytics calls nothing in the process that starts the others.
        if RANK != -1:
            super().run_callbacks(event)

    def train(self) -> Any:
        if RANK != -1:
            self.world_size = 1
            dist.init_process_group("gloo", rank=0, world_size=1)
            kill_after = os.environ.get("PRUNEBENCH_TEST_KILL_AFTER")
            if kill_after is not None:
                self.add_callback("on_model_save", _KillAfter(int(kill_after)))
            return super().train()
        _, file = generate_ddp_command(self)
        rank = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2"}
        master = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
        try:
            subprocess.run([sys.executable, file], check=True, env={**os.environ, **rank, **master})
        finally:
            ddp_cleanup(self, file)
        return None


@dataclass(frozen=True)
class _KillAfter:
    """Callback that kills the process once an epoch is saved, and kept."""

    epochs: int

    def __call__(self, trainer: Any) -> None:
        if trainer.epoch + 1 == self.epochs:
            os.kill(os.getpid(), signal.SIGKILL)


class OfAnotherStructure(InAnotherProcess):
    """Saves a network that has one tensor more."""

    def save_model(self) -> Any:
        first: Any = self.ema.ema.model[0]
        first.conv.bias = nn.Parameter(first.bn.bias.clone())
        return super().save_model()
