"""Ultralytics checkpoints: read with every check a user's file needs, written atomically in FP16.

Files are read by Ultralytics' restricted loader: it rebuilds the classes of Ultralytics and PyTorch
and refuses a file that would import anything else.
"""

from __future__ import annotations

import codecs
import copy
import io
import zipfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from prunebench.common.errors import CheckpointError
from prunebench.common.files import write_atomically
from prunebench.common.records import Record
from prunebench.common.text import first_line

if TYPE_CHECKING:
    from torch import nn

Network: TypeAlias = Any
"""A network of Ultralytics: a torch module whose ``yaml``, ``names`` ... are untyped there."""

Problem: TypeAlias = tuple[str, str | None]  # what is wrong with a file, and what to do

SUPPORTED_HEADS: Mapping[str, str] = {
    "Detect": "detect",
    "Segment": "segment",
    "Segment26": "segment",
}
"""Class of the last layer to the task it performs."""

PROVENANCE_KEY = "prunebench"
"""Key of our own entry in a checkpoint; Ultralytics keeps to its own keys and ignores it."""

TRANSIENT = ("args", "criterion", "pt_path")
TRANSIENT_IN_HEAD = ("shape", "anchors", "strides")
"""The grid of the last input; the class has defaults for them."""


class CheckpointInfo(Record):
    """What a checkpoint says about itself; ``None`` where it does not.

    Attributes:
        epochs: Epochs its training was asked for.
        imgsz: Square size in pixels it was trained at.
        provenance: What ``save_checkpoint`` was given, empty for other checkpoints.
    """

    task: str
    names: dict[int, str]
    parameters: int
    epochs: int | None
    imgsz: int | None
    provenance: dict[str, Any]


def load_checkpoint(path: Path, *, trust: bool = False) -> nn.Module:
    """Load the network of a checkpoint: float32, eval mode, on the CPU, gradients off.

    Args:
        path: An Ultralytics ``.pt`` file; an EMA in it is preferred, as Ultralytics does.
        trust: Load whatever the file holds, which runs its code.

    Raises:
        CheckpointError: The file is missing, damaged, of another kind, of an unsupported task,
            or its BatchNorm layers are folded already.
    """
    return read_checkpoint(path, trust=trust)[0]


def inspect_checkpoint(path: Path, *, trust: bool = False) -> CheckpointInfo:
    """Say what a checkpoint is; ``trust`` and the errors are as in ``load_checkpoint``."""
    return read_checkpoint(path, trust=trust)[1]


def read_checkpoint(path: Path, *, trust: bool = False) -> tuple[nn.Module, CheckpointInfo]:
    """Both of ``load_checkpoint`` and ``inspect_checkpoint``, reading the file once."""
    network, train_args, provenance = _load(path, trust)
    return network, CheckpointInfo(
        task=network.task,
        names=network.names,
        parameters=parameter_count(network),
        epochs=train_args.get("epochs"),
        imgsz=_side(train_args.get("imgsz")),
        provenance=provenance,
    )


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
    for tensor in network.state_dict().values():
        if tensor.is_floating_point():
            torch.nan_to_num_(tensor)
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
    return max((side for side in sides if isinstance(side, int)), default=None)


def _load(path: Path, trust: bool) -> tuple[Network, dict[str, Any], dict[str, Any]]:
    """The network, the arguments it was trained with, and our own entry."""
    _refuse(_container_problem(path), path)
    from ultralytics.nn import tasks
    from ultralytics.utils import DEFAULT_CFG_DICT

    ultralytics_tasks: Any = tasks
    try:
        content, _ = ultralytics_tasks.torch_safe_load(path, safe_only=not trust)
        network: Network = content.get("ema") or content.get("model")
    except Exception as error:  # a damaged pickle can raise anything
        if not trust:
            _name_foreign_imports(path)
        raise CheckpointError(
            f"it cannot be read as an Ultralytics checkpoint ({first_line(error)})",
            where=path,
            fix="give a checkpoint that Ultralytics wrote, made of its own classes only",
        ) from error
    _refuse(_network_problem(network, bool(content.get("modelopt"))), path)
    network = network.float().eval()
    network.requires_grad_(False)
    train_args = dict(content.get("train_args") or {})
    network.args = {**DEFAULT_CFG_DICT, **train_args}
    network.pt_path = str(path)
    network.task = getattr(network, "task", None) or ultralytics_tasks.guess_model_task(network)
    network.names = {int(index): str(name) for index, name in dict(network.names).items()}
    return network, train_args, dict(content.get(PROVENANCE_KEY) or {})


