"""The tasks that use the host alone: the measurement, and the profiles that explain it."""

from __future__ import annotations

from collections.abc import Sequence

from prunebench.common.records import VariantRecord
from prunebench.experiment.diagnose import diagnose_variants
from prunebench.experiment.measure_and_rank import measure_latency
from prunebench.experiment.prepare import Experiment
from prunebench.measuring.latency.records import LatencyResult
from prunebench.results.diagnoses import Diagnoses
from prunebench.steps.events import announce
from tasks.measuring_limit import measuring_slot
from tasks.retries import retried_task


@retried_task(task_run_name="latency of every variant")
def measure(experiment: Experiment, variants: Sequence[VariantRecord]) -> LatencyResult:
    """Measure every exported variant in shuffled, interleaved rounds of fresh processes."""
    return measure_latency(experiment, variants, announce, exclusive=measuring_slot)


@retried_task(task_run_name="why is it not faster?")
def diagnose(
    experiment: Experiment, variants: Sequence[VariantRecord], latency: LatencyResult
) -> Diagnoses:
    """Profile every pruned variant beside the baseline."""
    return diagnose_variants(experiment, variants, latency, announce, exclusive=measuring_slot)
