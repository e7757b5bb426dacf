"""What can be wrong with a checkpoint, each as what it is and what to do about it."""

from __future__ import annotations

import ast
import codecs
import importlib
import itertools
import pickletools
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

from prunebench.common.text import first_line
from prunebench.config.sections import STRIDE

Fault: TypeAlias = tuple[str, str | None]

CHANNELS = 3  # Images are read in colour.
TRAIN_AGAIN = "train it again"
MASKS = "torch.nn.utils.prune."


def container_fault(path: Path) -> Fault | None:
    """Why a file is no intact PyTorch archive, found without unpickling."""
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


def import_fault(path: Path) -> Fault | None:
    """What a file that the restricted loader refused would import, where that can be read."""
    foreign = _foreign_imports(path)
    if not foreign:
        return None
    if any(name.startswith(MASKS) for name in foreign):
        return mask_fault()
    if all(name.startswith("ultralytics.") for name in foreign):
        writer = f"Ultralytics {_written_by(path) or 'of another version'}"
        return (
            f"{writer} wrote it, with {', '.join(foreign)}, which this version does not have",
            "convert it once with the version that wrote it: load it, set model.criterion to None "
            "and save it (see the page on checkpoints)",
        )
    return (
        f"loading it would import {', '.join(foreign)}, which no Ultralytics checkpoint does",
        "give a checkpoint of Ultralytics' own classes",
    )


def mask_fault() -> Fault:
    """Pruning by masks narrows no layer."""
    return (
        "masks of torch.nn.utils.prune are still on it, which make weights zero and no layer "
        "narrower",
        "take them off with torch.nn.utils.prune.remove, or give the checkpoint without them",
    )


def network_fault(network: Any, content: Mapping[Any, Any]) -> Fault | None:
    """Why what a checkpoint holds cannot be pruned and trained."""
    from torch import nn
    from ultralytics.nn.tasks import BaseModel

    from prunebench.measuring.heads import TASKS

    if not isinstance(network, nn.Module):
        fix = "save it with Ultralytics, which stores the whole network"
        return "it holds weights but no network", fix
    layers: Any = getattr(network, "model", None)
    is_yolo = isinstance(network, BaseModel) and isinstance(layers, nn.Sequential)
    head: Any = layers[-1] if is_yolo and layers else None
    kind = type(head).__name__
    if kind not in TASKS:
        fix = (
            "give a checkpoint of YOLOv3, 5, 6, 8 to 12 or 26 for detection, segmentation, pose, "
            "oriented boxes or classification"
        )
        if head is None:
            return "it is not a YOLO network", fix
        return (
            f"its network ends in model.{len(layers) - 1} ({kind}), which cannot be pruned",
            fix,
        )
    if content.get("modelopt"):
        return "it is quantized", "give the float checkpoint it was made from"
    if any(name.endswith("_mask") for name, _ in network.named_buffers()):
        return mask_fault()
    if not any(isinstance(module, nn.BatchNorm2d) for module in network.modules()):
        what = "its BatchNorm layers are folded already (a fused model)"
        return what, "give the checkpoint as training wrote it"
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d) and module.out_channels != len(module.weight):
            what = f"{name} is said to have {module.out_channels} channels"
            return f"{what}, and has {len(module.weight)}", TRAIN_AGAIN
    if (name := unstorable(network)) is not None:
        what = f"its weights are broken: {name} is not finite in the 16 bits they are stored in"
        return what, "train it again, with a lower learning rate (lr0)"
    return _names_fault(network, head) or _description_fault(network) or running_fault(network)


def unstorable(network: Any) -> str | None:
    """Name of the first tensor with a value that is not finite in the 16 bits of a checkpoint."""
    for name, tensor in network.state_dict().items():
        if tensor.is_floating_point() and not bool(tensor.half().isfinite().all()):
            return str(name)
    return None


def names_of(network: Any) -> dict[int, str] | None:
    """Class index to name as a network gives them, in a list or by number; ``None`` if not so."""
    names = getattr(network, "names", None)
    if isinstance(names, list | tuple):
        names = dict(enumerate(names))
    try:
        named = {int(index): str(name) for index, name in names.items()} if names else {}
    except (AttributeError, TypeError, ValueError):
        return None
    return dict(sorted(named.items())) if set(named) == set(range(len(named))) else None


def _classes_of(head: Any) -> int | None:
    from prunebench.measuring.heads import HEADS, TASKS

    try:
        return HEADS[TASKS[type(head).__name__]].classes_in(head)
    except (AttributeError, TypeError, ValueError):
        return None


def _names_fault(network: Any, head: Any) -> Fault | None:
    names, classes = names_of(network), _classes_of(head)
    fix = "give model.names one name for each class and save it again, or train it again"
    if names is None:
        return "its class names are no list and are not numbered from 0 on", fix
    if not names:
        return "it names no classes", fix
    if len(names) != classes:
        return f"it predicts {classes} classes, but names {len(names)}", fix
    return None


