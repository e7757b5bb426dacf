"""A small detector made by hand, images, and labels that are what it detects on them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from prunebench.config.sections import LatencyConfig
from prunebench.measuring.inference import OnnxNetwork, read_input
from prunebench.measuring.postprocess import decode_and_nms
from prunebench.measuring.session import SessionSettings
from prunebench.variants.int8.step import Request

IMGSZ = (64, 96)
NAMES = {0: "a", 1: "b", 2: "c"}
SESSION = SessionSettings.of(LatencyConfig())
STRIDE, SIDE, WIDTH, DEPTH = 8, 10, 16, 8
CELLS = (IMGSZ[0] // STRIDE, IMGSZ[1] // STRIDE)
METADATA = {"task": "detect", "names": str(NAMES), "imgsz": str(list(IMGSZ)), "stride": "8"}


def write_detector(path: Path, *, hostile: int | None = None, opset: int = 17) -> Path:
    """A chain of convolutions with SiLU, a box and a score head, and their decoding in one output.

    Args:
        path: Where it goes.
        hostile: The result of this convolution gets one channel 10,000 times as large as the rest,
            which the next one divides again: in float nothing changes, on one scale of 8 bits all
            other channels become 0. Its SiLU is left out.
        opset: Operator set.
    """
    rng = np.random.default_rng(0)
    nodes: list[onnx.NodeProto] = []
    stored: dict[str, Any] = {}

    def conv(
        name: str, source: str, width: int, channels: int, kernel: int, stride: int, gain: float
    ) -> str:
        scale = gain / (channels * kernel * kernel) ** 0.5
        weight = rng.normal(0, scale, (width, channels, kernel, kernel)).astype(np.float32)
        stored[f"{name}.weight"] = weight
        stored[f"{name}.bias"] = rng.normal(0, 0.1, width).astype(np.float32)
        node = helper.make_node(
            "Conv",
            [source, f"{name}.weight", f"{name}.bias"],
            [f"{name}_out"],
            name=name,
            kernel_shape=[kernel] * 2,
            pads=[kernel // 2] * 4,
            strides=[stride] * 2,
        )
        nodes.append(node)
        return f"{name}_out"

    def make(kind: str, name: str, inputs: list[str], **attributes: Any) -> str:
        nodes.append(helper.make_node(kind, inputs, [f"{name}_out"], name=name, **attributes))
        return f"{name}_out"

    current, channels = "images", 3
    for index in range(DEPTH):
        step = STRIDE if index == 0 else 1
        plain = conv(f"c{index}.conv", current, WIDTH, channels, 3, step, gain=1.8)
        channels, current = WIDTH, plain
        if index != hostile:
            gate = make("Sigmoid", f"c{index}.sigmoid", [plain])
            current = make("Mul", f"c{index}.mul", [plain, gate])
    if hostile is not None:
        for tensor in ("weight", "bias"):
            stored[f"c{hostile}.conv.{tensor}"][0] *= 1e4
        stored[f"c{hostile + 1}.conv.weight"][:, 0] /= 1e4
    boxes = conv("box", current, 4, WIDTH, 1, 1, gain=0.5)
    scores = conv("score", current, len(NAMES), WIDTH, 1, 1, gain=1.8)
    rows, columns = np.indices(CELLS)
    place = (np.stack((columns, rows)) + 0.5) * STRIDE
    stored["place"] = np.concatenate((place, np.full((2, *CELLS), SIDE)))[None].astype(np.float32)
    stored["scores.shift"] = np.array(-1, np.float32)
    stored["flat"] = np.array([1, 4 + len(NAMES), -1])
    moved = make("Add", "decode.place", [boxes, "place"])
    rare = make("Add", "decode.shift", [scores, "scores.shift"])
    likely = make("Sigmoid", "decode.sigmoid", [rare])
    joined = make("Concat", "decode.concat", [moved, likely], axis=1)
    nodes.append(helper.make_node("Reshape", [joined, "flat"], ["output0"], name="decode.flat"))
    shape = [1, 4 + len(NAMES), CELLS[0] * CELLS[1]]
    graph = helper.make_graph(
        nodes,
        "detector",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, *IMGSZ])],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, shape)],
        initializer=[numpy_helper.from_array(value, name) for name, value in stored.items()],
    )
    imports = [helper.make_opsetid("", opset)]
    model = helper.make_model(graph, opset_imports=imports, ir_version=8)
    helper.set_model_props(model, METADATA)
    onnx.save(model, path)
    return path


def write_images(folder: Path, count: int = 12) -> tuple[Path, ...]:
    """Noise of one colour each, 108 x 72 pixels, in ``images``."""
    (folder / "images").mkdir(parents=True)
    paths = []
    for index in range(count):
        rng = np.random.default_rng(index)
        coarse = rng.integers(0, 256, (6, 9, 3), dtype=np.uint8)
        paths.append(folder / "images" / f"{index:02}.png")
        cv2.imwrite(str(paths[-1]), cv2.resize(coarse, (108, 72)))
    return tuple(paths)


def label(detector: Path, images: tuple[Path, ...]) -> None:
    """Label images with what a detector finds on them."""
    network = OnnxNetwork(detector, IMGSZ, SESSION)
    (images[0].parent.parent / "labels").mkdir()
    for path in images:
        tensor, factor, offset = read_input(path, IMGSZ, network.head)
        found = decode_and_nms(network(tensor)[0], len(NAMES), 0.3, 0.7, 300, multi_label=True)
        boxes = np.column_stack(((found[:, :2] + found[:, 2:4]) / 2, found[:, 2:4] - found[:, :2]))
        rows = (boxes - offset) / factor
        inside = (rows.min(axis=1) >= 0) & (rows.max(axis=1) <= 1)
        lines = [
            f"{int(kind)} " + " ".join(f"{value:.6f}" for value in row)
            for kind, row in zip(found[inside, 5], rows[inside], strict=True)
        ]
        target = path.parent.parent / "labels" / f"{path.stem}.txt"
        target.write_text("".join(f"{line}\n" for line in lines))


def request(detector: Path, images: tuple[Path, ...], **changes: Any) -> Request:
    values: dict[str, Any] = {
        "onnx": str(detector),
        "calibration": tuple(map(str, images)),
        "images": tuple(map(str, images)),
        "names": NAMES,
        "imgsz": IMGSZ,
        "confidence": 0.001,
        "iou": 0.7,
        "max_det": 300,
        "max_map50_loss": 0.05,
        "session": SESSION,
    }
    return Request.model_validate(values | changes)
