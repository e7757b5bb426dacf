"""The sections of the configuration, one model each; ``loading.Config`` combines them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SerializeAsAny,
    create_model,
    field_validator,
    model_validator,
)

from prunebench.config.strategy_settings import (
    BEFORE_PRUNING,
    SPARSITY_WEIGHT,
    PreservingSettings,
    SparsityKind,
    StandardSettings,
    StrategySettings,
    settings_model,
    strategy_names,
)
from prunebench.config.targets import EXAMPLES, Goal, parse_goal

Importance = Literal["magnitude", "lamp", "bn_scale", "fpgm", "taylor", "random"]
Alternative = Literal["int8", "resolution", "smaller"]
"""Controls that are asked for by name; the others follow from what is planned."""

Control = Literal[Alternative, "retrained", "trained-size"]
"""What an unpruned variant stands for, that pruned ones are held against."""

Logger = Literal["clearml", "comet", "tensorboard", "wandb"]

MOST_PIXELS = 4096  # A side of an image.
MOST_EPOCHS = 10_000
MOST_THREADS = 1024
MOST_TARGETS = 20
MOST_IMAGES = 1_000_000
STRIDE = 32  # Pixels per cell of the coarsest feature map; the sides of images are multiples.
Allocation = Literal["uniform", "global", "latency-aware"]


class Section(BaseModel):
    """Base of every section: frozen, and unknown keys are an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def off_multiple(value: int, stride: int) -> str | None:
    """What is wrong with a side in pixels that is no multiple of a stride, ``None`` of others."""
    if value % stride == 0:
        return None
    nearest = max(stride, round(value / stride) * stride)
    return f"{value} is not a multiple of {stride}, the nearest is {nearest}"


def _multiple_of_stride(value: int) -> int:
    if problem := off_multiple(value, STRIDE):
        raise ValueError(problem)
    return value


def each_once(values: tuple[Any, ...] | None) -> tuple[Any, ...] | None:
    """Refuse a list, with a ValueError, that holds something twice."""
    for value in values or ():
        if values is not None and values.count(value) > 1:
            raise ValueError(f"{value} is given twice")
    return values


Side = Annotated[int, Field(gt=0, le=MOST_PIXELS), AfterValidator(_multiple_of_stride)]
Epochs = Annotated[int, Field(ge=1, le=MOST_EPOCHS)]
Batch = Annotated[int, Field(ge=1, le=4096)]
Threads = Annotated[int, Field(ge=1, le=MOST_THREADS)]


