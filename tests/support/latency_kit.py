"""Tiny real detectors, images and synthetic samples for the latency tests."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from prunebench.common.records import sha256_of
from prunebench.measuring.latency.measure import Target
from prunebench.measuring.latency.raw import SENTINEL, Sample

IMGSZ = (64, 96)
NC = 3
ANCHORS = (IMGSZ[0] // 8) * (IMGSZ[1] // 8)


def write_detector(path: Path, depth: int) -> Target:
    """A detector with Ultralytics' output layout and ``depth`` convolutions, 32 channels wide.

    The weights keep the activations' size, and about a tenth of the scores exceed 0.25.
    """
    rng = np.random.default_rng(depth)
    nodes, weights, current, channels = [], [], "images", 3
    strides = [8] + [1] * depth
    for index, stride in enumerate(strides):
        last = index == len(strides) - 1
        width, kernel, pad = (4 + NC, 1, 0) if last else (32, 3, 1)
        gain = 0.26 if last else 1.0
        scale = gain / (channels * kernel * kernel) ** 0.5
        weight = rng.normal(0, scale, (width, channels, kernel, kernel)).astype(np.float32)
        weights.append(numpy_helper.from_array(weight, f"w{index}"))
        nodes.append(
            helper.make_node(
                "Conv",
                [current, f"w{index}"],
                [f"c{index}"],
                kernel_shape=[kernel, kernel],
                pads=[pad] * 4,
                strides=[stride, stride],
            )
        )
        current, channels = f"c{index}", width
    weights.append(numpy_helper.from_array(np.array([1, 4 + NC, -1]), "shape"))
    nodes.append(helper.make_node("Reshape", [current, "shape"], ["output0"]))
    graph = helper.make_graph(
        nodes,
        path.stem,
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, *IMGSZ])],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, [1, 4 + NC, ANCHORS])],
        initializer=weights,
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path
    )
    return Target(path.stem, path, sha256_of(path))


def write_segmenter(path: Path, prototypes: tuple[int, int]) -> None:
    """A segmentation network that finds the same ten objects apart on every image.

    Args:
        path: File to write.
        prototypes: (rows, columns) of its mask prototypes.
    """
    found = np.zeros((1, 4 + NC + 32, 10), dtype=np.float32)
    found[0, 0] = np.linspace(5, 90, 10)
    found[0, 1], found[0, 2], found[0, 3], found[0, 4:] = 32, 8, 60, 0.9
    rng = np.random.default_rng(0)
    outputs = {"output0": found, "output1": rng.random((1, 32, *prototypes), dtype=np.float32)}
    nodes = [
        helper.make_node("ReduceMin", ["images"], ["least"], keepdims=0),
        helper.make_node("Mul", ["least", "nothing"], ["zero"]),
    ]
    nodes += [helper.make_node("Add", ["zero", f"{name}s"], [name]) for name in outputs]
    constants = {"nothing": np.float32(0), **{f"{n}s": array for n, array in outputs.items()}}
    graph = helper.make_graph(
        nodes,
        path.stem,
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, *IMGSZ])],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, array.shape)
            for name, array in outputs.items()
        ],
        initializer=[numpy_helper.from_array(np.asarray(a), n) for n, a in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, {"task": "segment"})
    onnx.save(model, path)


def write_images(folder: Path, count: int = 3) -> list[Path]:
    paths = []
    for index in range(count):
        rng = np.random.default_rng(index)
        paths.append(folder / f"{index}.png")
        cv2.imwrite(str(paths[-1]), rng.integers(0, 256, (54, 96, 3), dtype=np.uint8))
    return paths


def sample(
    variant: str = "a", round_index: int = 0, ms: float = 10.0, threads: int = 1, **changes: object
) -> Sample:
    """A child run on a quiet host whose every inference took ``ms``."""
    values: dict[str, object] = {
        "round": round_index,
        "position": 0,
        "variant": variant,
        "threads": threads,
        "started_s": 0.0,
        "process_s": 1.0,
        "elapsed_s": 1.0,
        "load_ms": 50.0,
        "first_ms": 2 * ms,
        "model_ms": (ms,) * 10,
        "model_slices": (5, 5),
        "model_wall_s": 0.5,
        "model_cpu_s": 0.4999,
        "model_preemptions": 0,
        "steal_share": 0.0,
        "other_cores": 0.01,
        "rss_base_mb": 50.0,
        "rss_peak_mb": 80.0,
        "session": {},
    }
    return Sample(**(values | changes))


def quiet_rounds(count: int = 8) -> list[Sample]:
    """A sentinel and one variant on a quiet host."""
    rng = np.random.default_rng(0)
    return [
        sample(name, index, ms=float(ms * rng.normal(1, 0.005)))
        for index in range(count)
        for name, ms in ((SENTINEL, 3.0), ("a", 10.0))
    ]
