"""The answer first: what to ship for each use, why, and how sure that is; and a guide by use."""

from __future__ import annotations

from collections.abc import Sequence

from prunebench.common.text import points
from prunebench.results.messages.catalogue import Messages
from prunebench.results.messages.observations import tell_noise
from prunebench.results.messages.sentences import headline, tell
from prunebench.results.ranking.advice import PREFERENCE
from prunebench.results.ranking.records import (
    Advice,
    ClassChange,
    Difference,
    Metric,
    RankedVariant,
    Use,
)
from prunebench.results.report import document as doc
from prunebench.results.report.numbers import with_interval
from prunebench.results.report.significant_findings import compared, standing
from prunebench.results.report.stored import ReportedRun

METRICS: tuple[Metric, ...] = ("speed", "accuracy", "efficiency")
MOST_DOUBTS = 12


def answer(run: ReportedRun, m: Messages) -> doc.Section:
    """Which variant to ship, by use, and what to know before trusting that."""
    ranking, noise, cards = run.ranking, run.outcome.noise, None
    if ranking.advice:
        cards = doc.Cards(tuple(_card(run, advice, m) for advice in ranking.advice))
    doubts = []
    for key, left_out in (("failed", ranking.failures), ("not_trained", ranking.not_trained)):
        if left_out:
            names = m.some([variant.name for variant in left_out])
            doubts.append(m.counted(f"answer.{key}", len(left_out), names=names))
    doubts += [tell(doubt, ranking, m) for doubt in ranking.warnings]
    more = len(doubts) - MOST_DOUBTS
    told = doubts if more <= 0 else [*doubts[:MOST_DOUBTS], m("answer.more", n=more)]
    return doc.section(
        "answer",
        m,
        headline(ranking, m),
        _notice(m("answer.noisy"), [tell_noise(seen, m) for seen in noise]),
        cards,
        m("answer.no_advice" if ranking.rows else "answer.nothing")
        if cards is None
        else _basis(run, m),
        _notice(m("answer.doubts"), told),
    )


def _notice(title: str, texts: Sequence[str]) -> doc.Notice | None:
    return doc.Notice(title, tuple(map(doc.Item, texts))) if texts else None


def guide(run: ReportedRun, m: Messages) -> doc.Section:
    """For each use the recommendation, its grounds, what speaks for it and what against."""
    blocks: list[doc.Block | str] = []
    for advice in run.ranking.advice:
        blocks.append(doc.Heading(m(f"use.{advice.use}")))
        blocks.append(tell(advice, run.ranking, m))
        if advice.recommended is None:
            continue
        row = run.ranking.row(advice.recommended)
        shown = [pair for pair in _compared(run, row, METRICS) if pair.significant]
        pros, cons = (
            [tell(pair, run.ranking, m) for pair in shown if (pair.first == row.name) == better]
            for better in (True, False)
        )
        told = {"grounds": [_grounds(row, m)], "pros": pros, "cons": cons + _cons(run, row, m)}
        nothing = m("guide.nothing")
        items = (
            doc.Item(" ".join(texts) or nothing, m(f"guide.{key}")) for key, texts in told.items()
        )
        blocks.append(doc.Items(tuple(items)))
    return doc.section("guide", m, *blocks)


def _card(run: ReportedRun, advice: Advice, m: Messages) -> doc.Card:
    title, sentence = m(f"use.{advice.use}"), tell(advice, run.ranking, m)
    if advice.recommended is None:
        return doc.Card(title, m("answer.none"), False, sentence, ())
    row = run.ranking.row(advice.recommended)
    against = (tell(d, run.ranking, m) for d in _compared(run, row, ("speed", "accuracy")))
    points = (
        (m("answer.why"), (_grounds(row, m), *_excluded(run, advice.use, m), *against)),
        (m("answer.sure"), _certainty(run, advice.use, row, m)),
    )
    return doc.Card(title, row.name, True, sentence, points)


def _basis(run: ReportedRun, m: Messages) -> str:
    images = max((v.accuracy.images for v in run.variants if v.accuracy is not None), default=0)
    return m(
        "answer.basis",
        threads=m.counted("threads", run.ranking.threads),
        rounds=m.counted("rounds", run.outcome.rounds),
        images=m.counted("images", images),
        level=f"{100 * run.ranking.level:g}",
    )


