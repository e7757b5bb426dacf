"""Batches of training images in the letterbox the network is deployed with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from prunebench.data.labels import labels_of, read_labels
from prunebench.inference import read_letterboxed

BATCH = 16
"""Images per batch."""

Batch = dict[str, Any]


def sample_batches(
    images: Sequence[Path], count: int, *, imgsz: tuple[int, int], classes: int, seed: int
) -> Iterator[Batch]:
    """Yield ``count`` batches of ``BATCH`` images drawn at random, each image once at most.

    Fewer come out where there are not enough images.

    Args:
        images: The training images.
        count: Batches.
        imgsz: (height, width) of the letterbox in pixels.
        classes: Number of classes.
        seed: Seed of the draw.

    Yields:
        What Ultralytics' losses take: ``img`` (batch, 3, height, width) in 0..1, ``batch_idx``
        (objects,), ``cls`` (objects, 1), ``bboxes`` (objects, 4) as centre, width and height
        relative to the letterbox.

    Raises:
        DatasetError: An image or a label file cannot be read.
    """
    order = np.random.default_rng(seed).permutation(len(images))[: count * BATCH]
    for start in range(0, len(order), BATCH):
        chosen = [images[i] for i in order[start : start + BATCH]]
        yield _batch(chosen, imgsz, classes)


def _batch(images: Sequence[Path], imgsz: tuple[int, int], classes: int) -> Batch:
    tensors, objects, owners = [], [], []
    frame = np.array([imgsz[1], imgsz[0]] * 2)
    for index, path in enumerate(images):
        tensor, factor, offset = read_letterboxed(path, imgsz)
        tensors.append(torch.from_numpy(tensor))
        file = labels_of(path)
        rows = read_labels(file, classes=classes) if file.is_file() else np.zeros((0, 5))
        rows[:, 1:] = (rows[:, 1:] * factor + offset) / frame
        objects.append(rows)
        owners.append(np.full(len(rows), index))
    rows = np.concatenate(objects)
    return {
        "img": torch.cat(tensors),
        "batch_idx": torch.from_numpy(np.concatenate(owners)).float(),
        "cls": torch.from_numpy(rows[:, :1]).float(),
        "bboxes": torch.from_numpy(rows[:, 1:]).float(),
    }
