"""Tasks around an earlier run: open it again, compare with it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from prefect import task

from prunebench.common.records import VariantRecord
from prunebench.experiment.prepare import Experiment
from prunebench.operating.rebenchmark import compare_recorded, open_rebenchmark
from prunebench.results.history.compare import RunComparison
from prunebench.results.history.recording import Recorded


@task(task_run_name="reopen", persist_result=False)
def reopen(
    source: str, names: Sequence[str] | None
) -> tuple[Experiment, tuple[VariantRecord, ...]]:
    """Open a new run folder that holds an earlier run's exported variants, or those named."""
    return open_rebenchmark(Path(source), names)


@task(task_run_name="compare with the earlier run", persist_result=False)
def compare_with_earlier(
    experiment: Experiment, before: Recorded, after: Recorded
) -> RunComparison:
    """Compare the experiment's run with the one it measured again."""
    return compare_recorded(experiment, before, after)
