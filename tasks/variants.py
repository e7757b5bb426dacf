"""Tasks that make, export and evaluate one variant. Each calls one function of the core."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import httpx
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.context import TaskRunContext

from prunebench.common.records import VariantRecord
from prunebench.experiment.alternatives import quantize_variant
from prunebench.experiment.make import evaluate_variant, export_variant, make_variant
from prunebench.experiment.plan import PlannedVariant
from prunebench.experiment.prepare import Experiment
from prunebench.experiment.prune import needs_measuring
from prunebench.experiment.stop_rule import judge_control, judge_round
from prunebench.steps.ended import was_ended
from prunebench.steps.events import Epoch, Event, Failed, announce, line
from tasks.cores import cores, retraining
from tasks.publishing import artifact_key
from tasks.retries import retried_task


@retried_task(task_run_name="{planned.name}: make")
def make(
    experiment: Experiment,
    planned: PlannedVariant,
    parent: VariantRecord | None,
    baseline: VariantRecord | None,
    rounds: Sequence[Any],
) -> VariantRecord:
    """Make and audit a checkpoint; ``rounds`` are those that decide whether it is trained."""
    name = planned.name
    with _share(experiment, planned), _failure_announced(name), _progress_in_ui(name) as emit:
        if planned.control is not None:
            judgement = judge_control(rounds)
        else:
            judgement = judge_round(experiment, *rounds) if rounds else None
        return make_variant(experiment, planned, parent, baseline, emit, judgement)


@retried_task(task_run_name="{variant.name}: export")
def export(experiment: Experiment, variant: VariantRecord) -> VariantRecord:
    """Export a variant to ONNX, parity checked."""
    dask = experiment.config.engine == "dask"
    share = contextlib.nullcontext() if dask else cores(1, variant.name)
    with share, _failure_announced(variant.name):
        return export_variant(experiment, variant, announce)


@retried_task(task_run_name="{planned.name}: quantize")
def quantize(
    experiment: Experiment, planned: PlannedVariant, parent: VariantRecord
) -> VariantRecord:
    """Make the INT8 sibling of an exported variant."""
    with cores(experiment.threads, planned.name), _failure_announced(planned.name):
        return quantize_variant(experiment, planned, parent, announce)


@retried_task(task_run_name="{variant.name}: accuracy")
def evaluate(experiment: Experiment, variant: VariantRecord) -> VariantRecord:
    """Measure the accuracy of a variant's ONNX file."""
    with cores(1, variant.name), _failure_announced(variant.name):
        return evaluate_variant(experiment, variant, announce)


def _share(experiment: Experiment, planned: PlannedVariant) -> AbstractContextManager[None]:
    """The cores of this host a variant is made with."""
    if experiment.config.engine == "dask" and not needs_measuring(experiment, planned):
        return contextlib.nullcontext()
    if planned.strategy is None:
        # A search for a latency target holds the host itself, in turns of work and measuring.
        searches = needs_measuring(experiment, planned)
        return cores(experiment.threads, planned.name, sign_in=not searches)
    at_once = experiment.config.retrain.parallel_trainings
    return retraining(at_once, experiment.retraining_threads, planned.name)


@contextmanager
def _failure_announced(variant: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if not was_ended():
            announce(Failed(variant=variant, reason=str(error)))
        raise


@contextmanager
def _progress_in_ui(variant: str) -> Iterator[Any]:
    """Announce events, and show finished epochs as a progress artifact of the task run."""
    context = TaskRunContext.get()
    artifact: Any = None

    def emit(event: Event) -> None:
        nonlocal artifact
        announce(event)
        if not isinstance(event, Epoch) or context is None:
            return
        shown: Any = {"progress": 100.0 * event.epoch / event.epochs, "description": line(event)}
        # A training goes on where its progress cannot be shown.
        with contextlib.suppress(httpx.HTTPError):
            if artifact is None:
                artifact = create_progress_artifact(key=artifact_key("training", variant), **shown)
            else:
                update_progress_artifact(artifact_id=artifact, **shown)

    yield emit
