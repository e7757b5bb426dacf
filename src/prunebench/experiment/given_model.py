"""What is asked of an experiment's model before anything is made of it, and what is told of it."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from pathlib import Path

from prunebench.common.cores import usable_cores
from prunebench.config.loading import Config
from prunebench.config.strategy_settings import TrainingSettings
from prunebench.experiment.duration import workload
from prunebench.experiment.plan import (
    PlannedVariant,
    checkpoint_named,
    class_notes,
    size_notes,
)
from prunebench.measuring.host.block import Block
from prunebench.measuring.remote.there import There, host_of
from prunebench.results.messages.catalogue import Messages
from prunebench.results.messages.observations import tell_block, tell_model, tell_passes
from prunebench.steps.child import run_child
from prunebench.variants.devices import Device, Devices
from prunebench.variants.given import Given
from prunebench.variants.given import Request as GivenRequest
from prunebench.variants.pruning.alignment import block_for, round_to_of
from prunebench.variants.pruning.widths import read_widths
from prunebench.variants.rewriting.choice import Passes

_elsewhere: ContextVar[Devices | None] = ContextVar("trained_elsewhere", default=None)


@contextlib.contextmanager
def trained_on(devices: Devices | None) -> Iterator[None]:
    """Let what is checked in the block train on another host's devices, ``None``: on this one's."""
    token = _elsewhere.set(devices)
    try:
        yield
    finally:
        _elsewhere.reset(token)


def look_at_model(config: Config, block: Block | None) -> Given:
    """What the model is, found in a child because that imports torch."""
    request = given_request(config, block)
    with tempfile.TemporaryDirectory() as folder:
        found = run_child("given", request, Path(folder), threads=usable_cores())
    return Given.model_validate(found)


def block_for_counts(config: Config, there: There | None) -> Block | None:
    """The block where a target is counted, which says what can be reached.

    All else is checked before anything is measured.
    """
    if not _is_counted(config):
        return None
    return block_for(config.prune, config.latency, there)


def _is_counted(config: Config) -> bool:
    return any(goal.is_counted for goal in config.prune.goals)


def given_request(config: Config, block: Block | None) -> GivenRequest:
    """What is asked of the model before anything is made of it."""
    asked = config.retrain
    if _is_unknown(config):
        asked = asked.model_copy(update={"device": "cpu", "precision": "auto", "batch": 16})
    height, width = config.image.hw
    rounded = _is_counted(config) or config.prune.widths is not None
    return GivenRequest(
        model=str(Path(config.model).expanduser()),
        hw=config.image.hw,
        sides={"image.height": height, "image.width": width, "retrain.imgsz": config.retrain.imgsz},
        goals=config.prune.goals,
        round_to=round_to_of(config.prune, block) if rounded else None,
        ignore=config.prune.ignore,
        widths=None if (file := config.prune.widths) is None else read_widths(Path(file)),
        recipe=config.retrain.recipe,
        device=asked.device,
        precision=asked.precision,
        batch=asked.batch,
        devices=_elsewhere.get(),
        trained_at=config.retrain.imgsz,
        activation=None if (act := config.retrain.activation) == "keep" else act,
        args={
            name: settings.args
            for name, settings in config.retrain.strategies.items()
            if isinstance(settings, TrainingSettings)
        },
    )


def plan_notes(
    config: Config,
    variants: Sequence[PlannedVariant],
    given: Given,
    block: Block | None,
    passes: Passes | None,
    there: There | None = None,
) -> tuple[str, ...]:
    """A sentence each on what a reader of the plan has to know."""
    m = Messages(metric=config.ranking.metric)
    workers = workers_of(config, given.device)
    trained = (
        m("training.plan_elsewhere", address=config.address)
        if _is_unknown(config)
        else m(
            "training.plan",
            device=given.device.words,
            precision=given.device.precision,
            batch=given.batch,
            workers=workers,
            cache=config.retrain.cache,
        )
    )
    classes = class_notes(config, given.info)
    host = [] if block is None else [tell_block(block, m)]
    if passes is not None and passes.slower:
        host += tell_passes(passes, m)
    seeds = next((variant.seeds for variant in variants if variant.seeds), ())
    several = []
    if seeds:
        total = len(workload(config, variants).epochs)
        several = [m("seeds.plan", n=len(seeds), first=seeds[0], last=seeds[-1], total=total)]
    over_ssh = {name: f" ({device.address})" for name, device in config.over_ssh.items()}
    told = [f"{name}{over_ssh.get(name, m('devices.queue'))}" for name in config.devices]
    others = [m("devices.plan", devices=", ".join(told))] if told else []
    if there is not None:
        known = host_of(there)
        cpu = {"cpu": known.cpu, "cores": known.logical_cores, "version": known.onnxruntime}
        others.insert(0, m("measure_on.plan", there=there.name, address=there.address, **cpu))
    sizes = size_notes(config, variants)
    heads = [m(f"head.{config.export.head}")] if given.info.two_heads else []
    notes = (*given.recipe.notes, *classes, *heads, *sizes, trained, *host, *several, *others)
    if checkpoint_named(config.model, "model") is None:
        return notes
    return (tell_model(config.model, given.audit, m), *notes)


def _is_unknown(config: Config) -> bool:
    """Whether trainings run on a cluster that was not asked what it has: `plan` asks nobody."""
    return config.address is not None and _elsewhere.get() is None


def workers_of(config: Config, device: Device) -> int:
    """Processes that load images for a training."""
    asked = config.retrain.workers
    return device.workers if asked == "auto" else asked
