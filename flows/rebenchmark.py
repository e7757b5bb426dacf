"""Measures the exported variants of an earlier run again, trains nothing, and compares."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import flow
from prefect.states import Completed, State

from prunebench.files import sole_user
from prunebench.runs import latest_run
from tasks.comparing import compare_with_earlier, reopen
from tasks.measuring import diagnose, measure
from tasks.publishing import publish, publish_comparison
from tasks.ranking import rank_variants
from tasks.recording import record


@flow(name="rebenchmark", flow_run_name="rebenchmark", persist_result=False)
def rebenchmark(run: str | None = None, out: str = "runs") -> State[Any]:
    """Measure the variants of a finished run again on this host.

    Args:
        run: Folder of the run; the newest finished one below ``out`` where none is given.
        out: Folder of all runs.

    Returns:
        A completed state whose data is the new run's folder, its ranking and the comparison.
    """
    source = Path(run).resolve() if run else latest_run(Path(out).expanduser().resolve())
    with sole_user(source.parent):
        experiment, variants = reopen(str(source))
        # Before anything is measured, so that a history out of reach costs nothing.
        earlier = record(experiment.history_url, str(source))
        latency = measure(experiment, variants)
        diagnoses = diagnose(experiment, variants, latency)
        ranking = rank_variants(experiment, variants, latency, diagnoses)
        now = record(experiment.history_url, experiment.folder)
        comparison = compare_with_earlier(experiment, earlier, now)
        publish(experiment.folder, variants, ranking)
        publish_comparison(ranking.name, comparison)
    slower = [c.variant for c in comparison.changes if c.verdict == "slower"]
    return Completed(
        message=f"slower than before: {', '.join(slower)}" if slower else "no slowdown is shown",
        data={
            "folder": experiment.folder,
            "failed": [v.name for v in variants if v.failure is not None],
            "ranking": ranking.model_dump(mode="json"),
            "comparison": comparison.model_dump(mode="json"),
        },
    )
