"""Rankings, of a run and of a table of measurements taken elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from prunebench.common.records import Interval
from prunebench.common.text import counted
from prunebench.results.messages.catalogue import Messages
from prunebench.results.messages.observations import tell_explanation, tell_judgement, tell_noise
from prunebench.results.messages.sentences import Fact, neighbours, tell
from prunebench.results.outcome import RunRanking
from prunebench.results.ranking.records import RankedVariant, Ranking
from prunebench.results.table.ranked import TableRanking

STYLE_OF = {"yes": "green", "no": "red", "not shown": "yellow"}


def run_ranking_view(outcome: RunRanking) -> RenderableType:
    """The outcome of a run: a table per thread count, what it means, and what to doubt."""
    m, rounds = Messages(), counted(outcome.rounds, "round")
    noise = [tell_noise(seen, m) for seen in outcome.noise]
    explanations = [tell_explanation(one, m) for one in outcome.diagnoses]
    return Group(
        _sentences("The host was noisy while measuring", noise, "red"),
        *map(ranking_view, outcome.rankings),
        _sentences("Why is it not faster?", explanations, "cyan"),
        Text(f"Measured in {rounds}; stopped: {outcome.stopped}.", style="dim"),
    )


def ranking_view(ranking: Ranking) -> RenderableType:
    """A ranking for one thread count with its advice, warnings and telling comparisons."""
    threads = counted(ranking.threads, "thread")
    table = _table(
        f"{threads}; intervals at {100 * ranking.level:g} %, ranks share what is not told apart"
        + (f"; efficiency is that of {ranking.metric} mAP50" if ranking.segmentation else ""),
        ("rank", "variant", "efficiency", "mAP50", "FPS", "model ms", "MB"),
        (f"{ranking.realtime_fps:g} FPS", "Pareto"),
    )
    for row in ranking.rows:
        table.add_row(
            row.label,
            Text.assemble(row.name, (f"\n{_kind(row)}", "dim")),
            _two_lines(row.efficiency, 2),
            _map50(row),
            _two_lines(row.fps, 1),
            _two_lines(row.latency_ms, 2),
            f"{row.size_mb:.2f}",
            Text(row.realtime, style=STYLE_OF[row.realtime]),
            row.pareto,
        )
    for failed in ranking.failures:
        table.add_row("-", Text.assemble(failed.name, ("\nfailed", "red")))
    for left_out in ranking.not_trained:
        table.add_row("-", Text.assemble(left_out.name, ("\nnot trained", "dim")))
    m = Messages()

    def told(facts: Sequence[Fact]) -> list[str]:
        return [tell(fact, ranking, m) for fact in facts]

    not_trained = [f"{v.name}: {tell_judgement(v.judgement, m)}" for v in ranking.not_trained]
    sections = (
        ("Failed", [f"{f.name}: {f.step}: {f.reason}" for f in ranking.failures], "red"),
        ("Not trained", not_trained, "cyan"),
        ("Before you trust the table", told(ranking.warnings), "yellow"),
        ("What to ship", told(ranking.advice), "green"),
        ("Does pruning pay?", told(ranking.against_controls), "yellow"),
        ("What retraining did", told(ranking.effects), "cyan"),
        ("Neighbours in the table", told(neighbours(ranking)), "cyan"),
    )
    return Group(table, *(_sentences(*section) for section in sections))


def _kind(row: RankedVariant) -> str:
    """What the audit says a variant is, and whether it is a control."""
    told = (row.verdict, None if row.control is None else "control")
    return ", ".join(part for part in told if part)


def table_ranking_view(ranking: TableRanking) -> RenderableType:
    """A ranked table of measurements taken elsewhere."""
    from prunebench.results.table.ranked import effect_sentence

    table = _table(
        f"{ranking.source}: figures as given, without intervals",
        ("rank", "variant", "efficiency", "mAP50", "FPS", "mAP50/FPS", "MB", "parameters"),
        (f"{ranking.realtime_fps:g} FPS", "network"),
    )
    for row in ranking.rows:
        table.add_row(
            row.label,
            Text(row.variant),
            f"{row.efficiency:.2f}",
            f"{row.map50:.3f}",
            f"{row.fps:.1f}",
            f"{row.map50_per_fps:.3f}",
            f"{row.size_mb:.1f}",
            f"{row.parameters:,}",
            Text(row.realtime, style=STYLE_OF[row.realtime]),
            row.network or "no stock network",
        )
    failures = [f"{failed.name}: {failed.reason}" for failed in ranking.failures]
    return Group(
        table,
        _sentences("Failed", failures, "red"),
        _sentences("What the table does not say", ranking.notes, "yellow"),
        _sentences("What retraining did", [effect_sentence(e) for e in ranking.effects], "cyan"),
    )


def _table(title: str, figures: Sequence[str], words: Sequence[str]) -> Table:
    table = Table(title=Text(title), title_justify="left", box=None, pad_edge=False, padding=(0, 1))
    for name in figures:
        justify: Literal["left", "right"] = "left" if name == "variant" else "right"
        table.add_column(name, justify=justify, no_wrap=True)
    for name in words:
        # Wide enough for "possible", the longest word of a narrow column.
        table.add_column(name, overflow="fold", min_width=8)
    return table


def _two_lines(interval: Interval, digits: int) -> Text:
    """The estimate above its interval."""
    bounds = f"[{interval.low:.{digits}f}, {interval.high:.{digits}f}]"
    return Text.assemble(f"{interval.estimate:.{digits}f}\n", (bounds, "dim"))


def _map50(row: RankedVariant) -> Text:
    """mAP50; for segmentation that of boxes above that of masks, as two columns are too wide."""
    parts = []
    for name, interval in row.shown_map50.items():
        kind = Text(f"{name.removesuffix('mAP50')}", style="dim")
        parts.append(Text.assemble(kind, _two_lines(interval, 3)))
    return Text("\n").join(parts)


def _sentences(heading: str, sentences: Sequence[str], style: str) -> RenderableType:
    if not sentences:
        return Group()
    lines = [Padding(Text(sentence), (0, 0, 0, 2)) for sentence in sentences]
    return Group(Text(f"\n{heading}", style=f"bold {style}"), *lines)
