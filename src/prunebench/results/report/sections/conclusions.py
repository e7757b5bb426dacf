"""Key findings and conclusions, as far as the figures support them."""

from __future__ import annotations

from collections.abc import Mapping

from prunebench.results.messages.catalogue import Messages
from prunebench.results.messages.sentences import tell
from prunebench.results.ranking.records import Metric, Ranking, Shown
from prunebench.results.report import document as doc
from prunebench.results.report.numbers import with_interval
from prunebench.results.report.sections.strategies import round_verdict
from prunebench.results.report.significant_findings import compared, leader
from prunebench.results.report.stored import ReportedRun

LEADING: tuple[Metric, ...] = ("efficiency", "accuracy", "speed")
WORDS: tuple[tuple[Metric, str, str], ...] = (
    ("speed", "faster", "slower"),
    ("accuracy", "more_accurate", "less_accurate"),
)
"""Keys of the sentences about variants shown to be better and shown to be worse."""


def findings(run: ReportedRun, m: Messages) -> doc.Section | None:
    """Who leads in what, ``None`` where nothing was ranked."""
    ranking = run.ranking
    if not ranking.rows:
        return None
    found = [_leader(ranking, metric, m) for metric in LEADING]
    least = min(row.size_mb for row in ranking.rows)
    smallest = [row.name for row in ranking.rows if row.size_mb == least]
    size = m("findings.size.text", names=m.some(smallest), size=f"{least:.2f}")
    found.append(doc.Item(size, m("findings.size")))
    kept = [row.name for row in ranking.rows if row.verdict in ("pruned", "preserved")]
    lost = [row.name for row in ranking.rows if row.verdict == "restored"]
    texts = [m("findings.kept", names=m.some(kept))] if kept else []
    texts += [m("findings.lost", names=m.some(lost))] if lost else []
    if texts:
        found.append(doc.Item(" ".join(texts), m("findings.structure")))
    return doc.section("findings", m, doc.Items(tuple(found)))


def conclusions(run: ReportedRun, m: Messages) -> doc.Section | None:
    """What follows: pruning, strategies, rounds, and what to do; ``None`` without a ranking."""
    if not run.ranking.rows:
        return None
    parts = (_pruning, _strategies, _rounds, _deployment, _open_questions)
    return doc.section("conclusions", m, doc.items(item for part in parts for item in part(run, m)))


def _leader(ranking: Ranking, metric: Metric, m: Messages) -> doc.Item:
    first, tied = leader(ranking, metric)
    figures: dict[Metric, str] = {
        "accuracy": f"{m(f'map50.{ranking.metric}')} {with_interval(first.map50, digits=3)}",
        "speed": f"{with_interval(first.fps)} FPS",
        "efficiency": with_interval(first.efficiency),
    }
    values = {"name": first.name, "figure": figures[metric], "tied": m.some(tied)}
    key = "tied" if tied else "alone" if len(ranking.rows) > 1 else "only"
    return doc.Item(m(f"findings.{key}", **values), m(f"findings.{metric}"))


def _pruning(run: ReportedRun, m: Messages) -> list[doc.Item]:
    """Whether the narrower networks are faster than the baseline, and what pruning cost them."""
    baseline = run.baseline
    narrow = [row.name for row in run.ranking.rows if row.verdict in ("pruned", "preserved")]
    if baseline is None or not narrow:
        return []
    texts = []
    changes = (change for story in run.ranking.changes for change in story.parts)
    costs = {change.after: change.before for change in changes if change.part == "pruning"}
    for metric, gain, loss in WORDS:
        against = costs if metric == "accuracy" else dict.fromkeys(narrow, baseline.name)
        found = [compared(run.ranking, metric, n, against[n]) for n in narrow if n in against]
        pairs = [pair for pair in found if pair is not None]
        groups = {
            gain: [p for p in pairs if p.significant and p.first in narrow],
            loss: [p for p in pairs if p.significant and p.second in narrow],
            f"{metric}.open": [p for p in pairs if not p.significant],
        }
        for group, members in groups.items():
            if members:
                names = m.some([p.first if p.first in narrow else p.second for p in members])
                texts.append(m(f"conclusions.pruning.{group}", names=names))
                texts.append(tell(members[0], run.ranking, m))
    return [doc.Item(" ".join(texts), m("conclusions.pruning"))]


def _strategies(run: ReportedRun, m: Messages) -> list[doc.Item]:
    """Which strategy kept the pruning."""
    verdicts: dict[str, list[str]] = {}
    controls = {row.name for row in run.ranking.rows if row.control is not None}
    for variant in run.variants:
        trained = variant.training if variant.name not in controls else None
        if trained is not None and trained.round and variant.audit is not None:
            verdicts.setdefault(trained.strategy, []).append(variant.audit.verdict)
    items = []
    for strategy, found in verdicts.items():
        lost = found.count("restored")
        if lost or set(found) == {"preserved"}:
            key = "conclusions.lost" if lost else "conclusions.kept"
            text = m(key, lost=lost, total=len(found))
            items.append(doc.Item(text, m("conclusions.strategy", name=strategy)))
    return items


def _rounds(run: ReportedRun, m: Messages) -> list[doc.Item]:
    return [
        doc.Item(round_verdict(run, effect, m), m("conclusions.round", name=effect.variant))
        for effect in run.ranking.effects
        if effect.kind == "round"
    ]


def _deployment(run: ReportedRun, m: Messages) -> list[doc.Item]:
    """Which variants keep each limit of a deployment, which do not, and which is not shown."""

    def told(verdicts: Mapping[str, Shown | None], title: str) -> doc.Item:
        texts = []
        for shown in ("yes", "no", "not shown"):
            if names := [name for name, verdict in verdicts.items() if verdict == shown]:
                texts.append(m(f"conclusions.realtime.{shown}", names=m.some(names)))
        return doc.Item(" ".join(texts), title)

    rows, fps, limit = run.ranking.rows, f"{run.ranking.realtime_fps:g}", run.ranking.max_rss_mb
    items = [told({row.name: row.realtime for row in rows}, m("conclusions.realtime", fps=fps))]
    if limit is not None:
        title = m("conclusions.memory", limit=f"{limit:g}")
        items.append(told({row.name: row.keeps_memory for row in rows}, title))
    return items


def _open_questions(run: ReportedRun, m: Messages) -> list[doc.Item]:
    """What more rounds would settle, and what they would not."""
    pairs = [d for d in run.ranking.differences if d.metric == "speed" and d.more_rounds]
    if not pairs:
        return []
    hardest = max(pairs, key=lambda difference: difference.more_rounds or 0)
    rounds = m.counted("rounds", hardest.more_rounds or 0)
    percent = f"{hardest.settles_percent:g}"
    text = m("conclusions.more", pairs=len(pairs), rounds=rounds, percent=percent)
    return [doc.Item(text, m("conclusions.open"))]
