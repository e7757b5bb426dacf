"""The one configuration: the YAML file, the flow's parameter and the UI form."""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import re
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails

from prunebench.common.errors import ConfigError
from prunebench.config.devices import Devices, SshDevice
from prunebench.config.exporting import ExportConfig
from prunebench.config.forms import FORMS, NAME, SCHEDULER
from prunebench.config.mlflow import MlflowConfig
from prunebench.config.pruning import PruneConfig
from prunebench.config.ranking import RankingConfig
from prunebench.config.sections import (
    AccuracyConfig,
    Alternative,
    BaselineConfig,
    ImageConfig,
    LatencyConfig,
    QuantizeConfig,
    RetrainConfig,
    Section,
    each_once,
)
from prunebench.config.strategy_settings import BUILT_IN

ENV_PREFIX = "PRUNEBENCH_"
ENV_NESTING = "__"
ROOTS_VARIABLE = "PRUNEBENCH_ALLOWED_ROOTS"
"""Not a key of the configuration: see ``prunebench.operating.allowed_paths``."""

AskedControl = Literal[Alternative, "runtime"]
RuntimeName = Literal["openvino", "openvino-default", "openvino-nncf", "ncnn", "mnn", "litert"]
"""What a file may run in besides onnxruntime; ``-default``: in the precision it chooses itself,
``-nncf``: as NNCF quantizes it.
"""

FORMER_KEYS = {
    "prune.align_for": "write prune.round_to, the block that `prunebench doctor` measures there",
    "prune.ratio": "write prune.target, which takes a ratio such as 0.3",
    "prune.targets": "write prune.target, which takes a list such as [2x, 3x]",
}


