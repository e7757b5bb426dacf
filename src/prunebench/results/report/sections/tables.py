"""The sections that compare every variant: ranks, real-time, memory, Pareto."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping

from prunebench.common.records import VariantRecord
from prunebench.results.messages.catalogue import Messages
from prunebench.results.messages.observations import tell_judgement
from prunebench.results.messages.sentences import tell
from prunebench.results.ranking.records import RankedVariant, Ranking, Shown
from prunebench.results.report import figures
from prunebench.results.report.document import (
    Block,
    Cell,
    Paragraph,
    Section,
    Table,
    Tone,
    cells,
    items,
    section,
    table,
    titles,
)
from prunebench.results.report.numbers import BLANK, count, relative, with_interval
from prunebench.results.report.scatter import accuracy_against_latency
from prunebench.results.report.significant_findings import compared, dominators, pareto_ranks
from prunebench.results.report.stored import ReportedRun

TONE: dict[Shown, Tone] = {"yes": "good", "no": "bad", "not shown": "open"}
FRONT_TONE: dict[str, Tone] = {"certain": "good", "possible": "open", "no": "bad"}
MEGA = 1e6
NEIGHBOURS = 12
"""Most pairs of neighbours that are told in words."""


def comparison(run: ReportedRun, m: Messages) -> Section:
    """Every variant with its rank, ties and intervals."""
    ranking, blocks = run.ranking, list[Block | None]()
    if ranking.segmentation:
        overlap = m(f"overlap.{ranking.metric}")
        blocks.append(Paragraph(m("comparison.both", overlap=overlap)))
    blocks.append(_ranks(ranking, m))
    if len(run.outcome.rankings) > 1:
        by_threads = {m.counted("threads", one.threads): one for one in run.outcome.rankings}
        blocks.append(beside(m("comparison.threads"), "at", run.names, by_threads, m))
    blocks += [accuracy_against_latency(each, m) for each in run.outcome.rankings]
    # Each row against the next one in efficiency, as far as the list stays readable.
    pairs = itertools.pairwise(row.name for row in ranking.rows[: NEIGHBOURS + 1])
    found = (compared(ranking, "efficiency", upper, lower) for upper, lower in pairs)
    told = items(tell(pair, ranking, m) for pair in found if pair is not None)
    if told is not None:
        blocks += [Paragraph(m("comparison.neighbours")), told]
    return section("comparison", m, Paragraph(m("comparison.how")), *blocks)


def real_time(run: ReportedRun, m: Messages) -> Section:
    """Whether each variant keeps the real-time limit, and where its time goes."""
    fps, deadline = f"{run.ranking.realtime_fps:g}", f"{1000 / run.ranking.realtime_fps:g}"
    return section(
        "realtime",
        m,
        Paragraph(m("realtime.how", fps=fps, deadline=deadline)),
        *(_paced(run, ranking, m) for ranking in run.outcome.rankings if ranking.rows),
        *(
            draw(run, threads, m)
            for threads in run.latency.threads
            for draw in (figures.latency_distribution, figures.stage_times)
        ),
    )


def memory(run: ReportedRun, m: Messages) -> Section:
    """Sizes on disk and in memory, parameters in both states, MACs."""
    heads = titles(
        m,
        *("variant", "onnx_mb#", "checkpoint_mb#", "parameters#", "parameters_fused#", "macs#"),
        *("against_baseline#", "rss#"),
    )
    rows = (_memory_row(run, variant) for variant in run.variants)
    return section("memory", m, Paragraph(m("memory.how")), table(m("memory.caption"), heads, rows))


def pareto(run: ReportedRun, m: Messages) -> Section:
    """Who is on the front of accuracy and speed, and the accuracy/speed ratio."""
    ranking = run.ranking
    ranks = pareto_ranks(ranking)
    rows = (
        cells(
            row.name,
            row.label,
            f"{row.map50_per_fps:.4f}",
            Cell(m(f"pareto.{row.pareto}"), FRONT_TONE[row.pareto]),
            str(ranks[row.name]),
            m.some(dominators(ranking, row.name)) or BLANK,
            ", ".join(m(f"use.{a.use}") for a in ranking.advice if a.recommended == row.name)
            or BLANK,
        )
        for row in ranking.rows
    )
    heads = titles(m, "variant", "rank", "ratio#", "pareto", "pareto_rank#", "dominated", "use")
    return section("pareto", m, Paragraph(m("pareto.how")), table(m("pareto.caption"), heads, rows))


def beside(
    caption: str,
    where: str,
    names: Iterable[str],
    rankings: Mapping[str, Ranking],
    m: Messages,
) -> Table:
    """Rank, FPS and model milliseconds of every variant, three columns for each ranking.

    Args:
        caption: The table's caption.
        where: Ends the keys of the columns' titles: ``at`` a number of threads, ``on`` a device.
        names: The variants.
        rankings: What the title says of each ranking.
        m: The texts.
    """
    heads, columns = [*titles(m, "variant")], list[dict[str, RankedVariant]]()
    for name, ranking in rankings.items():
        keys = (f"rank_{where}", f"fps_{where}#", f"ms_{where}#")
        heads += titles(m, *keys, threads=name, device=name)
        columns.append({row.name: row for row in ranking.rows})
    rows = []
    for name in names:
        line = [Cell(name)]
        for by_name in columns:
            row = by_name.get(name)
            line += (
                cells(BLANK, BLANK, BLANK)
                if row is None
                else cells(row.label, with_interval(row.fps), with_interval(row.latency_ms))
            )
        rows.append(tuple(line))
    return table(caption, heads, rows)


def _ranks(ranking: Ranking, m: Messages) -> Table:
    map50 = titles(m, "box_map50#", "mask_map50#") if ranking.segmentation else ("mAP50#",)
    heads = (
        *titles(m, "variant", "rank", "efficiency#"),
        *(*map50, "FPS#", *titles(m, "model_ms#"), "MB#"),
        *titles(m, "parameters#", "verdict", "realtime", fps=f"{ranking.realtime_fps:g}"),
        *titles(m, "keeps_accuracy", "tied"),
    )
    rows = [
        cells(
            row.name,
            row.label,
            with_interval(row.efficiency),
            *(with_interval(one, digits=3) for one in row.shown_map50.values()),
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
    span = len(heads) - 1
    for failed in ranking.failures:
        reason = m("comparison.failed", step=failed.step, reason=failed.reason)
        rows.append(cells(failed.name, Cell(reason, "bad", span)))
    for left_out in ranking.not_trained:
        reason = m("comparison.not_trained", reason=tell_judgement(left_out.judgement, m))
        rows.append(cells(left_out.name, Cell(reason, "open", span)))
    threads = m.counted("threads", ranking.threads)
    caption = m("comparison.caption", threads=threads, level=f"{100 * ranking.level:g}")
    return table(caption, heads, rows)


def _paced(run: ReportedRun, ranking: Ranking, m: Messages) -> Table:
    heads = titles(
        m,
        *("variant", "realtime", "p95#", "missed#", "frames#", "fps_back_to_back#"),
        *("first_ms#", "load_ms#"),
        fps=f"{ranking.realtime_fps:g}",
    )
    rows = (_paced_row(run, row, ranking.threads, m) for row in ranking.rows)
    caption = m("realtime.caption", threads=m.counted("threads", ranking.threads))
    return table(caption, heads, rows)


def _paced_row(run: ReportedRun, row: RankedVariant, threads: int, m: Messages) -> tuple[Cell, ...]:
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


def _memory_row(run: ReportedRun, variant: VariantRecord) -> tuple[Cell, ...]:
    baseline = run.baseline
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
