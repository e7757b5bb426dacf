"""The task that measures latency, alone on its host."""

from __future__ import annotations

from collections.abc import Sequence

from prefect import task

from prunebench.experiment import Experiment
from prunebench.latency.records import LatencyResult
from prunebench.outcome import measure_latency
from prunebench.progress import announce
from prunebench.records import VariantRecord
from tasks.hosts import measuring_slot


@task(task_run_name="latency of every variant", persist_result=False)
def measure(experiment: Experiment, variants: Sequence[VariantRecord]) -> LatencyResult:
    """Measure every exported variant in shuffled, interleaved rounds of fresh processes."""
    return measure_latency(experiment, variants, announce, exclusive=measuring_slot)
