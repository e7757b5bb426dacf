"""Rank measurements taken elsewhere, and say what their table cannot know.

Where such a table has no intervals, it may hold the same network several times: its spread of FPS
is then the noise, and differences within it are ties; where it has intervals, rows whose intervals
overlap are. Networks are recognised by their parameter count, in whichever state (BatchNorm apart
or folded) each row was counted, and whether they compute in INT8.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from prunebench.common.records import Record
from prunebench.results.ranking.records import FailedVariant, Shown
from prunebench.results.ranking.ties import labels_of
from prunebench.results.table.doubts import OtherThreads, TableDoubt, doubt_sentence, doubts_of
from prunebench.results.table.reader import checked, read_cells
from prunebench.results.table.run_table import RunTable, is_run_table, read_run_table
from prunebench.variants.stock_catalogue import recognise

if TYPE_CHECKING:
    import pandas as pd

FOLDED = ", BatchNorm folded"
INT8 = ", INT8"


class TableRow(Record):
    """One ranked row.

    Attributes:
        rank: 1 + the number of other networks' variants that are more efficient by more than
            the noise, or than the intervals; the order as given where the table shows neither.
        label: The rank as printed, with ``=`` where it is shared.
        network: The stock network with that parameter count, or ``None``.
        int8: Whether it computes in INT8, by its column, name or description.
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
    int8: bool
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
        within_noise: Their speeds differ by less than the noise, or their intervals overlap.
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


