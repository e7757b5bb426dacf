from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from prunebench.steps import source_digest as source
from prunebench.steps.child import STEP_MODULES


@pytest.fixture
def copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "prunebench"
    shutil.copytree(source.PACKAGE_ROOT, root, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(source, "PACKAGE_ROOT", root)
    source.source_digest.cache_clear()
    yield root
    source.source_digest.cache_clear()


def digest(module: str) -> str:
    source.source_digest.cache_clear()
    return source.source_digest(module)


def test_editing_an_imported_module_changes_the_digest(copied: Path) -> None:
    before = digest("prunebench.steps.child")
    path = copied / "common" / "records.py"
    path.write_text(path.read_text() + "\n# edited\n")
    assert digest("prunebench.steps.child") != before


def test_editing_an_unrelated_module_does_not(copied: Path) -> None:
    before = digest("prunebench.steps.child")
    path = copied / "experiment" / "plan.py"
    path.write_text(path.read_text() + "\n# edited\n")
    assert digest("prunebench.steps.child") == before


def test_imports_inside_functions_and_relative_ones_count(copied: Path) -> None:
    package = copied / "made_up"
    package.mkdir()
    (package / "__init__.py").write_text("from . import near\n")
    (package / "near.py").write_text(
        "def f():\n    from ..common.files import place\n    return place\n"
    )
    closure = source.import_closure("prunebench.made_up")
    assert {
        "prunebench.made_up.near",
        "prunebench.common.files",
        "prunebench.common.errors",
    } <= closure
    assert "prunebench.experiment.plan" not in closure


def test_an_unknown_module_is_an_error() -> None:
    with pytest.raises(ModuleNotFoundError):
        source.import_closure("prunebench.no_such_module")


@pytest.mark.parametrize("step", ["train", "export", "accuracy", "prune"])
def test_a_step_does_not_depend_on_what_is_told_of_it(step: str) -> None:
    """Or a new sentence in the report would train everything again."""
    closure = source.import_closure(STEP_MODULES[step])
    told = (
        "prunebench.cli",
        "prunebench.results.report",
        "prunebench.results.messages",
        "prunebench.results.ranking.text",
    )
    assert not [name for name in closure if name.startswith(told)]
