"""The section `prune` of the configuration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from prunebench.config.sections import DeviceName, Epochs, Section, each_once
from prunebench.config.strategy_settings import SPARSITY_WEIGHT, SparsityKind
from prunebench.config.targets import EXAMPLES, WIDTHS, Goal, parse_goal

Importance = Literal["magnitude", "lamp", "bn_scale", "fpgm", "taylor", "random"]
Allocation = Literal["uniform", "global", "latency-aware"]

MOST_TARGETS = 20


class SparsityConfig(Section):
    """Training of the baseline with a regulariser, before pruning.

    Image size and batch are those of ``retrain``, hyper-parameters those of ``preserving``.
    """

    kind: SparsityKind = Field(
        description="group_lasso shrinks the weights of whole channels, the least important most; "
        "bn_l1 moves every BatchNorm scale towards 0."
    )
    weight: float = Field(
        SPARSITY_WEIGHT,
        gt=0,
        le=1000,
        description="Factor, without unit, of the regulariser's gradient at every optimizer step; "
        "the default is torch-pruning's, for 100 epochs at a learning rate of 0.01.",
    )
    epochs: Epochs = Field(10, description="Training epochs.")


class PruneConfig(Section):
    """Structured pruning."""

    target: float | str | tuple[float | str, ...] | None = Field(
        "1.5x",
        description=f"What the pruned network is to reach: {EXAMPLES}; or a list of these, each of "
        "which gives a pruned variant and its retrained ones. With int8 behind it, a speed-up or "
        "a time is that of the INT8 file (see `quantize`). A ratio is the share of the prunable "
        "layers' channels that is removed (of every layer where the allocation is uniform). null: "
        "`widths` says it.",
    )
    widths: str | None = Field(
        None,
        description="A file with the channels of layers, as every pruned variant has one "
        "(`widths.yaml`); it takes the place of target and allocation.",
    )
    round_to: Annotated[int, Field(ge=1, le=1024)] | Literal["auto"] | None = Field(
        "auto",
        description="Widths are rounded to a multiple of this; auto: the block of channels that "
        "onnxruntime's kernels are measured to work in; null: no alignment.",
    )
    allocation: Allocation = Field(
        "latency-aware",
        description="How narrowing is spread over the layers: uniform (the same share), global "
        "(the least important channels, wherever they are), latency-aware (by importance lost per "
        "microsecond saved, both measured).",
    )
    importance: Importance = Field("magnitude", description="How a channel's worth is judged.")
    measure_on: DeviceName | None = Field(
        None,
        description="Device of `devices`, reached over ssh, whose times count: the block, what "
        "layers cost and measured targets are measured there, while this host trains; null: this "
        "host.",
    )
    bn_batches: int = Field(
        16,
        ge=0,
        le=10_000,
        description="Batches of training images that re-estimate BatchNorm statistics, where that "
        "lowers the loss.",
    )
    ignore: Annotated[tuple[str, ...], AfterValidator(each_once)] = Field(
        (), description="Names of modules that pruning leaves alone ('model.0')."
    )
    stages: int = Field(
        1,
        ge=1,
        le=10,
        description="Stages the channels are removed in; between two stages the network is "
        "retrained by the strategy `preserving`.",
    )
    stage_epochs: Epochs = Field(1, description="Epochs of retraining between two stages.")
    sparsity: SparsityConfig | None = Field(
        None,
        description="Training of the baseline with a regulariser that makes channels dispensable, "
        "before pruning; null: none.",
    )

    @model_validator(mode="before")
    @classmethod
    def _widths_or_target(cls, data: Any) -> Any:
        if not isinstance(data, dict) or data.get("widths") is None:
            return data
        if data.get("target") is not None:
            raise ValueError("target and widths both say how wide layers become, remove one")
        return {**data, "target": None}

    @field_validator("target", mode="before")
    @classmethod
    def _readable(cls, value: Any) -> Any:
        if value is None:
            return value
        labels = [parse_goal(str(target)).label for target in _listed(value)]
        if not labels:
            raise ValueError(f"the list is empty, use {EXAMPLES}")
        if len(labels) > MOST_TARGETS:
            raise ValueError(f"the list has {len(labels)} targets, at most {MOST_TARGETS} are made")
        for label in labels:
            if labels.count(label) > 1:
                raise ValueError(f"the target {label} is given twice")
        return value

    @model_validator(mode="after")
    def _without_contradiction(self) -> PruneConfig:
        if self.target is None and self.widths is None:
            raise ValueError(f"there is no target, use {EXAMPLES}, or a file of widths")
        if self.by_latency and self.round_to is None:
            raise ValueError(
                "latency-aware allocation removes blocks of channels, set round_to to auto or "
                "allocation to uniform"
            )
        return self

    @property
    def by_latency(self) -> bool:
        """Whether layers' times and losses are measured, and followed."""
        return self.widths is None and self.allocation == "latency-aware"

    @property
    def training_epochs(self) -> int:
        """Epochs that are trained before and between the removals of channels."""
        sparse = 0 if self.sparsity is None else self.sparsity.epochs
        return sparse + (self.stages - 1) * self.stage_epochs

    @property
    def goals(self) -> tuple[Goal, ...]:
        """What each pruned variant is to reach."""
        if self.widths is not None:
            return (Goal(kind="widths", value=0, label=WIDTHS),)
        return tuple(parse_goal(str(target)) for target in _listed(self.target))


def _listed(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else (value,)
