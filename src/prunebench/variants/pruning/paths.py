"""From the unpruned network to the smallest one, a block of channels at a time.

An allocation decides in which order blocks go; a target decides where to stop. Every point of a
path keeps a subset of the channels that the point before it keeps.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from prunebench.variants.graph.groups import ChannelGroup

LEAST_SHARE = 0.1
"""Share of a layer's channels that always stays: ranking all layers together would otherwise leave
some with a single channel, which no retraining makes good.
"""


@dataclass(frozen=True)
class Bundle:
    """Groups that keep equally many channels: one group, or the two halves of a ``C2f``.

    ``stops``: the widths it goes through, falling, without the present one.
    """

    roots: tuple[str, ...]
    width: int
    stops: tuple[int, ...]

    def before(self, stop: int) -> int:
        """The width it has when it goes on to a stop of this index."""
        return self.stops[stop - 1] if stop else self.width


@dataclass(frozen=True)
class Path:
    """An order in which channels go: each move takes one bundle, by index, to its next stop."""

    bundles: tuple[Bundle, ...]
    moves: tuple[int, ...]

    def points(self) -> Iterator[dict[str, int]]:
        """Root of a group to the channels that stay: the unpruned network, then after each move."""
        done = [0] * len(self.bundles)
        kept = {root: bundle.width for bundle in self.bundles for root in bundle.roots}
        yield dict(kept)
        for index in self.moves:
            bundle = self.bundles[index]
            kept.update(dict.fromkeys(bundle.roots, bundle.stops[done[index]]))
            done[index] += 1
            yield dict(kept)


def bundles_of(groups: Sequence[ChannelGroup], block: int | None) -> tuple[Bundle, ...]:
    """What can be narrowed, in forward order.

    ``block``: widths become multiples of it, at least one block; ``None``: any width of at least
    ``LEAST_SHARE`` of the channels. Attention keeps whole heads.
    """
    together: dict[int, list[ChannelGroup]] = {}
    for group in groups:
        together.setdefault(group.bundle, []).append(group)
    return tuple(
        Bundle(
            roots=tuple(group.root for group in members),
            width=members[0].width,
            stops=tuple(_stops(members[0].width, members[0].step(block))),
        )
        for members in together.values()
    )


def _stops(width: int, step: int) -> Iterator[int]:
    least = max(step, math.ceil(width * LEAST_SHARE))
    return (kept for kept in range((width - 1) // step * step, 0, -step) if kept >= least)


def uniform_path(bundles: Sequence[Bundle]) -> Path:
    """The same share from every layer: a block goes when half of it is above the common share."""

    def share(index: int, stop: int) -> float:
        bundle = bundles[index]
        return 1 - (bundle.before(stop) + bundle.stops[stop]) / 2 / bundle.width

    return _sorted_path(bundles, share)


def global_path(bundles: Sequence[Bundle], scores: Mapping[str, Tensor]) -> Path:
    """The least important channels first, wherever they are.

    ``scores``: root of a group to its channels' importance, shape (width,), comparable between
    groups.
    """
    ranked = {root: score.sort().values for root, score in scores.items()}

    def worth(index: int, stop: int) -> float:
        bundle = bundles[index]
        gone = slice(bundle.width - bundle.before(stop), bundle.width - bundle.stops[stop])
        return sum(float(ranked[root][gone].mean()) for root in bundle.roots) / len(bundle.roots)

    return _sorted_path(bundles, worth)


def _sorted_path(bundles: Sequence[Bundle], key: Callable[[int, int], float]) -> Path:
    """Moves by ascending key; of one bundle they stay in order, for its keys never fall."""
    moves = [(index, stop) for index, b in enumerate(bundles) for stop in range(len(b.stops))]
    moves.sort(key=lambda move: key(*move))
    return Path(tuple(bundles), tuple(index for index, _ in moves))


def greedy_path(
    bundles: Sequence[Bundle],
    lost: Sequence[Callable[[int], float]],
    saved: Callable[[Mapping[str, int], Mapping[str, int], Sequence[str]], float],
) -> Path:
    """At every step the block that costs least importance per microsecond it saves.

    After Yang et al., "NetAdapt" (ECCV 2018), which narrows one layer at a time by what that costs
    and saves, both measured. ``lost`` gives for each bundle the importance lost against the full
    width by the channels kept, and never falls when fewer are; ``saved`` gives the time saved by
    widths before, widths after and the groups that differ.
    """
    done = [0] * len(bundles)
    kept = {root: bundle.width for bundle in bundles for root in bundle.roots}
    moves: list[int] = []

    def narrower(index: int) -> dict[str, int]:
        bundle = bundles[index]
        return {**kept, **dict.fromkeys(bundle.roots, bundle.stops[done[index]])}

    def price(index: int) -> tuple[float, float]:
        roots, after = bundles[index].roots, narrower(index)
        gain = saved(kept, after, roots)
        loss = lost[index](after[roots[0]]) - lost[index](kept[roots[0]])
        # What saves nothing goes last; of what costs nothing, the most time goes first.
        return (loss / gain if gain > 0 else math.inf), -gain

    while open_ := [i for i, bundle in enumerate(bundles) if done[i] < len(bundle.stops)]:
        best = min(open_, key=price)
        kept = narrower(best)
        done[best] += 1
        moves.append(best)
    return Path(tuple(bundles), tuple(moves))
