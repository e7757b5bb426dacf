"""Checkpoints as ``torch.save`` can write them."""

from __future__ import annotations

import copy
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from hostile_kit import Case, checkpoint, other_network
from pruning_kit import NAMES, prune_uniformly, tiny_network
from torch.nn.utils import prune
from ultralytics.utils import loss

AUDIT = "audit {inputs}/model.pt"
INIT = "init --model {inputs}/model.pt --data {scenes}"
PLAN = "plan --model {inputs}/model.pt --data {scenes} image.height=64 image.width=64"
EVERY = (AUDIT, INIT, PLAN)
RUN = PLAN.replace("plan", "run", 1)

Change = Callable[[Any, dict[str, Any]], object]


def attribute(name: str, value: object) -> Change:
    return lambda network, content: setattr(network, name, value)


def without(name: str) -> Change:
    return lambda network, content: delattr(network, name)


def entry(name: str, value: object) -> Change:
    return lambda network, content: content.update({name: value})


def described(**values: object) -> Change:
    return lambda network, content: network.yaml.update(values)


def of_head(name: str, value: object) -> Change:
    return lambda network, content: setattr(network.model[-1], name, value)


def of_layer(name: str, value: object) -> Change:
    return lambda network, content: setattr(network.model[1].conv, name, value)


def weight(value: float, name: str = "model.1.conv.weight") -> Change:
    return lambda network, content: network.state_dict()[name][0].fill_(value)


def masks(network: Any, content: dict[str, Any]) -> None:
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d) and module.weight.requires_grad:
            prune.ln_structured(module, "weight", 0.3, n=1, dim=0)
    # The hooks cannot be pickled with every version of torch; the masks can.
    for module in network.modules():
        module._forward_pre_hooks.clear()
        if hasattr(module, "weight_mask"):
            module.weight = module.weight.detach()


def pruned_before(network: Any, content: dict[str, Any]) -> None:
    smaller = tiny_network("yolov8n")
    prune_uniformly(smaller, ratio=0.5, round_to=None)
    content["model"] = smaller.half()


def grey(network: Any, content: dict[str, Any]) -> None:
    content["model"] = copy.deepcopy(other_network(channels=1)).half()


def single_class(network: Any, content: dict[str, Any]) -> None:
    content["model"] = copy.deepcopy(other_network(names=("item",))).half()
    content["train_args"]["single_cls"] = True


def old_loss(kind: str) -> Change:
    """A network with the loss of Ultralytics 8.0.100 to 8.0.135, where it was defined then."""

    def change(network: Any, content: dict[str, Any]) -> None:
        base = getattr(loss, kind, object)
        found = type(kind, (base,), {"__module__": "ultralytics.yolo.utils.loss"})
        module = types.ModuleType("ultralytics.yolo.utils.loss")
        setattr(module, kind, found)
        sys.modules.update({"ultralytics.yolo.utils.loss": module})
        network.criterion = found.__new__(found)
        content["version"] = "8.0.120"

    return change


def saved(change: Change, **given: Any) -> Callable[[Path], object]:
    def make(folder: Path) -> None:
        checkpoint(change, **given)(folder)
        for name in [name for name in sys.modules if name.startswith("ultralytics.yolo")]:
            del sys.modules[name]

    return make


