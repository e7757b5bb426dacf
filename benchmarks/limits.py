"""How far from what the processor can compute are the files, and where does the rest go?

    python benchmarks/limits.py [--network yolov8n] [--imgsz 96x160 192x320] [--rounds 8] [--quick]

The peak is measured: multiply-accumulates per second of the fastest of a few large convolutions, in
float and in INT8, on one thread of onnxruntime. A file's share of it is the time its convolutions'
multiply-accumulates would take at the peak of its arithmetic, divided by the time it takes. Files
are those of ``benchmarks/rewriting.py`` (random weights, 35 % of the channels removed where it says
pruned) and the unpruned INT8 file. Where the time goes is onnxruntime's profile, by kernels. Three
minutes on a quiet host; the title tells the load.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from kit import host_line, in_workspace, model_times, size, write_scenes
from rewriting import SESSION, int8, make
from rich.console import Console
from rich.table import Table

from prunebench.measuring.profile import NetworkProfile, Request, run
from prunebench.measuring.session import open_session, session_options

LARGE = ((3, 256, 32), (3, 128, 64), (1, 512, 32), (1, 1024, 32))
"""Kernel, input and output channels, and side in pixels of the convolutions that show the peak."""

RUNS = 30

PARTS: Mapping[str, tuple[str, ...]] = {
    "SiLU": ("QuickGelu", "Sigmoid", "Mul", "QLinearSigmoid", "QLinearMul"),
    "conversions": ("QuantizeLinear", "DequantizeLinear"),
    "layout": ("ReorderInput", "ReorderOutput", "Transpose", "Reshape"),
    "joining, splitting": ("Concat", "QLinearConcat", "Slice", "Split"),
}
"""Operators of each part of the time; a head's few Sigmoid and Mul are counted as SiLU."""


class Found(NamedTuple):
    """One file: milliseconds, and its profile."""

    label: str
    ms: float
    profile: NetworkProfile

    def at_peak(self, peaks: Mapping[str, float]) -> float:
        """Milliseconds its convolutions' multiply-accumulates take at the peak."""
        return (
            1000 * self.profile.mmacs * 1e6 / peaks["INT8" if self.profile.quantized else "float"]
        )


