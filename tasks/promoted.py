"""Tasks around what is promoted: evaluated again, and marked where it became worse."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from prefect import task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.events import emit_event

from prunebench.operating.accuracy_check import AccuracyCheck, check_accuracy
from prunebench.operating.registry import Entry, read_registry, set_stage
from prunebench.operating.regressions import Regression, regression_sentence
from prunebench.results.report.render import escape_markdown
from prunebench.steps.events import announce
from tasks.cores import cores
from tasks.publishing import artifact_key

REGRESSION_EVENT = "prunebench.regression.confirmed"


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
            "mAP50 now": round(check.now, 4),
            "mAP50 recorded": round(check.recorded, 4),
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


@task(task_run_name="raise regressions", persist_result=False)
def raise_regressions(experiment: str, regressions: Sequence[Regression]) -> None:
    """Emit one event per confirmed regression; the automation in ``deployments/`` waits for it."""
    for regression in regressions:
        entry = f"{experiment}-{regression.variant}"
        emit_event(
            event=REGRESSION_EVENT,
            resource={
                "prefect.resource.id": f"prunebench.variant.{entry}",
                "prefect.resource.name": entry,
            },
            payload={
                "entry": entry,
                "sentence": regression_sentence(regression),
                **regression.model_dump(mode="json"),
            },
        )


@task(task_run_name="mark {entry}", persist_result=False)
def mark_regressed(registry: str, entry: str, sentence: str) -> None:
    """Say what became worse in an artifact, and in the registry where it holds the variant."""
    create_markdown_artifact(
        key=artifact_key("regression", entry),
        markdown=f"# {escape_markdown(entry)}\n\n{escape_markdown(sentence)}\n",
        description=f"Regression of {entry}",
    )
    if any(one.name == entry for one in read_registry(Path(registry))):
        set_stage(Path(registry), entry, "regressed", sentence)
