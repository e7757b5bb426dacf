"""Is it the pruning, or the runtime? What a ranking says, in the words of a catalogue."""

from __future__ import annotations

from prunebench.common.text import points, times
from prunebench.results.messages.catalogue import Messages
from prunebench.results.ranking.records import Elsewhere, Ranking


def tell_runtimes(ranking: Ranking, m: Messages) -> str | None:
    """What another runtime does for the unpruned model; ``None`` where none was asked for."""
    if not (ranking.elsewhere or ranking.failures_elsewhere):
        return None
    told = [parts for parts in (_float(ranking, m), _int8(ranking, m)) if parts]
    return " ".join(map(m.clauses, told or [[m("runtimes.none")]]))


def _float(ranking: Ranking, m: Messages) -> list[str]:
    row = _best_unpruned(ranking)
    if row is None:
        return []
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
    parts = [
        m("runtimes.faster" if every else "runtimes.not_faster", **values),
        _accuracy(row, ranking, m),
    ]
    for both in ranking.elsewhere:
        if both.runtime.name == row.runtime.name and both.times_baseline and not both.int8:
            if both is not row:
                gain = times(both.times_baseline)
                parts.append(m("runtimes.both", name=both.name, times=gain, of=row.of))
            break
    return parts


def _int8(ranking: Ranking, m: Messages) -> list[str]:
    """What another's quantization of the unpruned model does, beside our own INT8 files."""
    row = next((row for row in _unpruned(ranking) if row.int8), None)
    if row is None:
        return []
    ours = [other.name for other in ranking.rows if other.int8]
    slower = [name for name in ours if name not in row.faster_than]
    kind = "int8_not_faster" if slower else "int8_faster" if ours else "int8"
    values = {"runtime": named(row, m), "of": row.of, "times": times(row.times_own)}
    return [
        m(f"runtimes.{kind}", others=m.some(slower), **values),
        _accuracy(row, ranking, m),
    ]


def _accuracy(row: Elsewhere, ranking: Ranking, m: Messages) -> str:
    worse, better = (row.of in names for names in (row.less_accurate_than, row.more_accurate_than))
    found = "less" if worse else "more" if better else "tie"
    change = points(row.map50_change, signed=True)
    return m(f"runtimes.{found}", change=change, map50=m(f"map50.{ranking.metric}"))


def named(row: Elsewhere, m: Messages) -> str:
    """A runtime and its precision: "OpenVINO (float32)"."""
    precision = "INT8" if row.int8 else row.runtime.precision
    return f"{m(f'runtime.{row.runtime.name}')} ({precision})"


def _best_unpruned(ranking: Ranking) -> Elsewhere | None:
    """The fastest of the unpruned model in float, one that keeps its accuracy before the others."""
    rows = [row for row in _unpruned(ranking) if not row.int8]
    return min(rows, key=lambda row: row.of in row.less_accurate_than, default=None)


def _unpruned(ranking: Ranking) -> list[Elsewhere]:
    """What was made of the unpruned model's float file, the fastest first."""
    unpruned = {row.name for row in ranking.rows if row.verdict == "unpruned" and not row.int8}
    return [row for row in ranking.elsewhere if row.of in unpruned]
