"""A ranking's sentences in the report's language.

The ranking words its comparisons and its advice in English. Other languages say the same from
the same records, with the texts of their catalogue whose keys start with ``sentence.``.
"""

from __future__ import annotations

from collections.abc import Callable

from prunebench.common.text import percent, points
from prunebench.results.ranking.advice import PREFERENCE
from prunebench.results.ranking.controls import seen_from
from prunebench.results.ranking.records import (
    Advice,
    AgainstControl,
    Difference,
    Metric,
    RankedVariant,
    Ranking,
)
from prunebench.results.report.claims import estimate
from prunebench.results.report.messages import Messages
from prunebench.results.report.stored import StoredRun

AGAINST_CONTROLS: tuple[Metric, ...] = ("speed", "accuracy")
"""What a pruned variant may be shown to be better in than a control."""

RECORDED = "en"
"""Language of the sentences that records carry."""


def difference_sentence(difference: Difference, run: StoredRun, m: Messages) -> str:
    """One comparison in words."""
    if m.lang == RECORDED:
        return difference.sentence
    names = {"first": difference.first, "second": difference.second}
    noun = m(f"sentence.noun.{difference.metric}")
    measured = difference.interval
    if measured is None:
        return m("sentence.incomparable", noun=noun, rounds=difference.rounds, **names)
    worded = points if difference.metric == "accuracy" else percent
    if difference.told_apart:
        return m(f"sentence.shown.{difference.metric}", shown=worded(measured), **names)
    signed = worded(measured, signed=True)
    if difference.same_network and difference.metric in ("speed", "latency"):
        return m("sentence.same_network", noun=noun, difference=signed, **names)
    parts = [m("sentence.open", noun=noun, difference=signed, **names)]
    limit = run.config.latency.smallest_difference_percent
    if difference.metric != "accuracy" and -limit < measured.low and measured.high < limit:
        parts.append(m("sentence.open.small", limit=f"{limit:g}"))
    elif measured.low > 0 or measured.high < 0:
        parts.append(m("sentence.open.alone"))
    if difference.more_rounds is not None:
        settles = f"{difference.settles_percent:g}"
        parts.append(m("sentence.open.more", rounds=difference.more_rounds, percent=settles))
    return " ".join(parts)


def control_sentence(pair: AgainstControl, ranking: Ranking, m: Messages) -> str:
    """How a pruned variant stands against a control, in words."""
    if m.lang == RECORDED:
        return pair.sentence
    control, row = ranking.row(pair.control), ranking.row(pair.variant)
    parts = [
        _control_clause(ranking.difference(metric, control.name, row.name), control.name, m)
        for metric in AGAINST_CONTROLS
    ]
    values = {"control": control.name, "variant": row.name}
    parts.append(m(f"sentence.control.{pair.verdict}", **values))
    if row.size_mb < control.size_mb:
        sizes = {"size": f"{row.size_mb:.2f}", "other": f"{control.size_mb:.2f}"}
        parts.append(m("sentence.control.size", **values, **sizes))
    return " ".join(parts)


def _control_clause(difference: Difference, control: str, m: Messages) -> str:
    """One metric of a control, which is not shown to be worse in it."""
    metric = difference.metric
    if difference.told_apart and difference.interval is not None:
        names = {"first": difference.first, "second": difference.second}
        return m(f"sentence.shown.{metric}", shown=_worded(metric)(difference.interval), **names)
    other = difference.second if difference.first == control else difference.first
    names = {"first": control, "second": other}
    if metric == "speed" and difference.same_network:
        return m("sentence.control.same", **names)
    noun = m(f"sentence.noun.{metric}")
    measured = seen_from(control, difference)
    if measured is None:
        return m("sentence.incomparable", noun=noun, rounds=difference.rounds, **names)
    shown = _worded(metric)(measured, signed=True)
    return m("sentence.open", noun=noun, difference=shown, **names)


def _worded(metric: Metric) -> Callable[..., str]:
    return points if metric == "accuracy" else percent


def advice_sentence(advice: Advice, ranking: Ranking, m: Messages) -> str:
    """What to ship for one use, in words."""
    if m.lang == RECORDED:
        return advice.sentence
    accurate = [row for row in ranking.rows if row.keeps_accuracy != "no"]
    fps = f"{ranking.realtime_fps:g}"
    if advice.recommended is None:
        if advice.use == "accuracy":
            return m("sentence.advice.none.accuracy")
        text = m("sentence.advice.none", fps=fps)
        undecided = [row.name for row in accurate if row.realtime == "not shown"]
        if undecided:
            text += " " + m("sentence.advice.none.open", names=m.listed(undecided))
        return text
    chosen = ranking.row(advice.recommended)
    parts = [
        m(
            "sentence.advice.ship",
            name=chosen.name,
            map50=f"{chosen.map50.estimate:.3f}",
            fps=f"{chosen.fps.estimate:.1f}",
            size=f"{chosen.size_mb:.1f}",
        )
    ]
    first = _first(advice, accurate)
    if first is not chosen:
        decides, breaks_ties = PREFERENCE[advice.use]
        parts.append(
            m(
                "sentence.advice.instead",
                first=first.name,
                superlative=m(f"sentence.superlative.{decides}"),
                comparative=m(f"sentence.comparative.{breaks_ties}"),
            )
        )
    if advice.tied:
        parts.append(m("sentence.advice.tied", names=m.listed(advice.tied)))
    if chosen.keeps_accuracy == "not shown":
        parts.append(m("sentence.advice.accuracy"))
    if advice.use == "accuracy" and chosen.realtime != "yes":
        parts.append(m(f"sentence.advice.realtime.{chosen.realtime}", fps=fps))
    return " ".join(parts)


def _first(advice: Advice, accurate: list[RankedVariant]) -> RankedVariant:
    """The candidate that leads by estimate in the metric that decides."""
    decides, _ = PREFERENCE[advice.use]
    candidates = [row for row in accurate if advice.use == "accuracy" or row.realtime == "yes"]
    return max(candidates, key=lambda row: estimate(row, decides))
