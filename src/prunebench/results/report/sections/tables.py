"""The sections that compare every variant: ranks, real-time, memory, Pareto."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from prunebench.common.statistics import FEWEST_ROUNDS, locate
from prunebench.common.variant_record import VariantRecord
from prunebench.measuring.latency.raw import Sample
from prunebench.results.messages.catalogue import Messages
from prunebench.results.messages.observations import tell_judgement
from prunebench.results.messages.sentences import tell
from prunebench.results.messages.steps import tell_step
from prunebench.results.ranking.records import RankedVariant, Ranking, Shown
from prunebench.results.report import document as doc
from prunebench.results.report import figures
from prunebench.results.report.numbers import quotient, relative, with_interval
from prunebench.results.report.scatter import accuracy_against_latency
from prunebench.results.report.significant_findings import compared, dominators, pareto_ranks
from prunebench.results.report.stored import ReportedRun

TONE: dict[Shown, doc.Tone] = {"yes": "good", "no": "bad", "not shown": "open"}
FRONT_TONE: dict[str, doc.Tone] = {"certain": "good", "possible": "open", "no": "bad"}
MEGA = 1e6
FIGURES = ("rank", "fps", "x_baseline", "ms")
"""What is told of a variant by device, or by number of threads."""

NEIGHBOURS = 12
"""Most pairs of neighbours that are told in words."""


def comparison(run: ReportedRun, m: Messages) -> doc.Section:
    """How to read the table; the other numbers of threads, and neighbours in words."""
    ranking, blocks = run.ranking, list[doc.Block | str | None]()
    if (beside_boxes := ranking.beside_boxes) is not None:
        overlap, other = m(f"overlap.{ranking.metric}"), m(f"overlap.{beside_boxes}")
        blocks.append(m("comparison.both", overlap=overlap, other=other))
    if len(run.outcome.rankings) > 1:
        by_threads = {m.counted("threads", one.threads): one for one in run.outcome.rankings}
        blocks.append(beside(m("comparison.threads"), "at", run.names, by_threads, m))
    blocks += [accuracy_against_latency(each, m) for each in run.outcome.rankings[1:]]
    # Each row against the next one in efficiency, as far as the list stays readable.
    pairs = itertools.pairwise(row.name for row in ranking.rows[: NEIGHBOURS + 1])
    found = (compared(ranking, "efficiency", upper, lower) for upper, lower in pairs)
    told = doc.items(tell(pair, ranking, m) for pair in found if pair is not None)
    if told is not None:
        blocks += [m("comparison.neighbours"), told]
    return doc.section("comparison", m, m("comparison.how"), *blocks)


def real_time(run: ReportedRun, m: Messages) -> doc.Section:
    """Whether each variant keeps the real-time limit, and where its time goes."""
    fps, deadline = f"{run.ranking.realtime_fps:g}", f"{1000 / run.ranking.realtime_fps:g}"
    return doc.section(
        "realtime",
        m,
        m("realtime.how", fps=fps, deadline=deadline),
        *(_paced(run, ranking, m) for ranking in run.outcome.rankings if ranking.rows),
        *(
            draw(run, threads, m)
            for threads in run.latency.threads
            for draw in (figures.latency_distribution, figures.stage_times)
        ),
    )


def memory(run: ReportedRun, m: Messages) -> doc.Section:
    """Sizes on disk and in memory, parameters in both states, MACs."""
    heads = doc.titles(
        m,
        *("variant", "onnx_mb#", "checkpoint_mb#", "parameters#", "parameters_fused#", "macs#"),
        *("against_baseline#", "rss#", "rss_base#"),
    )
    rows = (_memory_row(run, variant) for variant in run.variants)
    return doc.section("memory", m, m("memory.how"), doc.table(m("memory.caption"), heads, rows))


def pareto(run: ReportedRun, m: Messages) -> doc.Section:
    """Who is on the front of accuracy and speed, and the accuracy/speed ratio."""
    ranking = run.ranking
    ranks = pareto_ranks(ranking)
    rows = (
        doc.cells(
            row.name,
            row.label,
            _ratio(row),
            doc.Cell(m(f"pareto.{row.pareto}"), FRONT_TONE[row.pareto]),
            str(ranks[row.name]),
            m.some(dominators(ranking, row.name)),
            ", ".join(m(f"use.{a.use}") for a in ranking.advice if a.recommended == row.name),
        )
        for row in ranking.rows
    )
    heads = doc.titles(m, "variant", "rank", "ratio#", "pareto", "pareto_rank#", "dominated", "use")
    return doc.section("pareto", m, m("pareto.how"), doc.table(m("pareto.caption"), heads, rows))


def beside(
    caption: str,
    where: str,
    names: Iterable[str],
    rankings: Mapping[str, Ranking],
    m: Messages,
    wanted: Sequence[str] = FIGURES,
) -> doc.Table:
    """Some ``FIGURES`` of every variant, for each ranking.

    The keys of ``rankings`` are told in the titles, and ``where`` ends the titles' own keys:
    ``at`` a number of threads, ``on`` a device.
    """
    heads, rows = [*doc.titles(m, "variant")], {name: list[str | None]([name]) for name in names}
    for title, ranking in rankings.items():
        keys = [f"{figure}_{where}{'' if figure == 'rank' else '#'}" for figure in wanted]
        heads += doc.titles(m, *keys, threads=title, device=title)
        ranked = {row.name: row for row in ranking.rows}
        for name, line in rows.items():
            if (row := ranked.get(name)) is None:
                line += (None,) * len(keys)
                continue
            told = row.label, with_interval(row.fps), times_baseline(row)
            known = dict(zip(FIGURES, (*told, with_interval(row.latency_ms)), strict=True))
            line += (known[figure] for figure in wanted)
    return doc.table(caption, heads, (doc.cells(*line) for line in rows.values()))


def _ratio(row: RankedVariant) -> str:
    """mAP50 by FPS, in thousandths."""
    if row.map50.estimate <= 0:
        return with_interval(row.map50, digits=3)
    return with_interval(quotient(row.map50, row.fps), factor=1000)


def times_baseline(row: RankedVariant) -> str | None:
    """FPS by the baseline's; ``None`` where there is nothing to compare."""
    return None if row.times_baseline is None else with_interval(row.times_baseline, digits=2)


