"""INT8 files of one network by several makers: how fast are they, and what do they lose?

    pip install --target FOLDER nncf==3.4.0 openvino==2026.4.1
    python benchmarks/int8_peers.py --packages FOLDER [--checkpoint model.pt] [--imgsz 96x160]
                                    [--rounds 100] [--quick]

- ``onnxruntime``: its own tool on the plain export, every SiLU on integers, as this project made
  its INT8 files before it rewrote graphs;
- ``prunebench``: the step ``quantize`` on the rewritten export;
- ``NNCF``: ``quantize_with_accuracy_control`` on the plain export, its decoding left out as NNCF's
  own example does; a file judged in onnxruntime, and one judged in OpenVINO, which it is made for.

All calibrate on the same 128 training scenes and may lose one point of mAP50 on the validation
scenes; the loss in the table is that on the test scenes against the plain export, its interval over
them. OpenVINO computes what stays float in float32, as onnxruntime does. All run on one thread of
one process, in bursts of shuffled order, so that ratios stand on a host that is not quite quiet.
Without ``--packages`` NNCF and OpenVINO are left out. Three minutes; with them longer, as NNCF
ranks operators by evaluating without each where its file loses too much.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from kit import CHECKPOINT, OPSET, host_line, in_workspace, show, size, time_together
from rewriting import SESSION, plain_int8
from rich.console import Console
from rich.table import Table

from prunebench.common.statistics import interval
from prunebench.config.sections import AccuracyConfig, QuantizeConfig
from prunebench.data.dataset import Dataset, images_of, resolve_dataset
from prunebench.measuring import accuracy, inference
from prunebench.measuring.heads.detect import Detect
from prunebench.measuring.inference import OnnxNetwork, read_input
from prunebench.measuring.latency.intervals import ratio_interval
from prunebench.measuring.map_bootstrap import Detections, Resamples
from prunebench.measuring.onnx_graph import decoding
from prunebench.measuring.profile import Request as Profiled
from prunebench.measuring.profile import run as diagnose
from prunebench.variants.int8.step import Request, run
from prunebench.variants.rewriting.apply import rewrite_file

LOSS = 0.01
LEVEL = 0.95


class InOpenVino:
    """As ``OnnxNetwork``, by OpenVINO on one thread."""

    head = Detect()

    def __init__(self, path: Path, imgsz: tuple[int, int], session: Any, *_: Any) -> None:
        openvino = importlib.import_module("openvino")
        core = openvino.Core()
        settings = {
            "INFERENCE_NUM_THREADS": 1,
            "INFERENCE_PRECISION_HINT": "f32",
            "PERFORMANCE_HINT": "LATENCY",
        }
        self._compiled = core.compile_model(core.read_model(path), "CPU", settings)
        self._request = self._compiled.create_infer_request()

    def __call__(self, tensor: Any) -> Any:
        """Outputs for one image."""
        return [*self._request.infer([tensor]).values()]


def match(path: Path, network: type, images: list[str], shared: dict[str, Any]) -> Detections:
    """What a file finds on images in a runtime, matched to their labels."""
    inference.OnnxNetwork = network
    asked = accuracy.Request(onnx=str(path), images=tuple(images), **shared)
    found = accuracy.match_images(asked, lambda event: None)
    inference.OnnxNetwork = OnnxNetwork
    return found["box"]


def by_nncf(
    path: Path, network: type, train: list[str], val: list[str], shared: dict[str, Any]
) -> Path:
    """NNCF's file, its accuracy judged in the runtime it is for."""
    import onnx

    nncf = importlib.import_module("nncf")
    model = onnx.load(path)
    feed = model.graph.input[0].name

    def map50(candidate: onnx.ModelProto, images: Iterable[Any]) -> tuple[float, None]:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "candidate.onnx"
            onnx.save(candidate, file)
            return accuracy.figures(match(file, network, [*images], shared))["map50"], None

    made = nncf.quantize_with_accuracy_control(
        model,
        calibration_dataset=nncf.Dataset(
            train, lambda image: {feed: read_input(Path(image), shared["imgsz"], Detect())[0]}
        ),
        validation_dataset=nncf.Dataset(val),
        validation_fn=map50,
        max_drop=LOSS,
        subset_size=len(train),
        preset=nncf.QuantizationPreset.MIXED,
        ignored_scope=nncf.IgnoredScope(names=sorted(decoding(model)), validate=False),
    )
    target = path.with_name(f"nncf-{network.__name__}.onnx")
    onnx.save(made, target)
    return target


