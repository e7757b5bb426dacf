"""Rankings, of a run and of a table of measurements taken elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from prunebench.common.plain import METRIC_NAMES
from prunebench.common.records import Interval
from prunebench.common.text import counted, points, times
from prunebench.results.devices import Device
from prunebench.results.messages.catalogue import Messages
from prunebench.results.messages.observations import (
    tell_device,
    tell_explanation,
    tell_judgement,
    tell_noise,
    tell_soak,
)
from prunebench.results.messages.runtimes import named, tell_runtimes
from prunebench.results.messages.sentences import Fact, headline, neighbours, tell
from prunebench.results.outcome import RunRanking
from prunebench.results.ranking.records import NOT_TRAINED, Elsewhere, RankedVariant, Ranking
from prunebench.results.report.numbers import BLANK, with_interval
from prunebench.results.table.doubts import TableNoise
from prunebench.results.table.ranked import TableRanking, TableRow
from prunebench.results.table.run_table import RunTable

STYLE_OF = {"yes": "green", "no": "red", "not shown": "yellow"}
MOST_SENTENCES = 100
WIDEST_NETWORK = 20

Layout = tuple[tuple[str, ...], ...]
"""Columns, each by the names of what is stacked in it."""

Cells = Mapping[str, tuple[Text, Text]]
"""What a row shows by name: a figure or word, and an interval where it has one."""


def run_ranking_view(outcome: RunRanking) -> RenderableType:
    """The outcome of a run: a table per thread count, what it means, and what to doubt."""
    m, rounds = Messages(), counted(outcome.rounds, "round")
    noise = [tell_noise(seen, m) for seen in outcome.noise]
    explanations = [tell_explanation(one, m) for one in outcome.diagnoses]
    return Group(
        _sentences("The host was noisy while measuring", noise, "red"),
        *map(ranking_view, outcome.rankings),
        _sentences("Under load", [tell_soak(outcome.soak, m)] if outcome.soak else [], "cyan"),
        _sentences("Why is it not faster?", explanations, "cyan"),
        Text(f"Measured in {rounds}; stopped: {outcome.stopped}.", style="dim"),
    )


def devices_view(devices: Sequence[Device]) -> RenderableType:
    """What each device that measured a run's files is, or why it has no figures."""
    m = Messages()
    told = [f"{device.name}: {tell_device(device, m)}" for device in devices]
    return _sentences(m("devices.title"), told, "cyan")


class Fitting:
    """The first of some renderables, widest first, that fits; the last where none does."""

    def __init__(self, *widest_first: RenderableType) -> None:
        self.widest_first = widest_first

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        unlimited = options.update(max_width=10_000)
        fitting = (
            one
            for one in self.widest_first
            if console.measure(one, options=unlimited).maximum <= options.max_width
        )
        yield next(fitting, self.widest_first[-1])


def ranking_view(ranking: Ranking) -> RenderableType:
    """A ranking for one thread count: what to ship, the table, advice, warnings, comparisons."""
    threads, m = counted(ranking.threads, "thread"), Messages(metric=ranking.metric)
    title = f"{threads}; intervals at {100 * ranking.level:g} %, ranks share what is not told apart"
    both = ranking.beside_boxes
    if both is not None:
        title += f"; efficiency is that of {ranking.metric} mAP50"
    name = METRIC_NAMES[ranking.metric]
    map50 = (name,) if both is None else ("box mAP50", f"{both} mAP50")
    shown: tuple[str, ...] = (_limit(ranking), "Pareto")
    if ranking.max_rss_mb is not None:
        shown = (_limit(ranking), _memory_limit(ranking), "Pareto")
    latency: tuple[str, ...] = ("model ms", "CPU ms")
    if all(row.cpu_ms is None for row in ranking.rows):
        latency = latency[:1]
    layouts: tuple[Layout, ...] = (
        (
            *(("rank",), ("variant", "structure"), ("efficiency",), map50),
            *(("FPS", "x baseline"), latency, ("MB", "rounds"), shown),
        ),
        (
            *(("rank",), ("variant", "structure", "MB"), ("efficiency", *map50, "x baseline")),
            *(("FPS", *latency), (*shown, "rounds")),
        ),
    )
    tables = (_ranks(ranking, title, layout) for layout in layouts)

    def told(facts: Sequence[Fact]) -> list[str]:
        return [tell(fact, ranking, m) for fact in facts]

    in_runtimes = tell_runtimes(ranking, m)
    elsewhere = [in_runtimes] if in_runtimes else []
    elsewhere += [f"{f.name}: {f.step}: {f.reason}" for f in ranking.failures_elsewhere]
    not_trained = [f"{v.name}: {tell_judgement(v.judgement, m)}" for v in ranking.not_trained]
    sections = (
        ("Failed", [f"{f.name}: {f.step}: {f.reason}" for f in ranking.failures], "red"),
        ("Not trained", not_trained, "cyan"),
        ("Before you trust the table", told(ranking.warnings), "yellow"),
        ("What to ship", told(ranking.advice), "green"),
        ("Does pruning pay?", told(ranking.against_controls), "yellow"),
        (m("runtimes.title"), elsewhere, "yellow"),
        ("What retraining did", told(ranking.effects), "cyan"),
        ("Neighbours in the table", told(neighbours(ranking)), "cyan"),
    )
    first = Text(headline(ranking, m) or "", style="bold green")
    return Group(
        *[first] * bool(first),
        Fitting(*tables),
        *[_elsewhere(ranking, m)] * bool(ranking.elsewhere),
        *(_sentences(*section) for section in sections),
    )