def ranks(ranking: Ranking, m: Messages) -> doc.Table:
    """Every variant with its rank, ties and intervals."""
    limit = ranking.max_rss_mb
    both = ranking.beside_boxes
    name = m(f"map50.{ranking.metric}")
    map50 = (f"{name}#",) if both is None else doc.titles(m, "box_map50#", f"{both}_map50#")
    heads = (
        *doc.titles(m, "variant", "rank", "efficiency#"),
        *(*map50, "FPS#", *doc.titles(m, "x_baseline#", "model_ms#"), "MB#"),
        *doc.titles(m, "rounds#", "verdict", "realtime", fps=f"{ranking.realtime_fps:g}"),
        *(doc.titles(m, "keeps_memory", limit=f"{limit:g}") if limit is not None else ()),
        *doc.titles(m, "keeps_accuracy", "tied"),
    )
    rows = [
        doc.cells(
            row.name,
            row.label,
            with_interval(row.efficiency),
            *(with_interval(one, digits=3) for one in row.shown_map50(ranking.metric).values()),
            with_interval(row.fps),
            times_baseline(row),
            with_interval(row.latency_ms),
            f"{row.size_mb:.2f}",
            f"{row.rounds:,}",
            _verdict(row, m),
            _shown(row.realtime, m),
            *([_shown(row.keeps_memory or "not shown", m)] if limit is not None else ()),
            None if row.keeps_accuracy is None else _shown(row.keeps_accuracy, m),
            m.some(row.tied_with),
        )
        for row in ranking.rows
    ]
    span = len(heads) - 1
    for failed in ranking.failures:
        reason = m("comparison.failed", step=tell_step(failed.step, m), reason=failed.reason)
        rows.append(doc.cells(failed.name, doc.Cell(reason, "bad", span)))
    for left_out in ranking.not_trained:
        reason = m("comparison.not_trained", reason=tell_judgement(left_out.judgement, m))
        rows.append(doc.cells(left_out.name, doc.Cell(reason, "open", span)))
    threads = m.counted("threads", ranking.threads)
    caption = m("comparison.caption", threads=threads, level=f"{100 * ranking.level:g}")
    return doc.table(caption, heads, rows)


