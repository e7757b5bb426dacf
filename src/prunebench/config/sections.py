"""The sections of the configuration, one model each; ``loading.Config`` combines them."""

from __future__ import annotations

from collections.abc import Mapping
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

from prunebench.config.forms import CARD, NAME
from prunebench.config.strategy_settings import (
    BEFORE_PRUNING,
    KEEPS_STRUCTURE,
    Activation,
    PreservingSettings,
    StandardSettings,
    StrategySettings,
    chain_name,
    settings_model,
    strategy_names,
)

Precision = Literal["float32", "bfloat16", "float16"]
DeviceKind = Literal["cpu", "cuda", "mps"]
Cache = Literal["ram", "disk", "none"]
Alternative = Literal["int8", "resolution", "smaller", "plain-export", "other-head"]
"""Variants that are controls asked for by name; the others follow from what is planned."""

CoreClass = Literal["all", "big", "little"]
Control = Literal[Alternative, "retrained", "trained-size"]
"""What an unpruned variant stands for, that pruned ones are held against."""

Beside = tuple[Literal["activation", "qat"], str]
"""In what alone a variant, or a chain of them, differs from another one, and that one's name."""

Logger = Literal["clearml", "comet", "tensorboard", "wandb"]

DeviceName = Annotated[str, Field(pattern=NAME, max_length=60)]
"""Another host, named after the work queue its worker takes runs from."""

MOST_PIXELS = 4096  # A side of an image.
MOST_EPOCHS = 10_000
MOST_THREADS = 1024
MOST_IMAGES = 1_000_000
STRIDE = 32  # Pixels per cell of the coarsest feature map; the sides of images are multiples.


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


def _each_card_once(value: Any) -> Any:
    return each_once(value) if isinstance(value, tuple) else value


def _no_pair(seeds: int) -> int:
    if seeds == 2:
        raise ValueError(
            "two trainings may agree by chance: their 95 % intervals cover only 88 %, use 1, or 3 "
            "and more"
        )
    return seeds


Card = Annotated[int, Field(ge=0, le=1023)]
Device = Annotated[
    Literal["auto"]
    | DeviceKind
    | Annotated[str, Field(pattern=CARD)]
    | Annotated[tuple[Card, ...], Field(min_length=1)],
    AfterValidator(_each_card_once),
]
Side = Annotated[int, Field(gt=0, le=MOST_PIXELS), AfterValidator(_multiple_of_stride)]
Epochs = Annotated[int, Field(ge=1, le=MOST_EPOCHS)]
Batch = Annotated[int, Field(ge=1, le=4096)]
Threads = Annotated[int, Field(ge=1, le=MOST_THREADS)]


class ImageConfig(Section):
    """The fixed input size that export, accuracy and latency share."""

    height: Side = Field(192, description="Height of the input in pixels, a multiple of 32.")
    width: Side = Field(320, description="Width of the input in pixels, a multiple of 32.")

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


def _default_strategies() -> dict[str, StrategySettings]:
    return {"standard": StandardSettings(), "preserving": PreservingSettings()}


