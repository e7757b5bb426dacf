from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from prunebench.common.errors import EXIT_BAD_INPUT, ConfigError
from prunebench.config.forms import FORMS
from prunebench.config.loading import (
    Config,
    key_paths,
    load_config,
    parse_config,
    parse_overrides,
)
from prunebench.config.sections import QuantizeConfig

CONFIGS = Path(__file__).parents[3] / "configs"


def write(folder: Path, text: str) -> Path:
    path = folder / "config.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("name", [path.name for path in sorted(CONFIGS.glob("*.yaml"))])
def test_every_shipped_configuration_is_valid(name: str) -> None:
    config = load_config(CONFIGS / name, environ={})
    assert config.name == name.removesuffix(".yaml")


def test_report_configuration_is_the_reference_experiment() -> None:
    config = load_config(CONFIGS / "report.yaml", environ={})
    assert config.image.hw == (192, 320)
    assert config.accuracy.images == 100
    assert config.ranking.realtime_fps == 20
    assert config.retrain.precision == "float32"
    preserving = config.retrain.strategies["preserving"]
    assert (preserving.freeze, preserving.lr0) == (0, 0.001)
    assert (preserving.warmup_epochs, preserving.close_mosaic) == (3, 10)


def test_overrides_win_over_environment_over_file_over_defaults(tmp_path: Path) -> None:
    file = write(tmp_path, "model: file.pt\ndata: file.yaml\nseed: 1\nprune: {target: 0.2}\n")
    environ = {"PRUNEBENCH_MODEL": "env.pt", "PRUNEBENCH_DATA": "env.yaml"}
    config = load_config(file, overrides={"model": "given.pt"}, environ=environ)
    assert (config.model, config.data, config.seed) == ("given.pt", "env.yaml", 1)
    assert config.prune.target == 0.2
    assert config.prune.bn_batches == Config(model="x.pt").prune.bn_batches


def test_a_nested_key_changes_nothing_beside_it(tmp_path: Path) -> None:
    file = write(tmp_path, "model: m.pt\nprune: {target: 0.2, bn_batches: 3}\n")
    config = load_config(file, environ={"PRUNEBENCH_PRUNE__TARGET": "0.4"})
    assert (config.prune.target, config.prune.bn_batches) == (0.4, 3)
    config = load_config(file, overrides={"prune.target": "2x"}, environ={})
    assert (config.prune.target, config.prune.bn_batches) == ("2x", 3)


