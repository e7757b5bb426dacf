"""How much faster is a file whose graph is rewritten than the plain export of the same network?

    python benchmarks/rewriting.py [--networks yolov8n yolo11n] [--imgsz 96x160 192x320 640x640]
                                   [--rounds 8] [--quick]

Each network is exported as Ultralytics does it and rewritten, unpruned and with the same share of
its channels removed everywhere (widths stay multiples of 16). The pruned one is quantized, too: the
plain file as onnxruntime's tool does it, every SiLU on integers, which is what this project shipped
before it rewrote graphs, and the rewritten one as it does now, with SiLU and with ReLU in its
place (``retrain.activation``). Weights are random, as speed does
not depend on them; one thread; ratios are of files measured side by side. Six minutes; exit status
1 where a claim does not hold at the sizes it is made for (640x640 stands beside them).
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
from kit import OPSET, host_line, in_workspace, model_times, print_claims, size, write_scenes
from rich.console import Console
from rich.table import Table

from prunebench.common.records import Interval
from prunebench.config.sections import LatencyConfig
from prunebench.measuring.heads.detect import Detect
from prunebench.measuring.inference import OnnxNetwork, read_input
from prunebench.measuring.latency.intervals import ratio_interval
from prunebench.measuring.session import SessionSettings

SESSION = SessionSettings.of(LatencyConfig())
LEVEL = 0.95
RATIO = 0.35
"""Of the channels removed: about half of the time."""

CLAIMS = {
    "unpruned": ("plain", "rewritten", 1.10),
    "pruned": ("pruned plain", "pruned rewritten", 1.25),
    "pruned, INT8": ("pruned plain int8", "pruned int8", 1.35),
    "pruned, INT8, ReLU": ("pruned plain int8", "pruned relu int8", 2.0),
}
"""What is compared, and how many times as fast the second file has to be."""

CLAIMED = ((96, 160), (192, 320))


class Found(NamedTuple):
    """What one network gave at one image size: milliseconds by file, and by claim the ratio."""

    network: str
    imgsz: tuple[int, int]
    ms: dict[str, float]
    faster: dict[str, Interval]
    box_px: float
    score: float


def make(name: str, imgsz: tuple[int, int], folder: Path, images: list[Path]) -> dict[str, Path]:
    """Every file of one network at one image size."""
    from prunebench.variants.checkpoint import load_checkpoint, save_checkpoint
    from prunebench.variants.export import export_onnx
    from prunebench.variants.pruning.alignment import uniform_width
    from prunebench.variants.pruning.pruner import narrow, open_network
    from prunebench.variants.retraining.activation import with_activation
    from prunebench.variants.rewriting.apply import rewrite_file

    files = {}
    save_checkpoint(stock(name), folder / "unpruned.pt", {})
    opened = open_network(load_checkpoint(folder / "unpruned.pt"))
    kept = {g.root: uniform_width(g, RATIO, 16) for g in opened.graph.groups}
    narrow(opened, kept, round_to=16)
    save_checkpoint(opened.graph.network, folder / "pruned.pt", {})
    for checkpoint, label in (("unpruned", ""), ("pruned", "pruned ")):
        with tempfile.TemporaryDirectory(dir=folder) as work:
            plain = export_onnx(folder / f"{checkpoint}.pt", Path(work), imgsz, opset=OPSET)
            files[f"{label}plain"] = plain.rename(folder / f"{checkpoint}-plain.onnx")
        files[f"{label}rewritten"] = rewritten = folder / f"{checkpoint}-rewritten.onnx"
        rewritten.write_bytes(files[f"{label}plain"].read_bytes())
        rewrite_file(rewritten)
    relu = with_activation(folder / "pruned.pt", "relu", folder / "relu.pt")
    with tempfile.TemporaryDirectory(dir=folder) as work:
        written = export_onnx(relu, Path(work), imgsz, opset=OPSET)
        rewrite_file(written)
        files["pruned relu int8"] = int8(written, imgsz, folder / "int8-relu", images)
    files["pruned plain int8"] = plain_int8(files["pruned plain"], imgsz, images)
    files["pruned int8"] = int8(files["pruned rewritten"], imgsz, folder / "int8", images)
    return files


def stock(name: str) -> Any:
    """A stock network with random weights whose scores and biases are not all alike.

    An export shares biases that are equal, and a shared one is quantized for the first layer, too.
    """
    import torch
    from ultralytics.nn.tasks import DetectionModel

    torch.manual_seed(0)
    network = DetectionModel(f"{name}.yaml", nc=7, verbose=False).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, std=0.1)
            module.running_var.uniform_(0.5, 1.5)
    network.names, network.task = {index: f"class {index}" for index in range(7)}, "detect"
    return network


def int8(path: Path, imgsz: tuple[int, int], folder: Path, images: list[Path]) -> Path:
    """As the step ``quantize`` makes it, all layers on integers."""
    from prunebench.variants.int8.quantizer import Quantizer

    folder.mkdir()
    quantizer = Quantizer(path, imgsz, "u8", SESSION, folder)
    quantizer.calibrate(images, lambda event: None)
    return quantizer.write("int8")


def plain_int8(path: Path, imgsz: tuple[int, int], images: list[Path]) -> Path:
    """As onnxruntime makes it of a plain export, but for the first layer and the decoding."""
    import onnx
    from onnxruntime import quantization as ort

    from prunebench.measuring.onnx_graph import decoding
    from prunebench.variants.int8.float_layers import FOLLOWING, kept_float

    model = onnx.load(path)
    behind = decoding(model)
    constants = {tensor.name for tensor in model.graph.initializer}
    scaled = {  # An attention's scale stays with its float products.
        node.name
        for node in model.graph.node
        if node.op_type == "Mul" and constants.intersection(node.input)
    }
    feeds = ({"images": read_input(image, imgsz, Detect())[0]} for image in images)
    target = path.with_name("plain-int8.onnx")
    ort.quantize_static(
        path,
        target,
        SimpleNamespace(get_next=lambda: next(feeds, None)),
        quant_format=ort.QuantFormat.QDQ,
        op_types_to_quantize=["Conv", "Sigmoid", "Mul", *FOLLOWING],
        per_channel=True,
        activation_type=ort.QuantType.QUInt8,
        weight_type=ort.QuantType.QInt8,
        nodes_to_exclude=sorted(behind | kept_float(model, behind).keys() | scaled),
    )
    return target


def differences(files: dict[str, Path], imgsz: tuple[int, int]) -> tuple[float, float]:
    """The largest difference by rewriting, of box edges in pixels and of scores."""
    pixels = np.random.default_rng(0).random((1, 3, *imgsz), dtype=np.float32)
    gaps = []
    for label in ("", "pruned "):
        plain, rewritten = (
            OnnxNetwork(files[f"{label}{kind}"], imgsz, SESSION)(pixels)[0]
            for kind in ("plain", "rewritten")
        )
        gaps.append(np.abs(plain - rewritten)[0])
    return tuple(max(float(gap[rows].max()) for gap in gaps) for rows in (slice(4), slice(4, None)))


def compare(name: str, imgsz: tuple[int, int], folder: Path, rounds: int) -> Found:
    """Make and measure all files of one network at one image size."""
    folder.mkdir()
    files = make(name, imgsz, folder, write_scenes(folder))
    own = model_times(files, folder / "latency", rounds=rounds)
    box_px, score = differences(files, imgsz)
    return Found(
        name,
        imgsz,
        {label: float(np.median([*ms.values()])) for label, ms in own.items()},
        {
            claim: ratio_interval(own[plain], own[ours], LEVEL)
            for claim, (plain, ours, _) in CLAIMS.items()
        },
        box_px,
        score,
    )


def table_of(found: list[Found]) -> Table:
    """Milliseconds of every file and the ratios, a network and image size a row."""
    title = f"Rewritten beside plain exports, one thread; {host_line()}"
    table = Table("network", title=title, title_justify="left")
    columns = ("height x width", *CLAIMS, "pruned / unpruned, plain", "apart: px", "score")
    for column in columns:
        table.add_column(column, justify="right")
    for one in found:
        cells = []
        for claim, (plain, ours, _) in CLAIMS.items():
            times = f"{one.ms[plain]:.2f} > {one.ms[ours]:.2f} ms"
            cells.append(f"{told(one.faster[claim])}\n{times}")
        share = one.ms["pruned plain"] / one.ms["plain"]
        apart = (f"{one.box_px:.0e}", f"{one.score:.0e}")
        table.add_row(one.network, "{}x{}".format(*one.imgsz), *cells, f"{share:.2f}", *apart)
    return table


def told(ratio: Interval) -> str:
    """A ratio with its interval."""
    return f"{ratio.estimate:.2f} [{ratio.low:.2f}, {ratio.high:.2f}]"


def claims_of(found: list[Found]) -> Iterator[tuple[str, str, bool]]:
    """What has to hold."""
    for one in found:
        where = "{} {}x{}".format(one.network, *one.imgsz)
        if one.imgsz in CLAIMED:
            for claim, (_, _, least) in CLAIMS.items():
                ratio = one.faster[claim]
                asked = f"{where}, {claim}: at least {least:.2f} times as fast"
                yield asked, told(ratio), ratio.estimate >= least
        same = one.box_px <= 1e-3 and one.score <= 1e-5
        apart = f"{one.box_px:.1e} px, {one.score:.1e}"
        yield f"{where}: boxes within 1e-3 px, scores within 1e-5", apart, same


def main(folder: Path, console: Console) -> int:
    """Compare at every image size, print the table and the claims."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--networks", nargs="+", default=["yolov8n", "yolo11n"])
    parser.add_argument(
        "--imgsz", nargs="+", type=size, default=[(96, 160), (192, 320), (640, 640)]
    )
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--quick", action="store_true", help="prove that it runs; proves no claim")
    asked = parser.parse_args()
    sizes = [(64, 96)] if asked.quick else asked.imgsz
    rounds = 3 if asked.quick else asked.rounds
    found = [
        compare(name, imgsz, folder / "{}-{}x{}".format(name, *imgsz), rounds)
        for name in asked.networks
        for imgsz in sizes
    ]
    console.print(table_of(found))
    return print_claims(console, list(claims_of(found)))


if __name__ == "__main__":
    in_workspace(main)
