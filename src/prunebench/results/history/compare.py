"""Two stored runs compared, never across hosts without saying so.

Runs lie days apart, so their rounds are not paired. Ratios to the reference model of each round are
compared, which takes out the host's effect on all variants alike, by trimmed means and Welch's
degrees of freedom, corrected by Holm over the comparison.
"""

from __future__ import annotations

import math
from typing import Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from prunebench.common.errors import InputError
from prunebench.common.records import Interval, Record
from prunebench.common.statistics import Location, add, holm
from prunebench.common.text import counted, percent
from prunebench.results.history.reading import find_run, fingerprint_of, stored_to_sentinel
from prunebench.results.history.store import Store
from prunebench.results.history.tables import ResultRow, RunRow

LEVEL = 0.95
"""Confidence level of the family of comparisons of two runs."""


class RunChange(Record):
    """How one variant's model-only latency differs between two runs.

    Attributes:
        threads: ``intra_op_num_threads``.
        same_file: Whether both runs measured the same file.
        latency: Change in percent, positive where the second run is slower.
        map50: Change of mAP50, second run less first, as given (0..1).
        trainings: Trainings whose mean the mAP50 is, in the first and in the second run.
        p_corrected: Of the latency, after Holm's correction over the comparison.
        verdict: ``slower`` and ``faster`` only where the change is shown.
    """

    variant: str
    threads: int
    same_file: bool
    latency: Interval
    map50: float
    trainings: tuple[int, int] = (1, 1)
    p_corrected: float
    verdict: Literal["slower", "faster", "no change shown"]


class RunComparison(Record):
    """Two runs of the history, by their names.

    Attributes:
        onnxruntime: Its version in each of them.
        host_differences: What differs between their hosts, empty for one fingerprint.
        changes: One per variant and thread count both have.
        missing: Variants that only one of them has.
    """

    before: str
    after: str
    onnxruntime: tuple[str, str]
    host_differences: tuple[str, ...]
    changes: tuple[RunChange, ...]
    missing: tuple[str, ...]


def compare_runs(
    store: Store, before: str, after: str, *, across_hosts: bool = False
) -> RunComparison:
    """Compare two stored runs, given by their names or numbers.

    Raises:
        InputError: A run is unknown, or their fingerprints differ and ``across_hosts`` is off.
    """
    with store.reading() as session:
        first, second = find_run(session, before), find_run(session, after)
        old, new = fingerprint_of(session, first), fingerprint_of(session, second)
        differences = tuple(old.differences(new))
        if differences and not across_hosts:
            raise InputError(
                f"{first.name} and {second.name} were measured on different hosts "
                f"({'; '.join(differences)})",
                fix="compare runs of one fingerprint, or ask for a comparison across hosts",
            )
        results = _results(session, first), _results(session, second)
        ratios = [stored_to_sentinel(session, run.id) for run in (first, second)]
    shared = [k for k in results[1] if k in results[0] and k in ratios[0] and k in ratios[1]]
    located = [add(ratios[1][key], -ratios[0][key]) for key in shared]
    corrected = holm([location.p_value() for location in located])
    return RunComparison(
        before=first.name,
        after=second.name,
        onnxruntime=(old.onnxruntime, new.onnxruntime),
        host_differences=differences,
        changes=tuple(
            _change(results[0][key], results[1][key], location, p)
            for key, location, p in zip(shared, located, corrected, strict=True)
        ),
        missing=tuple(sorted({variant for variant, _ in results[0].keys() ^ results[1].keys()})),
    )


def change_sentence(change: RunChange) -> str:
    """A change in words."""
    figures = percent(change.latency, signed=True)
    if change.verdict == "no change shown":
        text = f"no change in the latency of {change.variant} is shown ({figures})"
    else:
        text = f"{change.variant} is {change.verdict}: latency {figures}"
    of_files = "the same file" if change.same_file else "another file"
    threads = counted(change.threads, "thread")
    before, after = change.trainings
    means = f" (means of {before} and {after} trainings)" if max(before, after) > 1 else ""
    return f"{text}; {threads}, {of_files}, accuracy {change.map50:+z.3f}{means}."


def _results(session: Session, run: RunRow) -> dict[tuple[str, int], ResultRow]:
    query = select(ResultRow).where(ResultRow.run_id == run.id)
    query = query.order_by(ResultRow.threads, ResultRow.rank, ResultRow.id)
    return {(row.variant, row.threads): row for row in session.scalars(query)}


def _change(old: ResultRow, new: ResultRow, location: Location, p_corrected: float) -> RunChange:
    centre, half = location.centre, location.half_width(LEVEL)
    low, estimate, high = (100 * math.expm1(log) for log in (centre - half, centre, centre + half))
    verdict: Literal["slower", "faster", "no change shown"] = "no change shown"
    if p_corrected <= 1 - LEVEL:
        verdict = "slower" if centre > 0 else "faster"
    return RunChange(
        variant=new.variant,
        threads=new.threads,
        same_file=old.onnx_sha256 == new.onnx_sha256,
        latency=Interval(estimate=estimate, low=low, high=high, level=LEVEL),
        map50=new.map50 - old.map50,
        trainings=(old.trainings, new.trainings),
        p_corrected=p_corrected,
        verdict=verdict,
    )
