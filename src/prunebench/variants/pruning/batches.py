"""Batches of training images in the letterbox the network is deployed with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from prunebench.data.labels import labels_of, read_labels, read_polygons
from prunebench.measuring.accuracy import draw_masks
from prunebench.measuring.inference import read_letterboxed
from prunebench.variants.checkpoint import Network

BATCH = 16  # images per batch

Batch = dict[str, Any]


def batches_for(
    network: Network, images: Sequence[Path], count: int, *, imgsz: tuple[int, int], seed: int
) -> Iterator[Batch]:
    """Yield ``count`` batches of ``BATCH`` images drawn at random, each image once at most.

    Fewer come out where there are not enough images.

    Args:
        network: Its classes are those of the labels; of a segmentation network, whose loss needs
            masks, the labels are outlines.

    Yields:
        What Ultralytics' losses take: ``img`` (batch, 3, height, width) in 0..1, ``batch_idx``
        (objects,), ``cls`` (objects, 1), ``bboxes`` (objects, 4) as centre, width and height
        relative to the letterbox. With masks also ``masks`` (batch, height / 4, width / 4), the
        number of the object a pixel shows, counted from 1 in its image, and ``sem_masks``, alike,
        its class.

    Raises:
        DatasetError: An image or a label file cannot be read.
    """
    order = np.random.default_rng(seed).permutation(len(images))[: count * BATCH]
    for start in range(0, len(order), BATCH):
        chosen = [images[i] for i in order[start : start + BATCH]]
        yield _batch(chosen, imgsz, len(network.names), network.task == "segment")


def _batch(images: Sequence[Path], imgsz: tuple[int, int], classes: int, with_masks: bool) -> Batch:
    tensors, objects, owners, masks = [], [], [], []
    frame = np.array([imgsz[1], imgsz[0]] * 2)
    for index, path in enumerate(images):
        tensor, factor, offset = read_letterboxed(path, imgsz)
        tensors.append(torch.from_numpy(tensor))
        file = labels_of(path)
        rows = np.zeros((0, 5))
        outlines: list[NDArray[np.float32]] = []
        if file.is_file() and with_masks:
            rows, outlines = read_polygons(file, classes=classes)
        elif file.is_file():
            rows = read_labels(file, classes=classes)
        rows[:, 1:] = (rows[:, 1:] * factor + offset) / frame
        if with_masks:
            # The loss finds an object by its number in the mask, the largest object first.
            order, drawn = draw_masks(outlines, factor[:2], offset[:2], imgsz)
            rows = rows[order]
            masks.append((drawn * np.arange(1, len(order) + 1)[:, None, None]).sum(axis=0))
        objects.append(rows)
        owners.append(np.full(len(rows), index))
    rows = np.concatenate(objects)
    batch = {
        "img": torch.cat(tensors),
        "batch_idx": torch.from_numpy(np.concatenate(owners)).float(),
        "cls": torch.from_numpy(rows[:, :1]).float(),
        "bboxes": torch.from_numpy(rows[:, 1:]).float(),
    }
    if with_masks:
        numbers = np.stack(masks)
        kinds = [np.append(0, own[:, 0])[mask] for own, mask in zip(objects, masks, strict=True)]
        batch["masks"] = torch.from_numpy(numbers).float()
        batch["sem_masks"] = torch.from_numpy(np.stack(kinds)).long()
    return batch
