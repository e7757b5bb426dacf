"""The task that ranks what was measured."""

from __future__ import annotations

from collections.abc import Sequence

from prefect import task

from prunebench.diagnoses import Diagnoses
from prunebench.experiment import Experiment
from prunebench.latency.records import LatencyResult
from prunebench.measure_and_rank import rank_run
from prunebench.outcome import RunRanking
from prunebench.records import VariantRecord


@task(task_run_name="rank", persist_result=False)
def rank_variants(
    experiment: Experiment,
    variants: Sequence[VariantRecord],
    latency: LatencyResult,
    diagnoses: Diagnoses,
) -> RunRanking:
    """Rank the variants and write the run's tables and report."""
    return rank_run(experiment.run_folder, experiment.config, variants, latency, diagnoses)