class ImageConfig(Section):
    """The fixed letterbox that export, accuracy and latency share."""

    height: Side = Field(192, description="Letterbox height in pixels, a multiple of 32.")
    width: Side = Field(320, description="Letterbox width in pixels, a multiple of 32.")

    @property
    def hw(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.height, self.width


class BaselineConfig(Section):
    """Training of the baseline, used only where ``model`` is a network description (.yaml)."""

    epochs: Epochs = Field(100, description="Training epochs.")
    imgsz: Side = Field(320, description="Square training size in pixels.")
    batch: Batch = Field(16, description="Images per batch.")
    lr0: float = Field(0.002, gt=0, le=1, description="Initial learning rate.")
    optimizer: Literal["SGD", "Adam", "AdamW"] = Field("AdamW", description="Optimizer.")


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

    target: float | str | tuple[float | str, ...] = Field(
        "1.5x",
        description=f"What the pruned network is to reach: {EXAMPLES}; or a list of these, each of "
        "which gives a pruned variant and its retrained ones. A ratio is the share of the prunable "
        "layers' channels that is removed (of every layer where the allocation is uniform).",
    )
    round_to: Annotated[int, Field(ge=1, le=1024)] | Literal["auto"] | None = Field(
        "auto",
        description="Widths are rounded to a multiple of this; auto: the block of the kernels of "
        "`align_for`; null: no alignment.",
    )
    align_for: Literal["host", "avx512", "avx2", "arm"] = Field(
        "host",
        description="CPU whose kernels' block of channels the widths are aligned to: 16 for "
        "avx512, 8 for avx2 and arm; host: this one's.",
    )
    allocation: Allocation = Field(
        "latency-aware",
        description="How narrowing is spread over the layers: uniform (the same share), global "
        "(the least important channels, wherever they are), latency-aware (by importance lost per "
        "microsecond saved, both measured).",
    )
    importance: Importance = Field("magnitude", description="How a channel's worth is judged.")
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

    @field_validator("target", mode="before")
    @classmethod
    def _readable(cls, value: Any) -> Any:
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
        if self.align_for != "host" and self.round_to != "auto":
            raise ValueError(
                f"align_for {self.align_for} and round_to {self.round_to} contradict each other, "
                "set one of them"
            )
        if self.allocation == "latency-aware" and self.round_to is None:
            raise ValueError(
                "latency-aware allocation removes blocks of channels, set round_to to auto or "
                "allocation to uniform"
            )
        return self

    @property
    def training_epochs(self) -> int:
        """Epochs that are trained before and between the removals of channels."""
        sparse = 0 if self.sparsity is None else self.sparsity.epochs
        return sparse + (self.stages - 1) * self.stage_epochs

    @property
    def goals(self) -> tuple[Goal, ...]:
        """What each pruned variant is to reach."""
        return tuple(parse_goal(str(target)) for target in _listed(self.target))


def _listed(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else (value,)


def _default_strategies() -> dict[str, StrategySettings]:
    return {"standard": StandardSettings(), "preserving": PreservingSettings()}


class RetrainConfig(Section):
    """Retraining after pruning; every strategy gets the same budget."""

    rounds: int = Field(2, ge=0, le=10, description="Rounds of retraining per strategy.")
    epochs: Epochs = Field(10, description="Epochs per round.")
    imgsz: Side = Field(320, description="Square training size in pixels.")
    batch: Batch = Field(16, description="Images per batch.")
    threads: Threads | None = Field(
        None,
        description="Threads of a training; null: all the process may use, shared by trainings "
        "that run at once.",
    )
    patience: int = Field(
        100, ge=0, le=MOST_EPOCHS, description="Epochs without gain that end a round early."
    )
    max_minutes: float | None = Field(
        None, gt=0, le=1e5, description="Longest wall time of one training, in minutes."
    )
    stop_when: Literal["no_gain", "never"] = Field(
        "never",
        description="no_gain: from round 2 on, a round that shows no gain over the one before "
        "ends its chain, and the rounds after it are not trained.",
    )
    control: bool = Field(
        True,
        description="Retrain the unpruned network too, by `preserving` with the same budget: "
        "without it, what pruning costs cannot be told from what retraining gives.",
    )
    parallel_trainings: int = Field(
        1,
        ge=1,
        le=64,
        description="Retrainings at once; each has its share of the cores as threads.",
    )
    recipe: str = Field(
        "checkpoint",
        min_length=1,
        description="How images and losses are treated in every retraining: checkpoint (as in the "
        "training of the given one), defaults (Ultralytics'), or a YAML file of arguments.",
    )
    loggers: Annotated[tuple[Logger, ...], AfterValidator(each_once)] = Field(
        (), description="Experiment trackers of Ultralytics' that follow every retraining."
    )
    strategies: dict[str, SerializeAsAny[StrategySettings]] = Field(
        default_factory=_default_strategies,
        description="Settings of each strategy by its name: standard (plain Ultralytics), "
        "preserving, or one that another package registers.",
    )

    @field_validator("strategies", mode="before")
    @classmethod
    def _by_name(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        models: dict[str, Any] = {name: (_settings_model(str(name)), ...) for name in value}
        given = {name: {} if settings is None else settings for name, settings in value.items()}
        return dict(create_model("Strategies", **models).model_validate(given))


def _settings_model(name: str) -> type[StrategySettings]:
    if name in BEFORE_PRUNING:
        raise ValueError(
            f"{name!r} trains before pruning, set prune.sparsity; "
            f"the strategies are {' and '.join(strategy_names())}"
        )
    return settings_model(name)


class ExportConfig(Section):
    """ONNX export and its parity check."""

    opset: int = Field(17, ge=12, le=21, description="ONNX operator set.")
    parity_images: int = Field(
        4, ge=1, le=1000, description="Real images compared with the checkpoint."
    )
    box_tolerance_px: float = Field(
        0.5, gt=0, le=100, description="Largest box coordinate difference in pixels."
    )
    score_tolerance: float = Field(0.005, gt=0, le=1, description="Largest class score difference.")


class AccuracyConfig(Section):
    """Accuracy of the exported file."""

    split: Literal["auto", "val", "test"] = Field(
        "auto", description="Images the figures come from; auto: test where there is one, else val."
    )
    images: int | None = Field(
        None, ge=1, le=MOST_IMAGES, description="First N images only; null: all."
    )
    confidence: float = Field(0.001, gt=0, lt=1, description="Lowest score that counts.")
    iou: float = Field(0.7, gt=0, lt=1, description="IoU above which NMS drops a box.")
    max_det: int = Field(300, ge=1, le=30_000, description="Most detections per image.")


class QuantizeConfig(Section):
    """INT8 versions of the variants; ``quantize: int8`` is short for every default."""

    variants: Annotated[tuple[str, ...] | None, AfterValidator(each_once)] = Field(
        None, min_length=1, description="Names of the variants that get an INT8 version; null: all."
    )
    calibration_images: int = Field(
        128, ge=1, le=10_000, description="Training images that give the ranges of the activations."
    )
    max_map50_loss: float = Field(
        0.01,
        ge=0,
        lt=1,
        description="mAP50 a quantized file may lose against its float file; layers stay in float "
        "until it loses no more.",
    )


class LatencyConfig(Section):
    """onnxruntime CPU latency: rounds of fresh processes, shuffled and interleaved."""

    threads: Annotated[tuple[Threads, ...] | None, AfterValidator(each_once)] = Field(
        None,
        min_length=1,
        description="intra_op_num_threads, each its own column; null: 1 and the physical cores "
        "this process may use.",
    )
    rounds_min: int = Field(8, ge=3, le=1000, description="Rounds measured in any case.")
    rounds_max: int = Field(40, ge=3, le=1000, description="Rounds at most.")
    seconds: float = Field(
        0.5, gt=0, le=600, description="Timed seconds per variant, round and kind of measurement."
    )
    warmup: int = Field(5, ge=1, le=10_000, description="Untimed inferences in each fresh process.")
    budget_minutes: float = Field(
        10.0,
        gt=0,
        le=1e5,
        description="Wall time in minutes after which no round is started, rounds_min apart.",
    )
    smallest_difference_percent: float = Field(
        3.0, gt=0, lt=100, description="Smallest latency difference that matters, in percent."
    )
    confidence: float = Field(0.25, gt=0, lt=1, description="Deployment score threshold.")
    iou: float = Field(0.7, gt=0, lt=1, description="IoU above which NMS drops a box.")
    max_det: int = Field(300, ge=1, le=30_000, description="Most detections per image.")
    images: int = Field(
        16, ge=1, le=10_000, description="Real images the end-to-end frames cycle through."
    )
    spinning: bool = Field(False, description="Let onnxruntime's threads spin while they wait.")
    graph_level: Literal["all", "extended", "basic", "disabled"] = Field(
        "all", description="onnxruntime graph optimisation level."
    )
    execution_mode: Literal["sequential", "parallel"] = Field(
        "sequential", description="onnxruntime execution mode."
    )
    arena: bool = Field(True, description="Use onnxruntime's CPU memory arena.")
    flush_denormals: bool = Field(False, description="Set denormals to zero in the session.")
    paced: bool = Field(True, description="Also measure frames arriving at the real-time limit.")
    paced_seconds: float = Field(
        2.0, gt=0, le=600, description="Seconds of paced frames per variant and round."
    )
    strict: bool = Field(False, description="Refuse to rank a run that was noisy.")

    @model_validator(mode="after")
    def _rounds_in_order(self) -> LatencyConfig:
        if self.rounds_max < self.rounds_min:
            raise ValueError(
                f"rounds_max {self.rounds_max} is below rounds_min {self.rounds_min}, "
                "raise rounds_max"
            )
        return self


class RankingConfig(Section):
    """Efficiency = mAP50 x FPS / MB, limits and gates."""

    metric: Literal["box", "mask"] = Field(
        "box", description="mAP50 that ranks and limits: of boxes, or of masks (segmentation only)."
    )
    realtime_fps: float = Field(
        20.0, gt=0, le=10_000, description="Frames per second called real-time."
    )
    size_of: Literal["onnx", "checkpoint"] = Field(
        "onnx", description="File whose size (10^6 bytes) divides the efficiency."
    )
    max_map50_loss: float | None = Field(
        0.05,
        ge=0,
        lt=1,
        description="mAP50 that a recommended variant may lose against the baseline, and a "
        "retrained one against the unpruned network retrained alike, and never more than half of "
        "theirs; null: any.",
    )
    max_class_loss: float | None = Field(
        None,
        ge=0,
        lt=1,
        description="AP50 that a recommended variant may lose in a single class; null: any.",
    )
    level: float = Field(0.95, gt=0.5, lt=1, description="Confidence level of every interval.")
    bootstrap: int = Field(2000, ge=200, le=100_000, description="Bootstrap resamples.")
