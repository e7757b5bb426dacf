"""One network in every runtime: how fast, how far apart, and what does it find?

    python benchmarks/runtimes.py [--checkpoint model.pt] [--data scenes] [--imgsz 96x160]
                                  [--rounds 100] [--quick]

The rewritten export, converted for each runtime of `prunebench[openvino,nncf,ncnn,mnn,litert]` by
the step ``convert``, which compares raw predictions with onnxruntime's on four images; and our INT8
file of it, in onnxruntime and in OpenVINO. mAP50 (of masks for segmentation) is that of the
runtime's own outputs on the test images, its difference from onnxruntime's with the interval over
the same images. All run on one thread of one process, in bursts of shuffled order, so that ratios
stand on a host that is not quite quiet. Two minutes, and a minute for what it exports and
quantizes.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from kit import CHECKPOINT, OPSET, Network, host_line, in_workspace, size, time_together
from rich.console import Console
from rich.table import Table

from prunebench.common.records import Runtime
from prunebench.common.statistics import interval
from prunebench.config.exporting import ExportConfig
from prunebench.config.loading import parse_config
from prunebench.config.sections import AccuracyConfig, LatencyConfig, QuantizeConfig
from prunebench.data.dataset import images_of, resolve_dataset
from prunebench.experiment.elsewhere import BY_NNCF, READS_INTEGERS
from prunebench.experiment.runtimes import runtimes_of
from prunebench.measuring import accuracy
from prunebench.measuring.heads.detect import Detect
from prunebench.measuring.inference import OnnxNetwork, read_input
from prunebench.measuring.latency.intervals import ratio_interval
from prunebench.measuring.map_bootstrap import Detections, Resamples
from prunebench.measuring.session import SessionSettings
from prunebench.steps.child import run_child
from prunebench.variants.conversion import Converted, Judged
from prunebench.variants.conversion import Request as Conversion
from prunebench.variants.export import export_onnx
from prunebench.variants.int8.step import Request as Quantizing
from prunebench.variants.rewriting.apply import rewrite_file

LEVEL = 0.95
SESSION = SessionSettings.of(LatencyConfig())
IN_INT8 = "{}, our INT8"


def match(file: Path, runtime: Runtime | None, shared: dict[str, Any]) -> Detections:
    """What a file finds on the images: by its masks where it has any."""
    asked = accuracy.Request(onnx=str(file), runtime=runtime, **shared)
    found = accuracy.match_images(asked, lambda event: None)
    return found.get("mask", found["box"])


def compare(options: argparse.Namespace, folder: Path) -> Table:
    """Convert, evaluate and time in every runtime: a table."""
    spec = f"{options.data}:train=16,val=8,test=8" if options.quick else options.data
    data = resolve_dataset(spec, cache_dir=folder / "data")
    splits = {split: tuple(map(str, images_of(data, split))) for split in ("train", "val", "test")}
    images, names = splits["test"], dict(data.names)
    onnx = export_onnx(options.checkpoint, folder, options.imgsz, opset=OPSET)
    rewrite_file(onnx)
    judged = AccuracyConfig().model_dump(include={"confidence", "iou", "max_det"})
    shared = {"images": images, "names": names, "imgsz": options.imgsz, "session": SESSION}
    asked = Quantizing(
        onnx=str(onnx),
        calibration=splits["train"][: QuantizeConfig().calibration_images],
        max_map50_loss=QuantizeConfig().max_map50_loss,
        **{**shared, **judged, "images": splits["val"]},
    )
    made_int8 = run_child("quantize", asked, folder / "int8", threads=2)
    int8 = folder / "int8" / made_int8["onnx"]["path"]
    files: dict[str, tuple[Path, Runtime | None]] = {
        "onnxruntime": (onnx, None),
        IN_INT8.format("onnxruntime"): (int8, None),
    }
    apart, said = {}, {IN_INT8.format("onnxruntime"): "INT8"}
    runtimes = runtimes_of(parse_config({"model": "model.pt", "controls": ["runtime"]}))
    jobs = [(one, onnx) for one in runtimes]
    jobs += [(one, int8) for one in runtimes if one.name == READS_INTEGERS]
    for runtime, source in jobs:
        name = runtime.name if source == onnx else IN_INT8.format(runtime.name)
        print(name, file=sys.stderr, flush=True)
        request = Conversion(
            onnx=str(source),
            runtime=runtime,
            imgsz=options.imgsz,
            classes=len(names),
            images=images[:4],
            integers=source == int8,
            session=SESSION,
            **ExportConfig().model_dump(include={"box_tolerance_px", "score_tolerance"}),
        )
        if runtime.name == BY_NNCF:
            as_ours = Judged(**asked.model_dump(include={*Judged.model_fields}))
            theirs = {"calibration": asked.calibration, "validation": asked.images}
            request = request.model_copy(update={**theirs, "judged": as_ours})
        began = time.monotonic()
        made = Converted.model_validate(run_child("convert", request, folder / name, threads=1))
        took = f"{time.monotonic() - began:.0f} s, {made.onnx.bytes / 1e6:.1f} MB"
        print(took, made.quantization or "", file=sys.stderr, flush=True)
        files[name] = (folder / name / made.onnx.path, made.runtime)
        apart[name] = made.parity
        said[name] = "INT8" if source == int8 or made.quantization else made.runtime.precision
    found = {n: match(file, runtime, {**shared, **judged}) for n, (file, runtime) in files.items()}
    networks: dict[str, Network] = {
        n: OnnxNetwork(file, options.imgsz, SESSION, runtime=runtime)
        for n, (file, runtime) in files.items()
    }
    resamples = Resamples(found["onnxruntime"].target_counts, 2000, seed=0)
    scores = {name: resamples.scores(one) for name, one in found.items()}
    pixels = read_input(Path(images[0]), options.imgsz, Detect())[0]
    medians = time_together(networks, options.rounds, pixels)
    height, width = options.imgsz
    shown = f"{options.checkpoint.name}, {options.data}, {height}x{width}, one thread"
    table = Table("runtime", title=f"{shown}; {host_line()}", title_justify="left")
    for column in ("precision", "times as fast", "px apart", "score apart", "mAP50", "difference"):
        table.add_column(column, justify="right")
    for name in found:
        ratio = ratio_interval(medians["onnxruntime"], medians[name], LEVEL)
        own, other = scores[name], scores["onnxruntime"]
        gain = interval(own.map50 - other.map50, own.draws - other.draws, LEVEL)
        parity = apart.get(name)
        table.add_row(
            name,
            said.get(name, "float32"),
            f"{ratio.estimate:.2f} [{ratio.low:.2f}, {ratio.high:.2f}]",
            f"{parity.max_box_px:.1g}" if parity else "",
            f"{parity.max_score:.1g}" if parity else "",
            f"{own.map50:.3f}",
            f"{gain.estimate:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}]",
        )
    return table


def main(folder: Path, console: Console) -> int:
    """Compare and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT)
    parser.add_argument("--data", default="scenes", help="scenes, or scenes-seg")
    parser.add_argument("--imgsz", type=size, default=(96, 160))
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--quick", action="store_true", help="prove that it runs; proves nothing")
    options = parser.parse_args()
    if options.quick:
        options.rounds = 3
    work = folder / "work"
    work.mkdir()
    console.print(compare(options, work))
    return 0


if __name__ == "__main__":
    in_workspace(main)
