"""Checkpoints that a training has just saved: read back, compared with its start, and finished."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prunebench.common.errors import CheckpointError, StructureChanged
from prunebench.variants.checkpoint import parameter_count, save_checkpoint

STEP = "train"

PATH_ARGUMENTS = ("data", "model", "project", "save_dir", "resume", "distill_model")
"""Training arguments that may hold a path of the machine a checkpoint was trained on."""


def read_saved(path: Path) -> tuple[Any, dict[str, float]]:
    """Read back the network of a checkpoint that has just been saved, and its validation metrics.

    The network is in FP16, the EMA's in training and the student's in distillation; the metrics are
    by Ultralytics' names, and empty in a final file.
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
    # A classification network is saved without them, or with those it was given.
    network.args = dict(content.get("train_args") or {})
    metrics = content.get("train_metrics") or {}
    return network, {name: float(value) for name, value in metrics.items() if value is not None}


def tensor_shapes(network: Any) -> dict[str, tuple[int, ...]]:
    """Shape of every tensor of a network (parameters and buffers), by name."""
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


def check_structure(network: Any, parent: Any, what: str) -> None:
    """Raise ``StructureChanged`` unless the tensors of both have the same names and shapes."""
    if tensor_shapes(network) != tensor_shapes(parent):
        raise StructureChanged(
            STEP,
            f"{what} has {parameter_count(network):,} parameters in another structure, "
            f"its parent {parameter_count(parent):,}",
        )


def finish_checkpoint(
    source: Path, target: Path, provenance: Mapping[str, Any]
) -> dict[str, float]:
    """Make the checkpoint to hand on, without paths of this machine; its validation metrics."""
    network, metrics = read_saved(source)
    network.args = {
        name: Path(str(value)).name if name in PATH_ARGUMENTS and value else value
        for name, value in network.args.items()
    }
    save_checkpoint(network.float(), target, provenance)
    return metrics
