"""The sections that compare every variant: ranks, real-time, memory, Pareto."""

from __future__ import annotations

import itertools

from prunebench.common.records import VariantRecord
from prunebench.results.messages.catalogue import Messages
from prunebench.results.messages.observations import tell_judgement
from prunebench.results.messages.sentences import tell
from prunebench.results.ranking.records import RankedVariant, Ranking, Shown
from prunebench.results.report import figures
from prunebench.results.report.document import (
    Block,
    Cell,
    Column,
    Figure,
    Item,
    Items,
    Paragraph,
    Section,
    Table,
    Tone,
    cells,
)
from prunebench.results.report.numbers import BLANK, count, relative, with_interval
from prunebench.results.report.scatter import accuracy_against_latency
from prunebench.results.report.significant_findings import compared, dominators, pareto_ranks
from prunebench.results.report.stored import StoredRun

TONE: dict[Shown, Tone] = {"yes": "good", "no": "bad", "not shown": "open"}
MEGA = 1e6
NEIGHBOURS = 12
"""Most pairs of neighbours that are told in words."""


def comparison(run: StoredRun, m: Messages) -> Section:
    """Every variant with its rank, ties and intervals."""
    ranking = run.ranking
    blocks: list[Block] = [Paragraph(m("comparison.how"))]
    if ranking.segmentation:
        overlap = m(f"overlap.{ranking.metric}")
        blocks.append(Paragraph(m("comparison.both", overlap=overlap)))
    blocks.append(_ranks(run, ranking, m))
    if len(run.outcome.rankings) > 1:
        blocks.append(_by_threads(run, m))
    drawn = (accuracy_against_latency(each, m) for each in run.outcome.rankings)
    blocks += [figure for figure in drawn if figure is not None]
    blocks += _neighbours(run, ranking, m)
    return Section("comparison", m("comparison.title"), tuple(blocks))


def real_time(run: StoredRun, m: Messages) -> Section:
    """Whether each variant keeps the real-time limit, and where its time goes."""
    limit = f"{run.ranking.realtime_fps:g}"
    deadline = f"{1000 / run.ranking.realtime_fps:g}"
    blocks: list[Block] = [Paragraph(m("realtime.how", fps=limit, deadline=deadline))]
    blocks += [_paced(run, ranking, m) for ranking in run.outcome.rankings if ranking.rows]
    for threads in run.latency.threads:
        blocks += _drawn(figures.latency_distribution(run, threads, m))
        blocks += _drawn(figures.stage_times(run, threads, m))
    return Section("realtime", m("realtime.title"), tuple(blocks))


def memory(run: StoredRun, m: Messages) -> Section:
    """Sizes on disk and in memory, parameters in both states, MACs."""
    baseline = run.baseline
    columns = (
        Column(m("column.variant")),
        Column(m("column.onnx_mb"), True),
        Column(m("column.checkpoint_mb"), True),
        Column(m("column.parameters"), True),
        Column(m("column.parameters_fused"), True),
        Column(m("column.macs"), True),
        Column(m("column.against_baseline"), True),
        Column(m("column.rss"), True),
    )
    rows = tuple(_memory_row(run, variant, baseline) for variant in run.variants)
    table = Table(m("memory.caption"), columns, rows)
    return Section("memory", m("memory.title"), (Paragraph(m("memory.how")), table))


def pareto(run: StoredRun, m: Messages) -> Section:
    """Who is on the front of accuracy and speed, and the accuracy/speed ratio."""
    ranking = run.ranking
    uses: dict[str, list[str]] = {}
    for advice in ranking.advice:
        if advice.recommended is not None:
            uses.setdefault(advice.recommended, []).append(m(f"use.{advice.use}"))
    columns = (
        Column(m("column.variant")),
        Column(m("column.rank")),
        Column(m("column.ratio"), True),
        Column(m("column.pareto")),
        Column(m("column.pareto_rank"), True),
        Column(m("column.dominated")),
        Column(m("column.use")),
    )
    tones: dict[str, Tone] = {"certain": "good", "possible": "open", "no": "bad"}
    ranks = pareto_ranks(ranking)
    rows = tuple(
        cells(
            row.name,
            row.label,
            f"{row.map50_per_fps:.4f}",
            Cell(m(f"pareto.{row.pareto}"), tones[row.pareto]),
            str(ranks[row.name]),
            m.some(dominators(ranking, row.name)) or BLANK,
            ", ".join(uses.get(row.name, [])) or BLANK,
        )
        for row in ranking.rows
    )
    table = Table(m("pareto.caption"), columns, rows)
    return Section("pareto", m("pareto.title"), (Paragraph(m("pareto.how")), table))


