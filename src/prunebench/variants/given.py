"""Step ``given``: what the model of an experiment is, and whether what is asked of it fits."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from prunebench.common.errors import ConfigError
from prunebench.common.records import Audit, Record
from prunebench.common.ultralytics_files import import_offline
from prunebench.config.sections import Precision, off_multiple
from prunebench.config.strategy_settings import Activation
from prunebench.config.targets import Goal
from prunebench.steps.events import Emit, Stage
from prunebench.variants.audit import audit_opened
from prunebench.variants.checkpoint import CheckpointInfo
from prunebench.variants.devices import (
    AUTO_BATCH,
    Device,
    Devices,
    batch_for,
    choose,
    devices_here,
)
from prunebench.variants.opening import open_network
from prunebench.variants.retraining.activation import check_replaceable
from prunebench.variants.retraining.recipe import Recipe, check_arguments, find_recipe


class Request(Record):
    """Input of the step.

    Attributes:
        model: Path of a checkpoint, or a network's description as Ultralytics names it.
        hw: (height, width) of the letterbox in pixels; ``None``: the model's own.
        sides: Keys of the configuration that hold sides in pixels of what the network is given.
        goals: Those that are counted have to lie within what pruning can reach.
        round_to: Widths become multiples of it; ``None``: no alignment.
        ignore: Names of modules whose output widths stay.
        widths: Channels of layers, in place of ``goals``.
        recipe: ``retrain.recipe``.
        activation: What is to take the place of SiLU in a retraining.
        args: Further training arguments, by the strategy that sets them.
        device: ``retrain.device``, as ``precision`` and ``batch`` are ``retrain``'s.
        devices: Where trainings may run, ``None``: on this host.
        trained_at: Square size in pixels of the images trained on.
    """

    model: str
    hw: tuple[int, int] | None = None
    sides: dict[str, int] = Field(default_factory=dict)
    goals: tuple[Goal, ...] = ()
    round_to: int | None = None
    ignore: tuple[str, ...] = ()
    widths: dict[str, int] | None = None
    recipe: str = "defaults"
    activation: Activation | None = None
    args: dict[str, dict[str, Any]] = Field(default_factory=dict)
    device: str | tuple[int, ...] = "cpu"
    precision: Precision | Literal["auto"] = "auto"
    batch: int | Literal["auto"] = 16
    devices: Devices | None = None
    trained_at: int = 320


class Given(Record):
    """What a model says about itself, and what it is found to be."""

    info: CheckpointInfo
    audit: Audit
    widths: dict[str, int] | None = None
    recipe: Recipe = Recipe()
    device: Device = Device()
    batch: int = 16


def run(request: Request, workdir: Path, emit: Emit) -> Given:
    """Open the model; the errors are those of ``open_given``."""
    emit(Stage(what=f"reading {Path(request.model).name}"))
    return open_given(request)


def open_given(request: Request) -> Given:
    """Open a model and check what is asked of it.

    Raises:
        CheckpointError: It cannot be read, pruned or trained.
        ConfigError: There is no such network, or what is asked does not fit it.
    """
    import_offline()
    from prunebench.variants.pruning.allocation import check_goal
    from prunebench.variants.pruning.paths import bundles_of, uniform_path
    from prunebench.variants.pruning.shapes import shapes_of
    from prunebench.variants.pruning.widths import kept_of

    check_arguments(request.args)
    device = choose(request.device, request.precision, request.devices or devices_here())
    opened = open_network(request.model, request.ignore)
    if request.activation is not None:
        check_replaceable(opened.network, request.activation, request.model)
    recipe = find_recipe(request.recipe, request.model, opened.train_args)
    check_sides(opened.info.stride, request.sides)
    if request.widths is not None:
        kept_of(opened.graph, request.widths, request.round_to)
    counted = [goal for goal in request.goals if goal.is_counted]
    if counted and request.hw is not None:
        path = uniform_path(bundles_of(opened.graph.groups, request.round_to))
        shapes = shapes_of(opened.graph, request.hw)
        for goal in counted:
            check_goal(path, shapes, goal)
    audit, batch = audit_opened(opened, request.hw), request.batch
    if batch == "auto":
        here = request.devices is None
        batch = batch_for(opened.network, device, request.trained_at) if here else AUTO_BATCH
    return Given(
        info=opened.info,
        audit=audit,
        widths=request.widths,
        recipe=recipe,
        device=device,
        batch=batch,
    )


def check_sides(stride: int, sides: Mapping[str, int]) -> None:
    """Refuse, with a ConfigError, sides in pixels that are no multiples of a network's stride."""
    for key, side in sides.items():
        if problem := off_multiple(side, stride):
            what = f"{problem}; the stride of this network is {stride} pixels"
            raise ConfigError(what, where=key, fix="correct the value")