class RetrainConfig(Section):
    """Retraining after pruning; every strategy gets the same budget."""

    rounds: int = Field(2, ge=0, le=10, description="Rounds of retraining per strategy.")
    epochs: Epochs = Field(10, description="Epochs per round.")
    imgsz: Side = Field(320, description="Square training size in pixels.")
    batch: Batch | Literal["auto"] = Field(
        16,
        description="Images per batch, those of all GPUs together; auto: what the GPU has memory "
        "for, 16 on a CPU.",
    )
    device: Device = Field(
        "auto",
        description="What every training runs on, and pruning's losses: auto (the first GPU, else "
        "the CPU), cpu, cuda, cuda:1, mps, or GPUs by number: [0, 1]. Export, accuracy and latency "
        "stay on the CPU.",
    )
    precision: Precision | Literal["auto"] = Field(
        "auto",
        description="What a training multiplies in; auto: bfloat16 where the device has "
        "instructions for it, else float16 on a GPU and float32 on a CPU. Weights and loss are "
        "float32 in any.",
    )
    workers: Annotated[int, Field(ge=0, le=256)] | Literal["auto"] = Field(
        "auto",
        description="Processes that load images for a training; auto: none on a CPU, up to 8 on a "
        "GPU.",
    )
    cache: Cache | Literal["auto"] = Field(
        "auto",
        description="Where images are kept decoded: ram, disk (the training's own folder), none; "
        "auto: the first that has room.",
    )
    seeds: Annotated[int, Field(ge=1, le=100), AfterValidator(_no_pair)] = Field(
        1,
        description="Trainings of every retrained variant, each with a seed of its own: from 3 on "
        "its accuracy is their mean, whose interval covers other seeds too, and the file with the "
        "median validation score is shipped. 2 are refused: they agree by chance too often.",
    )
    threads: Threads | None = Field(
        None,
        description="Threads of a training; null: all the process may use, shared by trainings "
        "that run at once.",
    )
    patience: int = Field(
        100, ge=0, le=MOST_EPOCHS, description="Epochs without gain that end a round early."
    )
    max_minutes: float | None = Field(
        None,
        gt=0,
        le=1e5,
        description="Longest wall time of one training, in minutes; on several GPUs it ends with "
        "the epoch in which they are over.",
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
    activation: Literal["keep", "relu", "hardswish"] = Field(
        "keep",
        description="Also retrain the pruned network, by `preserving` and `qat`, with this "
        "activation in place of SiLU (`preserving-relu-1`, beside `preserving-1`): relu costs an "
        "INT8 file nothing; keep: no such variants.",
    )
    loggers: Annotated[tuple[Logger, ...], AfterValidator(each_once)] = Field(
        (), description="Experiment trackers of Ultralytics' that follow every retraining."
    )
    strategies: dict[str, SerializeAsAny[StrategySettings]] = Field(
        default_factory=_default_strategies,
        description="Settings of each strategy by its name: standard (plain Ultralytics), "
        "preserving, qat (preserving, trained for INT8 files), or one that another package "
        "registers.",
    )

    @property
    def chains(self) -> dict[str, tuple[str, Activation | None]]:
        """Each chain of retrainings by its name: its strategy, and what takes SiLU's place."""
        chains: dict[str, tuple[str, Activation | None]] = {}
        for name in self.strategies:
            chains[name] = name, None
            if self.activation != "keep" and name in KEEPS_STRUCTURE:
                chains[chain_name(name, self.activation)] = name, self.activation
        return chains

    @model_validator(mode="after")
    def _activation_is_trained(self) -> RetrainConfig:
        if self.activation == "keep":
            return self
        if not self.rounds:
            raise ValueError(
                "another activation is paid back by retraining, and rounds is 0: set activation to "
                "keep"
            )
        if not set(self.strategies) & set(KEEPS_STRUCTURE):
            raise ValueError(
                f"activation {self.activation} is for {' and '.join(KEEPS_STRUCTURE)}, and no "
                f"strategy here is one of them ({', '.join(self.strategies) or 'there is none'}): "
                "add preserving or set activation to keep"
            )
        return self

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
        description="mAP50 (of a classification top-1) a quantized file may lose against its float "
        "file; layers stay in float until it loses no more.",
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
    cores: Annotated[tuple[CoreClass, ...], AfterValidator(each_once)] = Field(
        ("all",),
        min_length=1,
        description="Cores the measuring processes may run on: big or little ones of a CPU that "
        "has both, or all; each its own column, the first one decides the run.",
    )
    soak_minutes: float = Field(
        0.0,
        ge=0,
        le=1e5,
        description="Minutes of load at least: rounds go on as long, and the ranking of the last "
        "third is compared with the first minute's.",
    )
    strict: bool = Field(False, description="Refuse to rank a run that was noisy.")

    @property
    def thresholds(self) -> dict[str, float]:
        """What the model is deployed with, by Ultralytics' names."""
        return {"conf": self.confidence, "iou": self.iou, "max_det": self.max_det}

    @field_validator("cores", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _rounds_in_order(self) -> LatencyConfig:
        if self.rounds_max < self.rounds_min:
            raise ValueError(
                f"rounds_max {self.rounds_max} is below rounds_min {self.rounds_min}, "
                "raise rounds_max"
            )
        return self
