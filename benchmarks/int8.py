"""Is the INT8 sibling of the shipped network faster, and what does it lose?

    python benchmarks/int8.py [--imgsz 96x160 192x320] [--rounds 15] [--quick]

At each image size the network is exported, quantized by the step ``quantize`` (128 training scenes,
at most one point of mAP50 lost on the validation scenes), and both files are evaluated on the test
scenes, which neither calibration nor the choice of layers has seen. Latency is one thread's, both
files in turns, so that the ratio stands on a host that is not quite quiet. Ten minutes; exit status
1 where INT8 is not 1.6 times as fast or loses more than one point.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any, NamedTuple

from kit import export_network, host_line, in_workspace, print_claims, show, size
from rich.console import Console
from rich.table import Table

from prunebench.common.cores import usable_cores
from prunebench.common.records import Accuracy, Interval, sha256_of
from prunebench.common.statistics import locate, log_ratios
from prunebench.config.sections import AccuracyConfig, LatencyConfig, QuantizeConfig
from prunebench.data.dataset import Dataset, images_of, resolve_dataset
from prunebench.measuring.accuracy import Request as AccuracyRequest
from prunebench.measuring.host.fingerprint import cpu_flags, int8_obstacle
from prunebench.measuring.latency.measure import Target, measure
from prunebench.measuring.latency.samples import read_samples
from prunebench.measuring.latency.stopping import round_medians
from prunebench.measuring.session import SessionSettings
from prunebench.steps.child import run_child
from prunebench.variants.int8.on_device import integers_of
from prunebench.variants.int8.step import Quantized, Request

FASTER = 1.6
LOSS = 0.01
LEVEL = 0.95
NAMES = ("float", "int8")


class Found(NamedTuple):
    """What one image size gave; pairs are float and INT8."""

    imgsz: tuple[int, int]
    quantized: Quantized
    map50: tuple[float, float]
    ms: tuple[float, float]
    faster: Interval
    megabytes: tuple[float, float]


def compare(folder: Path, imgsz: tuple[int, int], scenes: Dataset, rounds: int) -> Found:
    """Quantize the shipped network at one image size, evaluate and measure both files."""
    exported = export_network(folder, imgsz)
    judged = AccuracyConfig().model_dump(include={"confidence", "iou", "max_det"})
    session = SessionSettings.of(LatencyConfig())
    shared: dict[str, Any] = {"names": scenes.names, "imgsz": imgsz, "session": session, **judged}
    train, val, test = (
        tuple(str(path) for path in images_of(scenes, split)) for split in ("train", "val", "test")
    )
    request = Request(
        onnx=str(exported),
        calibration=train[: QuantizeConfig().calibration_images],
        images=val,
        max_map50_loss=LOSS,
        activations=integers_of(cpu_flags()).activations,
        **shared,
    )
    work = folder / exported.stem
    threads = usable_cores()
    quantized = Quantized.model_validate(
        run_child("quantize", request, work, threads=threads, on_event=show)
    )
    files = (exported, work / quantized.onnx.path)
    map50 = []
    for file in files:
        asked = AccuracyRequest(onnx=str(file), images=test, **shared)
        answer = run_child("accuracy", asked, work, threads=threads, on_event=show)
        map50.append(Accuracy.model_validate(answer).map50)
    result = measure(
        [Target(name, file, sha256_of(file)) for name, file in zip(NAMES, files, strict=True)],
        [],
        # A number of rounds that does not depend on what they show keeps the interval honest.
        LatencyConfig(threads=(1,), rounds_min=rounds, rounds_max=rounds),
        realtime_fps=20.0,
        imgsz=imgsz,
        nc=len(scenes.names),
        seed=0,
        folder=work / "latency",
        who="benchmarks/int8.py",
        on_event=show,
    )
    medians = round_medians(read_samples(work / "latency" / result.samples.path), "model")
    slow, fast = (medians[name, 1] for name in NAMES)
    ratio = locate(log_ratios(slow, fast))
    half = ratio.half_width(LEVEL)
    low, estimate, high = (math.exp(ratio.centre + shift) for shift in (-half, 0, half))
    typical = [sorted(ms.values())[len(ms) // 2] for ms in (slow, fast)]
    return Found(
        imgsz,
        quantized,
        (map50[0], map50[1]),
        (typical[0], typical[1]),
        Interval(estimate=estimate, low=low, high=high, level=LEVEL),
        (files[0].stat().st_size / 1e6, files[1].stat().st_size / 1e6),
    )


def table_of(found: list[Found]) -> Table:
    """Both files side by side, an image size a row."""
    title = f"INT8 beside float, one thread; {host_line()}"
    table = Table("height x width", title=title, title_justify="left")
    for column in ("float ms", "int8 ms", "times as fast", "mAP50 float", "int8", "MB", "in float"):
        table.add_column(column, justify="right")
    for one in found:
        ratio, record = one.faster, one.quantized
        table.add_row(
            "{}x{}".format(*one.imgsz),
            f"{one.ms[0]:.2f}",
            f"{one.ms[1]:.2f}",
            f"{ratio.estimate:.2f} [{ratio.low:.2f}, {ratio.high:.2f}]",
            f"{one.map50[0]:.4f}",
            f"{one.map50[1]:.4f}",
            f"{one.megabytes[0]:.1f}, {one.megabytes[1]:.1f}",
            f"{len(record.left_float)} of {record.layers}",
        )
    return table


def main(folder: Path, console: Console) -> int:
    """Compare at every image size, print the table and the claims."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--imgsz", nargs="+", type=size, default=[(96, 160), (192, 320)])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--quick", action="store_true", help="prove that it runs; proves no claim")
    asked = parser.parse_args()
    spec = "scenes:train=16,val=8,test=8" if asked.quick else "scenes"
    scenes = resolve_dataset(spec, cache_dir=folder / "data")
    rounds = 3 if asked.quick else asked.rounds
    found = [compare(folder, imgsz, scenes, rounds) for imgsz in asked.imgsz]
    console.print(table_of(found))
    for one in found:
        for name, reason in one.quantized.left_float.items():
            console.print("{}x{}".format(*one.imgsz), f"{name}: {reason}", highlight=False)
    obstacle = int8_obstacle(cpu_flags())
    if obstacle is not None:
        console.print(obstacle)
    return print_claims(
        console,
        [
            claim
            for one in found
            for claim in (
                (
                    "{}x{}: at least {} times as fast".format(*one.imgsz, FASTER),
                    f"{one.faster.estimate:.2f} [{one.faster.low:.2f}, {one.faster.high:.2f}]",
                    one.faster.low >= FASTER,
                ),
                (
                    "{}x{}: at most one point of mAP50 lost".format(*one.imgsz),
                    f"{100 * (one.map50[0] - one.map50[1]):.2f} points on test scenes",
                    one.map50[0] - one.map50[1] <= LOSS,
                ),
            )
        ],
    )


if __name__ == "__main__":
    in_workspace(main)