def make(
    checkpoint: Path,
    imgsz: tuple[int, int],
    folder: Path,
    images: dict[str, list[str]],
    names: dict[int, str],
    packages: bool,
) -> dict[str, tuple[Path, type]]:
    """Every file with the runtime it runs in, the plain export first."""
    from prunebench.variants.export import export_onnx

    judged = AccuracyConfig().model_dump(include={"confidence", "iou", "max_det"})
    shared = {"names": names, "imgsz": imgsz, "session": SESSION, **judged}
    plain = export_onnx(checkpoint, folder, imgsz, opset=OPSET).rename(folder / "plain.onnx")
    rewritten = folder / "rewritten.onnx"
    rewritten.write_bytes(plain.read_bytes())
    rewrite_file(rewritten)
    request = Request(
        onnx=str(rewritten),
        calibration=tuple(images["train"]),
        images=tuple(images["val"]),
        max_map50_loss=LOSS,
        **shared,
    )
    made = run(request, folder, lambda event: show(event))
    ours = folder / made.onnx.path
    files: dict[str, tuple[Path, type]] = {
        "float, plain export": (plain, OnnxNetwork),
        "float, rewritten": (rewritten, OnnxNetwork),
        "onnxruntime": (plain_int8(plain, imgsz, [*map(Path, images["train"])]), OnnxNetwork),
        "prunebench": (ours, OnnxNetwork),
    }
    if packages:
        data = images["train"], images["val"], shared
        files |= {
            "NNCF": (by_nncf(plain, OnnxNetwork, *data), OnnxNetwork),
            "float, plain export, in OpenVINO": (plain, InOpenVino),
            "prunebench, in OpenVINO": (ours, InOpenVino),
            "NNCF, in OpenVINO": (by_nncf(plain, InOpenVino, *data), InOpenVino),
        }
    return files


def compare(options: argparse.Namespace, scenes: Dataset, folder: Path) -> Table:
    """Make, evaluate and time every file: a table."""
    imgsz, names = options.imgsz, dict(scenes.names)
    images = {
        split: [str(path) for path in images_of(scenes, split)]
        for split in ("train", "val", "test")
    }
    images["train"] = images["train"][: QuantizeConfig().calibration_images]
    files = make(options.checkpoint, imgsz, folder, images, names, options.packages is not None)
    judged = AccuracyConfig().model_dump(include={"confidence", "iou", "max_det"})
    shared = {"names": names, "imgsz": imgsz, "session": SESSION, **judged}
    found = {n: match(path, kind, images["test"], shared) for n, (path, kind) in files.items()}
    first = next(iter(found))
    resamples = Resamples(found[first].target_counts, 2000, seed=0)
    scores = {name: resamples.scores(one) for name, one in found.items()}
    pixels = read_input(Path(images["test"][0]), imgsz, Detect())[0]
    networks = {name: kind(path, imgsz, SESSION) for name, (path, kind) in files.items()}
    medians = time_together(networks, options.rounds, pixels)
    title = f"{options.checkpoint.name}, {imgsz[0]}x{imgsz[1]}, one thread; {host_line()}"
    table = Table("file", title=title, title_justify="left")
    for column in ("ms", "times as fast", "points of mAP50 lost", "convolutions on integers"):
        table.add_column(column, justify="right")
    for name, (path, kind) in files.items():
        ratio = ratio_interval(medians[first], medians[name], LEVEL)
        gap = scores[first].map50 - scores[name].map50
        lost = interval(gap, scores[first].draws - scores[name].draws, LEVEL)
        layers = ""
        if kind is OnnxNetwork:
            asked = Profiled(
                onnx=str(path), baseline=str(path), threads=1, session=SESSION, block=1
            )
            profile = diagnose(asked, folder, lambda event: None).variant
            layers = f"{profile.quantized} of {profile.convolutions}"
        table.add_row(
            name,
            f"{np.median([*medians[name].values()]):.2f}",
            f"{ratio.estimate:.2f} [{ratio.low:.2f}, {ratio.high:.2f}]",
            f"{100 * lost.estimate:.1f} [{100 * lost.low:.1f}, {100 * lost.high:.1f}]",
            layers,
        )
    return table


def main(folder: Path, console: Console) -> int:
    """Compare and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT)
    parser.add_argument("--imgsz", type=size, default=(96, 160))
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--packages", help="where NNCF and OpenVINO are")
    parser.add_argument("--quick", action="store_true", help="prove that it runs; proves nothing")
    options = parser.parse_args()
    if options.packages is not None:
        sys.path.append(options.packages)  # Behind this environment's own versions of the rest.
    if options.quick:
        options.rounds = 3
    spec = "scenes:train=16,val=8,test=8" if options.quick else "scenes"
    scenes = resolve_dataset(spec, cache_dir=folder / "data")
    work = folder / "work"
    work.mkdir()
    console.print(compare(options, scenes, work))
    return 0


if __name__ == "__main__":
    in_workspace(main)
