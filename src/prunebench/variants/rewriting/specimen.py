"""YOLOv8n with random weights, as Ultralytics exports it, built without torch.

Passes are timed on it: every one finds its places there, and what a pass gains follows from the
operators and their shapes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import onnx

OPSET, IR_VERSION = 17, 9
BINS, SIDES, CLASSES = 16, 4, 7
STAGES = ((32, 1), (64, 2), (128, 2), (256, 1))
"""Width and inner blocks of what each halving of the pixels is followed by."""


def specimen(imgsz: tuple[int, int]) -> onnx.ModelProto:
    """The network for images of (height, width) pixels, multiples of 32."""
    from onnx import TensorProto, helper

    made = _Making()
    image, levels = made.activated("model.0", "images", 16, 3, stride=2), []
    for index, (width, blocks) in enumerate(STAGES):
        image = made.activated(f"model.{2 * index + 1}", image, width, 3, stride=2)
        image = made.c2f(f"model.{2 * index + 2}", image, width, blocks, shortcut=True)
        levels.append(image)
    _, fine, middle, _ = levels
    coarse = made.pooled("model.9", image, 256)
    middle = made.c2f("model.12", made.upsampled("model.10", coarse, middle), 128, 1)
    fine = made.c2f("model.15", made.upsampled("model.13", middle, fine), 64, 1)
    down = made.activated("model.16", fine, 64, 3, stride=2)
    middle = made.c2f("model.18", made.joined("model.17", [down, middle]), 128, 1)
    down = made.activated("model.19", middle, 128, 3, stride=2)
    coarse = made.c2f("model.21", made.joined("model.20", [down, coarse]), 256, 1)
    points, strides = anchors_of(imgsz)
    made.head("model.22", [fine, middle, coarse], points, strides)
    predicted = [1, SIDES + CLASSES, strides.size]
    graph = helper.make_graph(
        made.nodes,
        "specimen",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, *imgsz])],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, predicted)],
        made.stored,
    )
    opsets = [helper.make_opsetid("", OPSET)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)


def anchors_of(imgsz: tuple[int, int]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Anchor points in pixels of their level, (1, 2, anchors), and how many pixels those are."""
    points, strides = [], []
    for stride in (8, 16, 32):
        rows, columns = (np.arange(side // stride) + 0.5 for side in imgsz)
        points.append(np.stack(np.meshgrid(columns, rows)).reshape(1, 2, -1))
        strides.append(np.full((1, points[-1].shape[2]), stride))
    found = (np.concatenate(each, axis=-1).astype(np.float32) for each in (points, strides))
    return next(found), next(found)


class _Making:
    """Nodes and weights by the names Ultralytics' export gives them; ``widths`` of the tensors."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.stored: list[onnx.TensorProto] = []
        self._rng = np.random.default_rng(0)
        self._widths = {"images": 3}

    def add(self, kind: str, name: str, given: Sequence[str], width: int, **values: Any) -> str:
        from onnx import helper

        made = f"/{name}/{kind}_output_0"
        self.nodes.append(helper.make_node(kind, given, [made], f"/{name}/{kind}", **values))
        self._widths[made] = width
        return made

    def store(self, name: str, value: NDArray[Any]) -> str:
        from onnx import numpy_helper

        self.stored.append(numpy_helper.from_array(value, name))
        return name

    def conv(self, name: str, image: str, width: int, kernel: int, *, stride: int = 1) -> str:
        shape = (width, self._widths[image], kernel, kernel)
        weight = self._rng.standard_normal(shape, np.float32) / np.sqrt(np.prod(shape[1:]))
        stored = [
            self.store(f"{name}.weight", weight.astype(np.float32)),
            self.store(f"{name}.bias", np.zeros(width, np.float32)),
        ]
        geometry = {
            "kernel_shape": [kernel] * 2,
            "strides": [stride] * 2,
            "pads": [kernel // 2] * 4,
        }
        return self.add("Conv", name.replace(".conv", "/conv"), [image, *stored], width, **geometry)

    def activated(self, name: str, image: str, width: int, kernel: int, *, stride: int = 1) -> str:
        made = self.conv(f"{name}.conv", image, width, kernel, stride=stride)
        gate = self.add("Sigmoid", f"{name}/act", [made], width)
        return self.add("Mul", f"{name}/act", [made, gate], width)

    def c2f(self, name: str, image: str, width: int, blocks: int, *, shortcut: bool = False) -> str:
        from onnx import helper

        whole, half = self.activated(f"{name}.cv1", image, width, 1), width // 2
        parts = [f"/{name}/Split_output_{index}" for index in range(2)]
        sizes = self.store(f"{name}.sizes", np.array([half, half]))
        self.nodes.append(
            helper.make_node("Split", [whole, sizes], parts, f"/{name}/Split", axis=1)
        )
        self._widths |= dict.fromkeys(parts, half)
        for index in range(blocks):
            inner, made = f"{name}.m.{index}", parts[-1]
            for conv in ("cv1", "cv2"):
                made = self.activated(f"{inner}.{conv}", made, half, 3)
            parts.append(self.add("Add", inner, [parts[-1], made], half) if shortcut else made)
        return self.activated(f"{name}.cv2", self.joined(name, parts), width, 1)

    def joined(self, name: str, parts: Sequence[str]) -> str:
        return self.add("Concat", name, parts, sum(self._widths[part] for part in parts), axis=1)

    def pooled(self, name: str, image: str, width: int) -> str:
        parts = [self.activated(f"{name}.cv1", image, width // 2, 1)]
        geometry = {"kernel_shape": [5, 5], "pads": [2] * 4}
        for index in range(3):
            pool = self.add("MaxPool", f"{name}/m.{index}", parts[-1:], width // 2, **geometry)
            parts.append(pool)
        return self.activated(f"{name}.cv2", self.joined(name, parts), width, 1)

    def upsampled(self, name: str, image: str, beside: str) -> str:
        scales = self.store(f"{name}.scales", np.array([1, 1, 2, 2], np.float32))
        nearest = {"mode": "nearest", "nearest_mode": "floor"}
        nearest["coordinate_transformation_mode"] = "asymmetric"
        large = self.add("Resize", name, [image, "", scales], self._widths[image], **nearest)
        return self.joined(f"{name}.joined", [large, beside])

    def head(
        self, name: str, levels: Sequence[str], points: NDArray[Any], strides: NDArray[Any]
    ) -> None:
        rows = []
        for branch, width in (("cv2", SIDES * BINS), ("cv3", CLASSES)):
            shape = self.store(f"{name}.{branch}.shape", np.array([1, width, -1]))
            flat = []
            for index, image in enumerate(levels):
                one = f"{name}.{branch}.{index}"
                for inner in range(2):
                    image = self.activated(f"{one}.{inner}", image, 64, 3)
                last = self.conv(f"{one}.2", image, width, 1)
                flat.append(self.add("Reshape", one, [last, shape], width))
            rows.append(self.add("Concat", f"{name}.{branch}", flat, width, axis=2))
        logits, scores = rows
        anchors = strides.size
        bins = self.store(f"{name}.bins", np.array([1, SIDES, BINS, anchors]))
        split = self.add("Reshape", f"{name}.bins", [logits, bins], SIDES)
        turned = self.add("Transpose", f"{name}/dfl", [split], BINS, perm=[0, 2, 1, 3])
        powers = self.add("Softmax", f"{name}/dfl", [turned], BINS, axis=1)
        levels_of = np.arange(BINS, dtype=np.float32).reshape(1, BINS, 1, 1)
        weight = self.store(f"{name}.dfl.conv.weight", levels_of)
        length = self.add("Conv", f"{name}/dfl/conv", [powers, weight], 1)
        flat_shape = self.store(f"{name}.sides", np.array([1, SIDES, anchors]))
        sides = self.add("Reshape", f"{name}/dfl", [length, flat_shape], SIDES)
        score = self.add("Sigmoid", name, [scores], CLASSES)
        self.joined("output", [self.boxes(name, sides, points, strides), score])
        self.nodes[-1].output[0] = "output0"

    def boxes(self, name: str, sides: str, points: NDArray[Any], strides: NDArray[Any]) -> str:
        constants = {"points": points, "strides": strides, "two": np.array(2, np.float32)}
        constants |= {str(number): np.array([number]) for number in (0, 1, 2, 4)}
        known = {key: self.store(f"{name}.{key}", value) for key, value in constants.items()}
        ends = (("near", "0", "2"), ("far", "2", "4"))
        lengths = [
            self.add("Slice", f"{name}/{end}", [sides, known[first], known[last], known["1"]], 2)
            for end, first, last in ends
        ]
        near = self.add("Sub", f"{name}/near", [known["points"], lengths[0]], 2)
        far = self.add("Add", f"{name}/far", [known["points"], lengths[1]], 2)
        both = self.add("Add", f"{name}/both", [near, far], 2)
        middle = self.add("Div", f"{name}/middle", [both, known["two"]], 2)
        size = self.add("Sub", f"{name}/size", [far, near], 2)
        boxes = self.joined(f"{name}/boxes", [middle, size])
        return self.add("Mul", f"{name}/pixels", [boxes, known["strides"]], SIDES)
