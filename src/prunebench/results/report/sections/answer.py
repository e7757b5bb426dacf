"""The answer first: what to ship, with the table; and the guide by use: why, and how sure."""

from __future__ import annotations

from collections.abc import Sequence

from prunebench.common.text import points
from prunebench.results.messages.catalogue import Messages
from prunebench.results.messages.observations import tell_noise, tell_soak
from prunebench.results.messages.runtimes import tell_runtimes
from prunebench.results.messages.sentences import Fact, headline, tell
from prunebench.results.ranking.advice import PREFERENCE
from prunebench.results.ranking.records import (
    Advice,
    ClassChange,
    Difference,
    Metric,
    RankedVariant,
    Ranking,
    Use,
)
from prunebench.results.report import document as doc
from prunebench.results.report.numbers import relative, with_interval
from prunebench.results.report.scatter import accuracy_against_latency
from prunebench.results.report.sections.tables import ranks
from prunebench.results.report.significant_findings import compared, standing
from prunebench.results.report.stored import ReportedRun

METRICS: tuple[Metric, ...] = ("speed", "accuracy", "efficiency")
MOST_DOUBTS = 12


def answer(run: ReportedRun, m: Messages) -> doc.Section:
    """Which variant to ship, the table, and what to know before trusting them."""
    ranking, noise, verdict = run.ranking, run.outcome.noise, headline(run.ranking, m)
    doubts = []
    for key, left_out in (("failed", ranking.failures), ("not_trained", ranking.not_trained)):
        if left_out:
            names = m.some([variant.name for variant in left_out])
            doubts.append(m.counted(f"answer.{key}", len(left_out), names=names))
    doubts += [tell(doubt, ranking, m) for doubt in ranking.warnings]
    more = len(doubts) - MOST_DOUBTS
    told = doubts if more <= 0 else [*doubts[:MOST_DOUBTS], m("answer.more", n=more)]
    cards = tuple(_card(run, group, m) for group in _by_choice(ranking))
    return doc.section(
        "answer",
        m,
        _notice(m("answer.noisy"), [tell_noise(seen, m) for seen in noise]),
        None if verdict is None else doc.Paragraph(verdict, lead=True),
        doc.Cards(cards) if cards else m(f"answer.{'no_advice' if ranking.rows else 'nothing'}"),
        ranks(ranking, m),
        tell_runtimes(ranking, m),
        _notice(m("answer.doubts"), told),
        accuracy_against_latency(ranking, m),
        _basis(run, m) if cards else None,
        None if run.outcome.soak is None else tell_soak(run.outcome.soak, m),
    )


def _notice(title: str, texts: Sequence[str]) -> doc.Notice | None:
    return doc.Notice(title, tuple(map(doc.Item, texts))) if texts else None


def guide(run: ReportedRun, m: Messages) -> doc.Section:
    """For each choice the uses, its grounds, what speaks for it and against, and how sure it is."""
    blocks: list[doc.Block | str] = []
    for group in _by_choice(run.ranking):
        blocks.append(doc.Heading(_uses(group, m)))
        blocks += [tell(advice, run.ranking, m) for advice in group]
        if (name := group[0].recommended) is None:
            continue
        row = run.ranking.row(name)
        shown = [pair for pair in _compared(run, row, METRICS) if pair.significant]
        pros, cons = (
            [tell(pair, run.ranking, m) for pair in shown if (pair.first == row.name) == better]
            for better in (True, False)
        )
        certain = [text for one in group for text in _certainty(run, one.use, row, m)]
        told = {
            "grounds": [_grounds(row, m)],
            "pros": pros,
            "cons": cons + _cons(run, row, m),
            "others": [text for one in group for text in _excluded(run, one.use, m)],
            "sure": certain,
        }
        nothing = m("guide.nothing")
        items = (
            doc.Item(" ".join(dict.fromkeys(texts)) or nothing, m(f"guide.{key}"))
            for key, texts in told.items()
        )
        blocks.append(doc.Items(tuple(items)))
    return doc.section("guide", m, *blocks)


