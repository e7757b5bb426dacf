"""Tasks that make, export and evaluate one variant. Each calls one function of the core."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import httpx
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.context import TaskRunContext

from prunebench.common.variant_record import VariantRecord
from prunebench.experiment.alternatives import quantize_variant
from prunebench.experiment.inputs import Experiment
from prunebench.experiment.make import evaluate_variant, export_variant, make_variant
from prunebench.experiment.plan import PlannedVariant
from prunebench.experiment.prune import needs_measuring
from prunebench.experiment.shipping import ship_variant
from prunebench.experiment.stop_rule import judge_control, judge_round
from prunebench.results.run_folder import title_of
from prunebench.steps.ended import was_ended
from prunebench.steps.events import Epoch, Event, Failed, announce, line
from tasks.cores import cores, retraining
from tasks.publishing import artifact_key
from tasks.retries import retried_task


def _titled(field: str, what: str) -> Callable[..., str]:
    """Names a task's run after what it makes, one of several trainings too."""

    def name(parameters: Mapping[str, Any]) -> str:
        return f"{title_of(parameters[field])}: {what}"

    return name


@retried_task(task_run_name=_titled("planned", "make"))
def make(
    experiment: Experiment,
    planned: PlannedVariant,
    parent: VariantRecord | None,
    baseline: VariantRecord | None,
    rounds: Sequence[Any],
) -> VariantRecord:
    """Make and audit a checkpoint; ``rounds`` are those that decide whether it is trained."""
    name = title_of(planned)
    with _share(experiment, planned), _failure_announced(name), _progress_in_ui(name) as emit:
        if planned.control is not None:
            judgement = judge_control(rounds)
        else:
            judgement = judge_round(experiment, *rounds) if rounds else None
        return make_variant(experiment, planned, parent, baseline, emit, judgement)


@retried_task(task_run_name=_titled("variant", "export"))
def export(experiment: Experiment, variant: VariantRecord) -> VariantRecord:
    """Export a variant to ONNX, parity checked."""
    dask = experiment.config.engine == "dask"
    title = title_of(variant)
    share = contextlib.nullcontext() if dask else cores(1, title)
    with share, _failure_announced(title):
        return export_variant(experiment, variant, announce)


@retried_task(task_run_name="{planned.name}: quantize")
def quantize(
    experiment: Experiment, planned: PlannedVariant, parent: VariantRecord
) -> VariantRecord:
    """Make the INT8 sibling of an exported variant."""
    with cores(experiment.threads, planned.name), _failure_announced(planned.name):
        return quantize_variant(experiment, planned, parent, announce)


@retried_task(task_run_name=_titled("variant", "accuracy"))
def evaluate(experiment: Experiment, variant: VariantRecord) -> VariantRecord:
    """Measure the accuracy of a variant's ONNX file."""
    title = title_of(variant)
    with cores(1, title), _failure_announced(title):
        return evaluate_variant(experiment, variant, announce)


@retried_task(task_run_name="{planned.name}: choose what is shipped")
def ship(
    experiment: Experiment, planned: PlannedVariant, trained: Sequence[VariantRecord]
) -> VariantRecord:
    """Make the median of several trainings the variant."""
    with _failure_announced(planned.name):
        return ship_variant(experiment, planned, trained, announce)


def _share(experiment: Experiment, planned: PlannedVariant) -> AbstractContextManager[None]:
    """The cores of this host a variant is made with."""
    if experiment.config.engine == "dask" and not needs_measuring(experiment, planned):
        return contextlib.nullcontext()
    if planned.strategy is None:
        # A search for a latency target holds the host itself, in turns of work and measuring.
        searches = needs_measuring(experiment, planned)
        return cores(experiment.threads, planned.name, sign_in=not searches)
    at_once = experiment.config.retrain.parallel_trainings
    return retraining(at_once, experiment.retraining_threads, title_of(planned))


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