NOT_READ = {
    "names that are None": (attribute("names", None), "names no classes"),
    "no names": (without("names"), "names no classes"),
    "names that are a text": (attribute("names", "abc"), "class names are no list"),
    "names with a gap": (attribute("names", {0: "a", 2: "b"}), "not numbered from 0"),
    "names by name": (attribute("names", {"a": 0}), "not numbered from 0"),
    "fewer names than classes": (attribute("names", ["a", "b", "c"]), "7 classes, but names 3"),
    "a head of other classes": (of_head("nc", 3), "predicts 3 classes, but names 7"),
    "no description": (attribute("yaml", None), "description of its network (yaml) is missing"),
    "a description without layers": (attribute("yaml", {"nc": 7}), "(yaml) is missing"),
    "a description that cannot be built": (described(backbone=7), "(yaml) cannot be built"),
    "a description of something else": (described(head=[]), "(yaml) cannot be built"),
    "a description that fetches weights": (
        described(backbone=[[-1, 1, "TorchVision", [512, "resnet18", "DEFAULT", True, 2, True]]]),
        "its layer TorchVision would fetch weights",
    ),
    "a description that calls a helper": (
        described(backbone=[[-1, 1, "check_file", ["https://example.invalid/a.pt"]]]),
        "it knows no layer 'check_file'",
    ),
    "a description with code": (described(activation="exit(7)"), "(yaml) cannot be built"),
    "no stride": (of_head("stride", None), "stride of its head is missing"),
    "a stride of 0": (of_head("stride", torch.zeros(3)), "stride of its head is missing"),
    "a layer that is not split": (
        lambda network, content: delattr(network.model[2], "c"),
        "'C2f' object has no attribute 'c'",
    ),
    "a layer without its widths": (of_head("cv2", None), "its network does not run"),
    "weights that are not numbers": (weight(float("nan")), "model.1.conv.weight is not finite"),
    "weights without end": (weight(float("inf")), "model.1.conv.weight is not finite"),
    "a variance without end": (
        weight(float("inf"), "model.3.bn.running_var"),
        "model.3.bn.running_var is not finite",
    ),
    "a layer of another width": (of_layer("out_channels", 3), "is said to have 3 channels"),
    "one input channel": (grey, "it takes 1 input channel, but images are read with 3"),
    "masks": (masks, "masks of torch.nn.utils.prune are still on it"),
    "no network": (entry("model", None), "holds weights but no network"),
    "weights alone": (entry("model", {"a": torch.zeros(3)}), "holds weights but no network"),
    "a number for a network": (entry("model", 7), "holds weights but no network"),
    "a layer for a network": (entry("model", torch.nn.Conv2d(3, 8, 3)), "not a YOLO network"),
    "a quantized network": (entry("modelopt", {"a": 1}), "it is quantized"),
    "a loss that is gone": (
        old_loss("Loss"),
        "Ultralytics 8.0.120 wrote it, with ultralytics.yolo.utils.loss.Loss, which this version "
        "does not have; convert it once with the version that wrote it",
    ),
}

READ = {
    "names that are a list": (attribute("names", list(NAMES.values())), "unpruned"),
    "names by text": (attribute("names", {str(i): n for i, n in NAMES.items()}), "unpruned"),
    "names that are numbers": (attribute("names", list(range(7))), "unpruned"),
    "no arguments": (entry("train_args", None), "unpruned"),
    "arguments that are a list": (entry("train_args", [1, 2]), "unpruned"),
    "arguments in a namespace": (
        entry("train_args", types.SimpleNamespace(imgsz=64).__dict__),
        "unpruned",
    ),
    "arguments of other kinds": (entry("train_args", {"imgsz": "x", "epochs": -3}), "unpruned"),
    "an entry of ours that is none": (entry("prunebench", 7), "unpruned"),
    "an entry of ours of other kinds": (
        entry("prunebench", {"left_alone": 3, "imgsz": ["a", 7]}),
        "unpruned",
    ),
    "an entry of ours that is no JSON": (entry("prunebench", {0: {1, 2}}), "unpruned"),
    "another task": (attribute("task", "obb"), "unpruned"),
    "an old loss": (old_loss("v8DetectionLoss"), "unpruned"),
    "a network that was pruned before": (pruned_before, "pruned"),
}


def two_names(folder: Path) -> None:
    """Two networks under names that Ultralytics takes for one."""
    checkpoint(file="yolov5n.pt")(folder)
    checkpoint(pruned_before, file="yolov5nu.pt")(folder)


