"""What every training shares: Ultralytics kept local, checkpoints read, compared and finished."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prunebench.common.errors import CheckpointError
from prunebench.variants.checkpoint import save_checkpoint

INTEGRATIONS = ("clearml", "comet", "dvc", "mlflow", "raytune", "tensorboard", "wandb")
"""Experiment trackers that Ultralytics switches on by itself where they are installed."""


PATH_ARGUMENTS = ("data", "model", "project", "save_dir", "resume", "distill_model")
"""Training arguments that may hold a path of the machine a checkpoint was trained on."""


def isolate_ultralytics() -> None:
    """Switch off analytics and experiment trackers for this process.

    The user's own Ultralytics settings file is left as it is.
    """
    from ultralytics.utils import SETTINGS
    from ultralytics.utils.events import events

    # SETTINGS.update and SETTINGS[...] = ... would write the file.
    dict.update(SETTINGS, {"sync": False, **dict.fromkeys(INTEGRATIONS, False)})
    events.enabled = False


@dataclass(frozen=True)
class Saved:
    """What a checkpoint of our own making holds.

    Attributes:
        network: The network, in FP16; of a training the EMA's, of a distillation the student.
        metrics: Validation metrics by Ultralytics' names, and ``fitness``; empty in a final file.
    """

    network: Any
    metrics: dict[str, float]


def read_saved(path: Path) -> Saved:
    """Read back a checkpoint that has just been saved.

    Raises:
        CheckpointError: The file does not hold what was saved.
    """
    import torch
    from ultralytics.nn.distill_model import DistillationModel

    try:
        content = torch.load(path, map_location="cpu", weights_only=False)
        network = content["ema"] or content["model"]
    except Exception as error:  # a damaged pickle can raise anything
        raise CheckpointError("the saved checkpoint cannot be read back", where=path) from error
    if isinstance(network, DistillationModel):
        network._remove_feature_hooks()
        network = network.student_model
    metrics = content.get("train_metrics") or {}
    return Saved(
        network=network,
        metrics={name: float(value) for name, value in metrics.items() if value is not None},
    )


def shapes_of(network: Any) -> dict[str, tuple[int, ...]]:
    """Shape of every tensor of a network (parameters and buffers), by name."""
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


def parameter_count(network: Any) -> int:
    """Number of parameters, BatchNorm apart from the convolutions."""
    return sum(parameter.numel() for parameter in network.parameters())


def count_transferred(
    parent: Mapping[str, tuple[int, ...]], network: Mapping[str, tuple[int, ...]]
) -> int:
    """How many tensors of ``network`` a loader that matches name and shape takes from ``parent``.

    The rule is that of Ultralytics' ``intersect_dicts``, behind its log line
    "Transferred N/M items from pretrained weights".
    """
    return sum(parent.get(name) == shape for name, shape in network.items())


def finish_checkpoint(
    source: Path, target: Path, provenance: Mapping[str, Any]
) -> dict[str, float]:
    """Make the checkpoint to hand on: EMA weights in FP16, no optimizer, no path of this machine.

    Args:
        source: A checkpoint as Ultralytics' trainer saves it.
        target: File to write.
        provenance: See ``save_checkpoint``.

    Returns:
        The validation metrics in ``source``.

    Raises:
        CheckpointError: ``source`` does not hold what was saved.
    """
    saved = read_saved(source)
    arguments = dict(vars(saved.network.args))
    saved.network.args = {
        name: Path(str(value)).name if name in PATH_ARGUMENTS and value else value
        for name, value in arguments.items()
    }
    save_checkpoint(saved.network.float(), target, provenance)
    return saved.metrics
