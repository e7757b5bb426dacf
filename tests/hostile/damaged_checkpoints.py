"""A checkpoint, damaged as bytes, as an archive, or with other values in it."""

from __future__ import annotations

import contextlib
import copy
import functools
import io
import zipfile
from pathlib import Path
from random import Random
from typing import Any

import torch
from hostile_kit import good_data
from pruning_kit import prune_uniformly, tiny_network
from torch import nn

from tests.hostile.damage import damaged, mutated, odd_value, shared_folder

COMMANDS = (
    ("audit", "{model}"),
    ("audit", "{model}"),
    ("audit", "--json", "{model}"),
    ("init", "--model", "{model}", "--data", "{data}"),
    ("plan", "--model", "{model}", "--data", "{data}", "image.height=64", "image.width=64"),
)
NAMES = ("model.pt", "model.pt", "yolov5n.pt", "it's.pt", " a .pt", "모델?.pt", "yolo99n.pt")
ATTRIBUTES = (
    "names",
    "yaml",
    "task",
    "stride",
    "nc",
    "model",
    "save",
    "args",
    "inplace",
    "end2end",
)
OF_A_LAYER = (
    *("i", "f", "type", "np", "stride", "padding", "groups", "in_channels", "out_channels", "eps"),
    *("c", "add", "act", "cv1", "cv2", "conv", "bn", "nc", "nl", "reg_max", "dfl", "training"),
)


@functools.cache
def data() -> Path:
    return good_data(shared_folder())


@functools.cache
def networks() -> tuple[Any, ...]:
    pruned = tiny_network("yolov8n")
    prune_uniformly(pruned, ratio=0.5, round_to=None)
    return tiny_network("yolov8n").half(), pruned.half(), tiny_network("yolo11n-seg").half()


def checkpoint(rng: Random, folder: Path) -> list[str]:
    """A checkpoint and a command that opens it."""
    content: dict[str, Any] = {
        "epoch": -1,
        "model": copy.deepcopy(rng.choice(networks())),
        "ema": None,
        "train_args": {"imgsz": 64, "epochs": 3, "task": "detect", "data": "a.yaml"},
        "date": "2026-01-01",
        "version": "8.3.0",
        "prunebench": {"left_alone": {"a": {"reason": "untraced"}}, "imgsz": [64, 96]},
    }
    for _ in range(rng.choice([0, 1, 1, 2])):
        content = rng.choice(CHANGES)(rng, content)
    path = folder / rng.choice(NAMES)
    stream = io.BytesIO()
    torch.save(content, stream)
    written = stream.getvalue()
    if rng.random() < 0.15:
        written = damaged(rng, written)
    elif rng.random() < 0.2:
        written = rezipped(rng, written)
    path.write_bytes(written)
    given = {"model": path, "data": data()}
    return [part.format(**given) for part in rng.choice(COMMANDS)]


def rezipped(rng: Random, content: bytes) -> bytes:
    """An intact archive with one member gone, damaged, or under another name."""
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(stream, "w") as new:
        members = old.namelist()
        chosen = rng.choice([*members, *(n for n in members if n.endswith(".pkl"))])
        for name in members:
            held = old.read(name)
            if name != chosen:
                new.writestr(name, held)
            elif (kind := rng.random()) < 0.6:
                new.writestr(name, damaged(rng, held))
            elif kind < 0.8:
                new.writestr(rng.choice(["../out", "/etc/a", "model/data.pkl", "a b"]), held)
    return stream.getvalue()


def odd(rng: Random) -> Any:
    """A value that ``torch.save`` can write and nobody expects."""
    own = [torch.zeros(3), torch.tensor(float("nan")), torch.zeros(0), nn.Conv2d(3, 8, 3), (1, 2)]
    return (
        rng.choice([*own, nn.Identity(), slice(0), b"x", {1}])
        if rng.random() < 0.4
        else (odd_value(rng))
    )


def of_the_content(rng: Random, content: Any) -> Any:
    if rng.random() < 0.1:
        return rng.choice([odd(rng), [content], content["model"], content["model"].state_dict()])
    key = rng.choice(sorted(content))
    if key == "train_args" and rng.random() < 0.7:
        return content | {key: mutated(rng, content[key])}
    if rng.random() < 0.2:
        return {name: value for name, value in content.items() if name != key}
    return content | {key: odd(rng)}


def of_the_network(rng: Random, content: Any) -> Any:
    network, name = content["model"], rng.choice(ATTRIBUTES)
    value = getattr(network, name, None)
    if isinstance(value, dict | list) and rng.random() < 0.7:
        value = mutated(rng, value)
    else:
        value = odd(rng)
    set_on(network, name, value)
    return content


def of_the_description(rng: Random, content: Any) -> Any:
    network = content["model"]
    network.yaml = mutated(rng, mutated(rng, copy.deepcopy(network.yaml)))
    return content


def of_a_layer(rng: Random, content: Any) -> Any:
    modules = [*content["model"].modules()]
    name = rng.choice(OF_A_LAYER)
    having = [module for module in modules if hasattr(module, name)] or modules
    module = rng.choice(having)
    if rng.random() < 0.2 and hasattr(module, name):
        with contextlib.suppress(AttributeError):  # what its class has stays
            delattr(module, name)
    else:
        set_on(module, name, odd(rng))
    return content


def of_the_weights(rng: Random, content: Any) -> Any:
    modules = [m for m in content["model"].modules() if getattr(m, "weight", None) is not None]
    module: Any = rng.choice(modules)
    weight = module.weight.detach()
    changed = rng.choice(
        [
            *(weight * float("nan"), weight * float("inf"), weight * 0, weight[:0], weight[:-1]),
            *(weight[None], weight.to(torch.float64), weight.to(torch.int8), weight.to("meta")),
            *(weight.to(torch.complex64), weight.to_sparse(), weight.bfloat16(), weight.float()),
        ]
    )
    module.weight = nn.Parameter(changed, requires_grad=False)
    return content


def without_a_layer(rng: Random, content: Any) -> Any:
    holder = content["model"].model
    if rng.random() < 0.5:
        del holder[rng.randrange(len(holder))]
    else:
        holder[rng.randrange(len(holder))] = rng.choice([nn.Identity(), nn.Conv2d(3, 8, 3)])
    return content


def set_on(module: Any, name: str, value: Any) -> None:
    """Set an attribute that torch may keep as a module or a parameter."""
    for kept in (module._modules, module._parameters, module._buffers):
        kept.pop(name, None)
    setattr(module, name, value)


def once(change: Any) -> Any:
    """Leave content alone that an earlier change has made no checkpoint of."""

    def changed(rng: Random, content: Any) -> Any:
        known = isinstance(content, dict) and isinstance(content.get("model"), nn.Module)
        whole = known and isinstance(getattr(content["model"], "model", None), nn.Sequential)
        return change(rng, content) if whole else content

    return changed


CHANGES = [
    once(change)
    for change in (
        *(of_the_content, of_the_content, of_the_network, of_the_network, of_the_description),
        *(of_a_layer, of_a_layer, of_the_weights, without_a_layer),
    )
]
