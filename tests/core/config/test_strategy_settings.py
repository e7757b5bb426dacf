"""Strategies of other packages: found by their entry point, configured and digested."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from retraining_kit import make_dataset, make_network, parameters_in

from prunebench.common.errors import ConfigError
from prunebench.config.loading import Config, parse_config
from prunebench.config.strategy_settings import (
    PreservingSettings,
    StandardSettings,
    plugin_digest,
    strategy_names,
)
from prunebench.variants.retraining.step import Request, run
from prunebench.variants.retraining.strategy import find_strategy

DOCUMENT = Path(__file__).parents[3] / "docs" / "strategies.md"


def documented_plugin() -> str:
    """The example of the document: what it shows is what is tested."""
    blocks = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    return next(block for block in blocks if "class HeadOnly" in block)


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed package with one strategy that works and one that cannot be imported."""
    site = tmp_path / "site"
    info = site / "my_strategies-1.2.dist-info"
    info.mkdir(parents=True)
    module = site / "my_strategies.py"
    module.write_text(documented_plugin())
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-strategies\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(
        "[prunebench.strategies]\n"
        "head-only = my_strategies:HeadOnly\n"
        "broken = no_such_module:Strategy\n"
    )
    monkeypatch.syspath_prepend(site)
    monkeypatch.delitem(sys.modules, "my_strategies", raising=False)
    return module


def configured(strategies: object) -> Config:
    return parse_config({"model": "best.pt", "retrain": {"strategies": strategies}})


def test_built_in_settings_have_their_own_defaults() -> None:
    strategies = configured(
        {"standard": None, "preserving": {"distill": "features"}}
    ).retrain.strategies
    assert strategies["standard"] == StandardSettings(lr0=0.01, on_restore="warn")
    assert strategies["preserving"] == PreservingSettings(lr0=0.001, distill="features")


@pytest.mark.usefixtures("plugin")
def test_another_packages_strategy_is_configured_like_a_built_in_one() -> None:
    assert strategy_names() == ("standard", "preserving", "qat", "broken", "head-only")
    config = configured({"head-only": {"layers": 3}})
    assert config.model_dump()["retrain"]["strategies"] == {"head-only": {"layers": 3}}
    assert Config.model_validate_json(config.model_dump_json()) == config
    assert find_strategy("head-only").name == "head-only"


@pytest.mark.usefixtures("plugin")
@pytest.mark.parametrize(
    ("strategies", "message"),
    [
        ({"head-only": {"layers": 0}}, r"retrain\.strategies\.head-only\.layers: .*got 0"),
        ({"head-only": {"depth": 1}}, r"unknown key retrain\.strategies\.head-only\.depth"),
        (
            {"tail-only": {}},
            "unknown strategy 'tail-only', use standard or preserving or qat or broken",
        ),
        ({"broken": {}}, "'broken' cannot be imported from no_such_module:Strategy"),
        ({"preserving": {"destill": True}}, r"did you mean retrain\.strategies\.preserving\.dist"),
        ({"preserving": {"lr0": 2}}, r"retrain\.strategies\.preserving\.lr0: .*got 2"),
        ({"preserving": [1]}, r"retrain\.strategies\.preserving: it is a section of keys"),
        ([], r"retrain\.strategies: .*dictionary"),
    ],
)
def test_wrong_settings_are_told_with_their_path(strategies: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        configured(strategies)


def test_the_digest_follows_the_plugins_source(plugin: Path) -> None:
    before = plugin_digest("head-only")
    plugin.write_text(plugin.read_text() + "# edited\n")
    assert plugin_digest("head-only") != before
    assert plugin_digest("preserving") == "", "covered by the step's own source"


@pytest.mark.usefixtures("plugin")
def test_another_packages_strategy_trains(tmp_path: Path) -> None:
    import torch

    from prunebench.variants.checkpoint import load_checkpoint

    pruned = make_network(tmp_path / "pruned.pt", pruned=True)
    request = Request(
        strategy="head-only",
        settings={"layers": 5},
        checkpoint=str(pruned),
        data_yaml=str(make_dataset(tmp_path / "data")),
        round=1,
        epochs=1,
        imgsz=32,
        batch=3,
        image_hw=(32, 32),
    )
    assert request.source
    result = run(Request.model_validate_json(request.model_dump_json()), tmp_path / "work", print)
    assert result.training.strategy == "head-only"
    trained = tmp_path / "work" / "model.pt"
    assert parameters_in(trained) == parameters_in(pruned)
    before, after = (dict(load_checkpoint(p).named_parameters()) for p in (pruned, trained))
    changed = {name for name in after if not torch.equal(after[name], before[name])}
    assert changed
    assert not any(name.startswith(("model.0.", "model.4.")) for name in changed), "frozen"
