"""The one configuration: the YAML file, the flow's parameter and the UI form.

Precedence when it is loaded: flags, environment, file, defaults (see ``load_config``).
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializeAsAny,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import InitErrorDetails

from prunebench.errors import ConfigError
from prunebench.strategies import (
    BUILT_IN,
    PreservingSettings,
    StandardSettings,
    StrategySettings,
    settings_model,
)

ENV_PREFIX = "PRUNEBENCH_"
ENV_NESTING = "__"

Importance = Literal["magnitude", "lamp", "bn_scale", "fpgm", "taylor", "random"]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ImageConfig(_Section):
    """The fixed letterbox that export, accuracy and latency share."""

    height: int = Field(192, gt=0, description="Letterbox height in pixels, a multiple of 32.")
    width: int = Field(320, gt=0, description="Letterbox width in pixels, a multiple of 32.")

    @field_validator("height", "width")
    @classmethod
    def _multiple_of_stride(cls, value: int) -> int:
        if value % 32:
            nearest = max(32, round(value / 32) * 32)
            raise ValueError(f"{value} is no multiple of 32, the nearest is {nearest}")
        return value

    @property
    def hw(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.height, self.width


class BaselineConfig(_Section):
    """Training of the baseline, used only where ``model`` is a network description (.yaml)."""

    epochs: int = Field(100, ge=1, description="Training epochs.")
    imgsz: int = Field(320, gt=0, description="Square training size in pixels.")
    batch: int = Field(16, ge=1, description="Images per batch.")
    lr0: float = Field(0.002, gt=0, description="Initial learning rate.")
    optimizer: Literal["SGD", "Adam", "AdamW"] = Field("AdamW", description="Optimizer.")


class PruneConfig(_Section):
    """Structured pruning."""

    ratio: float = Field(
        0.15,
        gt=0,
        lt=1,
        description="Share of the channels removed from every prunable layer, 0 < ratio < 1.",
    )
    round_to: int | Literal["auto"] | None = Field(
        "auto",
        description="Widths are rounded to a multiple of this; auto: the block of this host's "
        "kernels (16 with AVX-512, else 8); null: no alignment.",
    )
    importance: Importance = Field("magnitude", description="How a channel's worth is judged.")
    bn_batches: int = Field(
        16, ge=0, description="Batches of training images that re-estimate BatchNorm statistics."
    )
    ignore: tuple[str, ...] = Field(
        (), description="Names of modules that pruning leaves alone ('model.0')."
    )

    @field_validator("round_to")
    @classmethod
    def _positive(cls, value: int | str | None) -> int | str | None:
        if isinstance(value, int) and value < 1:
            raise ValueError(f"{value} is no channel count, use 8, 16, auto or null")
        return value


def _default_strategies() -> dict[str, StrategySettings]:
    return {"standard": StandardSettings(), "preserving": PreservingSettings()}


class RetrainConfig(_Section):
    """Retraining after pruning; every strategy gets the same budget."""

    rounds: int = Field(2, ge=0, le=10, description="Rounds of retraining per strategy.")
    epochs: int = Field(10, ge=1, description="Epochs per round.")
    imgsz: int = Field(320, gt=0, description="Square training size in pixels.")
    batch: int = Field(16, ge=1, description="Images per batch.")
    workers: int = Field(0, ge=0, description="Data loader processes.")
    threads: int | None = Field(
        None, ge=1, description="Threads of a training; null: all the process may use."
    )
    patience: int = Field(100, ge=0, description="Epochs without gain that end a round early.")
    max_minutes: float | None = Field(
        None, gt=0, description="Longest wall time of one training, in minutes."
    )
    strategies: dict[str, SerializeAsAny[StrategySettings]] = Field(
        default_factory=_default_strategies,
        description="Settings of each strategy by its name: standard (plain Ultralytics), "
        "preserving, or one that another package registers.",
    )

    @field_validator("imgsz")
    @classmethod
    def _multiple_of_stride(cls, value: int) -> int:
        return ImageConfig._multiple_of_stride(value)

    @field_validator("strategies", mode="before")
    @classmethod
    def _by_name(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        return {name: _strategy_settings(str(name), given) for name, given in value.items()}


def _strategy_settings(name: str, given: Any) -> Any:
    if isinstance(given, StrategySettings):
        return given
    model = settings_model(name)
    try:
        return model.model_validate({} if given is None else given)
    except ValidationError as error:
        raise ValidationError.from_exception_data(
            error.title,
            [
                InitErrorDetails(
                    type=details["type"],
                    loc=(name, *details["loc"]),
                    input=details["input"],
                    ctx=details.get("ctx", {}),
                )
                for details in error.errors()
            ],
        ) from error


class ExportConfig(_Section):
    """ONNX export and its parity check."""

    opset: int = Field(17, ge=12, le=21, description="ONNX operator set.")
    parity_images: int = Field(4, ge=1, description="Real images compared with the checkpoint.")
    box_tolerance_px: float = Field(
        0.5, gt=0, description="Largest box coordinate difference in pixels."
    )
    score_tolerance: float = Field(0.005, gt=0, description="Largest class score difference.")


class AccuracyConfig(_Section):
    """Accuracy of the exported file."""

    split: Literal["auto", "val", "test"] = Field(
        "auto", description="Images the figures come from; auto: test where there is one, else val."
    )
    images: int | None = Field(None, ge=1, description="First N images only; null: all.")
    confidence: float = Field(0.001, gt=0, lt=1, description="Lowest score that counts.")
    iou: float = Field(0.7, gt=0, lt=1, description="IoU above which NMS drops a box.")
    max_det: int = Field(300, ge=1, description="Most detections per image.")


class LatencyConfig(_Section):
    """onnxruntime CPU latency: rounds of fresh processes, shuffled and interleaved."""

    threads: tuple[Annotated[int, Field(ge=1)], ...] | None = Field(
        None,
        description="intra_op_num_threads, each its own column; null: 1 and the physical cores "
        "this process may use.",
    )
    rounds_min: int = Field(8, ge=3, description="Rounds measured in any case.")
    rounds_max: int = Field(40, ge=3, description="Rounds at most.")
    seconds: float = Field(
        0.5, gt=0, description="Timed seconds per variant, round and kind of measurement."
    )
    warmup: int = Field(5, ge=1, description="Untimed inferences in each fresh process.")
    budget_minutes: float = Field(
        10.0,
        gt=0,
        description="Wall time in minutes after which no round starts but the rounds_min.",
    )
    smallest_difference_percent: float = Field(
        3.0, gt=0, description="Smallest latency difference that matters, in percent."
    )
    confidence: float = Field(0.25, gt=0, lt=1, description="Deployment score threshold.")
    iou: float = Field(0.7, gt=0, lt=1, description="IoU above which NMS drops a box.")
    max_det: int = Field(300, ge=1, description="Most detections per image.")
    images: int = Field(16, ge=1, description="Real images the end-to-end frames cycle through.")
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
        2.0, gt=0, description="Seconds of paced frames per variant and round."
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


class RankingConfig(_Section):
    """Efficiency = mAP50 x FPS / MB, limits and gates."""

    realtime_fps: float = Field(20.0, gt=0, description="Frames per second called real-time.")
    size_of: Literal["onnx", "checkpoint"] = Field(
        "onnx", description="File whose size (10^6 bytes) divides the efficiency."
    )
    max_map50_loss: float | None = Field(
        0.05,
        ge=0,
        lt=1,
        description="mAP50 that a recommended variant may lose against the baseline; null: any.",
    )
    level: float = Field(0.95, gt=0.5, lt=1, description="Confidence level of every interval.")
    bootstrap: int = Field(2000, ge=200, description="Bootstrap resamples.")


class Config(_Section):
    """One experiment: a trained model, a dataset, and what is done with them."""

    name: str = Field(
        "compare",
        pattern=r"^[a-z0-9][a-z0-9-]{0,40}$",
        description="Short name: lower case letters, digits and dashes.",
    )
    model: str = Field(
        description="Trained Ultralytics checkpoint (.pt), or a network description "
        "(yolov8n.yaml) that is trained first."
    )
    data: str = Field(
        "scenes",
        description="Ultralytics data YAML, the name of one Ultralytics downloads, "
        "'scenes' (built in) or 'neontrees' (recipe).",
    )
    seed: int = Field(0, ge=0, description="Seed of everything random.")
    out: str = Field("runs", description="Folder that runs and cached steps are written to.")
    history: str | None = Field(
        None,
        description="SQLAlchemy URL of the history store (sqlite:/// or postgresql://); null: "
        "history.db in `out`. Every run's folder shows it, so leave a password to PGPASSWORD or "
        "~/.pgpass.",
    )
    image: ImageConfig = Field(default_factory=ImageConfig)
    baseline: BaselineConfig = Field(default_factory=BaselineConfig)
    prune: PruneConfig = Field(default_factory=PruneConfig)
    retrain: RetrainConfig = Field(default_factory=RetrainConfig)
    export: ExportConfig = Field(default_factory=ExportConfig)
    accuracy: AccuracyConfig = Field(default_factory=AccuracyConfig)
    latency: LatencyConfig = Field(default_factory=LatencyConfig)
    ranking: RankingConfig = Field(default_factory=RankingConfig)

    def digest(self) -> str:
        """First 12 hexadecimal digits of the SHA-256 of the whole configuration."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def load_config(
    file: Path | None,
    *,
    flags: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Config:
    """Load a configuration: flags over environment over file over defaults.

    Args:
        file: YAML file, or ``None`` for defaults alone.
        flags: Nested mapping of values given on the command line; ``None`` values are skipped.
        environ: Environment; ``PRUNEBENCH_PRUNE__RATIO=0.3`` sets ``prune.ratio``.
            Values are read as YAML.

    Raises:
        ConfigError: The file cannot be read, or a key or value is wrong.
    """
    values = {} if file is None else _read_yaml(file)
    environ = os.environ if environ is None else environ
    _merge(values, _from_environment(environ))
    _merge(values, _without_none(flags or {}))
    return parse_config(values, where=None if file is None else str(file), environ=environ)


