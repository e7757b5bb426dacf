"""What the history holds: the figures of variants over time, and the hosts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import select
from sqlalchemy.orm import Session

from prunebench.common.errors import InputError
from prunebench.common.records import Interval, Record
from prunebench.common.statistics import FEWEST_ROUNDS, Footing, Location, Rounds
from prunebench.measuring.host.fingerprint import Fingerprint
from prunebench.measuring.latency.raw import SENTINEL
from prunebench.results.history.store import Store
from prunebench.results.history.tables import FingerprintRow, ResultRow, RoundRow, RunRow

FINGERPRINT = TypeAdapter(Fingerprint)

Series = tuple[str, str, str, int]
"""Points that may be compared: experiment, fingerprint, variant and thread count."""


class Point(Record):
    """A variant's figures in one run at one thread count.

    Attributes:
        started_at: When it was measured, in UTC.
        experiment: Name of the configuration.
        fingerprint: Digest of the host's fingerprint.
        threads: ``intra_op_num_threads``.
        size_mb: Size of the measured file in 10^6 bytes, or that of the configured file.
        latency_ms: Model-only milliseconds.
        to_sentinel: Model-only milliseconds divided by the reference model's, on one footing,
            which takes out the host's speed of that day; ``None`` where too few are shared.
        fps: End-to-end frames per second.
        map50: mAP50, 0..1.
        efficiency: mAP50 x FPS / MB.
    """

    run: str
    started_at: datetime
    experiment: str
    fingerprint: str
    variant: str
    threads: int
    noisy: bool
    onnx_sha256: str
    size_mb: float
    latency_ms: Interval
    to_sentinel: float | None
    fps: Interval
    map50: Interval
    efficiency: Interval

    @property
    def series(self) -> Series:
        """What this point may be compared with."""
        return self.experiment, self.fingerprint, self.variant, self.threads


def history(
    store: Store,
    *,
    variant: str | None = None,
    experiment: str | None = None,
    threads: int | None = None,
) -> tuple[Point, ...]:
    """Figures over time, the oldest first; every argument narrows them down."""
    asked = {ResultRow.variant: variant, RunRow.experiment: experiment, ResultRow.threads: threads}
    query = (
        select(ResultRow, RunRow)
        .join(RunRow, RunRow.id == ResultRow.run_id)
        .where(*(column == value for column, value in asked.items() if value is not None))
        .order_by(RunRow.started_at, RunRow.id, ResultRow.threads, ResultRow.rank, ResultRow.id)
    )
    with store.reading() as session:
        found = [(result, run) for result, run in session.execute(query)]
        ratios = {run.id: stored_to_sentinel(session, run.id) for _, run in found}
        return tuple(
            _point(result, run, ratios[run.id].get((result.variant, result.threads)))
            for result, run in found
        )


def find_run(session: Session, name: str) -> RunRow:
    """The run with this name or number; ``InputError`` for none, or several hosts' of that name."""
    rows = session.scalars(select(RunRow).where(RunRow.name == name)).all()
    if not rows and name.isdigit():
        rows = session.scalars(select(RunRow).where(RunRow.id == int(name))).all()
    if not rows:
        fix = "choose one that `prunebench history` lists"
        raise InputError(f"the history has no run {name}", fix=fix)
    if len(rows) > 1:
        fix = f"give the number instead ({', '.join(str(row.id) for row in rows)})"
        raise InputError(f"the history has {len(rows)} runs {name}", fix=fix)
    return rows[0]


def hosts(store: Store) -> dict[str, Fingerprint]:
    """Digest of every host that recorded a run to what it is."""
    with store.reading() as session:
        rows = session.scalars(select(FingerprintRow)).all()
    return {row.digest: FINGERPRINT.validate_python(row.fields) for row in rows}


def fingerprint_of(session: Session, run: RunRow) -> Fingerprint:
    """The host of a run."""
    row = session.get_one(FingerprintRow, run.fingerprint)
    return FINGERPRINT.validate_python(row.fields)


def stored_to_sentinel(session: Session, run_id: int) -> Mapping[tuple[str, int], Location]:
    """``to_sentinel`` of a run in the history."""
    rounds: dict[tuple[str, int], dict[int, float]] = {}
    for row in session.scalars(select(RoundRow).where(RoundRow.run_id == run_id)):
        rounds.setdefault((row.variant, row.threads), {})[row.round] = row.model_ms
    return to_sentinel(rounds)


def to_sentinel(
    rounds: Mapping[tuple[str, int], Rounds],
) -> Mapping[tuple[str, int], Location]:
    """log(variant / sentinel) of model-only milliseconds, by (variant, threads).

    Variants of one thread count and the sentinel are on one footing.
    """
    reference = next((v for (name, _), v in rounds.items() if name == SENTINEL), {})
    found: dict[tuple[str, int], Location] = {}
    for count in {threads for _, threads in rounds if reference}:
        together = {name: v for (name, threads), v in rounds.items() if threads == count}
        footing = Footing({**together, SENTINEL: reference})
        for name in together:
            if name != SENTINEL and footing.shared(name, SENTINEL) >= FEWEST_ROUNDS:
                found[name, count] = footing.ratio(name, SENTINEL)
    return found


def _point(result: ResultRow, run: RunRow, ratio: Location | None) -> Point:
    def figure(name: str) -> Any:
        low, high = getattr(result, f"{name}_low"), getattr(result, f"{name}_high")
        return Interval(estimate=getattr(result, name), low=low, high=high, level=result.level)

    return Point(
        run=run.name,
        started_at=run.started_at,
        experiment=run.experiment,
        fingerprint=run.fingerprint,
        variant=result.variant,
        threads=result.threads,
        noisy=bool(run.noise),
        onnx_sha256=result.onnx_sha256,
        size_mb=result.size_mb,
        latency_ms=figure("latency_ms"),
        to_sentinel=None if ratio is None else math.exp(ratio.centre),
        fps=figure("fps"),
        map50=figure("map50"),
        efficiency=figure("efficiency"),
    )
