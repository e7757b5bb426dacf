"""Prune a network in place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from prunebench.common.errors import StepError
from prunebench.common.records import LeftAlone
from prunebench.config.pruning import Importance
from prunebench.variants.checkpoint import Network, parameter_count
from prunebench.variants.devices import ON_CPU, Device, lying_on
from prunebench.variants.graph.groups import PruningGraph, forward_to_predictions, trace
from prunebench.variants.graph.surgery import fold_c2f, split_c2f
from prunebench.variants.pruning.batches import Batch
from prunebench.variants.pruning.importance import score_groups, training_losses
from prunebench.variants.structure import blank_image


@dataclass(frozen=True)
class Opened:
    """A network with its ``C2f`` modules split and its channel groups scored, ready to be narrowed.

    Attributes:
        scores: Root of a group to the worth of its channels, shape (width,).
        parameters: Of the network as it was given.
        shapes: Shapes of its predictions for one small image.
    """

    graph: PruningGraph
    scores: Mapping[str, Tensor]
    parameters: int
    shapes: list[tuple[int, ...]]


def open_network(
    network: Network,
    *,
    importance: Importance = "magnitude",
    ignore: Sequence[str] = (),
    gradient_batches: Iterable[Batch] = (),
    seed: int = 0,
    device: Device = ON_CPU,
) -> Opened:
    """Find and score the channel groups of a network, whose ``C2f`` modules are split in place.

    ``ignore`` names modules whose output widths stay; ``gradient_batches`` are labelled ones,
    needed for ``taylor`` alone, whose gradients are computed on ``device``. Errors are those of
    ``trace``.
    """
    network.eval()
    parameters, shapes = parameter_count(network), _output_shapes(network)
    split_c2f(network)
    graph = trace(network, ignore)
    if importance == "taylor":
        # In eval mode, so BatchNorm uses the statistics the network is deployed with.
        with lying_on(network, device, "pruning"):
            for loss in training_losses(network, gradient_batches):
                loss.backward()
    scores = score_groups(graph.groups, importance, seed=seed)
    network.zero_grad(set_to_none=True)
    return Opened(graph, scores, parameters, shapes)


def narrow(opened: Opened, kept: Mapping[str, int], *, round_to: int | None) -> None:
    """Remove channels, the least important of each group, and fold the network back, in place.

    What is left consists of stock Ultralytics classes only, in eval mode. ``opened`` cannot be used
    again; ``kept`` maps the root of a group to the channels that stay, 1 to its width.

    Raises:
        StepError: Nothing would be removed.
    """
    graph = opened.graph
    network: Network = graph.network
    if not graph.groups:
        raise StepError("prune", "every layer is left alone, so there is nothing to prune")
    if all(kept[group.root] == group.width for group in graph.groups):
        widest = max(group.width for group in graph.groups)
        block = "" if round_to is None else f" aligned to {round_to}"
        raise StepError(
            "prune", f"the target{block} removes no channel: the widest layer has {widest}"
        )
    graph.prune(opened.scores, kept)
    fold_c2f(network)
    network.requires_grad_(False)
    if parameter_count(network) >= opened.parameters or _output_shapes(network) != opened.shapes:
        raise StepError("prune", "the pruned network is not a smaller one with the same outputs")


def left_alone(
    graph: PruningGraph, kept: Mapping[str, int], round_to: int | None
) -> dict[str, LeftAlone]:
    """Modules that keep their width, by name in the stock network, with reasons."""
    reasons = dict(graph.left_alone)
    for group in graph.groups:
        if kept[group.root] == group.width:
            narrow = round_to is not None and group.width <= round_to
            reason = LeftAlone(
                reason="narrow_block" if narrow else "narrow_ratio",
                width=group.width,
                block=round_to if narrow else None,
            )
            reasons.update({graph.stock_name(member): reason for member in group.members})
    return reasons


def _output_shapes(network: Network) -> list[tuple[int, ...]]:
    """Shapes of what the network predicts for one small image."""
    with torch.no_grad():
        outputs = forward_to_predictions(network, blank_image(network))
    return [tuple(output.shape) for output in outputs]
