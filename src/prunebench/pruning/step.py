"""Step ``prune``: a narrower network made of stock Ultralytics classes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from prunebench.audit import structure_of
from prunebench.child import Emit
from prunebench.records import FileRef, Record, Structure, sha256_of
from prunebench.sections import Importance

if TYPE_CHECKING:
    from prunebench.pruning.batches import Batch

CHECKPOINT_FILE = "model.pt"


class Request(Record):
    """Input of the step.

    Attributes:
        checkpoint: Absolute path of the network to prune.
        data_yaml: Absolute path of the data YAML; its training images are used.
        ratio: Share of the channels removed from every prunable layer, 0 < ratio < 1.
        round_to: Widths become multiples of it; ``None``: no alignment.
        importance: How a channel's worth is judged.
        bn_batches: Batches that re-estimate BatchNorm statistics, 0 for none.
        ignore: Names of modules whose output widths stay.
        seed: Seed of the drawn images and of random importance.
        imgsz: (height, width) of the letterbox in pixels.
    """

    checkpoint: str
    data_yaml: str
    ratio: float
    round_to: int | None
    importance: Importance
    bn_batches: int
    ignore: tuple[str, ...] = ()
    seed: int = 0
    imgsz: tuple[int, int]


class Pruned(Record):
    """Result of the step.

    Attributes:
        checkpoint: The pruned checkpoint, relative to the working folder.
        structure: The pruned network.
        widths_before: Output channels of every convolution before.
        left_alone: Modules that kept their width, each with its reason.
        channels_removed: Share of the channels of the prunable layers that was removed.
        parameters_removed: Share of all parameters that was removed, BatchNorm apart.
        bn_batches: Batches that BatchNorm was re-estimated on.
    """

    checkpoint: FileRef
    structure: Structure
    widths_before: dict[str, int]
    left_alone: dict[str, str]
    channels_removed: float
    parameters_removed: float
    bn_batches: int


def run(request: Request, workdir: Path, emit: Emit) -> Pruned:
    """Prune a checkpoint.

    Raises:
        CheckpointError: The checkpoint cannot be used.
        ConfigError: A name in ``ignore`` is no module of the network.
        StepError: A module cannot be traced, or nothing could be removed.
    """
    from prunebench.checkpoint import load_checkpoint, save_checkpoint
    from prunebench.data.dataset import images_of, read_dataset
    from prunebench.pruning.batches import BATCH, sample_batches
    from prunebench.pruning.bn import reestimate_batchnorm
    from prunebench.pruning.importance import TAYLOR_BATCHES
    from prunebench.pruning.pruner import prune_network

    emit({"kind": "stage", "text": "reading the checkpoint"})
    checkpoint = Path(request.checkpoint)
    network = load_checkpoint(checkpoint)
    before = structure_of(network, request.imgsz)
    images = images_of(read_dataset(Path(request.data_yaml)), "train")

    def batches(count: int) -> Iterator[Batch]:
        sample = sample_batches(
            images, count, imgsz=request.imgsz, classes=len(before.names), seed=request.seed
        )
        total = min(count, math.ceil(len(images) / BATCH))
        for done, batch in enumerate(sample, start=1):
            yield batch
            emit({"kind": "progress", "done": done, "total": total, "unit": "batch"})

    emit({"kind": "stage", "text": "removing channels"})
    outcome = prune_network(
        network,
        ratio=request.ratio,
        round_to=request.round_to,
        importance=request.importance,
        ignore=request.ignore,
        gradient_batches=batches(TAYLOR_BATCHES),
        seed=request.seed,
    )
    emit({"kind": "stage", "text": "re-estimating BatchNorm statistics"})
    used = reestimate_batchnorm(network, batches(request.bn_batches))
    target = workdir / CHECKPOINT_FILE
    provenance = {
        "step": "prune",
        "parent_sha256": sha256_of(checkpoint),
        "left_alone": outcome.left_alone,
        **request.model_dump(mode="json", exclude={"checkpoint", "data_yaml"}),
    }
    save_checkpoint(network, target, provenance)
    # Read back, so that what is described is what the file holds.
    structure = structure_of(load_checkpoint(target), request.imgsz)
    return Pruned(
        checkpoint=FileRef.of(target, workdir),
        structure=structure,
        widths_before=before.widths,
        left_alone=outcome.left_alone,
        channels_removed=1 - outcome.channels_after / outcome.channels_before,
        parameters_removed=1 - structure.parameters / before.parameters,
        bn_batches=used,
    )
