"""The steps that lead to a pruned checkpoint: what they need to measure, then pruning."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from prunebench.common.records import FileRef, Record
from prunebench.config.loading import Config
from prunebench.config.pruning import SparsityConfig
from prunebench.config.strategy_settings import (
    PreservingSettings,
    SparseSettings,
    StrategySettings,
    TrainingSettings,
)
from prunebench.experiment.inputs import Experiment
from prunebench.experiment.plan import PlannedVariant
from prunebench.experiment.run_step import training_request
from prunebench.experiment.there import integers_that_count
from prunebench.measuring.host.fingerprint import fingerprint_for
from prunebench.measuring.remote.there import host_of
from prunebench.measuring.session import SessionSettings
from prunebench.steps.cache import StepRun
from prunebench.variants.pruning.alignment import round_to_of
from prunebench.variants.pruning.costs import Request as CostsRequest
from prunebench.variants.pruning.sensitivity import Request as SensitivityRequest
from prunebench.variants.pruning.step import Request as PruneRequest
from prunebench.variants.pruning.step import Timing
from prunebench.variants.retraining.step import Request as TrainRequest

Run = Callable[[str, Record, Mapping[str, str]], StepRun]
"""Runs a step: its name, its request, and the digests of its input files by field."""


def needs_measuring(experiment: Experiment, planned: PlannedVariant) -> bool:
    """Whether making a variant measures: then it runs here, and signs in with this host itself."""
    if planned.strategy is not None or planned.goal is None:
        return False
    return planned.goal.is_measured or experiment.config.prune.by_latency


def prune(
    experiment: Experiment,
    planned: PlannedVariant,
    checkpoint: Path,
    inputs: Mapping[str, str],
    run: Run,
) -> StepRun:
    """Prune a checkpoint to the planned target, after the sparse training that is asked for.

    ``inputs`` are the digests of ``checkpoint`` and ``data_yaml``. InputError where the network
    cannot reach the target, or a name is unknown.
    """
    config, goal = experiment.config, planned.goal
    if goal is None:
        raise ValueError(f"{planned.name} is no pruned variant")
    settings, round_to = config.prune, round_to_of(config.prune, experiment.block)
    costs, curves, inputs = None, None, dict(inputs)
    if settings.sparsity is not None:
        path, inputs["checkpoint"] = _sparse(experiment, settings.sparsity, checkpoint, inputs, run)
        checkpoint = Path(path)
    if settings.by_latency and round_to is not None:
        costs, inputs["costs"] = _costs(experiment, checkpoint, round_to, inputs, run)
        curves, inputs["curves"] = _curves(experiment, checkpoint, inputs, run)
    timing = None
    if goal.is_measured:
        timing = Timing(
            latency=config.latency,
            opset=config.export.opset,
            passes=experiment.applied_passes,
            head=config.export.head,
            integers=integers_that_count(experiment) if goal.int8 else None,
            **_host(experiment),
        )
    request = PruneRequest(
        checkpoint=str(checkpoint),
        data_yaml=experiment.data_yaml,
        goal=goal,
        round_to=round_to,
        allocation="uniform" if experiment.widths is not None else settings.allocation,
        importance=settings.importance,
        bn_batches=settings.bn_batches,
        ignore=settings.ignore,
        widths=experiment.widths,
        seed=config.seed,
        imgsz=config.image.hw,
        costs=costs,
        curves=curves,
        timing=timing,
        device=experiment.device,
        stages=settings.stages,
        stage_training=_stage_training(experiment) if settings.stages > 1 else None,
    )
    return run("prune", request, inputs)


def _sparse(
    experiment: Experiment,
    sparsity: SparsityConfig,
    checkpoint: Path,
    inputs: Mapping[str, str],
    run: Run,
) -> tuple[str, str]:
    """The unpruned network after its training with a regulariser."""
    settings = SparseSettings(
        **preserving_settings(experiment.config).model_dump(
            include=set(TrainingSettings.model_fields)
        ),
        kind=sparsity.kind,
        weight=sparsity.weight,
        ignore=experiment.config.prune.ignore,
    )
    request = training_request(
        experiment,
        "sparse",
        settings,
        checkpoint=str(checkpoint),
        round=0,
        epochs=sparsity.epochs,
        # Accuracy may fall while channels become dispensable, which is no reason to stop.
        patience=0,
    )
    kept = {field: inputs[field] for field in ("checkpoint", "data_yaml")}
    return _file(run("train", request, kept), "checkpoint")


def _host(experiment: Experiment) -> dict[str, Any]:
    """Whose times count, by its fingerprint, and where it is."""
    there = experiment.there
    host = host_of(there) if there else fingerprint_for(experiment.config.latency)
    return {"host": host.digest(), "there": there}


def _costs(
    experiment: Experiment, checkpoint: Path, block: int, inputs: Mapping[str, str], run: Run
) -> tuple[str, str]:
    config = experiment.config
    request = CostsRequest(
        checkpoint=str(checkpoint),
        ignore=config.prune.ignore,
        block=block,
        imgsz=config.image.hw,
        threads=(config.latency.threads or (1,))[0],
        cores=config.latency.cores[0],
        session=SessionSettings.of(config.latency),
        **_host(experiment),
    )
    done = run("costs", request, {"checkpoint": inputs["checkpoint"]})
    return _file(done, "table")


def _curves(
    experiment: Experiment, checkpoint: Path, inputs: Mapping[str, str], run: Run
) -> tuple[str, str]:
    settings = experiment.config.prune
    request = SensitivityRequest(
        checkpoint=str(checkpoint),
        data_yaml=experiment.data_yaml,
        importance=settings.importance,
        ignore=settings.ignore,
        seed=experiment.config.seed,
        imgsz=experiment.config.image.hw,
        device=experiment.device,
    )
    kept = {field: inputs[field] for field in ("checkpoint", "data_yaml")}
    return _file(run("sensitivity", request, kept), "curves")


def _file(done: StepRun, field: str) -> tuple[str, str]:
    """Absolute path and digest of a file a step wrote."""
    ref = FileRef.model_validate(done.result[field])
    return str(Path(done.folder) / ref.path), ref.sha256


def _stage_training(experiment: Experiment) -> TrainRequest:
    """The short retraining between two stages: ``preserving``, as the configuration sets it.

    Its files are the step's own, so that where they lie is no part of the step's key.
    """
    return training_request(
        experiment,
        "preserving",
        preserving_settings(experiment.config),
        checkpoint="",
        data_yaml="",
        round=1,
        epochs=experiment.config.prune.stage_epochs,
    )


def preserving_settings(config: Config) -> StrategySettings:
    """Settings of ``preserving``, its defaults where the configuration has none."""
    return config.retrain.strategies.get("preserving") or PreservingSettings()
