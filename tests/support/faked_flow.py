"""The main flow with faked steps: flow, tasks, server, store and history are real, work is not.

The process of a flow run imports this as the entrypoint of a deployment; a test does not, because
the steps are faked in whatever imports it. Every step says where it is
with a file ``at-<step>`` in the output folder, and goes on once ``hold-<step>`` is not there. What
is "measured" is a copy of the finished run in ``template``.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

from experiment_kit import bare_experiment
from faked_kit import TEMPLATE
from prefect import flow
from prefect.states import Completed, State

import tasks.devices
import tasks.runs
import tasks.variants
from flows.run_experiment import run_experiment
from prunebench.common.files import write_atomically
from prunebench.common.variant_record import VariantRecord
from prunebench.config.loading import Config
from prunebench.experiment.inputs import EXPERIMENT_FILE, Experiment
from prunebench.experiment.plan import PlannedVariant
from prunebench.measuring.host.lock import host_lock
from prunebench.measuring.latency.records import LatencyResult
from prunebench.results.diagnoses import Diagnoses
from prunebench.results.outcome import RunRanking, read_latency, read_outcome
from prunebench.results.run_folder import RANKING_FILE, open_run
from tasks.devices import answer_as
from tasks.runs import fetch, push

__all__ = ["rebenchmark", "run_experiment"]

BEGIN_MINUTES = 0.5
"""Instead of ten: time enough for a worker that is there."""


def _pass(out: str, step: str) -> None:
    (Path(out) / f"at-{step}").touch()
    while (Path(out) / f"hold-{step}").exists():
        time.sleep(0.05)


def _prepare(config: Config) -> Experiment:
    out = Path(config.out)
    folder = open_run(config, out)
    experiment = bare_experiment(config, folder)
    (folder / EXPERIMENT_FILE).write_text(experiment.model_dump_json())
    return experiment


def _step(step: str) -> Any:
    def run(experiment: Experiment, *given: Any) -> VariantRecord:
        _pass(experiment.out, step)
        found = next(one for one in given if isinstance(one, PlannedVariant | VariantRecord))
        return VariantRecord(name=found.name, parent=found.parent, steps=found.steps)

    return run


def _measure(experiment: Experiment, variants: Any, announce: Any, exclusive: Any) -> LatencyResult:
    with host_lock(experiment.run_folder.name, lambda _: None), exclusive():
        _pass(experiment.out, "measure")
    template = Path(experiment.out) / TEMPLATE
    for path in template.rglob("*"):
        target = experiment.run_folder / path.relative_to(template)
        if path.is_file() and path.name != RANKING_FILE and not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
    return read_latency(experiment.run_folder)


def _rank(experiment: Experiment, *_: Any) -> RunRanking:
    _pass(experiment.out, "rank")
    found = read_outcome(Path(experiment.out) / TEMPLATE)
    folder = experiment.run_folder
    outcome = found.model_copy(update={"name": experiment.config.name, "run": folder.name})
    write_atomically(folder / RANKING_FILE, outcome.model_dump_json())
    return outcome


def _nothing(*_: Any, **__: Any) -> Diagnoses:
    return Diagnoses(found={}, failures={})


@flow(name="rebenchmark")
def rebenchmark(run: str, out: str, store: str, store_cache_gb: float, device: str) -> State[Any]:
    """What a device does: it takes a run from the store, and answers with one of its own."""
    source = Path(fetch(run, store, out, store_cache_gb))
    again = source.with_name(f"{run}-{device}")
    shutil.copytree(source, again)
    push(str(again), store, store_cache_gb)
    answer_as(device, run, str(again), store, store_cache_gb)
    return Completed(message="measured")


for module, name, fake in (
    (tasks.runs, "prepare", _prepare),
    (tasks.variants, "make_variant", _step("make")),
    (tasks.variants, "export_variant", _step("export")),
    (tasks.variants, "evaluate_variant", _step("accuracy")),
    (tasks.runs, "measure_latency", _measure),
    (tasks.runs, "diagnose_variants", _nothing),
    (tasks.runs, "rank_run", _rank),
    (tasks.devices, "BEGIN_MINUTES", BEGIN_MINUTES),
):
    patch.object(module, name, fake).start()
