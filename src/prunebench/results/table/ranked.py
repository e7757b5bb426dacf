"""Rank measurements taken elsewhere, and say what their table cannot know.

Such a table holds one figure per variant and no intervals. What it may hold is the same network
several times: its own spread of FPS is then the noise of the measurement, and differences within
that spread are ties. Networks are recognised by their parameter count, in whichever state
(BatchNorm apart or folded) each row was counted.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, Literal

from prunebench.common.records import Record
from prunebench.common.text import listed
from prunebench.results.ranking.records import FailedVariant, Shown
from prunebench.results.table.reader import TableEntry, read_table
from prunebench.variants.stock_catalogue import recognise

if TYPE_CHECKING:
    import pandas as pd

FOLDED = ", BatchNorm folded"

ROUNDED_PERCENT = 1.5
"""A printed efficiency may differ this much from its own columns, rounded before printing."""


class TableRow(Record):
    """One ranked row.

    Attributes:
        rank: 1 + the number of other networks' variants that are more efficient by more than
            the noise; the order as given where the table shows no noise.
        label: The rank as printed, with ``=`` where it is shared.
        variant: Name.
        parameters: Parameter count as given.
        network: The stock network with that count, or ``None``.
        size_mb: Size in 10^6 bytes.
        map50: mAP50, 0..1.
        fps: Frames per second.
        efficiency: mAP50 x FPS / MB, computed from the columns.
        map50_per_fps: Accuracy/speed ratio, mAP50 / FPS.
        realtime: Whether the limit is kept, as far as the noise lets it be told.
        pareto: Whether no other variant is at least as good in mAP50 and FPS as given.
    """

    rank: int
    label: str
    variant: str
    parameters: int
    network: str | None
    size_mb: float
    map50: float
    fps: float
    efficiency: float
    map50_per_fps: float
    realtime: Shown
    pareto: bool


class TableEffect(Record):
    """What a retraining did, in percent of its reference.

    Attributes:
        kind: ``strategy`` (its first round against the pruned network) or ``round`` (against
            the round before).
        strategy: Name of the strategy.
        variant: The retrained variant.
        reference: What it is compared with.
        parameters_percent: Change of the parameter count as given.
        accuracy_percent: Change of mAP50.
        speed_percent: Change of FPS; 100 + it is the speed retention.
        efficiency_percent: Change of the efficiency.
        same_network: The two are the same network, so their speeds differ by noise alone.
        within_noise: Their speeds differ by less than the noise.
    """

    kind: Literal["strategy", "round"]
    strategy: str
    variant: str
    reference: str
    parameters_percent: float
    accuracy_percent: float
    speed_percent: float
    efficiency_percent: float
    same_network: bool
    within_noise: bool


class TableRanking(Record):
    """A ranked table.

    Attributes:
        source: Path of the file, or "the table" for a DataFrame.
        realtime_fps: The real-time limit.
        noise_factor: Largest ratio of two FPS figures of the same network, or ``None`` where
            no network occurs twice.
        rows: By falling efficiency.
        failures: Rows that name a failure instead of figures.
        effects: What each retraining did, where strategies and rounds were recognised.
        notes: What the table does not say about itself.
    """

    source: str
    realtime_fps: float
    noise_factor: float | None
    rows: tuple[TableRow, ...]
    failures: tuple[FailedVariant, ...]
    effects: tuple[TableEffect, ...]
    notes: tuple[str, ...]

    def to_frame(self) -> pd.DataFrame:
        """The rows as a table, with the columns ``rank`` reads and what was computed from them.

        Rows that name a ``failure`` come last and have no figures.
        """
        import pandas as pd

        rows = [row.model_dump(exclude={"rank"}) for row in self.rows]
        rows += [{"variant": one.name, "failure": one.reason} for one in self.failures]
        columns = [name for name in TableRow.model_fields if name != "rank"]
        frame = pd.DataFrame(rows, columns=[*columns, "failure"])
        frame = frame.rename(columns={"label": "rank", "parameters": "params"})
        return frame.astype({"params": "Int64"})


@dataclass(frozen=True)
class _Network:
    """Entries that are the same network; ``stock`` is its name where it is a stock one."""

    stock: str | None
    entries: tuple[TableEntry, ...]

    @property
    def slowest(self) -> float:
        return min(entry.fps for entry in self.entries)

    @property
    def fastest(self) -> float:
        return max(entry.fps for entry in self.entries)


def rank(table: pd.DataFrame | str | PathLike[str], *, realtime_fps: float = 20.0) -> TableRanking:
    """Rank measurements taken elsewhere.

    Args:
        table: DataFrame or path of a CSV file with the columns ``variant``, ``params``,
            ``size_mb`` (10^6 bytes), ``map50`` (0..1) and ``fps``; see ``read_table`` for optional
            ones.
        realtime_fps: Frames per second called real-time.

    Raises:
        TableError: With the line and column of a bad value.
    """
    found = read_table(table)
    entries = found.entries
    networks = _networks(entries)
    repeated = [network for network in networks if len(network.entries) > 1]
    noise = max((n.fastest / n.slowest for n in repeated), default=None)
    network_of = {entry.variant: network for network in networks for entry in network.entries}
    notes = [*_noise_notes(networks, noise), *_pruning_notes(networks), *_misprints(entries)]
    if found.left_out:
        left_out = listed(found.left_out)
        notes.insert(0, f"Only the first thread count is ranked; left out: {left_out}.")
    return TableRanking(
        source=found.source,
        realtime_fps=realtime_fps,
        noise_factor=noise,
        rows=tuple(_rows(entries, network_of, noise or 1.0, realtime_fps)),
        failures=tuple(
            FailedVariant(name=name, step=reason.partition(": ")[0], reason=reason)
            for name, reason in found.failures.items()
        ),
        effects=tuple(
            _effect(entry, reference, network_of, noise)
            for entry in entries
            if entry.strategy and (reference := _reference(entry, entries))
        ),
        notes=tuple(notes),
    )


def effect_sentence(effect: TableEffect) -> str:
    """What a retraining did, in words."""
    noise = ""
    if effect.same_network:
        noise = "; they are the same network, so the speed difference is noise"
    elif effect.within_noise:
        noise = "; the speed difference is within the noise"
    return (
        f"{effect.variant} against {effect.reference}: accuracy {effect.accuracy_percent:+.1f} %, "
        f"speed {effect.speed_percent:+.1f} % (retention {100 + effect.speed_percent:.1f} %), "
        f"parameters {effect.parameters_percent:+.1f} %{noise}."
    )


def _efficiency(entry: TableEntry) -> float:
    return entry.map50 * entry.fps / entry.size_mb


def _networks(entries: Sequence[TableEntry]) -> list[_Network]:
    """Entries grouped by network: by the stock one they are, else by their exact count."""
    grouped: list[tuple[set[str], str | None, list[TableEntry]]] = []
    for entry in entries:
        stock = recognise(entry.parameters)
        readings = (stock or f"{entry.parameters} parameters").split(" or ")
        keys = {reading.removesuffix(FOLDED) for reading in readings}
        for known, _, members in grouped:
            if known & keys:
                members.append(entry)
                break
        else:
            name = None if stock is None else " or ".join(sorted(keys))
            grouped.append((keys, name, [entry]))
    return [_Network(stock, tuple(members)) for _, stock, members in grouped]


def _rows(
    entries: Sequence[TableEntry],
    network_of: Mapping[str, _Network],
    noise: float,
    realtime_fps: float,
) -> Iterator[TableRow]:
    ordered = sorted(entries, key=_efficiency, reverse=True)

    def is_better(one: TableEntry, other: TableEntry) -> bool:
        # Nothing tells variants of one network apart: speed cannot, accuracy has no interval.
        same = network_of[one.variant] is network_of[other.variant]
        return not same and _efficiency(one) > _efficiency(other) * noise

    ranks = [1 + sum(is_better(other, entry) for other in ordered) for entry in ordered]
    for rank_, entry in zip(ranks, ordered, strict=True):
        yield TableRow(
            rank=rank_,
            label=f"{rank_}=" if ranks.count(rank_) > 1 else str(rank_),
            variant=entry.variant,
            parameters=entry.parameters,
            network=recognise(entry.parameters),
            size_mb=entry.size_mb,
            map50=entry.map50,
            fps=entry.fps,
            efficiency=_efficiency(entry),
            map50_per_fps=entry.map50 / entry.fps,
            realtime=_realtime(network_of[entry.variant], noise, realtime_fps),
            pareto=not any(_dominates(other, entry) for other in ordered),
        )


def _realtime(network: _Network, noise: float, limit: float) -> Shown:
    """Whether the limit is kept by the network's whole range.

    Two figures of one network lie up to ``noise`` apart, so a single one stands for a range of
    that width around it.
    """
    low, high = network.slowest, network.fastest
    if len(network.entries) == 1:
        low, high = low / math.sqrt(noise), high * math.sqrt(noise)
    if low >= limit:
        return "yes"
    return "no" if high < limit else "not shown"


def _dominates(other: TableEntry, entry: TableEntry) -> bool:
    at_least = other.map50 >= entry.map50 and other.fps >= entry.fps
    return at_least and (other.map50 > entry.map50 or other.fps > entry.fps)


def _reference(entry: TableEntry, entries: Sequence[TableEntry]) -> TableEntry | None:
    """The given parent, else the strategy's round before, else the only merely pruned variant."""
    if entry.parent is not None:
        return next((other for other in entries if other.variant == entry.parent), None)
    if entry.round > 1:
        before = (entry.strategy, entry.round - 1)
        return next((e for e in entries if (e.strategy, e.round) == before), None)
    pruned = [other for other in entries if other.strategy is None and other.is_called_pruned]
    return pruned[0] if len(pruned) == 1 else None