CASES = (
    *(
        Case(name, saved(change), command, 2, says)
        for name, (change, says) in NOT_READ.items()
        for command in EVERY
    ),
    *(
        Case(name, saved(change), command, 0, says)
        for name, (change, says) in READ.items()
        for command in (AUDIT,)
    ),
    Case("two names for one", two_names, "audit {inputs}/yolov5n.pt", 0, "unpruned"),
    Case("its other name", two_names, "audit {inputs}/yolov5nu.pt", 0, "pruned: 57 of 64"),
    Case("a name that is there", two_names, "audit {inputs}/yolov5s.pt", 2, "does not exist"),
    Case(
        "a quote in the path",
        checkpoint(file="John's models/best.pt"),
        """audit "{inputs}/John's models/best.pt" """,
        0,
        "unpruned",
    ),
    Case(
        "a question mark in the path",
        checkpoint(file="really?/best?v=2.pt"),
        "audit '{inputs}/really?/best?v=2.pt'",
        0,
        "unpruned",
    ),
    Case(
        "blanks around the name",
        checkpoint(file=" best .pt"),
        "audit '{inputs}/ best .pt'",
        0,
        "unpruned",
    ),
    Case(
        "a stride of 64",
        checkpoint(description="yolov8n-p6"),
        "plan --model {inputs}/model.pt --data {scenes} image.height=96 image.width=160",
        2,
        "image.height: 96 is not a multiple of 64, the nearest is 128; the stride of this network",
    ),
    Case("a stride of 64", checkpoint(description="yolov8n-p6"), INIT, 0, "prunebench.yaml"),
    Case("YOLO12", checkpoint(description="yolo12n"), INIT, 0, "prunebench.yaml"),
    Case("YOLO12", checkpoint(description="yolo12n"), AUDIT, 0, "unpruned"),
    *(
        Case(
            f"{name}, which cannot be pruned",
            lambda folder: None,
            f"init --model {name}.yaml --data {{scenes}}",
            2,
            says,
        )
        for name, says in {
            "yolov8s-world": "it ends in model.23 (WorldDetect)",
            "rtdetr-l": "it ends in model.28 (RTDETRDecoder)",
        }.items()
    ),
    Case(
        "YOLOv10",
        lambda folder: None,
        "init --model yolov10n.yaml --data {scenes}",
        0,
        "prunebench.yaml",
    ),
    Case(
        "a head that it does not have",
        checkpoint(),
        f"{PLAN} export.head=one_to_one",
        2,
        "has no one-to-one head beside the one that needs an NMS",
    ),
    Case("a class for all objects", checkpoint(single_class), INIT, 0, "prunebench.yaml"),
    Case(
        "a class for all objects",
        checkpoint(single_class),
        f"{PLAN} single_cls=true",
        0,
        "Every object of the data counts as one class, item (single_cls).",
    ),
    Case(
        "a class for all objects",
        checkpoint(single_class),
        PLAN,
        0,
        "data of several classes need single_cls: true",
    ),
    Case(
        "a class for all objects of seven classes",
        checkpoint(),
        f"{PLAN} single_cls=true",
        2,
        "single_cls: the model tells 7 classes apart; set it to false",
    ),
    *(
        Case(name, saved(NOT_READ[name][0]), RUN, 2, NOT_READ[name][1])
        for name in ("fewer names than classes", "weights that are not numbers")
    ),
    Case(
        "a stride of 64",
        checkpoint(description="yolov8n-p6"),
        RUN.replace("64", "96"),
        2,
        "image.height: 96 is not a multiple of 64",
    ),
    Case(
        "a network Ultralytics does not have",
        lambda folder: None,
        "init --model yolo99n.yaml --data {scenes}",
        2,
        "yolo99n.yaml: there is no such network description",
    ),
    Case(
        "a dataset for a network",
        lambda folder: None,
        "init --model coco8.yaml --data {scenes}",
        2,
        "it describes no network that can be pruned (its backbone and head are no lists of layers)",
    ),
    Case(
        "a classifier of objects",
        lambda folder: None,
        "init --model yolov8n-cls.yaml --data {scenes}",
        2,
        "the dataset labels objects, but a classification model needs classes of images",
    ),
    Case(
        "a network whose channels cannot be followed",
        lambda folder: None,
        "plan --model yolov9c.yaml --data {scenes}",
        2,
        "it cannot be pruned: the channels of model.3 (ADown) cannot be followed",
    ),
    Case(
        "a target out of reach",
        checkpoint(),
        PLAN + " prune.target='100 parameters'",
        2,
        "the target 100-parameters is beyond the narrowest network",
    ),
    Case(
        "a module that is not there",
        checkpoint(),
        PLAN + " prune.ignore=[model.99]",
        2,
        "the network has no module 'model.99'",
    ),
)
