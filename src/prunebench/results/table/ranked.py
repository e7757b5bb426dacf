"""Rank measurements taken elsewhere, and say what their table cannot know.

Such a table has no intervals, but it may hold the same network several times: its spread of FPS is
then the noise, and differences within it are ties. Networks are recognised by their parameter
count, in whichever state (BatchNorm apart or folded) each row was counted.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from prunebench.common.records import Record
from prunebench.results.ranking.records import FailedVariant, Shown
from prunebench.results.table.doubts import OtherThreads, TableDoubt, doubt_sentence, doubts_of
from prunebench.results.table.reader import read_table
from prunebench.variants.stock_catalogue import recognise

if TYPE_CHECKING:
    import pandas as pd

FOLDED = ", BatchNorm folded"


class TableRow(Record):
    """One ranked row.

    Attributes:
        rank: 1 + the number of other networks' variants that are more efficient by more than
            the noise; the order as given where the table shows no noise.
        label: The rank as printed, with ``=`` where it is shared.
        network: The stock network with that parameter count, or ``None``.
        size_mb: Size in 10^6 bytes.
        efficiency: mAP50 (0..1) x FPS / MB, computed from the columns.
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
        accuracy_percent: Change of mAP50.
        speed_percent: Change of FPS; 100 + it is the speed retention.
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
        noise_factor: Largest ratio of two FPS figures of the same network, or ``None`` where
            no network occurs twice.
        rows: By falling efficiency.
        effects: What each retraining did, where strategies and rounds were recognised.
        doubts: What the table does not say about itself.
    """

    source: str
    realtime_fps: float
    noise_factor: float | None
    rows: tuple[TableRow, ...]
    failures: tuple[FailedVariant, ...]
    effects: tuple[TableEffect, ...]
    doubts: tuple[TableDoubt, ...]

    @property
    def notes(self) -> tuple[str, ...]:
        """The doubts in words."""
        return tuple(map(doubt_sentence, self.doubts))

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
    rows = found.rows.rename(columns={"efficiency": "printed"})
    rows["efficiency"] = rows["map50"] * rows["fps"] / rows["size_mb"]
    rows["network"] = _networks(rows["params"])
    rows["stock"] = [recognise(int(count)) or "" for count in rows["params"]]
    called = rows["variant"] + " " + rows["description"]
    rows["called_pruned"] = called.str.contains(r"\bprun", case=False)
    speeds = rows.groupby("network")["fps"].agg(["min", "max", "size"])
    repeated = speeds[speeds["size"] > 1]
    noise = None if repeated.empty else float((repeated["max"] / repeated["min"]).max())
    left_out = [OtherThreads(left_out=tuple(found.left_out))] if found.left_out else []
    return TableRanking(
        source=found.source,
        realtime_fps=realtime_fps,
        noise_factor=noise,
        rows=tuple(_ranked(rows, noise or 1.0, realtime_fps)),
        failures=tuple(
            FailedVariant(name=name, step=reason.partition(": ")[0], reason=reason)
            for name, reason in found.failures.items()
        ),
        effects=tuple(_effects(rows, noise)),
        doubts=(*left_out, *doubts_of(rows, noise)),
    )


def effect_sentence(effect: TableEffect) -> str:
    """What a retraining did, in words."""
    noise = "; the speed difference is within the noise" if effect.within_noise else ""
    if effect.same_network:
        noise = "; they are the same network, so the speed difference is noise"
    return (
        f"{effect.variant} against {effect.reference}: accuracy {effect.accuracy_percent:+.1f} %, "
        f"speed {effect.speed_percent:+.1f} % (retention {100 + effect.speed_percent:.1f} %), "
        f"parameters {effect.parameters_percent:+.1f} %{noise}."
    )


def _networks(counts: Iterable[float]) -> list[str]:
    """A name per count, of its stock network or else the count; equal where it may be the same."""
    names: list[str] = []
    for count in counts:
        readings = (recognise(int(count)) or f"{count:.0f} parameters").split(" or ")
        own = {reading.removesuffix(FOLDED) for reading in readings}
        alike = (name for name in names if own & set(name.split(" or ")))
        names.append(next(alike, " or ".join(sorted(own))))
    return names


def _ranked(rows: pd.DataFrame, noise: float, limit: float) -> Iterator[TableRow]:
    """The rows by falling efficiency.

    Nothing tells variants of one network apart: speed cannot, accuracy has no interval.
    """
    rows = rows.sort_values("efficiency", ascending=False, kind="stable")

    def pairs(column: str) -> tuple[Any, Any]:
        values = rows[column].to_numpy()
        return values[:, None], values[None, :]

    (efficiency, others), (network, another) = pairs("efficiency"), pairs("network")
    ranks = 1 + ((network != another) & (efficiency > others * noise)).sum(axis=0)
    (map50, other_map50), (fps, other_fps) = pairs("map50"), pairs("fps")
    at_least = (map50 >= other_map50) & (fps >= other_fps)
    dominated = (at_least & ((map50 > other_map50) | (fps > other_fps))).any(axis=0)
    speeds = rows.groupby("network")["fps"]
    # Two figures of one network lie up to `noise` apart, so a single one stands for a range of
    # that width around it.
    half = np.where(speeds.transform("size") == 1, np.sqrt(noise), 1.0)
    slow, fast = speeds.transform("min") / half, speeds.transform("max") * half
    realtime = np.where(slow >= limit, "yes", np.where(fast < limit, "no", "not shown"))
    for place, row in enumerate(rows.to_dict("records")):
        shared = (ranks == ranks[place]).sum() > 1
        yield TableRow(
            rank=ranks[place],
            label=f"{ranks[place]}{'=' if shared else ''}",
            variant=row["variant"],
            parameters=int(row["params"]),
            network=row["stock"] or None,
            size_mb=row["size_mb"],
            map50=row["map50"],
            fps=row["fps"],
            efficiency=row["efficiency"],
            map50_per_fps=row["map50"] / row["fps"],
            realtime=realtime[place],
            pareto=not dominated[place],
        )


def _effects(rows: pd.DataFrame, noise: float | None) -> Iterator[TableEffect]:
    for row in rows[rows["strategy"] != ""].to_dict("records"):
        reference = _reference(row, rows)
        if reference is None:
            continue

        def change(column: str, row: Any = row, before: Any = reference) -> float:
            return 100 * (row[column] / before[column] - 1) if before[column] > 0 else math.inf

        speed = row["fps"] / reference["fps"]
        yield TableEffect(
            kind="round" if row["round"] > 1 else "strategy",
            strategy=row["strategy"],
            variant=row["variant"],
            reference=reference["variant"],
            parameters_percent=change("params"),
            accuracy_percent=change("map50"),
            speed_percent=change("fps"),
            efficiency_percent=change("efficiency"),
            same_network=row["network"] == reference["network"],
            within_noise=noise is not None and max(speed, 1 / speed) <= noise,
        )


def _reference(row: Mapping[str, Any], rows: pd.DataFrame) -> Mapping[str, Any] | None:
    """The given parent, else the strategy's round before, else the only merely pruned variant."""
    if row["parent"]:
        found = rows[rows["variant"] == row["parent"]]
    elif row["round"] > 1:
        before = rows["round"] == row["round"] - 1
        found = rows[(rows["strategy"] == row["strategy"]) & before].head(1)
    else:
        found = rows[(rows["strategy"] == "") & rows["called_pruned"]]
    return found.to_dict("records")[0] if len(found) == 1 else None