def _ranks(run: StoredRun, ranking: Ranking, m: Messages) -> Table:
    map50 = [Column("mAP50", True)]
    if ranking.segmentation:
        map50 = [Column(m("column.box_map50"), True), Column(m("column.mask_map50"), True)]
    columns = (
        Column(m("column.variant")),
        Column(m("column.rank")),
        Column(m("column.efficiency"), True),
        *map50,
        Column("FPS", True),
        Column(m("column.model_ms"), True),
        Column("MB", True),
        Column(m("column.parameters"), True),
        Column(m("column.verdict")),
        Column(m("column.realtime", fps=f"{ranking.realtime_fps:g}")),
        Column(m("column.keeps_accuracy")),
        Column(m("column.tied")),
    )
    rows = [
        cells(
            row.name,
            row.label,
            with_interval(row.efficiency),
            *(with_interval(map50, digits=3) for map50 in row.shown_map50.values()),
            with_interval(row.fps),
            with_interval(row.latency_ms),
            f"{row.size_mb:.2f}",
            count(row.parameters),
            _verdict(row, m),
            _shown(row.realtime, m),
            Cell(BLANK) if row.keeps_accuracy is None else _shown(row.keeps_accuracy, m),
            m.some(row.tied_with) or BLANK,
        )
        for row in ranking.rows
    ]
    for failed in ranking.failures:
        reason = m("comparison.failed", step=failed.step, reason=failed.reason)
        rows.append(cells(failed.name, Cell(reason, "bad", span=len(columns) - 1)))
    for left_out in ranking.not_trained:
        reason = m("comparison.not_trained", reason=tell_judgement(left_out.judgement, m))
        rows.append(cells(left_out.name, Cell(reason, "open", span=len(columns) - 1)))
    threads = m.counted("threads", ranking.threads)
    level = f"{100 * ranking.level:g}"
    caption = m("comparison.caption", threads=threads, level=level)
    return Table(caption, columns, tuple(rows))


def _neighbours(run: StoredRun, ranking: Ranking, m: Messages) -> list[Block]:
    """Each row against the next one in efficiency, as far as the list stays readable."""
    pairs = itertools.pairwise(row.name for row in ranking.rows[: NEIGHBOURS + 1])
    found = (compared(ranking, "efficiency", upper, lower) for upper, lower in pairs)
    items = tuple(Item(tell(d, run.ranking, m)) for d in found if d is not None)
    return [Paragraph(m("comparison.neighbours")), Items(items)] if items else []


def _by_threads(run: StoredRun, m: Messages) -> Table:
    rankings = run.outcome.rankings
    columns = [Column(m("column.variant"))]
    for ranking in rankings:
        threads = m.counted("threads", ranking.threads)
        columns.append(Column(m("column.rank_at", threads=threads)))
        columns.append(Column(m("column.fps_at", threads=threads), True))
        columns.append(Column(m("column.model_ms_at", threads=threads), True))
    rows = []
    for name in run.names:
        row = [Cell(name)]
        for ranking in rankings:
            found = next((each for each in ranking.rows if each.name == name), None)
            if found is None:
                row += cells(BLANK, BLANK, BLANK)
                continue
            row += cells(found.label, with_interval(found.fps), with_interval(found.latency_ms))
        rows.append(tuple(row))
    return Table(m("comparison.threads"), tuple(columns), tuple(rows))


def _paced(run: StoredRun, ranking: Ranking, m: Messages) -> Table:
    columns = (
        Column(m("column.variant")),
        Column(m("column.realtime", fps=f"{ranking.realtime_fps:g}")),
        Column(m("column.p95"), True),
        Column(m("column.missed"), True),
        Column(m("column.frames"), True),
        Column(m("column.fps_back_to_back"), True),
        Column(m("column.first_ms"), True),
        Column(m("column.load_ms"), True),
    )
    rows = tuple(_paced_row(run, row, ranking.threads, m) for row in ranking.rows)
    return Table(
        m("realtime.caption", threads=m.counted("threads", ranking.threads)), columns, rows
    )


def _paced_row(run: StoredRun, row: RankedVariant, threads: int, m: Messages) -> tuple[Cell, ...]:
    summary = run.summaries.get((row.name, threads))
    paced = None if summary is None else summary.paced
    return cells(
        row.name,
        _shown(row.realtime, m),
        m("realtime.unsupported")
        if paced is None or paced.p95_ms is None
        else with_interval(paced.p95_ms),
        BLANK if paced is None else with_interval(paced.missed, factor=100, digits=1),
        BLANK if paced is None else f"{paced.frames:,}",
        with_interval(row.fps),
        BLANK if summary is None else f"{summary.first_ms:.1f}",
        BLANK if summary is None else f"{summary.load_ms:.0f}",
    )


def _memory_row(
    run: StoredRun, variant: VariantRecord, baseline: VariantRecord | None
) -> tuple[Cell, ...]:
    onnx = None if variant.exported is None else variant.exported.onnx.bytes
    structure = None if variant.audit is None else variant.audit.structure
    reference = None if baseline is None or baseline.audit is None else baseline.audit.structure
    summary = run.summaries.get((variant.name, run.ranking.threads))
    against = BLANK
    if structure is not None and reference is not None and variant is not baseline:
        against = relative(structure.parameters, reference.parameters)
    return cells(
        variant.name,
        BLANK if onnx is None else f"{onnx / MEGA:.2f}",
        BLANK if variant.checkpoint is None else f"{variant.checkpoint.bytes / MEGA:.2f}",
        count(None if structure is None else structure.parameters),
        count(None if structure is None else structure.parameters_fused),
        BLANK if structure is None else f"{structure.macs / MEGA:,.0f}",
        against,
        BLANK if summary is None else f"{summary.rss_peak_mb:.0f} ({summary.rss_model_mb:+.0f})",
    )


def _verdict(row: RankedVariant, m: Messages) -> Cell:
    if row.verdict is None:
        return Cell(BLANK)
    tones: dict[str, Tone] = {"restored": "bad", "altered": "open"}
    text = m(f"verdict.{row.verdict}")
    if row.control is not None:
        text = m("verdict.control", verdict=text)
    return Cell(text, tones.get(row.verdict, "plain"))


def _shown(value: Shown, m: Messages) -> Cell:
    return Cell(m(f"shown.{value}"), TONE[value])


def _drawn(figure: Figure | None) -> list[Block]:
    return [] if figure is None else [figure]
