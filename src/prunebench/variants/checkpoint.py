"""Ultralytics checkpoints: read with every check a user's file needs, written atomically in FP16.

Files are read by Ultralytics' restricted loader: it rebuilds the classes of Ultralytics and PyTorch
and refuses a file that would import anything else.
"""

from __future__ import annotations

import copy
import importlib
import io
import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from prunebench.common.errors import CheckpointError, StepError
from prunebench.common.files import write_atomically
from prunebench.common.records import Record
from prunebench.common.ultralytics_files import import_offline, plainly_named
from prunebench.config.sections import MOST_PIXELS, STRIDE
from prunebench.variants.checkpoint_faults import (
    Fault,
    container_fault,
    import_fault,
    names_of,
    network_fault,
    unstorable,
)

if TYPE_CHECKING:
    from torch import nn

Network: TypeAlias = Any
"""A network of Ultralytics: a torch module whose ``yaml``, ``names`` ... are untyped there."""

PROVENANCE_KEY = "prunebench"
"""Key of our own entry in a checkpoint; Ultralytics keeps to its own keys and ignores it."""

OLD_MODULES = {
    "loss": ("BboxLoss", "v8DetectionLoss", "v8SegmentationLoss", "v8PoseLoss"),
    "tal": ("TaskAlignedAssigner",),
}
"""Classes that Ultralytics 8.0.100 to 8.0.135 pickled with a network, below ``yolo.utils`` then."""

TRANSIENT = ("args", "criterion", "pt_path")
TRANSIENT_IN_HEAD = ("shape", "anchors", "strides")
"""The grid of the last input; the class has defaults for them."""


class CheckpointInfo(Record):
    """What a checkpoint says about itself; ``None`` where it does not.

    Attributes:
        stride: Sides of its images are multiples of it, in pixels.
        epochs: Epochs its training was asked for.
        imgsz: Square size in pixels it was trained at.
        single_cls: Whether every object was one class in its training.
        two_heads: Whether it has a head that needs an NMS, and one that does not.
        keypoints: Number of keypoints it predicts and values of each, where it does.
        provenance: What ``save_checkpoint`` was given, empty for other checkpoints.
    """

    task: str
    names: dict[int, str]
    parameters: int
    stride: int
    epochs: int | None
    imgsz: int | None
    single_cls: bool
    two_heads: bool = False
    keypoints: tuple[int, int] | None = None
    provenance: dict[str, Any]


def load_checkpoint(path: Path) -> nn.Module:
    """Load the network of an Ultralytics ``.pt`` file: float32, eval mode, CPU, gradients off.

    An EMA in it is preferred, as Ultralytics does. CheckpointError where it is missing, damaged, of
    another kind or task, or cannot be pruned and trained (``checkpoint_faults``).
    """
    network: nn.Module = load_parts(path)[0]
    return network


def load_parts(path: Path) -> tuple[Network, dict[str, Any], dict[str, Any]]:
    """The network as ``load_checkpoint`` does, the arguments of its training, and our own entry."""
    _refuse(container_fault(path), path)
    import_offline()
    from ultralytics.utils import DEFAULT_CFG_DICT

    from prunebench.measuring.heads import TASKS

    try:
        content = _unpickled(path)
        network: Network = content.get("ema") or content.get("model")
        _refuse(network_fault(network, content), path)
        network = network.float().eval()
        network.requires_grad_(False)
        train_args = _train_args(content)
        network.args = {**DEFAULT_CFG_DICT, **train_args}
        network.pt_path = str(path)
        head = network.model[-1]
        network.task, network.stride = TASKS[type(head).__name__], stride_of(head)
        network.names = names_of(network)
        if hasattr(network, "criterion"):
            del network.criterion
    except CheckpointError:
        raise
    except Exception as error:  # a damaged pickle can raise anything, and hold anything
        raise CheckpointError(
            "it cannot be read as an Ultralytics checkpoint: it is damaged, or none",
            where=path,
            fix="copy it again, or give one that Ultralytics wrote, of its own classes only",
        ) from error
    return network, train_args, _own_entry(content)


def inspect_checkpoint(path: Path) -> CheckpointInfo:
    """Say what a checkpoint is; the errors are those of ``load_checkpoint``."""
    return info_of(*load_parts(path))


def info_of(
    network: Network, train_args: Mapping[str, Any], provenance: Mapping[str, Any]
) -> CheckpointInfo:
    """What a loaded network, the arguments of its training and our own entry say."""
    epochs, side = train_args.get("epochs"), _side(train_args.get("imgsz"))
    return CheckpointInfo(
        task=network.task,
        names=network.names,
        parameters=parameter_count(network),
        stride=int(network.stride.max()),
        epochs=epochs if isinstance(epochs, int) and epochs > 0 else None,
        imgsz=side,
        single_cls=train_args.get("single_cls") is True,
        two_heads=has_two_heads(network),
        keypoints=keypoints_of(network),
        provenance=dict(provenance),
    )