def _certainty(run: ReportedRun, use: Use, row: RankedVariant, m: Messages) -> tuple[str, ...]:
    """How many of the others it is shown to beat in the metrics that decided."""
    texts = []
    for metric in PREFERENCE[use]:
        found = standing(run.ranking, metric, row.name)
        others = len(found.above) + len(found.below) + len(found.level)
        if not others:
            continue
        key = f"sure.{metric}" if found.above else f"sure.none.{metric}"
        parts = [m(key, above=len(found.above), others=others)]
        for key, pairs in (("level", found.level), (f"below.{metric}", found.below)):
            if pairs:
                parts.append(m(f"sure.{key}", names=m.some([d.other(row.name) for d in pairs])))
        texts.append(" ".join(parts))
    return tuple(texts)


def _grounds(row: RankedVariant, m: Messages) -> str:
    return m(
        "grounds",
        map50=with_interval(row.map50, digits=3),
        fps=with_interval(row.fps),
        size=f"{row.size_mb:.2f}",
        rank=row.label,
        realtime=m(f"realtime.clause.{row.realtime}"),
    )


def _cons(run: ReportedRun, row: RankedVariant, m: Messages) -> list[str]:
    """What speaks against a variant besides comparisons."""
    fps = f"{run.ranking.realtime_fps:g}"
    texts = [] if row.realtime == "yes" else [m(f"guide.realtime.{row.realtime}", fps=fps)]
    texts += [m("guide.accuracy")] if row.keeps_accuracy == "not shown" else []
    stories = (story.parts for story in run.ranking.changes if story.variant == row.name)
    for change in next(stories, ()):
        if change.shown and change.gain.estimate < 0 and change.part != "undivided":
            part, lost = m(f"column.change_{change.part}"), points(change.gain, signed=True)
            texts.append(m("guide.lost", part=part, change=lost, reference=change.before))
    texts += [m("guide.confounded")] if row.confounded else []
    if row.class_losses:
        classes = m.some([_class(change, m) for change in row.class_losses])
        texts.append(m("guide.classes", reference=row.classes_against, classes=classes))
    return texts + ([m("guide.restored")] if row.verdict == "restored" else [])


def _class(change: ClassChange, m: Messages) -> str:
    ends = {"before": f"{change.before:.3f}", "after": f"{change.after:.3f}"}
    shown = points(change.change, signed=True)
    return m("answer.class.change", name=change.name, change=shown, **ends)


def _excluded(run: ReportedRun, use: Use, m: Messages) -> list[str]:
    """Who was no candidate for a use, and why."""
    texts = []
    losses = {r.name: [c for c in r.class_losses if c.over_limit] for r in run.ranking.rows}
    in_a_class = [
        m("answer.class", name=name, classes=m.some([_class(change, m) for change in over]))
        for name, over in losses.items()
        if over
    ]
    if in_a_class:
        limit = f"{run.config.ranking.max_class_loss:g}"
        texts.append(m("answer.excluded.class", names=m.some(in_a_class), limit=limit))
    inaccurate = [
        row.name for row in run.ranking.rows if row.keeps_accuracy == "no" and not losses[row.name]
    ]
    if inaccurate:
        limit = f"{run.config.ranking.max_map50_loss:g}"
        texts.append(m("answer.excluded.accuracy", names=m.some(inaccurate), limit=limit))
    slow = [
        row.name for row in run.ranking.rows if row.realtime != "yes" and row.keeps_accuracy != "no"
    ]
    if slow and use != "accuracy":
        fps = f"{run.ranking.realtime_fps:g}"
        texts.append(m("answer.excluded.realtime", names=m.some(slow), fps=fps))
    return texts


def _compared(
    run: ReportedRun, row: RankedVariant, metrics: tuple[Metric, ...]
) -> list[Difference]:
    """Against the baseline; the baseline itself against the best of the others."""
    others = [other.name for other in run.ranking.rows if other is not row]
    if run.baseline is not None and run.baseline.name in others:
        others = [run.baseline.name]
    found = (compared(run.ranking, metric, row.name, o) for o in others[:1] for metric in metrics)
    return [difference for difference in found if difference is not None]
