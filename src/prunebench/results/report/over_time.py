"""The same experiment at other times and on other hosts, from the history the run belongs to."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sqlalchemy.exc import SQLAlchemyError

from prunebench.common.errors import InputError
from prunebench.measuring.host.fingerprint import Fingerprint
from prunebench.measuring.latency.stopping import round_medians
from prunebench.results.report.stored import ReportedRun

if TYPE_CHECKING:
    from prunebench.results.history.change_points import MarkedSeries
    from prunebench.results.history.reading import Point


@dataclass(frozen=True)
class OverTime:
    """What is known beside the run itself, all at the thread count that is shown first.

    Attributes:
        series: Each variant on this host up to this run, the oldest first, where two runs have it.
        elsewhere: Digest of another host to its newest figures of the very same files by variant.
        hosts: Digest to what that host is.
    """

    series: tuple[MarkedSeries, ...]
    elsewhere: Mapping[str, Mapping[str, Point]]
    hosts: Mapping[str, Fingerprint]


def over_time(run: ReportedRun) -> OverTime:
    """Read the history; what cannot be reached leaves the report without it, never undone.

    Only runs that began before this one count, so that a report made again says the same.
    """
    # The history reads outcomes, which import the report to write it.
    from prunebench.results.history.change_points import mark_changes

    own = _own_points(run)
    earlier, hosts = _earlier(run, own[0].started_at) if own else ((), {})
    here = run.latency.fingerprint.digest()
    points = (*(point for point in earlier if point.fingerprint == here), *own)
    newest: dict[str, dict[str, Point]] = {}
    files = run.latency.variants
    for point in earlier:
        if point.fingerprint != here and files.get(point.variant) == point.onnx_sha256:
            newest.setdefault(point.fingerprint, {})[point.variant] = point
    series = tuple(
        one
        for one in mark_changes(points)
        if len(one.points) > 1 and one.points[-1].run == run.outcome.run
    )
    return OverTime(series, newest, {digest: hosts[digest] for digest in newest})


def _earlier(
    run: ReportedRun, before: datetime
) -> tuple[tuple[Point, ...], Mapping[str, Fingerprint]]:
    """Points of the same experiment that began before, and the hosts they were measured on."""
    from prunebench.results.history.reading import history, hosts
    from prunebench.results.history.store import Store, default_url

    url = run.config.history or default_url(run.folder.resolve().parent)
    try:
        with Store(url, create=False) as store:
            points = history(store, experiment=run.outcome.name, threads=run.ranking.threads)
            known = hosts(store)
    except (InputError, SQLAlchemyError):
        return (), {}
    return tuple(p for p in points if p.started_at < before and p.run != run.outcome.run), known


def _own_points(run: ReportedRun) -> tuple[Point, ...]:
    """The run's own figures, which the history does not hold yet when its report is first made."""
    from prunebench.results.history.reading import Point, to_sentinel

    if not run.ranking.rows or not run.samples:
        return ()
    threads = run.ranking.threads
    found = to_sentinel(round_medians(run.samples, "model"))
    ratios = {key: math.exp(ratio.centre) for key, ratio in found.items()}
    began = datetime.fromtimestamp(min(sample.started_s for sample in run.samples), UTC)
    return tuple(
        Point(
            run=run.outcome.run,
            started_at=began,
            experiment=run.outcome.name,
            fingerprint=run.latency.fingerprint.digest(),
            variant=row.name,
            threads=threads,
            noisy=run.latency.noisy,
            onnx_sha256=run.latency.variants[row.name],
            size_mb=row.size_mb,
            latency_ms=row.latency_ms,
            to_sentinel=ratios.get((row.name, threads)),
            fps=row.fps,
            map50=row.map50,
            efficiency=row.efficiency,
        )
        for row in run.ranking.rows
    )
