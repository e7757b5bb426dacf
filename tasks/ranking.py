"""The task that ranks what was measured."""

from __future__ import annotations

from collections.abc import Sequence

from prefect import task

from prunebench.common.records import VariantRecord
from prunebench.experiment.measure_and_rank import rank_run
from prunebench.experiment.prepare import Experiment
from prunebench.measuring.latency.records import LatencyResult
from prunebench.results.diagnoses import Diagnoses
from prunebench.results.outcome import RunRanking


@task(task_run_name="rank", persist_result=False)
def rank_variants(
    experiment: Experiment,
    variants: Sequence[VariantRecord],
    latency: LatencyResult,
    diagnoses: Diagnoses,
) -> RunRanking:
    """Rank the variants and write the run's tables and report."""
    return rank_run(experiment, variants, latency, diagnoses)
