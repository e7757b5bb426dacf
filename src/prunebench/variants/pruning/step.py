"""Step ``prune``: a narrower network made of stock Ultralytics classes."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from prunebench.common.records import (
    FOR_A_KEY,
    FileRef,
    Integers,
    LeftAlone,
    Record,
    Structure,
    sha256_of,
)
from prunebench.common.variant_record import Reached
from prunebench.config.exporting import ExportHead
from prunebench.config.pruning import Allocation, Importance
from prunebench.config.sections import LatencyConfig
from prunebench.config.targets import Goal
from prunebench.measuring.remote.there import There
from prunebench.steps.events import Emit, Progress, Stage
from prunebench.variants.devices import Device, lying_on
from prunebench.variants.retraining.step import Request as TrainRequest
from prunebench.variants.structure import structure_of

if TYPE_CHECKING:
    from prunebench.variants.checkpoint import Network
    from prunebench.variants.pruning.allocation import Allocated
    from prunebench.variants.pruning.batches import Batch
    from prunebench.variants.pruning.pruner import Opened
    from prunebench.variants.pruning.search import Timed

JUDGED_BATCHES = 4
"""Batches of labelled images that say which BatchNorm statistics are the better ones."""

CALIBRATED = 4
"""Images that a candidate in INT8 gets its ranges from, which do not change its speed."""

NOT_KEPT = {"checkpoint", "data_yaml", "costs", "curves", "timing", "stage_training"}
"""Fields of the request that say where something lies: the file does not keep them."""

Batches = Callable[[int], "Iterator[Batch]"]


class Timing(Record):
    """How a measured target is measured: with the protocol's first thread count, on ``host``.

    ``host`` is the digest of its fingerprint: elsewhere the same target means other widths.
    ``there`` is where that host is, ``None``: it is this one. ``integers`` say how INT8 files are
    made for it, ``None``: as is known of its CPU.
    """

    latency: LatencyConfig
    opset: int
    passes: tuple[str, ...] = ()
    head: ExportHead = "one_to_many"
    host: str
    there: There | None = None
    integers: Integers | None = None


class Request(Record):
    """Input of the step; files are absolute paths.

    Attributes:
        data_yaml: Its training images are used.
        round_to: Widths become multiples of it; ``None``: no alignment.
        bn_batches: Batches that re-estimate BatchNorm statistics, 0 for none. What was is kept
            where the loss is no lower then.
        ignore: Names of modules whose output widths stay.
        widths: Channels of layers, in place of an allocation.
        seed: Seed of the drawn images and of random importance.
        imgsz: (height, width) of the letterbox in pixels.
        costs: The table of step ``costs``, as ``curves`` that of ``sensitivity``: ``latency-aware``
            needs them.
        timing: How a latency target is measured, ``None`` for the other targets.
        device: What losses are computed on.
        stage_training: The retraining between two of ``stages``; its files are this step's.
    """

    checkpoint: str
    data_yaml: str
    goal: Goal
    round_to: int | None
    allocation: Allocation = "uniform"
    importance: Importance
    bn_batches: int
    ignore: tuple[str, ...] = ()
    widths: dict[str, int] | None = None
    seed: int = 0
    imgsz: tuple[int, int]
    costs: str | None = None
    curves: str | None = None
    timing: Timing | None = None
    device: Device = Device()
    stages: int = 1
    stage_training: TrainRequest | None = None


class Pruned(Record):
    """Result of the step: the checkpoint as read back, modules that kept their width, the target.

    BatchNorm was re-estimated on ``bn_batches``, 0 where its statistics stayed. ``widths`` is the
    file that says how wide every layer became.
    """

    checkpoint: FileRef
    widths: FileRef
    structure: Structure
    left_alone: dict[str, LeftAlone]
    bn_batches: int
    reached: Reached


def run(request: Request, workdir: Path, emit: Emit) -> Pruned:
    """Prune a checkpoint."""
    from prunebench.variants.checkpoint import load_checkpoint, save_checkpoint
    from prunebench.variants.pruning.pruner import left_alone
    from prunebench.variants.pruning.widths import FILE, widths_of, write_widths

    emit(Stage(what="reading the checkpoint"))
    checkpoint = Path(request.checkpoint)
    with _working(request, emit):
        network = load_checkpoint(checkpoint)
        batches = _batches(request, network, emit)
        opened = _open(network, request, batches)
    with tempfile.TemporaryDirectory(dir=workdir, prefix=".candidates.") as folder:
        allocated = _allocated(opened, request, Path(folder), emit)
    with _working(request, emit):
        alone = left_alone(opened.graph, allocated.kept, request.round_to)
        full = {group.root: group.width for group in opened.graph.groups}
        made, was = (widths_of(opened.graph, each) for each in (allocated.kept, full))
        write_widths(workdir / FILE, made, was)
        network = remove_in_stages(opened, allocated.kept, request, workdir, batches, emit)
        emit(Stage(what="re-estimating BatchNorm statistics"))
        used = _improve_batchnorm(network, request, batches)
    target = workdir / "model.pt"
    provenance = {
        "step": "prune",
        "parent_sha256": sha256_of(checkpoint),
        "left_alone": {name: one.model_dump() for name, one in alone.items()},
        "reached": allocated.reached.model_dump(),
        **request.model_dump(mode="json", exclude=NOT_KEPT, context=FOR_A_KEY),
    }
    save_checkpoint(network, target, provenance)
    # Read back, so that what is described is what the file holds.
    return Pruned(
        checkpoint=FileRef.of(target, workdir),
        widths=FileRef.of(workdir / FILE, workdir),
        structure=structure_of(load_checkpoint(target), request.imgsz),
        left_alone=alone,
        bn_batches=used,
        reached=allocated.reached,
    )


def _working(request: Request, emit: Emit) -> AbstractContextManager[None]:
    """Sign in as work on this host, unless whoever starts the step has done so.

    A measured target is measured with the host's lock, which waits for all work to end.
    """
    from prunebench.measuring.host.lock import working_on_host

    if request.timing is None and request.costs is None:
        return nullcontext()
    return working_on_host(lambda sentence: emit(Stage(what=sentence)))


def remove_in_stages(
    opened: Opened,
    kept: Mapping[str, int],
    request: Request,
    workdir: Path,
    batches: Batches,
    emit: Emit,
) -> Network:
    """Narrow the network, with a retraining between every two stages; it is folded back then.

    After each stage the channels that are left are scored anew.
    """
    from prunebench.variants.checkpoint import load_checkpoint, save_checkpoint
    from prunebench.variants.pruning.pruner import narrow
    from prunebench.variants.retraining.step import run as train

    full = {group.root: group.width for group in opened.graph.groups}
    steps = {group.root: group.step(request.round_to) for group in opened.graph.groups}
    for stage in range(1, request.stages):
        now = {group.root: group.width for group in opened.graph.groups}
        widths = {
            root: _between(full[root], kept[root], stage / request.stages, steps[root])
            for root in full
        }
        if widths == now or request.stage_training is None:
            continue
        narrow(opened, widths, round_to=request.round_to)
        network: Network = opened.graph.network
        _improve_batchnorm(network, request, batches)
        folder = workdir / f"stage-{stage}"
        folder.mkdir(exist_ok=True)
        save_checkpoint(network, folder / "pruned.pt", {"step": "prune", "stage": stage})
        emit(Stage(what=f"retraining after stage {stage} of {request.stages}"))
        update = {
            "checkpoint": str(folder / "pruned.pt"),
            "data_yaml": request.data_yaml,
            "teacher": request.checkpoint,
            "round": stage,
        }
        trained = train(request.stage_training.model_copy(update=update), folder, emit)
        network = load_checkpoint(folder / trained.checkpoint.path)
        opened = _open(network, request, batches)
    narrow(opened, kept, round_to=request.round_to)
    return opened.graph.network


def _improve_batchnorm(network: Network, request: Request, batches: Batches) -> int:
    from prunebench.variants.pruning.bn import improve_batchnorm

    judged_on = list(batches(JUDGED_BATCHES if request.bn_batches else 0))
    with lying_on(network, request.device, "pruning"):
        return improve_batchnorm(network, batches(request.bn_batches), judged_on)


def _between(full: int, kept: int, done: float, step: int) -> int:
    """Width after a share of the stages, as far as multiples of ``step`` allow; it never rises."""
    wanted = full - (full - kept) * done
    return min(full, max(kept, math.ceil(wanted / step) * step))


def _open(network: Network, request: Request, batches: Batches) -> Opened:
    from prunebench.variants.pruning.importance import TAYLOR_BATCHES
    from prunebench.variants.pruning.pruner import open_network

    return open_network(
        network,
        importance=request.importance,
        ignore=request.ignore,
        gradient_batches=batches(TAYLOR_BATCHES),
        seed=request.seed,
        device=request.device,
    )


def _allocated(opened: Opened, request: Request, folder: Path, emit: Emit) -> Allocated:
    """Widths that reach the target, or the given ones; a measured target is measured here."""
    from prunebench.variants.pruning.allocation import Allocated, Measurements, allocate, reached_by
    from prunebench.variants.pruning.costs import read_costs
    from prunebench.variants.pruning.search import is_told
    from prunebench.variants.pruning.sensitivity import read_curves
    from prunebench.variants.pruning.shapes import shapes_of
    from prunebench.variants.pruning.timing import Stopwatch
    from prunebench.variants.pruning.widths import kept_of

    shapes = shapes_of(opened.graph, request.imgsz)
    if request.widths is not None:
        kept = kept_of(opened.graph, request.widths, request.round_to)
        return Allocated(kept, reached_by(request.goal, shapes, kept))

    def say(sentence: str) -> None:
        emit(Stage(what=sentence))

    measurements, time = None, None
    if request.costs is not None and request.curves is not None:
        costs, curves = read_costs(Path(request.costs)), read_curves(Path(request.curves))
        measurements = Measurements(costs, curves)
    if request.timing is not None:
        with _working(request, emit):
            stopwatch = Stopwatch(
                Path(request.checkpoint),
                request.ignore,
                request.imgsz,
                request.timing.opset,
                request.timing.passes,
                request.timing.latency,
                folder,
                _training_images(request)[:CALIBRATED] if request.goal.int8 else (),
                request.timing.there,
                request.timing.integers,
                request.timing.head,
            )

        def time(kept: Mapping[str, int]) -> Timed:
            with _working(request, emit):
                candidate = stopwatch.candidate(kept, request.round_to)
            return stopwatch.time(candidate, lambda timed: is_told(timed, request.goal), say)

    emit(Stage(what=f"deciding how wide each layer becomes ({request.goal.label})"))
    allocated = allocate(
        opened,
        shapes,
        request.goal,
        request.allocation,
        block=request.round_to,
        measurements=measurements,
        time=time,
        note=say,
    )
    if request.timing is None or request.timing.there is None:
        return allocated
    reached = allocated.reached.model_copy(update={"there": request.timing.there.name})
    return allocated._replace(reached=reached)


def _batches(request: Request, network: Network, emit: Emit) -> Batches:
    """A source of labelled training batches that tells how far it is."""
    from prunebench.variants.pruning.batches import BATCH, batches_for

    images = _training_images(request)

    def batches(count: int) -> Iterator[Batch]:
        sample = batches_for(network, images, count, imgsz=request.imgsz, seed=request.seed)
        total = min(count, math.ceil(len(images) / BATCH))
        for done, batch in enumerate(sample, start=1):
            yield batch
            emit(Progress(done=done, total=total, unit="batch"))

    return batches


def _training_images(request: Request) -> Sequence[Path]:
    from prunebench.data.dataset import images_of, read_dataset

    return images_of(read_dataset(Path(request.data_yaml)), "train")
