"""Give a detection network other classes: only the last layers are new."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

BRANCHES = ("cv3", "one2one_cv3")
"""Attributes of Ultralytics' heads that hold one classification branch per feature level."""


def give_classes(network: Any, names: Mapping[int, str]) -> int:
    """Replace the last convolution of each classification branch by one for ``names``.

    A class that the network already knows by name keeps its weights, wherever it stands now. Every
    other layer keeps its width, which no description could give back: Ultralytics derives the
    inner width of the branches from the number of classes.

    Args:
        network: Ultralytics detection or segmentation network, changed in place.
        names: Class index to name.

    Returns:
        How many classes kept their weights.
    """
    known = {name: index for index, name in dict(network.names).items()}
    sources = [known.get(names[index]) for index in range(len(names))]
    head = network.model[-1]
    for branch in _branches(head):
        branch[-1] = _last_layer(branch[-1], sources)
    head.nc = len(names)
    head.no = head.nc + 4 * head.reg_max
    network.names = dict(names)
    network.nc = network.yaml["nc"] = len(names)
    return sum(source is not None for source in sources)


def _branches(head: Any) -> Iterator[Any]:
    for attribute in BRANCHES:
        yield from getattr(head, attribute, None) or ()


def _last_layer(old: Any, sources: list[int | None]) -> Any:
    import torch
    from torch import nn

    new: Any = nn.Conv2d(old.in_channels, len(sources), kernel_size=1)
    with torch.no_grad():
        # A new class starts as rare as the known ones were on average after their training.
        new.bias.fill_(float(old.bias.mean()))
        for row, source in enumerate(sources):
            if source is not None:
                new.weight[row] = old.weight[source]
                new.bias[row] = old.bias[source]
    return new