def _paced(run: ReportedRun, ranking: Ranking, m: Messages) -> doc.Table:
    heads = doc.titles(
        m,
        *("variant", "realtime", "p95#", "missed#", "frames#", "fps_back_to_back#"),
        *("model_ms#", "cpu_ms#", "first_ms#", "load_ms#", "joules#"),
        fps=f"{ranking.realtime_fps:g}",
    )
    threads = ranking.threads
    rows = (_paced_row(run, threads, row, m) for row in ranking.rows)
    caption = m("realtime.caption", threads=m.counted("threads", threads))
    return doc.table(caption, heads, rows)


def _paced_row(
    run: ReportedRun, threads: int, row: RankedVariant, m: Messages
) -> tuple[doc.Cell, ...]:
    summary = run.summaries.get((row.name, threads))
    paced = summary.paced if summary else None
    p95 = paced.p95_ms if paced else None
    joules = summary.frames.joules if summary and summary.frames else None
    return doc.cells(
        row.name,
        _shown(row.realtime, m),
        m("realtime.unsupported") if p95 is None else with_interval(p95),
        with_interval(paced.missed, factor=100, digits=1) if paced else None,
        f"{paced.frames:,}" if paced else None,
        with_interval(row.fps),
        with_interval(row.latency_ms),
        None if row.cpu_ms is None else with_interval(row.cpu_ms),
        _over_rounds(run, row.name, threads, lambda sample: sample.first_ms),
        _over_rounds(run, row.name, threads, lambda sample: sample.load_ms),
        None if joules is None else with_interval(joules),
    )


def _memory_row(run: ReportedRun, variant: VariantRecord) -> tuple[doc.Cell, ...]:
    structure = variant.audit.structure if variant.audit else None
    baseline = run.baseline.audit if run.baseline else None
    threads, against = run.ranking.threads, None
    if structure and baseline and variant is not run.baseline:
        against = relative(structure.parameters, baseline.structure.parameters)
    return doc.cells(
        variant.name,
        f"{variant.exported.onnx.bytes / MEGA:.2f}" if variant.exported else None,
        f"{variant.checkpoint.bytes / MEGA:.2f}" if variant.checkpoint else None,
        f"{structure.parameters:,}" if structure else None,
        f"{structure.parameters_fused:,}" if structure else None,
        f"{structure.macs / MEGA:,.0f}" if structure else None,
        against,
        _over_rounds(run, variant.name, threads, lambda sample: sample.rss_peak_mb),
        _over_rounds(run, variant.name, threads, lambda sample: sample.rss_base_mb),
    )


def _over_rounds(
    run: ReportedRun, name: str, threads: int, read: Callable[[Sample], float]
) -> str | None:
    """What each round's process has one figure of, with its interval."""
    values = [read(s) for s in run.samples if (s.variant, s.threads) == (name, threads)]
    if len(values) < FEWEST_ROUNDS:
        return None
    return with_interval(locate(np.log(values)).ratio(run.ranking.level))


def _verdict(row: RankedVariant, m: Messages) -> doc.Cell | None:
    if row.verdict is None:
        return None
    tones: dict[str, doc.Tone] = {"restored": "bad", "altered": "open"}
    text = m(f"verdict.{row.verdict}")
    if row.control is not None:
        text = m("verdict.control", verdict=text)
    return doc.Cell(text, tones.get(row.verdict, "plain"))


def _shown(value: Shown, m: Messages) -> doc.Cell:
    return doc.Cell(m(f"shown.{value}"), TONE[value])