def parse_config(
    values: Mapping[str, Any],
    *,
    where: str | None = None,
    environ: Mapping[str, str] | None = None,
) -> Config:
    """Validate plain values.

    Args:
        values: Nested mapping of keys to values.
        where: File they come from, for the error.
        environ: Environment merged into them: an error names the variable that set the key.

    Raises:
        ConfigError: With the path of the first wrong key and the nearest valid one.
    """
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        raise _config_error(error, where, environ or {}) from error


def _read_yaml(file: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(
            "the configuration file does not exist", where=file, fix="check the path"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the file cannot be read ({error})", where=file) from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = "" if mark is None else f" at line {mark.line + 1}"
        raise ConfigError(f"the file is no valid YAML{line}", where=file) from error
    if values is None:
        raise ConfigError("the file is empty", where=file, fix="set at least model and data")
    if not isinstance(values, dict):
        raise ConfigError("the file holds no mapping of keys to values", where=file)
    return values


def _from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for variable in sorted(environ):
        if not variable.startswith(ENV_PREFIX):
            continue
        path = variable.removeprefix(ENV_PREFIX).lower().split(ENV_NESTING)
        try:
            value = yaml.safe_load(environ[variable])
        except yaml.YAMLError as error:
            raise ConfigError("the value is no valid YAML", where=variable) from error
        for key in reversed(path):
            value = {key: value}
        _merge(values, value)
    return values


def _merge(into: dict[str, Any], values: Mapping[str, Any]) -> None:
    for key, value in values.items():
        if isinstance(value, Mapping) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = dict(value) if isinstance(value, Mapping) else value


def _without_none(values: Mapping[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            nested = _without_none(value)
            if nested:
                kept[key] = nested
        elif value is not None:
            kept[key] = value
    return kept


def _config_error(
    error: ValidationError, where: str | None, environ: Mapping[str, str]
) -> ConfigError:
    first = error.errors()[0]
    path = ".".join(str(part) for part in first["loc"] if not _is_union_tag(part))
    variable = ENV_PREFIX + path.replace(".", ENV_NESTING).upper()
    if variable in environ:
        where = variable
    if first["type"] == "extra_forbidden":
        near = _nearest(path)
        fix = f"did you mean {near}?" if near else "remove it"
        return ConfigError(f"unknown key {path}", where=where, fix=fix.rstrip("?"))
    if first["type"] == "missing":
        return ConfigError(f"the key {path} is missing", where=where, fix=f"set {path}")
    message = first["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    given = first.get("input")
    shown = "" if isinstance(given, Mapping) or str(given) in message else f" (got {given!r})"
    return ConfigError(f"{path}: {message}{shown}", where=where, fix="correct the value")


def _is_union_tag(part: int | str) -> bool:
    return isinstance(part, str) and (part in ("int", "float", "str") or "[" in part)


def _nearest(path: str) -> str | None:
    known = [*key_paths(Config), *_strategy_key_paths()]
    direct = difflib.get_close_matches(path, known, n=1, cutoff=0.6)
    if direct:
        return direct[0]
    leaf = path.rsplit(".", 1)[-1]
    leaves = {key.rsplit(".", 1)[-1]: key for key in known}
    close = difflib.get_close_matches(leaf, leaves, n=1, cutoff=0.6)
    return leaves[close[0]] if close else None


def key_paths(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Every key of a configuration as a dotted path, sections included."""
    for name, field in model.model_fields.items():
        path = f"{prefix}{name}"
        yield path
        for section in _sections_in(field.annotation):
            yield from key_paths(section, f"{path}.")


def _strategy_key_paths() -> Iterator[str]:
    for name, model in BUILT_IN.items():
        yield from key_paths(model, f"retrain.strategies.{name}.")


def _sections_in(annotation: Any) -> Sequence[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return [s for part in typing.get_args(annotation) for s in _sections_in(part)]
    return []