def test_overrides_are_read_as_yaml(tmp_path: Path) -> None:
    text = "model: m.pt\nquantize: int8\nlatency: {threads: [1]}\naccuracy: {images: 5}\n"
    arguments = [
        "prune.target=[1.5x, 0.3]",
        "retrain.epochs=20",
        "accuracy.images=null",
        "data=scenes:train=16,val=8",
        "quantize.calibration_images=64",
        "retrain.strategies={preserving: {lr0: 0.003}}",
        "retrain.strategies.preserving.lr0=1e-2",
        "latency.strict=true",
        "retrain.epochs=30",
    ]
    config = load_config(write(tmp_path, text), overrides=parse_overrides(arguments), environ={})
    assert config.prune.target == ("1.5x", 0.3)
    assert config.retrain.epochs == 30, "the last of two counts"
    assert config.accuracy.images is None
    assert config.data == "scenes:train=16,val=8"
    assert config.quantize == QuantizeConfig(calibration_images=64)
    assert {n: s.lr0 for n, s in config.retrain.strategies.items()} == {"preserving": 0.01}
    assert (config.latency.strict, config.latency.threads) == (True, (1,))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["epochs"], "epochs: it is not key=value; set a key of the configuration, such as"),
        (["=3"], "=3: it is not key=value"),
        (["prune.target=[2x"], "prune.target=[2x: the value is not valid YAML"),
        (
            ["retrain.epoch=3"],
            "command line: unknown key retrain.epoch; did you mean retrain.epochs",
        ),
        (["retrain.strategies.standard.depth=3"], "standard.depth; remove it"),
        (["devices=[pi5]"], "command line: devices take the files from a store: set store"),
        (["prun.target=2x"], "command line: unknown key prun; did you mean prune"),
        (["mlflow.experiment=x"], "command line: the key mlflow.uri is missing"),
        (["epochs=3"], "command line: unknown key epochs; did you mean retrain.epochs"),
        (["seed.x=3"], "seed: input should be a valid integer"),
        (["prune=2x"], "command line: prune: it is a section of keys, not a value (got '2x')"),
        (["retrain.epochs=many"], "command line: retrain.epochs: input should be a valid integer"),
        (
            ["retrain.strategies={standart: {}}"],
            "command line: retrain.strategies: unknown strategy 'standart'",
        ),
    ],
)
def test_a_wrong_override_gives_one_sentence(
    tmp_path: Path, arguments: list[str], expected: str
) -> None:
    file = write(tmp_path, "model: m.pt\n")
    with pytest.raises(ConfigError) as caught:
        load_config(file, overrides=parse_overrides(arguments), environ={})
    assert expected in str(caught.value)
    assert caught.value.exit_code == EXIT_BAD_INPUT
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("PRUNEBENCH_TYPO", "1"),
        ("PRUNEBENCH_TY__PO", "1"),
        ("PRUNEBENCH_PRUNE__TARGET", "2"),
        ("PRUNEBENCH_MLFLOW__MODELS", "true"),
        ("PRUNEBENCH_ENGINE", "dask"),
    ],
)
def test_an_error_names_the_variable_that_made_it(
    tmp_path: Path, variable: str, value: str
) -> None:
    file = write(tmp_path, "model: m.pt\n")
    with pytest.raises(ConfigError, match=variable):
        load_config(file, environ={variable: value})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("model: m.pt\nprun: {target: 2x}\n", "unknown key prun; did you mean prune"),
        ("model: m.pt\nprune: {taget: 2x}\n", "unknown key prune.taget; did you mean prune.target"),
        ("model: m.pt\ntarget: 2x\n", "did you mean prune.target"),
        (
            "model: m.pt\nprune: {target: 2x, widths: w.yaml}\n",
            "target and widths both say how wide",
        ),
        ("model: m.pt\nprune: {target: null}\n", "there is no target, use 1.5x"),
        ("model: m.pt\nprune: {ratio: 0.2}\n", "unknown key prune.ratio; write prune.target"),
        ("model: m.pt\nprune: {targets: [2x]}\n", "unknown key prune.targets; write prune.target"),
        (
            "model: m.pt\nprune: {align_for: arm}\n",
            "prune.align_for; write prune.round_to, the block",
        ),
        ("model: m.pt\nretrain: {processes: 2}\n", "unknown key retrain.processes; remove it"),
        ("model: m.pt\nprune: {target: 0}\n", "prune.target: a ratio of 0 is not between 0 and 1"),
        ("model: m.pt\nprune: {target: 1}\n", "prune.target: a ratio of 1 is not between 0 and 1"),
        ("model: m.pt\nprune: {target: 1.5}\n", "and 1, a speed-up is 1.5x"),
        ("model: m.pt\nprune: {target: much}\n", "prune.target: 'much' is not a target, use 1.5x"),
        ("model: m.pt\nprune: {target: {x: 2}}\n", "is not a target, use 1.5x"),
        ("model: m.pt\nprune: {target: []}\n", "prune.target: the list is empty, use 1.5x"),
        ("model: m.pt\nprune: {target: [2x, 2.0x]}\n", "the target 2x is given twice"),
        ("model: m.pt\nprune: {round_to: 0}\n", "prune.round_to: input should be greater than"),
        ("model: m.pt\nimage: {height: 180}\n", "image.height: 180 is not a multiple of 32"),
        ("model: m.pt\nretrain: {imgsz: 100}\n", "retrain.imgsz: 100 is not a multiple of 32"),
        (
            "model: m.pt\nretrain: {strategies: {standard: {qat: true}}}\n",
            "unknown key retrain.strategies.standard.qat; did you mean retrain.strategies.qat",
        ),
        ("model: m.pt\nretrain: {activation: rellu}\n", "(got 'rellu'); did you mean relu"),
        (
            "model: m.pt\nretrain: {activation: relu, strategies: {standard: {}}}\n",
            "relu is for preserving and qat, and no strategy here is one of them (standard): add",
        ),
        (
            "model: m.pt\nretrain: {activation: relu, rounds: 0}\n",
            "another activation is paid back by retraining, and rounds is 0",
        ),
        (
            "model: m.pt\nretrain: {strategies: {standard: {activation: relu}}}\n",
            "unknown key retrain.strategies.standard.activation; did you mean retrain.activation",
        ),
        (
            "model: m.pt\nquantize: int4\n",
            "quantize: other files than INT8 are not made: set it to int8",
        ),
        (
            "model: m.pt\nquantize: {variants: []}\n",
            "quantize.variants: the list is empty (got [])",
        ),
        ("data: scenes\n", "the key model is missing"),
        ("model: m.pt\nname: ../up\n", "name: it is not lower case letters, digits and dashes"),
        (
            "model: m.pt\ndevices: {pi: pi@board}\n",
            "devices.pi.address: it is not an address such as ssh://user@host or "
            "ssh://user@host:22 (got 'pi@board'); correct the value",
        ),
        (
            "model: m.pt\nprune: {round_to: autos}\n",
            "prune.round_to: input should be a valid integer, unable to parse string as an "
            "integer (got 'autos'); did you mean auto.",
        ),
        ("model: m.pt\ndevices: [pi5]\n", "devices take the files from a store: set store."),
        ("model: m.pt\nlatency: {rounds_min: 9, rounds_max: 8}\n", "rounds_max 8 is below"),
        ("model: m.pt\nretrain: {strategies: {standart: {}}}\n", "unknown strategy 'standart'"),
        ("", "the file is empty"),
        ("- a\n- b\n", "the file holds no mapping"),
        ("model: [m.pt\n", "the file is not valid YAML"),
    ],
)
def test_a_wrong_file_gives_one_sentence(tmp_path: Path, text: str, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(write(tmp_path, text), environ={})
    assert expected in str(caught.value)
    assert caught.value.where == str(tmp_path / "config.yaml")
    assert caught.value.exit_code == EXIT_BAD_INPUT
    assert "\n" not in str(caught.value)


def test_every_pattern_is_told_in_words() -> None:
    schema = json.dumps(Config.model_json_schema())
    patterns = {
        json.loads(found) for found in re.findall(r'"pattern": ("(?:[^"\\\\]|\\\\.)*")', schema)
    }
    assert patterns
    assert patterns <= set(FORMS)


def test_int8_alone_is_a_section_of_defaults(tmp_path: Path) -> None:
    assert load_config(write(tmp_path, "model: m.pt\n"), environ={}).quantize is None
    short = load_config(write(tmp_path, "model: m.pt\nquantize: int8\n"), environ={})
    assert short.quantize == QuantizeConfig()
    section = "model: m.pt\nquantize: {variants: [pruned], calibration_images: 64}\n"
    given = load_config(write(tmp_path, section), environ={}).quantize
    assert given == QuantizeConfig(variants=("pruned",), calibration_images=64)
    assert given.max_map50_loss == 0.01
    variable = {"PRUNEBENCH_QUANTIZE": "int8"}
    assert load_config(write(tmp_path, "model: m.pt\n"), environ=variable).quantize is not None


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        load_config(tmp_path / "none.yaml", environ={})


@given(st.sampled_from(sorted(set(key_paths(Config)))), st.integers(0, 200))
def test_a_key_with_one_letter_lost_is_recognised(path: str, position: int) -> None:
    leaf = path.rsplit(".", 1)[-1]
    if len(leaf) < 5:
        return
    cut = position % len(leaf)
    wrong = leaf[:cut] + leaf[cut + 1 :]
    full = path[: len(path) - len(leaf)] + wrong
    if full in set(key_paths(Config)):
        return
    values: dict[str, object] = {"model": "m.pt"}
    inner = values
    *sections, _ = path.split(".")
    for section in sections:
        inner[section] = {}
        inner = inner[section]  # type: ignore[assignment]
    inner[wrong] = 1
    with pytest.raises(ConfigError, match="unknown key") as caught:
        parse_config(values)
    assert "did you mean" in str(caught.value)


def test_the_configuration_survives_yaml(tmp_path: Path) -> None:
    config = Config(model="m.pt", seed=7)
    text = yaml.safe_dump(config.model_dump(mode="json"))
    again = load_config(write(tmp_path, text), environ={})
    assert again == config
    assert again.digest() == config.digest()


@pytest.mark.parametrize(
    ("devices", "sentence"),
    [
        ((), "pi5 is not one of `devices`, and pruning measures over ssh"),
        ({"laptop": "ssh://laptop"}, "pi5 is not one of `devices`"),
        ({"pi5": None}, r"pi5 is a work queue, .* devices: \{pi5: ssh://user@host\}"),
        (["pi5"], "pi5 is a work queue"),
    ],
)
def test_pruning_measures_only_on_a_device_that_ssh_reaches(devices: Any, sentence: str) -> None:
    values = {"model": "best.pt", "store": "file:///store", "prune": {"measure_on": "pi5"}}
    with pytest.raises(ConfigError, match=rf"^prune\.measure_on: {sentence}"):
        parse_config({**values, "devices": devices})
    config = parse_config({**values, "devices": {"pi5": "ssh://pi@board"}})
    assert config.prune.measure_on == "pi5"
