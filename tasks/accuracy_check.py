"""The tasks that evaluate what is promoted again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from prefect import task
from prefect.artifacts import create_table_artifact

from prunebench.operating.accuracy_check import AccuracyCheck, check_accuracy
from prunebench.operating.registry import Entry
from prunebench.steps.events import announce
from tasks.cores import cores


@task(task_run_name="accuracy of {entry.name}", persist_result=False)
def evaluate_entry(entry: Entry, registry: str) -> AccuracyCheck:
    """Evaluate a promoted file again."""
    with cores(1, entry.name):
        return check_accuracy(entry, Path(registry), announce)


@task(task_run_name="publish the accuracy", persist_result=False)
def publish_accuracy(checks: Sequence[AccuracyCheck], failures: Sequence[str]) -> None:
    """Keep every evaluation as an artifact."""
    rows = [
        {
            "entry": check.entry,
            "metric": check.metric,
            "now": round(check.now, 4),
            "recorded": round(check.recorded, 4),
            "images": check.images,
            "holds": "yes" if check.holds else "no",
        }
        for check in checks
    ]
    create_table_artifact(
        key="accuracy-check",
        table=rows,
        description=" ".join(["Promoted files evaluated again.", *failures]),
    )
