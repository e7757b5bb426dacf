"""Trainings go on with the recipe of the checkpoint, or with what the user sets, checked first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from retraining_kit import make_dataset, make_network, request

from prunebench.cli.views.plan import plan_view
from prunebench.common.errors import EXIT_BAD_INPUT, ConfigError
from prunebench.config.loading import Config, key_paths
from prunebench.config.strategy_settings import BUILT_IN, PreservingSettings, SparseSettings
from prunebench.experiment.given_model import given_request
from prunebench.experiment.requirements import require_loggers
from prunebench.steps.cache import step_key
from prunebench.variants.given import open_given
from prunebench.variants.retraining.fit import fit
from prunebench.variants.retraining.isolation import INTEGRATIONS, isolate_ultralytics
from prunebench.variants.retraining.job import Job
from prunebench.variants.retraining.recipe import (
    CARRIED,
    IN_ITS_PLACE,
    ONLY_BY_NAME,
    Recipe,
    check_arguments,
    find_recipe,
)
from prunebench.variants.retraining.step import run

ELSEWHERE: dict[str, Any] = {
    **{"hsv_h": 0.03, "hsv_s": 0.5, "hsv_v": 0.2, "degrees": 5.0, "translate": 0.2, "scale": 0.9},
    **{"shear": 2.0, "perspective": 0.0005, "flipud": 0.5, "fliplr": 0.0, "mosaic": 0.5},
    **{"mixup": 0.15, "cutmix": 0.1, "copy_paste": 0.1, "close_mosaic": 15, "box": 6.0},
    **{"cls": 0.7, "dfl": 2.0, "cos_lr": True, "fraction": 0.5},
}
"""Twenty keys of a training that somebody else chose."""

OF_ITS_OWN = {"lr0": 0.1, "optimizer": "Adam", "freeze": 10, "epochs": 300, "device": "0", "nbs": 8}
"""What is the business of that training alone."""


def trained(path: Path, train_args: Any) -> Path:
    make_network(path)
    content = torch.load(path, map_location="cpu", weights_only=False)
    content["train_args"] = train_args
    torch.save(content, path)
    return path


def asked(model: Path, **retrain: Any) -> Recipe:
    config = Config.model_validate(
        {"model": str(model), "prune": {"round_to": 8}, "retrain": {"imgsz": 64} | retrain}
    )
    return open_given(given_request(config, None)).recipe


def printed(recipe: Recipe) -> str:
    from rich.console import Console

    console = Console(width=2000)
    with console.capture() as capture:
        console.print(plan_view(Config(model="best.pt"), (), recipe.notes))
    return capture.get()


def test_twenty_changed_keys_are_carried_over_and_printed(tmp_path: Path) -> None:
    from ultralytics.utils import DEFAULT_CFG_DICT

    best = trained(tmp_path / "best.pt", DEFAULT_CFG_DICT | ELSEWHERE | OF_ITS_OWN)
    recipe = asked(best)
    assert len(ELSEWHERE) == 20
    assert recipe.arguments == ELSEWHERE
    text = printed(recipe)
    assert "recipe of best.pt, 20 arguments other than Ultralytics' defaults: box=6.0, " in text
    assert all(f"{name}={value}" in text for name, value in ELSEWHERE.items())
    assert not any(f"{name}=" in text for name in OF_ITS_OWN)
    assert asked(best, recipe="defaults") == Recipe()


def test_a_file_is_a_recipe_too(tmp_path: Path) -> None:
    best, file = make_network(tmp_path / "best.pt"), tmp_path / "args.yaml"
    file.write_text(yaml.safe_dump(ELSEWHERE | OF_ITS_OWN | {"save_dir": "runs/train"}))
    assert asked(best, recipe=str(file)).arguments == ELSEWHERE


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "cannot be read"),
        ("[1, 2]", "holds no arguments"),
        ("a: [", "cannot be read"),
        ("mosiac: 1.0", "mosiac is no argument of `yolo train`; did you mean mosaic"),
        ("mixup: 2", "between 0.0 and 1.0"),
        ("box: .nan", "box=nan is not a finite number"),
    ],
)
def test_a_file_that_is_no_recipe_is_refused(tmp_path: Path, text: str | None, said: str) -> None:
    file = tmp_path / "recipe.yaml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(ConfigError, match=said) as caught:
        find_recipe(str(file), "best.pt", {})
    assert caught.value.exit_code == EXIT_BAD_INPUT


def test_what_this_ultralytics_does_not_take_is_dropped_and_said() -> None:
    args = {"mixup": 0.2, "label_smoothing": 0.1, "box": "7", "scale": -1, "classes": ["tree"]}
    recipe = find_recipe("checkpoint", "old.pt", args)
    assert recipe.arguments == {"mixup": 0.2}
    assert recipe.notes[-1] == (
        "left out of the recipe, as this Ultralytics does not take it: label_smoothing, "
        "box='7', classes=['tree'], scale=-1"
    )


@pytest.mark.parametrize("args", [None, {}, [1, 2]])
def test_a_checkpoint_that_does_not_say_gets_the_defaults(tmp_path: Path, args: Any) -> None:
    recipe = asked(trained(tmp_path / "best.pt", args))
    assert recipe.arguments == {}
    assert recipe.notes == (
        "best.pt does not say how it was trained: the recipe is Ultralytics' defaults",
    )


def test_an_untrained_network_has_no_recipe() -> None:
    assert find_recipe("checkpoint", "yolov8n.yaml", {}) == Recipe()


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("hsv_hh", 1, "hsv_hh is no argument of `yolo train`; did you mean hsv_h"),
        ("hsv_h", 2, "between 0.0 and 1.0"),
        ("cos_lr", "yes", "must be a bool"),
        ("copy_paste_mode", "glue", "neither flip nor mixup"),
        ("classes", "tree", "neither a class's number nor a list of such"),
        ("lr0", 0.1, "lr0 has a key of its own; set retrain.strategies.standard.lr0"),
        ("epochs", 3, "epochs is not set here; set retrain.epochs"),
        ("save_dir", "x", "set out"),
        ("device", 0, "device is none of a retraining's arguments to choose"),
        ("resume", True, "resume is none of"),
        ("single_cls", True, "single_cls is none of"),
    ],
)
def test_arguments_that_cannot_be_set_are_refused(name: str, value: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        check_arguments({"standard": {name: value}})
    assert caught.value.where == f"retrain.strategies.standard.args.{name}"


def test_every_key_that_is_named_exists() -> None:
    from ultralytics.utils import DEFAULT_CFG_DICT

    keys = set(key_paths(Config)) | {f"retrain.strategies.{name}" for name in BUILT_IN}
    keys |= {f"retrain.strategies.preserving.{name}" for name in PreservingSettings.model_fields}
    assert set(IN_ITS_PLACE.values()) <= keys
    assert CARRIED | ONLY_BY_NAME | (IN_ITS_PLACE.keys() - {"save_dir"}) <= DEFAULT_CFG_DICT.keys()


def test_settings_lie_over_the_recipe_and_arguments_over_both() -> None:
    recipe = {"mosaic": 0.5, "close_mosaic": 15, "lr0": 0.5, "box": 6.0, "cls": 0.7}
    settings = PreservingSettings(mosaic=0.2, args={"cls": 0.9, "momentum": 0.8})
    found = settings.arguments(recipe)
    assert (found["mosaic"], found["close_mosaic"], found["lr0"]) == (0.2, 15, 0.001)
    assert (found["box"], found["cls"], found["momentum"]) == (6.0, 0.9, 0.8)
    assert "args" not in found
    assert SparseSettings(kind="bn_l1").arguments(recipe)["box"] == 6.0


def test_a_recipe_is_part_of_the_key_and_of_the_training(tmp_path: Path) -> None:
    data, network = make_dataset(tmp_path / "data"), make_network(tmp_path / "start.pt")
    recipe = {"fraction": 0.5, "box": 6.0, "fliplr": 0.0}
    mine = request(network, data, "preserving", recipe=recipe, settings={"args": {"cls": 0.7}})
    plain = request(network, data, "preserving")
    assert step_key("train", mine, {}) != step_key("train", plain, {})
    done = run(mine, tmp_path / "work", lambda event: None)
    content = torch.load(tmp_path / "work" / done.checkpoint.path, weights_only=False)
    expected = recipe | {"cls": 0.7, "lr0": 0.001}
    assert expected.items() <= content["train_args"].items()
    assert expected.items() <= done.training.arguments.items()
    assert "distill_model" not in done.training.arguments


def test_a_tracker_that_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"clearml is not installed; install it \(pip install cl"):
        require_loggers(("clearml",))


def test_trackers_are_off_but_those_asked_for() -> None:
    from ultralytics.utils import SETTINGS

    before = Path(SETTINGS.file).read_bytes()
    isolate_ultralytics(("tensorboard",))
    assert [name for name in INTEGRATIONS if SETTINGS[name]] == ["tensorboard"]
    isolate_ultralytics()
    assert not any(SETTINGS[name] for name in INTEGRATIONS)
    assert Path(SETTINGS.file).read_bytes() == before


def test_what_tensorboard_wrote_is_kept(tmp_path: Path) -> None:
    network = make_network(tmp_path / "start.pt")
    work, name = tmp_path / "work", "events.out.tfevents.1.host"
    job = Job(
        checkpoint=network,
        folder=work,
        arguments={"lr0": 0.001},
        budget=request(network, make_dataset(tmp_path / "data"), "preserving", epochs=1),
        provenance={},
        emit=lambda event: None,
    )
    fit(job, callbacks={"on_train_end": lambda t: (Path(t.save_dir) / name).write_text("kept")})
    assert (work / name).read_text() == "kept"
    assert not (work / "fit").exists()
