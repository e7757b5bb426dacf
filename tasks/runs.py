"""The tasks of a whole run: each calls one function of the core."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from prefect import task

from prunebench.common.variant_record import VariantRecord
from prunebench.config.loading import Config
from prunebench.config.mlflow import MlflowConfig
from prunebench.config.sections import CoreClass
from prunebench.experiment.diagnose import diagnose_variants
from prunebench.experiment.elsewhere import run_elsewhere
from prunebench.experiment.inputs import Experiment
from prunebench.experiment.measure_and_rank import measure_latency, rank_on_cores, rank_run
from prunebench.experiment.prepare import prepare
from prunebench.measuring.latency.records import LatencyResult
from prunebench.operating.mlflow import Logged, log_to_mlflow
from prunebench.operating.rebenchmark import compare_recorded, open_rebenchmark
from prunebench.operating.store.runs import fetch_run, open_store, push_run
from prunebench.results.devices import Device
from prunebench.results.diagnoses import Diagnoses
from prunebench.results.history.compare import RunComparison
from prunebench.results.history.recording import Recorded, record_run
from prunebench.results.history.store import Store
from prunebench.results.outcome import RunRanking
from prunebench.steps.events import announce
from tasks.measuring_limit import measuring_slot
from tasks.retries import retried_task


@task(task_run_name="prepare", persist_result=False)
def prepare_experiment(config: Config) -> Experiment:
    """Find, check and digest what the configuration names."""
    return prepare(config)


@task(task_run_name="reopen", persist_result=False)
def reopen(
    source: str, names: Sequence[str] | None
) -> tuple[Experiment, tuple[VariantRecord, ...]]:
    """Open a new run folder that holds an earlier run's exported variants, or those named."""
    return open_rebenchmark(Path(source), names)


@retried_task(task_run_name="the leading variants in other runtimes")
def run_in_runtimes(
    experiment: Experiment, variants: Sequence[VariantRecord]
) -> tuple[VariantRecord, ...]:
    """Convert and evaluate the leading variants for every other runtime that is asked for."""
    return run_elsewhere(experiment, variants, announce)


@retried_task(task_run_name="latency of every variant")
def measure(experiment: Experiment, variants: Sequence[VariantRecord]) -> LatencyResult:
    """Measure every exported variant in shuffled, interleaved rounds of fresh processes."""
    return measure_latency(experiment, variants, announce, exclusive=measuring_slot)


@retried_task(task_run_name="latency on {cores} cores")
def measure_on_cores(
    experiment: Experiment, variants: Sequence[VariantRecord], cores: CoreClass
) -> Device:
    """Measure every exported variant on another class of this host's cores."""
    latency = measure_latency(experiment, variants, announce, measuring_slot, cores)
    return rank_on_cores(experiment, variants, latency)


@retried_task(task_run_name="why is it not faster?")
def diagnose(
    experiment: Experiment, variants: Sequence[VariantRecord], latency: LatencyResult
) -> Diagnoses:
    """Profile every pruned variant beside the baseline."""
    return diagnose_variants(experiment, variants, latency, announce, exclusive=measuring_slot)


@task(task_run_name="rank", persist_result=False)
def rank_variants(
    experiment: Experiment,
    variants: Sequence[VariantRecord],
    latency: LatencyResult,
    diagnoses: Diagnoses,
) -> RunRanking:
    """Rank the variants and write the run's tables and report."""
    return rank_run(experiment, variants, latency, diagnoses)


@retried_task(task_run_name="record")
def record(url: str, folder: str) -> Recorded:
    """Record a finished run, once however often it is called."""
    with Store(url) as store:
        return record_run(store, Path(folder))


@task(task_run_name="compare with the earlier run", persist_result=False)
def compare_with_earlier(
    experiment: Experiment, before: Recorded, after: Recorded
) -> RunComparison:
    """Compare the experiment's run with the one it measured again."""
    return compare_recorded(experiment, before, after)


@task(task_run_name="log to MLflow", persist_result=False)
def log(folder: str, settings: MlflowConfig) -> Logged:
    """Log a finished run to an MLflow server, once however often it is called."""
    return log_to_mlflow(Path(folder), settings, announce)


@retried_task(task_run_name="copy the run to the store")
def push(folder: str, url: str, cache_gb: float) -> None:
    """Copy a finished run to the store; what arrived already is not sent again."""
    run = Path(folder)
    push_run(run, open_store(url, run.parent, cache_gb))


@retried_task(task_run_name="take {name} from the store")
def fetch(name: str, url: str, out: str, cache_gb: float) -> str:
    """Make a run of the store a run folder of this host; gives the folder."""
    home = Path(out).expanduser().resolve()
    return str(fetch_run(name, open_store(url, home, cache_gb), home))