def large_convolution(kernel: int, channels: int, side: int, *, integers: bool) -> bytes:
    """A model of one convolution, in float or as a file of QDQ pairs has it."""
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    weight = rng.standard_normal((channels, channels, kernel, kernel), dtype=np.float32)
    stored: dict[str, Any] = {"w": weight}
    shape, kind, result = [1, channels, side, side], TensorProto.FLOAT, "out"
    taken = ["in", "w"]
    before, after = [], []
    if integers:
        stored["w"] = (20 * weight).clip(-127, 127).astype(np.int8)
        stored |= {"scale": np.float32(0.02), "zero": np.uint8(128)}
        stored["scales"] = np.full(channels, 0.01, np.float32)
        kind, result, taken = TensorProto.UINT8, "real", ["x", "v"]
        before = [
            helper.make_node("DequantizeLinear", ["in", "scale", "zero"], ["x"]),
            helper.make_node("DequantizeLinear", ["w", "scales"], ["v"], axis=0),
        ]
        after = [helper.make_node("QuantizeLinear", ["real", "scale", "zero"], ["out"])]
    conv = helper.make_node(
        "Conv", taken, [result], kernel_shape=[kernel] * 2, pads=[kernel // 2] * 4
    )
    graph = helper.make_graph(
        [*before, conv, *after],
        "large",
        [helper.make_tensor_value_info("in", kind, shape)],
        [helper.make_tensor_value_info("out", kind, shape)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in stored.items()],
    )
    imports = [helper.make_opsetid("", 17)]
    return bytes(helper.make_model(graph, opset_imports=imports, ir_version=9).SerializeToString())


def peak_of(*, integers: bool) -> tuple[float, str]:
    """Multiply-accumulates per second of the fastest large convolution, and which that is."""
    found = []
    for kernel, channels, side in LARGE:
        model = large_convolution(kernel, channels, side, integers=integers)
        session = open_session(model, session_options(SESSION, 1))
        shape = (1, channels, side, side)
        pixels = (200 * np.random.default_rng(0).random(shape)).astype(
            np.uint8 if integers else np.float32
        )
        times = []
        for _ in range(RUNS):
            began = time.perf_counter()
            session.run(None, {"in": pixels})
            times.append(time.perf_counter() - began)
        macs = kernel**2 * channels**2 * side**2
        label = f"{kernel} x {kernel}, {channels} channels, {side} x {side} pixels"
        found.append((macs / min(times), label))
    return max(found)


def look_at(name: str, imgsz: tuple[int, int], folder: Path, rounds: int) -> list[Found]:
    """Make, measure and profile all files of a network at one image size."""
    folder.mkdir()
    images = write_scenes(folder)
    files = make(name, imgsz, folder, images)
    files["int8"] = int8(files["rewritten"], imgsz, folder / "unpruned-int8", images)
    times = model_times(files, folder / "latency", rounds=rounds, seconds=0.2)
    found = []
    for label, path in files.items():
        request = Request(onnx=str(path), baseline=str(path), threads=1, session=SESSION, block=1)
        profile = run(request, folder, lambda event: None).variant
        ms = float(np.median([*times[label].values()]))
        found.append(Found(label, ms, profile))
    return found


def shares_of(one: Found) -> Iterator[tuple[str, float]]:
    """Parts of the profiled time."""
    shares = one.profile.time_shares
    parts = {"convolutions": sum(share for name, share in shares.items() if "Conv" in name)}
    parts |= {part: sum(shares.get(n, 0.0) for n in names) for part, names in PARTS.items()}
    yield from parts.items()
    yield "rest", 1 - sum(parts.values())


def tables_of(
    found: Mapping[tuple[int, int], list[Found]], peaks: Mapping[str, float]
) -> Iterator[Table]:
    """Every file's time beside that at the peak, and the parts of its time."""
    columns = [part for part, _ in shares_of(next(iter(found.values()))[0])]
    times = Table("height x width", "file", title=host_line(), title_justify="left")
    parts = Table("height x width", "file", title="Of its time, by profile", title_justify="left")
    for table, names in ((times, ("M MACs", "ms", "at the peak", "share")), (parts, columns)):
        for name in names:
            table.add_column(name, justify="right")
    for imgsz, files in found.items():
        for one in files:
            limit, where = one.at_peak(peaks), ("{}x{}".format(*imgsz), one.label)
            limits = f"{one.ms:.2f}", f"{limit:.2f}", f"{limit / one.ms:.0%}"
            times.add_row(*where, f"{one.profile.mmacs:.0f}", *limits)
            parts.add_row(*where, *(f"{share:.0%}" for _, share in shares_of(one)))
    yield times
    yield parts


def main(folder: Path, console: Console) -> int:
    """Measure the peaks and the files, print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--network", default="yolov8n")
    parser.add_argument("--imgsz", nargs="+", type=size, default=[(96, 160), (192, 320)])
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--quick", action="store_true", help="prove that it runs; proves nothing")
    asked = parser.parse_args()
    sizes, rounds = ([(64, 96)], 3) if asked.quick else (asked.imgsz, asked.rounds)
    peaks = {}
    for kind, integers in (("float", False), ("INT8", True)):
        peaks[kind], label = peak_of(integers=integers)
        console.print(f"{kind}: {peaks[kind] / 1e9:.0f} G MACs a second ({label})", highlight=False)
    found = {
        imgsz: look_at(asked.network, imgsz, folder / "{}x{}".format(*imgsz), rounds)
        for imgsz in sizes
    }
    for table in tables_of(found, peaks):
        console.print(table)
    return 0


if __name__ == "__main__":
    in_workspace(main)
