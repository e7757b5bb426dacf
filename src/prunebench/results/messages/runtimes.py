"""Is it the pruning, or the runtime? What a ranking says, in the words of a catalogue."""

from __future__ import annotations

from prunebench.common.text import points, times
from prunebench.results.messages.catalogue import Messages
from prunebench.results.ranking.records import Elsewhere, Ranking


def tell_runtimes(ranking: Ranking, m: Messages) -> str | None:
    """What another runtime does for the unpruned model; ``None`` where none was asked for."""
    if not (ranking.elsewhere or ranking.failures_elsewhere):
        return None
    row = _best_unpruned(ranking)
    if row is None:
        return m.clauses([m("runtimes.none")])
    others = [
        other.name
        for other in ranking.rows
        if not (other.int8 or other.name == row.of or other.name in row.faster_than)
    ]
    every = not others and row.of in row.faster_than
    if row.of not in row.faster_than:
        others.insert(0, row.of)
    values = {
        "name": row.name,
        "runtime": named(row, m),
        "of": row.of,
        "times": times(row.times_own),
        "others": m.some(others),
    }
    change = points(row.map50_change, signed=True)
    worse, better = (row.of in names for names in (row.less_accurate_than, row.more_accurate_than))
    found = "less" if worse else "more" if better else "tie"
    map50 = m(f"map50.{ranking.metric}")
    parts = [
        m("runtimes.faster" if every else "runtimes.not_faster", **values),
        m(f"runtimes.{found}", change=change, map50=map50),
    ]
    for both in ranking.elsewhere:
        if both.runtime.name == row.runtime.name and both.times_baseline and not both.int8:
            if both is not row:
                gain = times(both.times_baseline)
                parts.append(m("runtimes.both", name=both.name, times=gain, of=row.of))
            break
    return m.clauses(parts)


def named(row: Elsewhere, m: Messages) -> str:
    """A runtime and its precision: "OpenVINO (float32)"."""
    precision = "INT8" if row.int8 else row.runtime.precision
    return f"{m(f'runtime.{row.runtime.name}')} ({precision})"


def _best_unpruned(ranking: Ranking) -> Elsewhere | None:
    """The fastest of the unpruned model in float, one that keeps its accuracy before the others."""
    unpruned = {row.name for row in ranking.rows if row.verdict == "unpruned" and not row.int8}
    rows = [row for row in ranking.elsewhere if row.of in unpruned]
    return min(rows, key=lambda row: row.of in row.less_accurate_than, default=None)