def stride_of(head: Any) -> Any:
    """Pixels that sides of images are multiples of, a tensor; a classification head says none."""
    import torch

    return head.stride if hasattr(head, "stride") else torch.tensor([float(STRIDE)])


def has_two_heads(network: Network) -> bool:
    """Whether a network was trained with a head that needs an NMS and one that does not."""
    branches = (getattr(network.model[-1], name, None) for name in ("cv2", "one2one_cv2"))
    return all(branch is not None for branch in branches)


def keypoints_of(network: Network) -> tuple[int, int] | None:
    """Number of keypoints a network predicts and values of each; ``None`` where it does not."""
    given = getattr(network.model[-1], "kpt_shape", None)
    return None if given is None else (int(given[0]), int(given[1]))


def parameter_count(network: Network) -> int:
    """Number of parameters, BatchNorm apart unless it is folded."""
    return sum(parameter.numel() for parameter in network.parameters())


def save_checkpoint(network: Network, path: Path, provenance: Mapping[str, Any]) -> None:
    """Write a network as Ultralytics does: the whole module in FP16, without training state.

    The same network and provenance give the same bytes, so a step that is repeated does not
    invalidate what was made from its file. ``network.yaml`` is kept as it is: plain Ultralytics
    builds a new network from it when it trains.
    """
    import torch
    from ultralytics.utils import DEFAULT_CFG_KEYS

    network = copy.deepcopy(network).eval()
    given = getattr(network, "args", {})
    arguments = given if isinstance(given, Mapping) else vars(given)
    train_args = {k: v for k, v in arguments.items() if k in DEFAULT_CFG_KEYS}
    network.half().to(memory_format=torch.contiguous_format)
    # What loading and the last forward pass left behind belongs to this process, not to the file.
    for owner, names in ((network, TRANSIENT), (network.model[-1], TRANSIENT_IN_HEAD)):
        for name in names:
            owner.__dict__.pop(name, None)
    network.args = train_args
    for parameter in network.parameters():
        parameter.requires_grad = False
        parameter.grad = None
    if (broken := unstorable(network)) is not None:
        raise StepError("save", f"{broken} is not finite in the 16 bits that checkpoints store")
    content = {
        "epoch": -1,
        "model": network,
        **dict.fromkeys(("best_fitness", "ema", "updates", "optimizer")),
        "train_args": train_args,
        "version": version("ultralytics"),
        "license": "AGPL-3.0 License (https://ultralytics.com/license)",
        "docs": "https://docs.ultralytics.com",
        PROVENANCE_KEY: dict(provenance),
    }
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_atomically(path, buffer.getvalue())


def _side(imgsz: Any) -> int | None:
    """The square's side: Ultralytics keeps what was asked for, a number or a list."""
    sides = imgsz if isinstance(imgsz, list | tuple) else [imgsz]
    numbers = [side for side in sides if isinstance(side, int) and 0 < side <= MOST_PIXELS]
    return max(numbers, default=None)


def _unpickled(path: Path) -> Mapping[Any, Any]:
    import torch
    from ultralytics.nn import tasks

    torch.serialization.add_safe_globals(
        [
            (getattr(importlib.import_module(f"ultralytics.utils.{module}"), name), f"{old}.{name}")
            for module, names in OLD_MODULES.items()
            for name in names
            for old in [f"ultralytics.yolo.utils.{module}"]
        ]
    )
    ultralytics_tasks: Any = tasks
    try:
        with plainly_named(path) as (plain,):
            content: Mapping[Any, Any] = ultralytics_tasks.torch_safe_load(plain, safe_only=True)[0]
    except Exception:  # a damaged pickle can raise anything
        _refuse(import_fault(path), path)
        raise
    return content


def _train_args(content: Mapping[Any, Any]) -> dict[str, Any]:
    """Arguments of the training; what is no mapping of names says nothing."""
    given = content.get("train_args")
    pairs = given if isinstance(given, Mapping) else getattr(given, "__dict__", {})
    return {name: value for name, value in pairs.items() if isinstance(name, str)}


def _own_entry(content: Mapping[Any, Any]) -> dict[str, Any]:
    """What ``save_checkpoint`` was given; what is no JSON was not written by it."""
    given = content.get(PROVENANCE_KEY)
    try:
        plain = json.loads(json.dumps(given))
    except (TypeError, ValueError):
        return {}
    return plain if isinstance(plain, dict) else {}


def _refuse(fault: Fault | None, path: Path) -> None:
    if fault is not None:
        what, fix = fault
        raise CheckpointError(what, where=path, fix=fix)