def _elsewhere(ranking: Ranking, m: Messages) -> Table:
    """The variants in other runtimes, which have no rank."""
    name = METRIC_NAMES[ranking.metric]
    layout: Layout = (
        *(("variant", "runtime"), (name, "change"), ("FPS", "x onnxruntime")),
        *(("x baseline",), ("model ms", "MB")),
    )

    def cells(row: Elsewhere) -> Cells:
        words = {
            "variant": row.name,
            "runtime": named(row, m),
            name: with_interval(row.map50, digits=3),
            "change": points(row.map50_change, signed=True),
            "FPS": with_interval(row.fps),
            "x onnxruntime": with_interval(row.times_own, digits=2),
            "x baseline": times(row.times_baseline) if row.times_baseline else BLANK,
            "model ms": with_interval(row.latency_ms, digits=2),
            "MB": f"{row.size_mb:.2f}",
        }
        return {key: (Text(word), Text()) for key, word in words.items()}

    return _stacked(m("runtimes.unranked"), layout, map(cells, ranking.elsewhere))


def _ranks(ranking: Ranking, title: str, layout: Layout) -> Table:
    table = _stacked(title, layout, (_cells(row, ranking) for row in ranking.rows))
    for failed in ranking.failures:
        label = NOT_TRAINED if failed.step == NOT_TRAINED else "failed"
        table.add_row("-", Text.assemble(failed.name, (f"\n{label}", "red")))
    for left_out in ranking.not_trained:
        table.add_row("-", Text.assemble(left_out.name, (f"\n{NOT_TRAINED}", "dim")))
    return table


def _cells(row: RankedVariant, ranking: Ranking) -> Cells:
    words = {
        "rank": Text(row.label),
        "variant": Text(row.name),
        "structure": Text(_kind(row), style="dim"),
        "MB": Text(f"{row.size_mb:.2f}"),
        "rounds": Text(str(row.rounds), style="dim"),
        _limit(ranking): Text(row.realtime, style=STYLE_OF[row.realtime]),
        "Pareto": Text(row.pareto),
    }
    if row.keeps_memory is not None:
        words[_memory_limit(ranking)] = Text(row.keeps_memory, style=STYLE_OF[row.keeps_memory])
    figures: dict[str, tuple[Interval | None, int | None]] = {
        "efficiency": (row.efficiency, None),
        **{name: (interval, 3) for name, interval in row.shown_map50(ranking.metric).items()},
        "FPS": (row.fps, None),
        "x baseline": (row.times_baseline, 2),
        "model ms": (row.latency_ms, 2),
        "CPU ms": (row.cpu_ms, 2),
    }
    cells = {name: (word, Text()) for name, word in words.items()}
    for name, (interval, digits) in figures.items():
        told = BLANK if interval is None else with_interval(interval, digits=digits)
        figure, _, ends = told.partition(" ")
        cells[name] = (Text(figure), Text(ends, style="dim"))
    return cells