def _description_fault(network: Any) -> Fault | None:
    """``standard`` builds a network from the description, and an audit compares with that one."""
    import torch

    description = getattr(network, "yaml", None)
    if not (isinstance(description, dict) and {"backbone", "head"} <= description.keys()):
        return "the description of its network (yaml) is missing", TRAIN_AGAIN
    if (fault := layers_fault(description)) is not None:
        return f"the description of its network (yaml) cannot be built ({fault})", TRAIN_AGAIN
    stride = getattr(network.model[-1], "stride", getattr(network, "stride", None))
    if not (isinstance(stride, torch.Tensor) and stride.numel() and int(stride.min()) > 0):
        return "the stride of its head is missing", TRAIN_AGAIN
    first = next(module for module in network.modules() if isinstance(module, torch.nn.Conv2d))
    if first.in_channels != CHANNELS:
        counted = f"{first.in_channels} input channel{'' if first.in_channels == 1 else 's'}"
        return f"it takes {counted}, but images are read with {CHANNELS}", "train it on such images"
    return None


def layers_fault(description: Mapping[str, Any]) -> str | None:
    """Why a network's description is none of layers alone, of which Ultralytics calls each.

    It evaluates an activation, too.
    """
    from torch import nn
    from ultralytics.nn import tasks

    try:
        rows = [*description["backbone"], *description["head"]]
        layers = [(kind, list(arguments)) for _, _, kind, arguments in rows]
    except (KeyError, TypeError, ValueError):
        return "its backbone and head are no lists of layers"
    for kind, arguments in layers:
        where, _, name = str(kind).rpartition(".")
        known: Any = {"nn": nn, "": tasks}.get(where)
        if where == "torchvision.ops":
            # Here, because its import takes as long as torch's own and hardly a network needs it.
            known = importlib.import_module(where)
        if not _is_layer(getattr(known, name, None)):
            return f"it knows no layer {kind!r:.40}"
        if kind == "TorchVision" and arguments[2:3] not in ([None], ["None"]):
            return "its layer TorchVision would fetch weights, set its third argument to None"
    activation = description.get("activation")
    if not activation or _is_activation(activation):
        return None
    return f"its activation, {activation!r:.40}, is no layer of torch.nn"


def _is_layer(kind: Any) -> bool:
    from torch import nn

    return isinstance(kind, type) and issubclass(kind, nn.Module)


def _is_activation(text: Any) -> bool:
    """Whether it is written ``nn.ReLU()`` or ``torch.nn.LeakyReLU(0.1)``, with plain values."""
    from torch import nn

    try:
        call: Any = ast.parse(text.strip(), mode="eval").body
        values = [*call.args, *(keyword.value for keyword in call.keywords)]
        for value in values:
            ast.literal_eval(value)
        where, _, name = ast.unparse(call.func).rpartition(".")
    except (AttributeError, SyntaxError, TypeError, ValueError, RecursionError, MemoryError):
        return False
    return where in ("nn", "torch.nn") and _is_layer(getattr(nn, name, None))


def running_fault(network: Any) -> Fault | None:
    """Whether it runs at all, and as it is evaluated.

    Attributes of a layer may be missing, or belong to other widths.
    """
    import copy

    import torch

    from prunebench.measuring.heads.segment import COEFFICIENTS

    if (prototypes := getattr(network.model[-1], "nm", COEFFICIENTS)) != COEFFICIENTS:
        what = f"its masks are made of {prototypes} prototypes in place of {COEFFICIENTS}"
        return what, f"train a network of {COEFFICIENTS}, as Ultralytics describes them"
    side = 2 * max(STRIDE, int(network.stride.max()))
    try:
        with torch.no_grad():
            copy.deepcopy(network).float().eval()(torch.zeros(1, CHANNELS, side, side))
    except Exception as error:  # whatever a layer stumbles over
        return f"its network does not run ({first_line(error, 100)})", TRAIN_AGAIN
    return None


def _foreign_imports(path: Path) -> list[str]:
    """What a file imports beyond what the restricted loader has allowed, if it can be told."""
    from torch.serialization import get_unsafe_globals_in_checkpoint

    try:
        # The loader has allowed what it knows of the file, so the rest is foreign.
        return sorted(get_unsafe_globals_in_checkpoint(path))
    except Exception:  # the unpickler's errors on a damaged file are of many kinds
        return []


def _written_by(path: Path) -> str | None:
    """Version of Ultralytics that a checkpoint names, read without unpickling it."""
    with zipfile.ZipFile(path) as archive:
        pickled = next(name for name in archive.namelist() if name.endswith("/data.pkl"))
        program = archive.read(pickled)
    texts = [given for _, given, _ in pickletools.genops(program) if isinstance(given, str)]
    pairs = itertools.pairwise(texts)
    versions = (text for key, text in pairs if key == "version" and re.match(r"\d+\.\d+", text))
    return next(versions, None)


def _is_text(start: bytes) -> bool:
    try:
        # Incrementally: a character may be cut at the end of what was read.
        codecs.getincrementaldecoder("utf-8")().decode(start)
    except UnicodeDecodeError:
        return False
    return b"\x00" not in start