class Config(Section):
    """One experiment: a trained model, a dataset, and what is done with them."""

    name: str = Field(
        "compare",
        pattern=NAME,
        max_length=41,
        description="Short name: lower case letters, digits and dashes.",
    )
    model: str = Field(
        description="Trained Ultralytics checkpoint (.pt), or a network description "
        "(yolov8n.yaml) that is trained first."
    )
    data: str = Field(
        "scenes",
        description="Ultralytics data YAML, the name of one Ultralytics downloads, a folder of "
        "class folders (for classification), 'scenes' (built in; 'scenes-seg', '-pose', '-obb' and "
        "'-classes' for other tasks) or 'neontrees'.",
    )
    bad_images: Literal["refuse", "skip"] = Field(
        "refuse",
        description="Images that cannot be decoded: refuse the data, or skip (leave them out of "
        "training, validation, measuring and accuracy alike, and say which).",
    )
    single_cls: bool = Field(
        False,
        description="Take all objects of the data for one class, in training, calibration and "
        "accuracy alike, as Ultralytics does with single_cls.",
    )
    seed: int = Field(0, ge=0, lt=2**31, description="Seed of everything random.")
    out: str = Field("runs", description="Folder that runs and cached steps are written to.")
    history: str | None = Field(
        None,
        description="SQLAlchemy URL of the history store (sqlite:/// or postgresql://); null: "
        "history.db in `out`. Every run's folder shows it, so leave a password to PGPASSWORD or "
        "~/.pgpass.",
    )
    store: str | None = Field(
        None,
        description="fsspec URL (file:///shared/folder, s3://bucket/prefix) that every finished "
        "run is copied to, for other hosts to take it from; null: nowhere.",
    )
    store_cache_gb: float = Field(
        5.0, gt=0, le=1e6, description="Largest copy of the store kept below `out`, in 10^9 bytes."
    )
    devices: Devices = Field(
        (),
        description="Other hosts that measure the variants too: by name an address, "
        "`{pi5: ssh://pi@raspberrypi}`; or names of work queues, whose workers take runs from "
        "`store`.",
    )
    engine: Literal["local", "dask"] = Field(
        "local",
        description="Where variants are pruned, trained and exported: local (this host) or dask "
        "(the workers of a Dask cluster). Everything is measured on this host either way.",
    )
    address: str | None = Field(
        None,
        pattern=SCHEDULER,
        description="Address of the Dask scheduler (tcp://host:8786), for `engine: dask`; files "
        "travel through `store`.",
    )
    mlflow: MlflowConfig | None = Field(
        None, description="MLflow server that every finished run is logged to; null: none."
    )
    image: ImageConfig = Field(default_factory=ImageConfig)
    baseline: BaselineConfig = Field(default_factory=BaselineConfig)
    prune: PruneConfig = Field(default_factory=PruneConfig)
    controls: Annotated[tuple[AskedControl, ...], AfterValidator(each_once)] = Field(
        (),
        description="Cheap alternatives measured beside the pruned variants: int8 (the unpruned "
        "model in INT8), resolution (it at the next lower input size), smaller (a smaller stock "
        "network with the same budget of training), plain-export (the unpruned model as "
        "Ultralytics exports it, without `export.rewrite`), other-head (it with the head that "
        "`export.head` does not name), runtime (it and the most accurate pruned one of every "
        "target, in every other runtime that is installed).",
    )
    runtimes: Annotated[tuple[RuntimeName, ...] | None, AfterValidator(each_once)] = Field(
        None,
        min_length=1,
        description="Those of the control runtime, which they ask for by themselves: openvino "
        "(float32), openvino-default (the precision OpenVINO chooses on this CPU), openvino-nncf "
        "(in INT8, quantized by NNCF within `quantize.max_map50_loss`), ncnn, mnn, litert; "
        "null: all that are installed, where controls has runtime.",
    )
    retrain: RetrainConfig = Field(default_factory=RetrainConfig)
    export: ExportConfig = Field(default_factory=ExportConfig)
    accuracy: AccuracyConfig = Field(default_factory=AccuracyConfig)
    quantize: QuantizeConfig | None = Field(
        None, description="Also make INT8 versions of the variants: int8, or a section; null: none."
    )
    latency: LatencyConfig = Field(default_factory=LatencyConfig)
    ranking: RankingConfig = Field(default_factory=RankingConfig)

    @field_validator("quantize", mode="before")
    @classmethod
    def _int8_alone(cls, value: Any) -> Any:
        if isinstance(value, str | list | int) and value != "int8":
            raise ValueError("other files than INT8 are not made: set it to int8, or to a section")
        return {} if value == "int8" else value

    @model_validator(mode="after")
    def _other_hosts_can_be_reached(self) -> Config:
        if self.queues and self.store is None:
            raise ValueError("devices take the files from a store: set store")
        if self.engine == "local" and self.address is not None:
            raise ValueError("address is set but engine is local: set engine to dask")
        if self.engine == "dask" and self.address is None:
            raise ValueError("engine is dask: set address to its scheduler, tcp://host:8786")
        if self.engine == "dask" and self.store is None:
            raise ValueError("Dask workers take the files from a store: set store")
        name = self.prune.measure_on
        if name is not None and name not in self.over_ssh:
            what = "is a work queue" if name in self.devices else "is not one of `devices`"
            raise ValueError(
                f"prune.measure_on: {name} {what}, and pruning measures over ssh: "
                f"give it an address, devices: {{{name}: ssh://user@host}}"
            )
        return self

    @property
    def over_ssh(self) -> dict[str, SshDevice]:
        """The devices that are reached over ssh."""
        known = self.devices if isinstance(self.devices, dict) else {}
        return {name: device for name, device in known.items() if device is not None}

    @property
    def queues(self) -> tuple[str, ...]:
        """The devices that take runs from a work queue."""
        return tuple(name for name in self.devices if name not in self.over_ssh)

    def digest(self) -> str:
        """First 12 hexadecimal digits of the SHA-256 of the whole configuration."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def load_config(
    file: Path | None,
    *,
    overrides: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
    options: Mapping[str, str] | None = None,
) -> Config:
    """Load a configuration: overrides win over the environment, that over the file.

    ``file`` is YAML, ``None`` for defaults alone, ``overrides`` the value of each dotted key given
    on the command line; ``options`` names the option of those that have one of their own. In
    ``environ`` ``PRUNEBENCH_PRUNE__TARGET=2x`` sets ``prune.target``.
    ConfigError where the file cannot be read, or a key or value is wrong.
    """
    values = {} if file is None else _read_yaml(file)
    environ = os.environ if environ is None else environ
    origins: dict[str, str] = {}
    given = {
        key: (_read_value(environ[variable], where=variable), variable)
        for key, variable in _variables(environ).items()
    }
    named = options or {}
    typed = {k: (v, named.get(k, "command line")) for k, v in (overrides or {}).items()}
    for key, (value, origin) in (*given.items(), *typed.items()):
        for changed in _put(values, key, value):
            # What is said last of a key counts, also in the order in which errors look it up.
            origins.pop(changed, None)
            origins[changed] = origin
    return parse_config(values, where=None if file is None else str(file), origins=origins)


def parse_overrides(arguments: Iterable[str]) -> dict[str, Any]:
    """Value of each dotted key in arguments (``prune.target=2x``) as YAML; ConfigError else."""
    overrides = {}
    for argument in arguments:
        key, equals, text = argument.partition("=")
        if not equals or not key:
            raise ConfigError(
                "it is not key=value",
                where=argument,
                fix="set a key of the configuration, such as prune.target=2x",
            )
        overrides[key] = _read_value(text, where=argument)
    return overrides


def parse_config(
    values: Mapping[str, Any], *, where: str | None = None, origins: Mapping[str, str] | None = None
) -> Config:
    """Validate nested values; ``where`` and ``origins`` (by dotted key) say where they come from.

    ConfigError with the path of the first wrong key and the nearest valid one.
    """
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        raise _config_error(error, where, origins or {}) from error


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
        raise ConfigError(f"the file is not valid YAML{line}", where=file) from error
    if values is None:
        raise ConfigError("the file is empty", where=file, fix="set at least model and data")
    if not isinstance(values, dict):
        raise ConfigError("the file holds no mapping of keys to values", where=file)
    return values


def _variables(environ: Mapping[str, str]) -> dict[str, str]:
    """Name of the variable that sets each dotted key, a section before its keys."""
    return {
        variable.removeprefix(ENV_PREFIX).lower().replace(ENV_NESTING, "."): variable
        for variable in sorted(environ)
        if variable.startswith(ENV_PREFIX) and variable != ROOTS_VARIABLE
    }


def _read_value(text: str, *, where: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError("the value is not valid YAML", where=where) from error


def _put(values: dict[str, Any], key: str, value: Any) -> list[str]:
    """Set a dotted key; what was not a section on the way to it becomes one. Gives what changed."""
    *sections, last = key.split(".")
    made = []
    for depth, section in enumerate(sections, start=1):
        if not isinstance(values.get(section), dict):
            values[section] = {}
            made.append(".".join(sections[:depth]))
        values = values[section]
    values[last] = value
    return [*made, key]


def _config_error(
    error: ValidationError, where: str | None, origins: Mapping[str, str]
) -> ConfigError:
    # A missing key may be there misspelt, and then the misspelling is what to report.
    first = min(error.errors(), key=lambda details: details["type"] == "missing")
    path = _key(first)
    words = re.findall(r"\w+", first["msg"])
    for key, origin in origins.items():
        # An error about how keys of a section go together names them.
        together = not path or key.startswith(f"{path}.")
        if f"{path}.".startswith(f"{key}.") or (together and key.rpartition(".")[2] in words):
            where = origin
    if first["type"] == "extra_forbidden":
        near = _nearest(path)
        fix = FORMER_KEYS.get(path) or (f"did you mean {near}" if near else "remove it")
        return ConfigError(f"unknown key {path}", where=where, fix=fix)
    if first["type"] == "missing":
        fix = f"set {path}"
        if path == "model":
            fix += " or give --model; `prunebench init` writes a configuration"
        return ConfigError(f"the key {path} is missing", where=where, fix=fix)
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "model_type":
        message = "it is a section of keys, not a value"
    if first["type"] == "string_pattern_mismatch":
        message = f"it is not {FORMS[first['ctx']['pattern']]}"
    if first["type"] == "too_short":
        message = "the list is empty"
    message = message[:1].lower() + message[1:]
    given = first.get("input")
    shown = "" if isinstance(given, Mapping) or str(given) in message else f" (got {given!r})"
    # What this package checks itself says what to do.
    usual = None if first["type"] == "value_error" else "correct the value"
    subject = f"{path}: " if path else ""
    # A key may take one of several kinds of value, each with an error of its own.
    expected = [
        e["ctx"]["expected"]
        for e in error.errors()
        if e["type"] == "literal_error" and _key(e) == path
    ]
    allowed = re.findall(r"'([^']*)'", " ".join(expected))
    meant = _did_you_mean(difflib.get_close_matches(str(given), allowed, n=1))
    return ConfigError(f"{subject}{message}{shown}", where=where, fix=meant or usual)


def _key(details: ErrorDetails) -> str:
    return ".".join(str(part) for part in details["loc"] if not _is_union_tag(part))


def _did_you_mean(near: Sequence[str]) -> str | None:
    return f"did you mean {near[0]}" if near else None


def _is_union_tag(part: int | str) -> bool:
    return isinstance(part, str) and (
        part in ("int", "constrained-int", "float", "str") or "[" in part
    )


def _nearest(path: str) -> str | None:
    known = [*key_paths(Config)]
    for name, settings in BUILT_IN.items():
        known.append(f"retrain.strategies.{name}")
        known += key_paths(settings, f"retrain.strategies.{name}.")
    section, _, leaf = path.rpartition(".")
    anywhere = {key.rpartition(".")[2]: key for key in known}
    beside = {key.rpartition(".")[2]: key for key in known if key.rpartition(".")[0] == section}
    for keys, cutoff in ((beside, 0.6), (anywhere, 0.8)):
        for name in difflib.get_close_matches(leaf, keys, n=1, cutoff=cutoff):
            return keys[name]
    return None


def key_paths(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Every key of a configuration as a dotted path, sections included."""
    for name, field in model.model_fields.items():
        path = f"{prefix}{name}"
        yield path
        for section in _sections_in(field.annotation):
            yield from key_paths(section, f"{path}.")


def _sections_in(annotation: Any) -> Sequence[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if typing.get_origin(annotation) is dict:
        return []  # Its keys are the user's.
    return [s for part in typing.get_args(annotation) for s in _sections_in(part)]