def _effect(
    entry: TableEntry,
    reference: TableEntry,
    network_of: Mapping[str, _Network],
    noise: float | None,
) -> TableEffect:
    def change(value: float, before: float) -> float:
        return 100 * (value / before - 1) if before > 0 else math.inf

    speed = entry.fps / reference.fps
    return TableEffect(
        kind="round" if entry.round > 1 else "strategy",
        strategy=entry.strategy or "",
        variant=entry.variant,
        reference=reference.variant,
        parameters_percent=change(entry.parameters, reference.parameters),
        accuracy_percent=change(entry.map50, reference.map50),
        speed_percent=100 * (speed - 1),
        efficiency_percent=change(_efficiency(entry), _efficiency(reference)),
        same_network=network_of[entry.variant] is network_of[reference.variant],
        within_noise=noise is not None and max(speed, 1 / speed) <= noise,
    )


def _noise_notes(networks: Sequence[_Network], noise: float | None) -> Iterator[str]:
    yield from (_same_network_note(one) for one in networks if len(one.entries) > 1)
    if noise is None:
        yield (
            "The table has no intervals and no network twice: the order is as given, and how "
            "much of it is noise cannot be told."
        )
    else:
        yield (
            f"FPS figures of the same network differ by up to a factor {noise:.2f}: that is "
            "this table's noise. Smaller differences, and those inside one network, are ties."
        )