def _kind(row: RankedVariant) -> str:
    """What the audit says a variant is, and whether it is INT8, and a control."""
    several = row.trainings > 1 and f"{row.trainings} trainings"
    told = (row.verdict, row.int8 and "INT8", row.control and "control", several)
    return ", ".join(part for part in told if part)


def run_table_view(table: RunTable) -> RenderableType:
    """A run's own table, as the run ranked it."""
    said = Text(f"{table.source}: ranks, ties and advice are those of the run.", style="dim")
    return Group(said, *map(ranking_view, table.rankings))


def table_ranking_view(ranking: TableRanking) -> RenderableType:
    """A ranked table of measurements taken elsewhere."""
    from prunebench.results.table.ranked import effect_sentence

    given = "figures as given"
    if any(isinstance(doubt, TableNoise) for doubt in ranking.doubts):
        given += ", without intervals"
    layouts: tuple[Layout, ...] = (
        (
            *(("rank",), ("variant",), ("efficiency",), ("mAP50",), ("FPS",), ("mAP50/FPS",)),
            *(("MB",), ("parameters",), (_limit(ranking),), ("network",)),
        ),
        (
            *(("rank",), ("variant", "network"), ("efficiency", "mAP50/FPS"), ("mAP50", "FPS")),
            *(("MB", "parameters"), (_limit(ranking),)),
        ),
    )
    rows = [_cells_as_given(row, ranking) for row in ranking.rows]
    tables = (_stacked(f"{ranking.source}: {given}", layout, rows) for layout in layouts)
    failures = [f"{failed.name}: {failed.reason}" for failed in ranking.failures]
    return Group(
        Fitting(*tables),
        _sentences("Failed", failures, "red"),
        _sentences("What the table does not say", ranking.notes, "yellow"),
        _sentences("What retraining did", [effect_sentence(e) for e in ranking.effects], "cyan"),
    )


def _cells_as_given(row: TableRow, ranking: TableRanking) -> Cells:
    words = {
        "rank": Text(row.label),
        "variant": Text(row.variant),
        "efficiency": Text(f"{row.efficiency:.2f}"),
        "mAP50": Text(f"{row.map50:.3f}"),
        "FPS": Text(f"{row.fps:.1f}"),
        "mAP50/FPS": Text(f"{row.map50_per_fps:.3f}"),
        "MB": Text(f"{row.size_mb:.1f}"),
        "parameters": Text(f"{row.parameters:,}"),
        _limit(ranking): Text(row.realtime, style=STYLE_OF[row.realtime]),
        "network": Text(row.network or "no stock network", style="dim"),
    }
    return {name: (word, Text()) for name, word in words.items()}


def _limit(ranking: Ranking | TableRanking) -> str:
    return f"{ranking.realtime_fps:g} FPS"


def _memory_limit(ranking: Ranking) -> str:
    return f"{ranking.max_rss_mb:g} MB RSS"


def _stacked(title: str, layout: Layout, rows: Iterable[Cells]) -> Table:
    """Rows in columns of stacked figures; one that stands alone is above its interval."""
    table = Table(title=Text(title), title_justify="left", box=None, pad_edge=False, padding=(0, 1))
    height = max(map(len, layout))
    for names in layout:
        words = names[0] == "variant" or names[0].endswith(" FPS") or names == ("network",)
        table.add_column(
            "\n".join((*names, *[""] * (height - len(names)))),
            justify="left" if words else "right",
            no_wrap=not words,
            overflow="fold",
            max_width=None if names[0] != "network" else WIDEST_NETWORK,
        )
    for cells in rows:
        columns = []
        for names in layout:
            between = "\n" if len(names) == 1 else " "
            lines = (Text(between).join(part for part in cells[name] if part) for name in names)
            columns.append(Text("\n").join(lines))
        table.add_row(*columns)
    return table


def _sentences(heading: str, sentences: Sequence[str], style: str) -> RenderableType:
    if not sentences:
        return Group()
    more = len(sentences) - MOST_SENTENCES
    if more > 0:
        sentences = [*sentences[:MOST_SENTENCES], f"And {more:,} more; --json has them all."]
    lines = [Padding(Text(sentence), (0, 0, 0, 2)) for sentence in sentences]
    return Group(Text(f"\n{heading}", style=f"bold {style}"), *lines)
