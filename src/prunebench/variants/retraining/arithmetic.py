"""How a training multiplies: layers in channels_last and in few bits, the loss in float32.

oneDNN's convolutions work on channels_last without copying their input to and fro. Weights,
gradients, BatchNorm's statistics, the optimizer and the EMA are float32 in any precision.
"""

from __future__ import annotations

from typing import Any

import torch
from ultralytics.utils.torch_utils import unwrap_model

from prunebench.config.sections import Precision
from prunebench.variants.devices import Device


def asked_of_ultralytics(device: Device, precision: Precision) -> bool | str:
    """Ultralytics' argument ``amp``; on a CPU it refuses to be asked for bfloat16."""
    if not device.cards or precision == "float32":
        return False
    return "bf16" if precision == "bfloat16" else True


def train_in(precision: Precision, trainer: Any) -> None:
    """Set up a trainer that is about to train, in place; on a CPU it validates in float32."""
    if trainer.device.type == "cpu":
        for network in (trainer.model, trainer.ema.ema):
            network.to(memory_format=torch.channels_last)
        # The trainer's own autocast, which is bfloat16 on a CPU.
        trainer.amp = precision == "bfloat16"
    if precision != "float32":
        keep_loss_in_float32(unwrap_model(trainer.model))


def keep_loss_in_float32(network: Any) -> None:
    """Let a network under autocast compute its loss in float32.

    torch's list of what autocast leaves in float32 lacks the sum that makes a box, and on a CPU the
    losses of classes and boxes: eight bits decide neither which anchor is nearest nor add up
    thousands of them.
    """
    # A continued training of an end-to-end head has one already, that knows how far it is.
    criterion = getattr(network, "criterion", None) or network.init_criterion()
    kind = type(criterion)
    criterion.__class__ = type(kind.__name__, (_InFloat32, kind), {})
    network.criterion = criterion


class _InFloat32:
    """What a criterion does differently, put before its class."""

    def __call__(self, preds: Any, batch: Any) -> Any:
        with torch.autocast(batch["img"].device.type, enabled=False):
            return super().__call__(_as_float32(preds), batch)  # type: ignore[misc]


def _as_float32(value: Any) -> Any:
    """Every tensor of nested predictions in float32."""
    if isinstance(value, torch.Tensor):
        return value.float()
    if isinstance(value, dict):
        return {key: _as_float32(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(_as_float32, value))
    return value