def _misprints(entries: Sequence[TableEntry]) -> Iterator[str]:
    for entry in entries:
        if entry.efficiency is None:
            continue
        off = 100 * (entry.efficiency / _efficiency(entry) - 1) if entry.map50 > 0 else math.inf
        if abs(off) > ROUNDED_PERCENT:
            yield (
                f"The printed efficiency {entry.efficiency:g} of {entry.variant} is "
                f"{off:+.1f} % off its own columns ({_efficiency(entry):.2f})."
            )


def _same_network_note(network: _Network) -> str:
    counts = {entry.parameters for entry in network.entries}
    if network.stock is None:
        what = f"have the same parameter count ({min(counts):,}), so presumably the same network"
    else:
        what = f"are the same network, {network.stock}"
        if len(counts) > 1:
            what += f" ({max(counts):,} parameters, or {min(counts):,} with BatchNorm folded)"
    return (
        f"{listed([entry.variant for entry in network.entries])} {what}: their speed differences "
        f"({network.slowest:g} to {network.fastest:g} FPS) cannot come from the models."
    )


def _pruning_notes(networks: Sequence[_Network]) -> Iterator[str]:
    restored = [
        entry.variant
        for network in networks
        if network.stock is not None
        for entry in network.entries
        if entry.is_called_pruned
    ]
    kept = [
        f"{entry.variant} ({entry.parameters:,} parameters, no stock network)"
        for network in networks
        if network.stock is None
        for entry in network.entries
        if entry.is_called_pruned or entry.strategy is not None
    ]
    if restored:
        verb = "is" if len(restored) == 1 else "are"
        yield (
            f"{listed(restored)} {verb} described as pruned, but {verb} the unpruned network: "
            "retraining restored it and the pruning is lost."
        )
    if restored and kept:
        verb = "is" if len(kept) == 1 else "are"
        yield f"Only {listed(kept)} {verb} still pruned."
