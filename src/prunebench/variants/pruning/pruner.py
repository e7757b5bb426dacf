"""Prune a network in place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from prunebench.common.errors import StepError
from prunebench.common.records import LeftAlone
from prunebench.config.sections import Importance
from prunebench.variants.checkpoint import Network
from prunebench.variants.graph.groups import ChannelGroup, PruningGraph, blank_image, trace
from prunebench.variants.graph.surgery import fold_c2f, split_c2f
from prunebench.variants.pruning.align import uniform_widths
from prunebench.variants.pruning.batches import Batch
from prunebench.variants.pruning.importance import accumulate_gradients, score_groups


@dataclass(frozen=True)
class Outcome:
    """What pruning did.

    Attributes:
        left_alone: Modules that kept their width, by name in the stock network, with reasons.
        channels_before: Channels of all prunable groups.
        channels_after: Channels that are left of them.
    """

    left_alone: dict[str, LeftAlone]
    channels_before: int
    channels_after: int


@dataclass(frozen=True)
class Opened:
    """A network whose channel groups are found and scored, ready to be narrowed.

    Attributes:
        graph: The traced network; its ``C2f`` modules are split.
        scores: Root of a group to the worth of its channels, shape (width,).
        parameters: Parameters of the network as it was given.
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
) -> Opened:
    """Find and score the channel groups of a network, whose ``C2f`` modules are split in place.

    Args:
        network: A network as ``load_checkpoint`` returns it.
        importance: How a channel's worth is judged.
        ignore: Names of modules whose output widths stay.
        gradient_batches: Labelled batches, needed for ``taylor`` alone.
        seed: Seed of ``random`` importance.

    Raises:
        ConfigError: A name in ``ignore`` is no module of the network.
        StepError: A module cannot be traced.
    """
    network.eval()
    parameters, shapes = _parameters(network), _output_shapes(network)
    split_c2f(network)
    graph = trace(network, ignore)
    if importance == "taylor":
        accumulate_gradients(network, gradient_batches)
    scores = score_groups(graph.groups, importance, seed=seed)
    network.zero_grad(set_to_none=True)
    return Opened(graph, scores, parameters, shapes)


def narrow(opened: Opened, kept: Mapping[str, int], *, round_to: int | None) -> Outcome:
    """Remove channels, the least important of each group, and fold the network back, in place.

    What is left consists of stock Ultralytics classes only, in eval mode.

    Args:
        opened: As ``open_network`` gives it; it cannot be used again.
        kept: Root of a group to the channels that stay, 1 to its width.
        round_to: What the widths are multiples of, for the reasons given; ``None``: of nothing.

    Raises:
        StepError: Nothing would be removed.
    """
    graph = opened.graph
    network: Network = graph.network
    _check_something_goes(graph.groups, kept, round_to)
    outcome = outcome_of(graph, kept, round_to)
    graph.prune(opened.scores, kept)
    fold_c2f(network)
    network.requires_grad_(False)
    if _parameters(network) >= opened.parameters or _output_shapes(network) != opened.shapes:
        raise StepError("prune", "the pruned network is not a smaller one with the same outputs")
    return outcome


def outcome_of(graph: PruningGraph, kept: Mapping[str, int], round_to: int | None) -> Outcome:
    """What narrowing to these widths does, before it is done."""
    return Outcome(
        left_alone={**graph.left_alone, **_kept_whole(graph, kept, round_to)},
        channels_before=sum(group.width for group in graph.groups),
        channels_after=sum(kept[group.root] for group in graph.groups),
    )


def prune_network(
    network: Network,
    *,
    ratio: float,
    round_to: int | None,
    importance: Importance = "magnitude",
    ignore: Sequence[str] = (),
    gradient_batches: Iterable[Batch] = (),
    seed: int = 0,
) -> Outcome:
    """Remove the same share of channels from every prunable layer, in place.

    Args:
        network: A network as ``load_checkpoint`` returns it.
        ratio: Share of channels to remove, 0 < ratio < 1; alignment can remove more.
        round_to: Widths become multiples of it, ``None``: no alignment.
        importance: As ``open_network``.
        ignore: As ``open_network``.
        gradient_batches: As ``open_network``.
        seed: As ``open_network``.

    Raises:
        ConfigError: As ``open_network``.
        StepError: As ``open_network``, or nothing could be removed.
    """
    opened = open_network(
        network, importance=importance, ignore=ignore, gradient_batches=gradient_batches, seed=seed
    )
    kept = uniform_widths(opened.graph.groups, ratio, round_to)
    return narrow(opened, kept, round_to=round_to)


def _check_something_goes(
    groups: Sequence[ChannelGroup], kept: Mapping[str, int], round_to: int | None
) -> None:
    if any(kept[group.root] < group.width for group in groups):
        return
    if not groups:
        raise StepError("prune", "every layer is left alone, so there is nothing to prune")
    widest = max(group.width for group in groups)
    block = "" if round_to is None else f" aligned to {round_to}"
    raise StepError(
        "prune",
        f"the target{block} removes no channel: the widest layer has {widest}",
    )


def _kept_whole(
    graph: PruningGraph, kept: Mapping[str, int], round_to: int | None
) -> dict[str, LeftAlone]:
    reasons = {}
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


def _parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def _output_shapes(network: Network) -> list[tuple[int, ...]]:
    """Shapes of what the network predicts for one small image."""
    with torch.no_grad():
        outputs = network(blank_image(network))
    return [tuple(tensor.shape) for tensor in _tensors(outputs[0])]


def _tensors(outputs: Any) -> Iterable[torch.Tensor]:
    if isinstance(outputs, torch.Tensor):
        yield outputs
    elif isinstance(outputs, list | tuple):
        for output in outputs:
            yield from _tensors(output)
