"""Batches of training images in the letterbox the network is deployed with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from prunebench.data.labels import objects_of
from prunebench.measuring.heads import head_for
from prunebench.measuring.inference import read_input
from prunebench.variants.checkpoint import Network, keypoints_of

BATCH = 16  # images per batch

Batch = dict[str, Any]


def batches_for(
    network: Network, images: Sequence[Path], count: int, *, imgsz: tuple[int, int], seed: int
) -> Iterator[Batch]:
    """Yield ``count`` batches of ``BATCH`` images drawn at random, each image once at most.

    Fewer come out where there are not enough images.

    Args:
        network: Its classes are those of the labels, which are what its task needs.

    Yields:
        What Ultralytics' losses take: ``img`` (batch, 3, height, width) in 0..1, ``batch_idx``
        (objects,), and the head's ``targets``.

    Raises:
        DatasetError: An image or a label file cannot be read.
    """
    order = np.random.default_rng(seed).permutation(len(images))[: count * BATCH]
    for start in range(0, len(order), BATCH):
        chosen = [images[i] for i in order[start : start + BATCH]]
        yield _batch(chosen, imgsz, network)


def _batch(images: Sequence[Path], imgsz: tuple[int, int], network: Network) -> Batch:
    head = head_for(network.task, keypoints_of(network))
    tensors, truths = [], []
    for path in images:
        tensor, *frame = read_input(path, imgsz, head)
        tensors.append(torch.from_numpy(tensor))
        boxes, shapes = objects_of(path, network.names, task=head.task, points=head.points)
        truths.append(head.truth(boxes, shapes, (frame[0], frame[1]), imgsz))
    owners = np.repeat(np.arange(len(truths)), [len(truth.rows) for truth in truths])
    return {
        "img": torch.cat(tensors),
        "batch_idx": torch.from_numpy(owners).float(),
        **{name: torch.from_numpy(of) for name, of in head.targets(truths, imgsz).items()},
    }
