"""Where a confirmed regression becomes an event, and what then marks its entry."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from prefect import task
from prefect.artifacts import create_markdown_artifact
from prefect.events import emit_event

from prunebench.operating.registry import read_registry, set_stage
from prunebench.operating.regressions import Regression, regression_sentence
from prunebench.results.report.render import escape_markdown
from tasks.publishing import artifact_key

REGRESSION_EVENT = "prunebench.regression.confirmed"


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