def _refuse(problem: Problem | None, path: Path) -> None:
    if problem is not None:
        what, fix = problem
        raise CheckpointError(what, where=path, fix=fix)


def _container_problem(path: Path) -> Problem | None:
    """Why a file is no intact PyTorch archive, and what to do, found without unpickling."""
    if not path.exists():
        return "the checkpoint does not exist", "check the path"
    if not path.is_file():
        return "this is not a file", "give a .pt file"
    if path.suffix != ".pt":
        return f"a checkpoint ends in .pt, not in {path.suffix or 'no suffix'}", "give a .pt file"
    try:
        with path.open("rb") as stream:
            start = stream.read(4096)
    except OSError as error:
        return f"it cannot be read ({error.strerror})", None
    if not start:
        return "the file is empty", "copy or train it again"
    if not start.startswith(b"PK\x03\x04"):
        kind = "a text file" if _is_text(start) else "no PyTorch archive"
        return f"it is {kind}, not a checkpoint", "give a .pt file of Ultralytics"
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if archive.testzip() is not None:
                return "the file is damaged", "copy or train it again"
    except (zipfile.BadZipFile, OSError, EOFError):
        return "the file is truncated", "copy or train it again"
    if any(name.endswith("/constants.pkl") for name in names):
        return "it is a TorchScript archive", "give the .pt it was exported from"
    if not any(name.endswith("/data.pkl") for name in names):
        return "it is a zip archive, but no PyTorch checkpoint", "give a .pt file of Ultralytics"
    return None


def _name_foreign_imports(path: Path) -> None:
    """Say what a file that the restricted loader refused would import, where that can be read."""
    from torch.serialization import get_unsafe_globals_in_checkpoint

    try:
        # The loader has allowed what it knows of the file, so the rest is foreign.
        foreign = sorted(get_unsafe_globals_in_checkpoint(path))
    except Exception:  # the unpickler's errors on a damaged file are of many kinds
        return
    if foreign:
        raise CheckpointError(
            f"loading it would import {', '.join(foreign)}, which no Ultralytics checkpoint does",
            where=path,
            fix="give a checkpoint of Ultralytics' own classes; `prunebench audit --trust` reads "
            "this one all the same, which runs the code in it",
        )


def _network_problem(network: Any, quantized: bool) -> Problem | None:
    """Why what a checkpoint holds cannot be pruned, and what to do."""
    from torch import nn

    if not isinstance(network, nn.Module):
        fix = "save it with Ultralytics, which stores the whole network"
        return "it holds weights but no network", fix
    layers = getattr(network, "model", None)
    head = type(layers[-1]).__name__ if isinstance(layers, nn.Sequential) else None
    if head not in SUPPORTED_HEADS:
        tasks = " or ".join(sorted(set(SUPPORTED_HEADS.values())))
        what = f"its network ends in {head}" if head else "it is not a YOLO network"
        fix = "give a YOLOv8, YOLO11 or YOLO26 checkpoint of such a task"
        return f"{what}, but only {tasks} models are supported", fix
    if quantized:
        return "it is quantized", "give the float checkpoint it was made from"
    if not any(isinstance(module, nn.BatchNorm2d) for module in network.modules()):
        what = "its BatchNorm layers are folded already (a fused model)"
        return what, "give the checkpoint as training wrote it"
    return None


def _is_text(start: bytes) -> bool:
    try:
        # Incrementally: a character may be cut at the end of what was read.
        codecs.getincrementaldecoder("utf-8")().decode(start)
    except UnicodeDecodeError:
        return False
    return b"\x00" not in start