def rank(
    table: pd.DataFrame | str | PathLike[str], *, realtime_fps: float = 20.0
) -> TableRanking | RunTable:
    """Rank measurements taken elsewhere, or show a run's own table as that run ranked it.

    Args:
        table: DataFrame or path of a CSV file with the columns ``variant``, ``params``,
            ``size_mb`` (10^6 bytes), ``map50`` (0..1) and ``fps``; ``docs/table.md`` has the
            optional ones.
        realtime_fps: Frames per second called real-time; a run's own table says its own.

    Raises:
        TableError: With the line and column of a bad value.
    """
    given = read_cells(table)
    if is_run_table(given.cells):
        return read_run_table(given)
    found = checked(given)
    rows = found.rows.rename(columns={"efficiency": "printed"})
    rows["efficiency"] = rows["map50"] * rows["fps"] / rows["size_mb"]
    called = rows["variant"] + " " + rows["description"]
    said = rows["int8"].str.lower().isin(("true", "1", "yes"))
    rows["int8"] = said | called.str.contains(r"\bint8\b", case=False)
    rows["network"] = _networks(zip(rows["params"], rows["int8"], strict=True))
    rows["stock"] = [recognise(int(count)) or "" for count in rows["params"]]
    rows["called_pruned"] = called.str.contains(r"\bprun", case=False)
    speeds = rows.groupby("network")["fps"].agg(["min", "max", "size"])
    repeated = speeds[speeds["size"] > 1]
    noise = None if repeated.empty else float((repeated["max"] / repeated["min"]).max())
    left_out = [OtherThreads(left_out=tuple(found.left_out))] if found.left_out else []
    return TableRanking(
        source=given.source,
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


def _networks(given: Iterable[tuple[float, bool]]) -> list[str]:
    """A name per count, of its stock network or else the count; equal where it may be the same."""
    names: list[str] = []
    first: dict[str, int] = {}  # The first row that may be the network.
    for count, int8 in given:
        readings = (recognise(int(count)) or f"{count:.0f} parameters").split(" or ")
        own = {reading.removesuffix(FOLDED) + INT8 * int8 for reading in readings}
        alike = min((first[reading] for reading in own if reading in first), default=None)
        if alike is None:
            first |= dict.fromkeys(own, len(names))
        names.append(" or ".join(sorted(own)) if alike is None else names[alike])
    return names


def _ranked(rows: pd.DataFrame, noise: float, limit: float) -> Iterator[TableRow]:
    """The rows by falling efficiency.

    Variants of one network are told apart by accuracy alone, and only by its intervals.
    """
    rows = rows.sort_values("efficiency", ascending=False, kind="stable")
    least, most = _ends(rows, noise)
    # An accuracy without an interval may be anything.
    low_map, high_map = rows["map50_low"].fillna(-1).to_numpy(), rows["map50_high"].fillna(2)

    def pairs(column: str) -> tuple[Any, Any]:
        values = rows[column].to_numpy()
        return values[:, None], values[None, :]

    network, another = pairs("network")
    apart = (network != another) | (low_map[:, None] > high_map.to_numpy()[None, :])
    above = apart & (least[:, None] > most[None, :])
    ranks = 1 + above.sum(axis=0)
    (map50, other_map50), (fps, other_fps) = pairs("map50"), pairs("fps")
    at_least = (map50 >= other_map50) & (fps >= other_fps)
    dominated = (at_least & ((map50 > other_map50) | (fps > other_fps))).any(axis=0)
    speeds = rows.groupby("network")["fps"]
    # Two figures of one network lie up to `noise` apart, so a single one stands for a range of
    # that width around it.
    half = np.where(speeds.transform("size") == 1, np.sqrt(noise), 1.0)
    slow = rows["fps_low"].fillna(speeds.transform("min") / half)
    fast = rows["fps_high"].fillna(speeds.transform("max") * half)
    realtime = np.where(slow >= limit, "yes", np.where(fast < limit, "no", "not shown"))
    labels = labels_of(dict(zip(rows["variant"], ranks, strict=True)))
    for place, row in enumerate(rows.to_dict("records")):
        yield TableRow(
            rank=ranks[place],
            label=labels[row["variant"]],
            variant=row["variant"],
            parameters=int(row["params"]),
            network=row["stock"] + INT8 * row["int8"] if row["stock"] else None,
            int8=row["int8"],
            size_mb=row["size_mb"],
            map50=row["map50"],
            fps=row["fps"],
            efficiency=row["efficiency"],
            map50_per_fps=row["map50"] / row["fps"],
            realtime=realtime[place],
            pareto=not dominated[place],
        )


def _ends(rows: pd.DataFrame, noise: float) -> tuple[Any, Any]:
    """Least and most efficiency of each row: of its interval, its columns' ones, or the noise."""
    half = np.sqrt(np.where(rows["map50_low"].isna() & rows["fps_low"].isna(), noise, 1.0))
    found = []
    for end, factor in (("_low", 1 / half), ("_high", half)):
        map50, fps = (rows[name + end].fillna(rows[name]) for name in ("map50", "fps"))
        by_columns = map50 * fps / rows["size_mb"] * factor
        found.append(rows[f"efficiency{end}"].fillna(by_columns).to_numpy())
    return found[0], found[1]


def _effects(rows: pd.DataFrame, noise: float | None) -> Iterator[TableEffect]:
    """What each retraining did, against the given parent, else the strategy's round before, else
    the only merely pruned variant.
    """
    every = rows.to_dict("records")
    named = {row["variant"]: row for row in every}
    rounds = {(row["strategy"], row["round"]): row for row in reversed(every)}
    pruned = [row for row in every if row["strategy"] == "" and row["called_pruned"]]
    start = pruned[0] if len(pruned) == 1 else None
    for row in every:
        if row["strategy"] == "":
            continue
        before = rounds.get((row["strategy"], row["round"] - 1)) if row["round"] > 1 else start
        if (reference := named.get(row["parent"]) if row["parent"] else before) is not None:
            yield _effect(row, reference, noise)


def _effect(row: Mapping[str, Any], before: Mapping[str, Any], noise: float | None) -> TableEffect:
    def change(column: str) -> float:
        return 100 * (row[column] / before[column] - 1) if before[column] > 0 else math.inf

    ratio = row["fps"] / before["fps"]
    within = noise is not None and max(ratio, 1 / ratio) <= noise
    if not math.isnan(row["fps_low"] + before["fps_low"]):
        within = row["fps_low"] <= before["fps_high"] and before["fps_low"] <= row["fps_high"]
    return TableEffect(
        kind="round" if row["round"] > 1 else "strategy",
        strategy=row["strategy"],
        variant=row["variant"],
        reference=before["variant"],
        parameters_percent=change("params"),
        accuracy_percent=change("map50"),
        speed_percent=change("fps"),
        efficiency_percent=change("efficiency"),
        same_network=row["network"] == before["network"],
        within_noise=within,
    )
