"""Step ``prune``: a narrower network made of stock Ultralytics classes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from prunebench.audit import structure_of
from prunebench.child import Emit
from prunebench.config import Importance
from prunebench.errors import StepError
from prunebench.records import FileRef, Record, Structure, sha256_of

if TYPE_CHECKING:
    from torch import nn

    from prunebench.pruning.groups import PruningGraph

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
    from prunebench.pruning.batches import sample_batches
    from prunebench.pruning.bn import reestimate_batchnorm

    emit({"kind": "stage", "text": "following the channels through the network"})
    network = load_checkpoint(Path(request.checkpoint))
    before = structure_of(network, request.imgsz)
    images = images_of(read_dataset(Path(request.data_yaml)), "train")

