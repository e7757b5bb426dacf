"""Rank measurements taken elsewhere, and say what their table cannot know.

Such a table holds one figure per variant and no intervals. What it may hold is the same network
several times: its own spread of FPS is then the noise of the measurement, and differences within
that spread are ties. Networks are recognised by their parameter count, in whichever state
(BatchNorm apart or folded) each row was counted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from prunebench.common.records import Record
from prunebench.common.text import listed
from prunebench.results.ranking.records import FailedVariant, Shown
from prunebench.results.table.reader import Table, TableEntry, read_table
from prunebench.variants.stock_catalogue import recognise

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
        speed_percent: Change of FPS.
        speed_retention_percent: FPS in percent of the reference's.
        efficiency_percent: Change of the efficiency.
        speed_is_noise: The two are the same network, or differ less than the noise.
        sentence: All of it in words.
    """

    kind: Literal["strategy", "round"]
    strategy: str
    variant: str
    reference: str
    parameters_percent: float
    accuracy_percent: float
    speed_percent: float
    speed_retention_percent: float
    efficiency_percent: float
    speed_is_noise: bool
    sentence: str


class TableRanking(Record):
    """A ranked table.

    Attributes:
        source: Path of the CSV.
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


@dataclass(frozen=True)
class _Network:
    """Entries that are the same network; ``stock`` is its name where it is a stock one."""

    stock: str | None
    entries: tuple[TableEntry, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(entry.variant for entry in self.entries)

    @property
    def slowest(self) -> float:
        return min(entry.fps for entry in self.entries)

    @property
    def fastest(self) -> float:
        return max(entry.fps for entry in self.entries)


def rank_table(path: Path, *, realtime_fps: float = 20.0) -> TableRanking:
    """Rank a CSV with the columns variant, params, size_mb, map50 and fps.

    Args:
        path: The table; see ``read_table`` for optional columns.
        realtime_fps: Frames per second called real-time.

    Raises:
        TableError: With the line and column of the first bad value.
    """
    table = read_table(path)
    entries = table.entries
    networks = _networks(entries)
    repeated = [network for network in networks if len(network.entries) > 1]
    noise = max((n.fastest / n.slowest for n in repeated), default=None)
    return TableRanking(
        source=str(path),
        realtime_fps=realtime_fps,
        noise_factor=noise,
        rows=_rows(entries, networks, noise, realtime_fps),
        failures=tuple(
            FailedVariant(name=name, step=reason.partition(": ")[0], reason=reason)
            for name, reason in table.failures.items()
        ),
        effects=_effects(entries, networks, noise),
        notes=(*_left_out_note(table), *_notes(entries, networks, noise)),
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


def _network_of(entry: TableEntry, networks: Sequence[_Network]) -> _Network:
    return next(network for network in networks if entry in network.entries)


def _rows(
    entries: Sequence[TableEntry],
    networks: Sequence[_Network],
    noise: float | None,
    realtime_fps: float,
) -> tuple[TableRow, ...]:
    ordered = sorted(entries, key=_efficiency, reverse=True)
    factor = 1.0 if noise is None else noise

    def is_better(one: TableEntry, other: TableEntry) -> bool:
        # Nothing tells variants of one network apart: speed cannot, accuracy has no interval.
        same = _network_of(one, networks) is _network_of(other, networks)
        return not same and _efficiency(one) > _efficiency(other) * factor

    ranks = [1 + sum(is_better(other, entry) for other in ordered) for entry in ordered]
    return tuple(
        TableRow(
            rank=rank,
            label=f"{rank}=" if ranks.count(rank) > 1 else str(rank),
            variant=entry.variant,
            parameters=entry.parameters,
            network=recognise(entry.parameters),
            size_mb=entry.size_mb,
            map50=entry.map50,
            fps=entry.fps,
            efficiency=_efficiency(entry),
            map50_per_fps=entry.map50 / entry.fps,
            realtime=_realtime(entry, _network_of(entry, networks), factor, realtime_fps),
            pareto=not any(_dominates(other, entry) for other in ordered),
        )
        for rank, entry in zip(ranks, ordered, strict=True)
    )


def _realtime(entry: TableEntry, network: _Network, factor: float, limit: float) -> Shown:
    """Whether the limit is kept by the network's whole range.

    Two figures of one network lie up to ``factor`` apart, so a single one stands for a range of
    that width around it.
    """
    low, high = network.slowest, network.fastest
    if len(network.entries) == 1:
        low, high = entry.fps / math.sqrt(factor), entry.fps * math.sqrt(factor)
    if low >= limit:
        return "yes"
    return "no" if high < limit else "not shown"


def _dominates(other: TableEntry, entry: TableEntry) -> bool:
    at_least = other.map50 >= entry.map50 and other.fps >= entry.fps
    return at_least and (other.map50 > entry.map50 or other.fps > entry.fps)


def _effects(
    entries: Sequence[TableEntry], networks: Sequence[_Network], noise: float | None
) -> tuple[TableEffect, ...]:
    effects = []
    for entry in entries:
        if entry.strategy is None:
            continue
        reference = _reference(entry, entries)
        if reference is not None:
            same = _network_of(entry, networks) is _network_of(reference, networks)
            effects.append(_effect(entry, reference, same, noise))
    return tuple(effects)


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
    entry: TableEntry, reference: TableEntry, same_network: bool, noise: float | None
) -> TableEffect:
    def change(value: float, before: float) -> float:
        return 100 * (value / before - 1) if before > 0 else math.inf

    speed = entry.fps / reference.fps
    accuracy_percent = change(entry.map50, reference.map50)
    parameters_percent = change(entry.parameters, reference.parameters)
    sentence = (
        f"{entry.variant} against {reference.variant}: accuracy {accuracy_percent:+.1f} %, "
        f"speed {100 * (speed - 1):+.1f} % (retention {100 * speed:.1f} %), "
        f"parameters {parameters_percent:+.1f} %"
    )
    within_noise = noise is not None and max(speed, 1 / speed) <= noise
    if same_network:
        sentence += "; they are the same network, so the speed difference is noise"
    elif within_noise:
        sentence += "; the speed difference is within the noise"
    return TableEffect(
        kind="round" if entry.round > 1 else "strategy",
        strategy=entry.strategy or "",
        variant=entry.variant,
        reference=reference.variant,
        parameters_percent=parameters_percent,
        accuracy_percent=accuracy_percent,
        speed_percent=100 * (speed - 1),
        speed_retention_percent=100 * speed,
        efficiency_percent=change(_efficiency(entry), _efficiency(reference)),
        speed_is_noise=same_network or within_noise,
        sentence=f"{sentence}.",
    )


def _left_out_note(table: Table) -> list[str]:
    if not table.left_out:
        return []
    return [f"Only the first thread count is ranked; left out: {listed(table.left_out)}."]


def _notes(
    entries: Sequence[TableEntry], networks: Sequence[_Network], noise: float | None
) -> list[str]:
    notes = []
    for network in networks:
        if len(network.entries) > 1:
            notes.append(_same_network_note(network))
    if noise is None:
        notes.append(
            "The table has no intervals and no network twice: the order is as given, and how "
            "much of it is noise cannot be told."
        )
    else:
        notes.append(
            f"FPS figures of the same network differ by up to a factor {noise:.2f}: that is "
            "this table's noise. Smaller differences, and those inside one network, are ties."
        )
    notes += _pruning_notes(networks)
    for entry in entries:
        if entry.efficiency is None:
            continue
        off = 100 * (entry.efficiency / _efficiency(entry) - 1) if entry.map50 > 0 else math.inf
        if abs(off) > ROUNDED_PERCENT:
            notes.append(
                f"The printed efficiency {entry.efficiency:g} of {entry.variant} is "
                f"{off:+.1f} % off its own columns ({_efficiency(entry):.2f})."
            )
    return notes


def _same_network_note(network: _Network) -> str:
    by_count: dict[int, list[str]] = {}
    for entry in network.entries:
        by_count.setdefault(entry.parameters, []).append(entry.variant)
    if network.stock is None:
        what = f"have the same parameter count ({network.entries[0].parameters:,})"
        what += ", so presumably the same network"
    else:
        what = f"are the same network, {network.stock}"
        if len(by_count) > 1:
            unfused, folded = max(by_count), min(by_count)
            what += f" ({unfused:,} parameters, or {folded:,} with BatchNorm folded)"
    return (
        f"{listed(list(network.names))} {what}: their speed differences "
        f"({network.slowest:g} to {network.fastest:g} FPS) cannot come from the models."
    )


def _pruning_notes(networks: Sequence[_Network]) -> list[str]:
    lost = [
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
    notes = []
    if lost:
        verb = "is" if len(lost) == 1 else "are"
        notes.append(
            f"{listed(lost)} {verb} described as pruned, but {verb} the unpruned network: "
            "retraining restored it and the pruning is lost."
        )
        if kept:
            verb = "is" if len(kept) == 1 else "are"
            notes.append(f"Only {listed(kept)} {verb} still pruned.")
    return notes
