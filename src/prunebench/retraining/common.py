"""What every training shares: Ultralytics kept local, checkpoints read, compared and finished."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prunebench.errors import CheckpointError

INTEGRATIONS = ("clearml", "comet", "dvc", "mlflow", "raytune", "tensorboard", "wandb")
"""Experiment trackers that Ultralytics switches on by itself where they are installed."""

PRIVATE_ARGUMENTS = ("data", "model", "project", "name", "save_dir", "resume", "distill_model")
"""Training arguments that hold paths of the machine a checkpoint was trained on."""


def isolate_ultralytics() -> None:
    """Switch off analytics and experiment trackers for this process.

    The user's own Ultralytics settings file is left as it is.
    """
    from ultralytics.utils import SETTINGS
    from ultralytics.utils.events import events

    # SETTINGS.update and SETTINGS[...] = ... would write the file.
    dict.update(SETTINGS, {"sync": False, **dict.fromkeys(INTEGRATIONS, False)})
    events.enabled = False


def load_network(path: Path) -> Any:
    """Load a checkpoint's network in FP32, trainable, with its training-only state dropped.

    Returns:
        The Ultralytics ``DetectionModel`` or ``SegmentationModel``, in evaluation mode.

    Raises:
        CheckpointError: The file is missing or unreadable, of another task, or already fused.
    """
    from ultralytics.nn.tasks import load_checkpoint

    if not path.is_file():
        raise CheckpointError("the checkpoint does not exist", where=path, fix="check the path")
    try:
        network, _ = load_checkpoint(path)
    except Exception as error:
        # Ultralytics raises TypeError, RuntimeError, EOFError, pickle and zip errors here.
        raise CheckpointError(
            "the file is no readable Ultralytics checkpoint",
            where=path,
            fix="give a .pt file that YOLO(...) opens",
        ) from error
    if network.task not in ("detect", "segment"):
        raise CheckpointError(
            f"a checkpoint for {network.task} cannot be retrained",
            where=path,
            fix="use a detection or segmentation checkpoint",
        )
    if network.is_fused():
        raise CheckpointError(
            "BatchNorm is already folded into the convolutions, so it cannot be trained",
            where=path,
            fix="give the checkpoint from before fuse() or export",
        )
    network.criterion = None
    for parameter in network.parameters():
        parameter.requires_grad_(True)
    return network


def saved_network(path: Path) -> Any:
    """The network in a checkpoint as a trainer has just saved it, in FP16.

    Raises:
        CheckpointError: The file does not hold what was saved.
    """
    from ultralytics.nn.distill_model import DistillationModel
    from ultralytics.utils.patches import torch_load

    try:
        network = torch_load(path, map_location="cpu")["ema"]
    except Exception as error:
        raise CheckpointError("the saved checkpoint cannot be read back", where=path) from error
    return network.student_model if isinstance(network, DistillationModel) else network


def shapes_of(network: Any) -> dict[str, tuple[int, ...]]:
    """Shape of every tensor of a network (parameters and buffers), by name."""
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


def shape_signature(network: Any) -> str:
    """SHA-256 of the names and shapes of a network's tensors: equal for equal structures."""
    lines = (f"{name} {shape}\n" for name, shape in sorted(shapes_of(network).items()))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


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


def finish_checkpoint(source: Path, target: Path) -> dict[str, float]:
    """Make a checkpoint to hand on: EMA weights in FP16, no optimizer, no path of this machine.

    Args:
        source: A checkpoint as Ultralytics' trainer saves it.
        target: Written under a temporary name, then renamed.

    Returns:
        The metrics Ultralytics measured when it saved ``source``.

    Raises:
        CheckpointError: ``source`` is no Ultralytics checkpoint.
    """
    import torch
    from ultralytics.utils.torch_utils import strip_optimizer

    partial = target.with_name(f".{target.name}.partial")
    try:
        checkpoint = strip_optimizer(source, s=str(partial))
        if not checkpoint:
            raise CheckpointError("the file is no Ultralytics checkpoint", where=source)
        network = checkpoint["model"]
        arguments = _without_paths(checkpoint["train_args"])
        network.args = dict(arguments)
        network.pt_path = target.name
        checkpoint.update(train_args=arguments, git=None, train_results=None)
        with partial.open("wb") as stream:
            torch.save(checkpoint, stream)
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    metrics = checkpoint.get("train_metrics") or {}
    return {name: float(value) for name, value in metrics.items() if value is not None}


def _without_paths(arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: Path(str(value)).name if name in PRIVATE_ARGUMENTS and value else value
        for name, value in arguments.items()
    }
