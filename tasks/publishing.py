"""The task that shows a run in the Prefect UI."""

from __future__ import annotations

import functools
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact

from prunebench.common.text import compact, slug
from prunebench.common.variant_record import VariantRecord
from prunebench.results.history.compare import RunComparison, change_sentence
from prunebench.results.messages.catalogue import Messages
from prunebench.results.messages.observations import tell_judgement, tell_variant
from prunebench.results.outcome import RunRanking
from prunebench.results.ranking.records import Ranking
from prunebench.results.report.build import REPORT_HTML, report_markdown
from tasks.retries import retried, retried_task


def artifact_key(*parts: str) -> str:
    """A key as Prefect takes it."""
    return slug("-".join(parts))


@retried_task(task_run_name="publish")
def publish(
    folder: str, variants: Sequence[VariantRecord], outcome: RunRanking, device: str | None = None
) -> None:
    """Keep the ranked tables, the audit, the report and where the files are as artifacts.

    ``device`` is part of the keys of another host's run: a key's history is that of one host.
    """
    name = _key_name(outcome, device)
    for ranking in outcome.rankings:
        create_table_artifact(
            key=artifact_key("ranking", name, f"{ranking.threads}-threads"),
            table=ranking_rows(ranking),
            description=f"Ranked variants, {ranking.threads} thread(s), run {outcome.run}",
        )
    create_table_artifact(
        key=artifact_key("audit", name),
        table=audit_rows(variants),
        description=f"What each variant is, run {outcome.run}",
    )
    create_markdown_artifact(
        key=artifact_key("report", name),
        markdown=report_markdown(Path(folder), outcome),
        description=f"Report of run {outcome.run}",
    )
    create_link_artifact(
        key=artifact_key("files", name),
        link=(Path(folder) / REPORT_HTML).as_uri(),
        link_text=REPORT_HTML,
        description=f"HTML report of run {outcome.run} on {socket.gethostname()}, in {folder}",
    )


def publish_latency(outcome: RunRanking, device: str | None = None) -> None:
    """Keep each variant's latency under a key of its own, whose history shows how it moved.

    The flow itself calls this: as artifacts of a task, so many would crowd the graph of the run.
    """
    by_variant: dict[str, list[dict[str, Any]]] = {}
    for ranking in outcome.rankings:
        for row in ranking.rows:
            figures = {
                "threads": ranking.threads,
                "latency ms": compact(row.latency_ms),
                "FPS": compact(row.fps),
                "real-time": row.realtime,
                "verdict": row.verdict,
            }
            by_variant.setdefault(row.name, []).append(figures)
    for name, rows in by_variant.items():
        first = rows[0]
        show = functools.partial(
            create_table_artifact,
            key=artifact_key("latency", _key_name(outcome, device), name),
            table=rows,
            description=f"{name}: {first['latency ms']} ms, {first['FPS']} FPS, run {outcome.run}",
        )
        retried(show)


def _key_name(outcome: RunRanking, device: str | None) -> str:
    return outcome.name if device is None else f"{outcome.name}-{device}"


def ranking_rows(ranking: Ranking) -> list[dict[str, Any]]:
    """Rows of the ranking as plain values, failed variants and those not trained last."""
    m = Messages(metric=ranking.metric)
    rows: list[dict[str, Any]] = [
        {
            "rank": row.label,
            "variant": row.name,
            "verdict": row.verdict,
            "efficiency": compact(row.efficiency),
            **{name: compact(map50) for name, map50 in row.shown_map50(ranking.metric).items()},
            "FPS": compact(row.fps),
            "x baseline": row.times_baseline and compact(row.times_baseline),
            "latency ms": compact(row.latency_ms),
            "CPU ms": row.cpu_ms and compact(row.cpu_ms),
            "size MB": round(row.size_mb, 2),
            "rounds": row.rounds,
            "trainings": row.trainings,
            "parameters": row.parameters,
            "real-time": row.realtime,
            "Pareto": row.pareto,
        }
        for row in ranking.rows
    ]
    missing = [("failed", one.name, f"{one.step}: {one.reason}") for one in ranking.failures]
    missing += [
        ("not trained", one.name, tell_judgement(one.judgement, m)) for one in ranking.not_trained
    ]
    return rows + [{"rank": rank, "variant": name, "verdict": why} for rank, name, why in missing]


def audit_rows(variants: Sequence[VariantRecord]) -> list[dict[str, Any]]:
    """What each variant is, as plain values."""
    return [
        {
            "variant": variant.name,
            "verdict": variant.audit.verdict,
            "parameters": variant.audit.structure.parameters,
            "parameters, BatchNorm folded": variant.audit.structure.parameters_fused,
            "MACs": variant.audit.structure.macs,
            "why": tell_variant(variant, Messages()),
        }
        for variant in variants
        if variant.audit is not None
    ]


@retried_task(task_run_name="publish the comparison")
def publish_comparison(name: str, comparison: RunComparison) -> None:
    """Keep the comparison with an earlier run as an artifact."""
    create_table_artifact(
        key=artifact_key("changes", name),
        table=[
            {
                "variant": change.variant,
                "threads": change.threads,
                "change %": compact(change.latency),
                "verdict": change.verdict,
                "what": change_sentence(change),
            }
            for change in comparison.changes
        ],
        description=f"Run {comparison.after} against {comparison.before}. "
        + " ".join(comparison.host_differences),
    )
