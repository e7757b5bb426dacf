"""The recipe of a training: which of Ultralytics' arguments it is given besides a strategy's own.

Images, labels and losses are treated as in the training of the checkpoint. How fast it learns is
the strategies' business: a rate that trained random weights is wrong for trained ones.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import Field

from prunebench.common.errors import ConfigError
from prunebench.common.records import Record
from prunebench.common.text import counted, first_line
from prunebench.common.ultralytics_files import import_offline
from prunebench.config.strategy_settings import TrainingSettings

AUGMENTATION = "hsv_h hsv_s hsv_v degrees translate scale shear perspective flipud fliplr bgr "
AUGMENTATION += "mosaic close_mosaic mixup cutmix copy_paste copy_paste_mode auto_augment erasing "
AUGMENTATION += "multi_scale rect"
LOSSES = "box cls cls_pw dfl pose kobj rle angle dlog dgrad dlam overlap_mask mask_ratio dropout"
CARRIED: Final = frozenset(f"{AUGMENTATION} {LOSSES} cos_lr fraction classes".split())
"""Arguments that a recipe consists of. ``single_cls`` belongs to the checkpoint: with it or without
it, a network has other classes, so Ultralytics itself carries it over.
"""

ONLY_BY_NAME: Final = frozenset(
    ("momentum", "warmup_momentum", "warmup_bias_lr", "conf", "iou", "max_det", "agnostic_nms")
)
"""Arguments that a strategy may set too, which depend on its optimizer or on the validation."""

IN_ITS_PLACE: Final = {
    **{name: f"retrain.{name}" for name in ("epochs", "imgsz", "batch", "patience")},
    **{name: name for name in ("model", "data", "seed")},
    "quantize": "retrain.strategies.qat",
    **dict.fromkeys(("project", "save_dir"), "out"),
    "name": "name",
    "time": "retrain.max_minutes",
    "cfg": "retrain.recipe",
    "amp": "retrain.precision",
    "distill_model": "retrain.strategies.preserving.distill",
    "dis": "retrain.strategies.preserving.distill_weight",
}
"""Arguments that have a key of the configuration of another name or in another section."""


class Recipe(Record):
    """Arguments other than Ultralytics' defaults, and what a reader of the plan has to know."""

    arguments: dict[str, Any] = Field(default_factory=dict)
    notes: tuple[str, ...] = ()


def find_recipe(asked: str, model: str, train_args: Mapping[str, Any]) -> Recipe:
    """The recipe that ``retrain.recipe`` asks for, of a model trained with ``train_args``.

    ConfigError where it is a file that cannot be used.
    """
    if asked == "defaults":
        return Recipe()
    if asked != "checkpoint":
        given = _read(Path(asked).expanduser())
        for name, value in given.items():
            if name in CARRIED and (fault := _fault(name, value)):
                raise ConfigError(fault, where=asked, fix="correct the value")
        return _recipe(given, asked)
    name = Path(model).name
    if name.endswith((".yaml", ".yml")):
        return Recipe()
    if not train_args:
        return Recipe(
            notes=(f"{name} does not say how it was trained: the recipe is Ultralytics' defaults",)
        )
    defaults = _defaults()
    unknown = sorted(set(train_args) - defaults.keys())
    faults = {k: v for k, v in train_args.items() if k in CARRIED and _fault(k, v) is not None}
    recipe = _recipe({k: v for k, v in train_args.items() if k not in faults}, name)
    dropped = [*unknown, *(f"{k}={v!r:.40}" for k, v in sorted(faults.items()))]
    if not dropped:
        return recipe
    note = f"left out of the recipe, as this Ultralytics does not take it: {', '.join(dropped)}"
    return recipe.model_copy(update={"notes": (*recipe.notes, note)})


def check_arguments(strategies: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse, with a ConfigError, ``args`` of strategies that cannot be set there."""
    for strategy, arguments in strategies.items():
        section = f"retrain.strategies.{strategy}"
        for name, value in arguments.items():
            where = f"{section}.args.{name}"
            if name in CARRIED | ONLY_BY_NAME:
                if fault := _fault(name, value):
                    raise ConfigError(fault, where=where, fix="correct the value")
                if name not in TrainingSettings.model_fields:
                    continue
            if name in TrainingSettings.model_fields:
                what, fix = f"{name} has a key of its own", f"set {section}.{name}"
            elif key := IN_ITS_PLACE.get(name):
                what, fix = f"{name} is not set here", f"set {key}"
            elif name in _defaults() or name == "save_dir":
                what, fix = f"{name} is none of a retraining's arguments to choose", "remove it"
            else:
                what, fix = _unknown(name)
            raise ConfigError(what, where=where, fix=fix)


def _recipe(given: Mapping[str, Any], source: str) -> Recipe:
    defaults = _defaults()
    changed = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in sorted(given.items())
        if name in CARRIED and value != defaults[name]
    }
    if not changed:
        return Recipe()
    words = ", ".join(f"{name}={value}" for name, value in changed.items())
    arguments = counted(len(changed), "argument")
    return Recipe(
        arguments=changed,
        notes=(f"recipe of {source}, {arguments} other than Ultralytics' defaults: {words}",),
    )


def _read(path: Path) -> dict[str, Any]:
    """Arguments in a file, such as the ``args.yaml`` that Ultralytics leaves with a training."""
    fix = "give checkpoint, defaults, or a YAML file of arguments of `yolo train`"
    try:
        given = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        what = f"the recipe {path} cannot be read ({first_line(error)})"
        raise ConfigError(what, where="retrain.recipe", fix=fix) from error
    if not isinstance(given, dict) or not given:
        what = f"the recipe {path} holds no arguments"
        raise ConfigError(what, where="retrain.recipe", fix=fix)
    for name in given:
        if name not in _defaults() and name != "save_dir":
            what, fix = _unknown(str(name))
            raise ConfigError(what, where=path, fix=fix)
    return given


def _unknown(name: str) -> tuple[str, str]:
    near = difflib.get_close_matches(name, sorted(_defaults()), n=1)
    return (
        f"{name} is no argument of `yolo train`",
        f"did you mean {near[0]}" if near else "remove it",
    )


def _fault(name: str, value: Any) -> str | None:
    """What Ultralytics, or its first epoch, would say against an argument's value."""
    from ultralytics.cfg import check_cfg

    numbers = value if isinstance(value, list | tuple) else (value,)
    if any(isinstance(number, float) and not math.isfinite(number) for number in numbers):
        return f"{name}={value} is not a finite number"
    if name == "copy_paste_mode" and value not in ("flip", "mixup"):
        return f"{name}={value} is neither flip nor mixup"
    if name == "classes" and not all(type(n) is int or value is None for n in numbers):
        return f"{name}={value} is neither a class's number nor a list of such"
    try:
        check_cfg({name: value})
    except (TypeError, ValueError) as error:
        return first_line(error).rstrip(".")
    return None


def _defaults() -> dict[str, Any]:
    import_offline()
    from ultralytics.utils import DEFAULT_CFG_DICT

    defaults: dict[str, Any] = DEFAULT_CFG_DICT
    return defaults
