"""Is the INT8 sibling of the shipped network faster, and what does it lose?

    python benchmarks/int8.py [--imgsz 96x160 192x320] [--rounds 15] [--quick]
    python benchmarks/int8.py --targets "3x int8" 2x [--imgsz 96x160]

At each image size the network is exported, quantized by the step ``quantize`` (128 training scenes,
at most one point of mAP50 lost on the validation scenes), and both files are evaluated on the test
scenes, which neither calibration nor the choice of layers has seen. Latency is one thread's, both
files in turns, so that the ratio stands on a host that is not quite quiet. Ten minutes; exit status
1 where INT8 is not 1.6 times as fast or loses more than one point.

With ``--targets`` the network is pruned to them instead, and nothing is evaluated: is the file that
each target is of as many times as fast as the search for it measured? Five minutes for two.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from kit import (
    CHECKPOINT,
    Claim,
    export_network,
    host_line,
    in_workspace,
    model_times,
    print_claims,
    show,
    size,
)
from rich.console import Console
from rich.table import Table

from prunebench.common.cores import usable_cores
from prunebench.common.records import Accuracy, Interval
from prunebench.common.sole_user import sole_user
from prunebench.common.variant_record import Reached, VariantRecord
from prunebench.config.loading import parse_config
from prunebench.config.sections import AccuracyConfig, LatencyConfig, QuantizeConfig
from prunebench.data.dataset import Dataset, images_of, resolve_dataset
from prunebench.experiment.alternatives import quantize_variant
from prunebench.experiment.inputs import output_folder
from prunebench.experiment.make import export_variant, make_variant
from prunebench.experiment.plan import PlannedVariant
from prunebench.experiment.prepare import prepare
from prunebench.measuring.accuracy import Request as AccuracyRequest
from prunebench.measuring.host.fingerprint import cpu_flags, int8_obstacle
from prunebench.measuring.latency.intervals import ratio_interval
from prunebench.measuring.session import SessionSettings
from prunebench.steps.child import run_child
from prunebench.steps.events import listening
from prunebench.variants.int8.on_device import integers_of
from prunebench.variants.int8.step import Quantized, Request
from prunebench.variants.pruning.search import TOLERANCE

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
    named = dict(zip(NAMES, files, strict=True))
    slow, fast = model_times(named, work / "latency", rounds=rounds, seconds=0.5).values()
    typical = [sorted(ms.values())[len(ms) // 2] for ms in (slow, fast)]
    return Found(
        imgsz,
        quantized,
        (map50[0], map50[1]),
        (typical[0], typical[1]),
        ratio_interval(slow, fast, LEVEL),
        (files[0].stat().st_size / 1e6, files[1].stat().st_size / 1e6),
    )


def reach(
    folder: Path, targets: list[str], imgsz: tuple[int, int], rounds: int
) -> list[tuple[PlannedVariant, Reached, Interval]]:
    """Each pruned variant, what its search came to, and its file's speed-up measured anew."""
    height, width = imgsz
    config = parse_config(
        {
            "model": str(CHECKPOINT),
            "data": "scenes:train=32,val=8,test=8",
            "out": str(folder / "runs"),
            "image": {"height": height, "width": width},
            "prune": {"target": targets, "allocation": "uniform"},
            "retrain": {"rounds": 1, "imgsz": width},
            # Every layer goes on integers, as in the search, whatever it loses.
            "quantize": {"max_map50_loss": 0.99},
            "latency": {"threads": [1]},
        }
    )
    made: dict[str, VariantRecord] = {}
    with sole_user(output_folder(config)), listening(show):
        experiment = prepare(config)
        for planned in experiment.variants:
            if planned.strategy is not None or planned.parent not in (None, *made):
                continue
            parent = made.get(planned.parent or "")
            if planned.quantized and parent is not None:
                made[planned.name] = quantize_variant(experiment, planned, parent, show)
            else:
                one = make_variant(experiment, planned, parent, made.get("baseline"), show)
                made[planned.name] = export_variant(experiment, one, show)
    pruned = [o for o in experiment.variants if o.goal and not o.quantized and o.name in made]
    meant = {one.name: f"{one.name}-int8" if one.goal.int8 else one.name for one in pruned}
    files = {
        name: experiment.run_folder / made[name].exported.onnx.path
        for name in ("baseline", *meant.values())
    }
    times = model_times(files, folder / "targets", rounds=rounds)
    return [
        (
            one,
            made[one.name].reached,
            ratio_interval(times["baseline"], times[meant[one.name]], LEVEL),
        )
        for one in pruned
    ]


def claims_of_targets(found: list[tuple[PlannedVariant, Reached, Interval]]) -> Iterator[Claim]:
    """That each search met its target, and that its files are as fast as it said."""
    for planned, reached, ratio in found:
        off = 1 + TOLERANCE
        said = f"{reached.speedup:.2f} in the search"
        yield f"{planned.goal.label}: met by the search", said, reached.met
        told = f"{ratio.estimate:.2f} [{ratio.low:.2f}, {ratio.high:.2f}]"
        as_fast = ratio.low <= reached.speedup * off and ratio.high >= reached.speedup / off
        yield f"{planned.goal.label}: its file within {TOLERANCE:.0%} of that", told, as_fast


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
    parser.add_argument("--targets", nargs="+", help="prune to these instead")
    asked = parser.parse_args()
    if asked.targets:
        rounds = 3 if asked.quick else asked.rounds
        reached = reach(folder, asked.targets, asked.imgsz[0], rounds)
        return print_claims(console, list(claims_of_targets(reached)))
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