def _by_choice(ranking: Ranking) -> list[list[Advice]]:
    """The advice, what recommends one variant together; what recommends none by itself."""
    groups: dict[str, list[Advice]] = {}
    for advice in ranking.advice:
        groups.setdefault(advice.recommended or f"none for {advice.use}", []).append(advice)
    return list(groups.values())


def _uses(group: Sequence[Advice], m: Messages) -> str:
    """What a choice is for: its uses, or that it is for every one."""
    if len(group) == len(PREFERENCE):
        return m("use.every")
    first, *others = (m(f"use.{advice.use}") for advice in group)
    return m.listed([first, *(other.lower() for other in others)])


def _card(run: ReportedRun, group: Sequence[Advice], m: Messages) -> doc.Card:
    title, name = _uses(group, m), group[0].recommended
    if name is None:
        return doc.Card(title, m("answer.none"), False, (tell(group[0], run.ranking, m),), None)
    row = run.ranking.row(name)
    unpruned = run.baseline is not None and row.name == run.baseline.name
    # The headline says how a choice for balance compares with the baseline.
    told = any(advice.use == "balance" for advice in group) and row.times_baseline is not None
    pairs = () if told else _compared(run, row, ("speed", "accuracy"))
    facts = _excluded(run, group[0].use, m) if unpruned else []
    facts += [tell(pair, run.ranking, m) for pair in pairs]
    facts += [*_parts(run, row, m), _size(run, row, m)]
    against = " ".join(_against(run, row, m)) or m("guide.nothing")
    return doc.Card(title, row.name, True, tuple(facts), doc.Item(against, m("guide.cons")))


def _parts(run: ReportedRun, row: RankedVariant, m: Messages) -> list[str]:
    """What the letterbox, retraining, pruning and INT8 each did to its accuracy."""
    parts = [c for story in run.ranking.changes if story.variant == row.name for c in story.parts]
    if len(parts) < 2:
        return []
    told = [f"{m(f'part.{c.part}')} {points(c.gain, signed=True)}" for c in parts]
    return [m("answer.parts", parts=m.listed(told))]


def _size(run: ReportedRun, row: RankedVariant, m: Messages) -> str:
    rows = (r for r in run.ranking.rows if run.baseline is not None and r.name == run.baseline.name)
    baseline = next(rows, row)
    if baseline is row:
        return m("answer.size", size=f"{row.size_mb:.2f}")
    change = relative(row.size_mb, baseline.size_mb)
    return m("answer.size.changed", size=f"{row.size_mb:.2f}", change=change)


def _against(run: ReportedRun, row: RankedVariant, m: Messages) -> list[str]:
    """What speaks against a choice, besides its speed and accuracy by the baseline's."""
    ranking = run.ranking
    controls = [pair for pair in ranking.against_controls if pair.variant == row.name]
    efficiency = (d for d in _compared(run, row, ("efficiency",)) if d.second == row.name)
    facts: list[Fact] = [*(d for d in efficiency if d.significant), *controls]
    return [*_cons(run, row, m), *(tell(fact, ranking, m) for fact in facts)]


def _basis(run: ReportedRun, m: Messages) -> str:
    images = max((v.accuracy.images for v in run.variants if v.accuracy is not None), default=0)
    basis = m(
        "answer.basis",
        threads=m.counted("threads", run.ranking.threads),
        rounds=m.counted("rounds", run.outcome.rounds),
        images=m.counted("images", images),
        level=f"{100 * run.ranking.level:g}",
    )
    trainings = max((row.trainings for row in run.ranking.rows), default=1)
    return basis if trainings == 1 else f"{basis} {m('answer.trainings', n=trainings)}"


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
    if row.keeps_memory in ("no", "not shown"):
        limit = f"{run.ranking.max_rss_mb:g}"
        texts.append(m(f"guide.memory.{row.keeps_memory}", limit=limit))
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
    big = [
        row.name
        for row in run.ranking.rows
        if row.keeps_memory not in (None, "yes") and row.keeps_accuracy != "no"
    ]
    if big:
        limit = f"{run.ranking.max_rss_mb:g}"
        texts.append(m("answer.excluded.memory", names=m.some(big), limit=limit))
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
