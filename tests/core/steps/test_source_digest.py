"""Keys of steps when the package is edited: every edit is made in a real copy of it."""

from __future__ import annotations

import ast
import random
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from retraining_kit import request

from prunebench.config.sections import LatencyConfig
from prunebench.config.targets import parse_goal
from prunebench.steps import source_digest as source
from prunebench.steps.cache import code_of, step_key
from prunebench.steps.child import STEP_MODULES
from prunebench.variants.pruning.step import Request as PruneRequest
from prunebench.variants.pruning.step import Timing

TRAININGS = ("standard", "preserving", "sparse")
STAGED = {f"prune staged {name}" for name in TRAININGS[:2]}
PARTED = {"train", "prune"}
"""Steps whose code depends on the request."""

Changed = Callable[[], set[str]]


def forget() -> None:
    for cached in (source.source_of, source._module, source._file_of):
        cached.cache_clear()


@pytest.fixture
def copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "prunebench"
    shutil.copytree(source.PACKAGE_ROOT, root, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(source, "PACKAGE_ROOT", root)
    forget()
    yield root
    forget()


def training(strategy: str) -> Any:
    own = {"settings": {"kind": "bn_l1"}} if strategy == "sparse" else {}
    return request(Path("/model.pt"), Path("/data.yaml"), strategy, **own)


def pruning(**changes: Any) -> PruneRequest:
    return PruneRequest(
        checkpoint="/model.pt",
        data_yaml="/data.yaml",
        goal=parse_goal("0.5"),
        round_to=None,
        importance="magnitude",
        bn_batches=0,
        imgsz=(64, 64),
        **changes,
    )


REQUESTS: dict[str, tuple[str, Any]] = {
    **{f"train {name}": ("train", training(name)) for name in TRAININGS},
    **{
        f"prune staged {name}": ("prune", pruning(stages=2, stage_training=training(name)))
        for name in TRAININGS[:2]
    },
    "prune": ("prune", pruning()),
    "prune measured": (
        "prune",
        pruning(timing=Timing(latency=LatencyConfig(), opset=17, host="h")),
    ),
}


def keys() -> dict[str, Any]:
    """The key of every kind of training and pruning, and the code of every other step."""
    forget()
    made: dict[str, Any] = {name: step_key(*given, {}) for name, given in REQUESTS.items()}
    return {**made, **{step: code_of(step) for step in STEP_MODULES if step not in PARTED}}


@pytest.fixture(scope="module")
def keys_before() -> dict[str, Any]:
    return keys()


@pytest.fixture
def changed(copied: Path, keys_before: dict[str, Any]) -> Changed:
    """What has another key than before the copy was edited."""

    def compare() -> set[str]:
        after = keys()
        return {name for name, key in keys_before.items() if after[name] != key}

    return compare


def edited(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text, f"{path} no longer says {old}"
    path.write_text(text.replace(old, new))


def test_a_copy_has_the_same_keys(changed: Changed) -> None:
    assert changed() == set()


def test_comments_docstrings_and_descriptions_change_no_key(copied: Path, changed: Changed) -> None:
    for path in copied.rglob("*.py"):
        text = path.read_text()
        text = re.sub(r'\bdescription="', 'description="Reworded: ', text)
        text = re.sub(r'^( *)"""(?=[A-Z])', r'\1"""Reworded: ', text, flags=re.M)
        path.write_text(f"{text}\n# edited\n")
    assert changed() == set()


def test_remarks_anywhere_change_no_key(copied: Path, changed: Changed) -> None:
    """Comments and strings that nothing reads, before random statements of every module."""
    rng = random.Random(1)
    for path in copied.rglob("*.py"):
        path.write_text(with_remarks(path.read_text(), rng))
    assert changed() == set()


def with_remarks(text: str, rng: random.Random) -> str:
    lines = text.split("\n")
    starts = {
        (min([n.lineno, *(d.lineno for d in getattr(n, "decorator_list", ()))]), n.col_offset)
        for n in ast.walk(ast.parse(text))
        if isinstance(n, ast.stmt)
    }
    places = sorted(
        (number, column)
        for number, column in starts
        if not lines[number - 1][:column].strip() and not lines[number - 1].strip().startswith("el")
    )
    for number, column in reversed(places):
        if rng.random() < 0.3:
            remark = rng.choice(["# a comment", '"""A sentence that nothing reads."""', ""])
            lines.insert(number - 1, " " * column + remark)
    return "\n".join(lines)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.sampled_from(sorted(source.PACKAGE_ROOT.rglob("*.py"))), st.randoms())
def test_a_remark_changes_no_statement(tmp_path: Path, path: Path, rng: random.Random) -> None:
    remarked = tmp_path / path.name
    remarked.write_text(with_remarks(path.read_text(), rng))

    def texts(file: Path) -> list[str]:
        module = source._Module("prunebench.made_up", file)
        return [module.read(number, None).text for number in range(len(module.statements))]

    assert texts(remarked) == texts(path)


UNRELATED_TO_TRAINING = (
    "variants/int8/*.py",
    "steps/events.py",
    "measuring/latency/*.py",
    "measuring/host/*.py",
    "measuring/profile.py",
    "results/**/*.py",
    "cli/**/*.py",
    "experiment/*.py",
    "operating/**/*.py",
    "config/loading.py",
)


def test_int8_latency_report_and_cli_code_change_no_key_of_a_training(
    copied: Path, changed: Changed
) -> None:
    for pattern in UNRELATED_TO_TRAINING:
        paths = list(copied.glob(pattern))
        assert paths, f"{pattern} is nowhere"
        for path in paths:
            path.write_text(with_marks(path.read_text()))
    found = changed()
    assert {"quantize", "prune measured"} <= found
    assert found.isdisjoint({*(f"train {name}" for name in TRAININGS), *STAGED, "prune"})


def with_marks(text: str) -> str:
    """Every function and every class does something more."""
    tree = ast.parse(text)
    more = ast.parse("len('more')").body
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            node.body = [*node.body, *more]
    return ast.unparse(tree)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("variants/retraining/preserving.py", {"train preserving", "prune staged preserving"}),
        ("variants/retraining/standard.py", {"train standard", "prune staged standard"}),
        ("variants/retraining/sparse.py", {"train sparse"}),
        ("variants/retraining/regulariser.py", {"train sparse"}),
        (
            "variants/retraining/trainers.py",
            {"train preserving", "train sparse", "prune staged preserving"},
        ),
        (
            "variants/retraining/session.py",
            {*(f"train {name}" for name in TRAININGS), *STAGED, "baseline"},
        ),
        ("measuring/latency/child.py", {"costs", "integers", "prune measured"}),
        ("variants/pruning/search.py", {"prune", "prune measured", *STAGED}),
        ("variants/int8/quantizer.py", {"quantize", "prune measured"}),
    ],
)
def test_code_changes_the_keys_of_what_it_is_part_of(
    copied: Path, changed: Changed, path: str, expected: set[str]
) -> None:
    file = copied / path
    file.write_text(with_marks(file.read_text()))
    assert changed() - {"mlflow"} == expected


def test_the_settings_of_a_strategy_belong_to_its_trainings(copied: Path, changed: Changed) -> None:
    edited(
        copied / "config" / "strategy_settings.py",
        '0.0, ge=0, le=10_000, description="Epochs over',
        '0.0, description="Epochs over',
    )
    assert changed() - {"mlflow"} == {"train preserving", "prune staged preserving"}


def test_what_is_imported_under_the_same_name_counts(copied: Path, changed: Changed) -> None:
    path = copied / "variants" / "retraining" / "session.py"
    edited(path, "import random\n", "import secrets as random\n")
    assert "train standard" in changed()


MADE_UP = {
    "__init__.py": "from .near import f as handed_on\n",
    "near.py": "def f():\n    from ..common.files import place\n    return place\n\n"
    "def g():\n    pass\n",
    "step.py": "import prunebench.made_up as here\n\nclass Request:\n    pass\n\n"
    "def run():\n    return here.handed_on\n",
}


@pytest.mark.parametrize(
    ("added", "reached"),
    [
        ("", False),
        ("def run2():\n    return far.g\n", False),
        ("far.g()\n", True),
        ("X = run()\n\n@far.g\ndef kept():\n    pass\n", True),
        ("NAMED = 'prunebench.made_up.far'\n\nclass Request:\n    named = NAMED\n", True),
        ("class Request:\n    value: 'list[far.g]'\n", True),
        ("def run():\n    return getattr(far, 'g')\n", True),
        ("def run():\n    return far.g\n", True),
        ("def run(value: far.g) -> far.g:\n    other: far.g = value\n", False),
        ("def run():\n    return far.h\n", False),
        ("def run():\n    from . import far as other\n    return other.g\n", True),
        ("if run:\n    from .far import h\n", False),
        ("if run:\n    from .far import g\n    Request = g\n", True),
        ("from .far import *\n", True),
    ],
)
def test_what_is_followed(copied: Path, added: str, reached: bool) -> None:
    package = copied / "made_up"
    package.mkdir()
    for name, text in MADE_UP.items():
        (package / name).write_text(text)
    (package / "far.py").write_text("def g():\n    return 1\n\ndef h():\n    return 2\n")
    step = package / "step.py"
    step.write_text(f"from . import far\n{step.read_text()}\n{added}")

    def digest() -> str:
        forget()
        return source.source_of("prunebench.made_up.step").digest

    before = digest()
    edited(package / "far.py", "return 1", "return 3")
    assert (digest() != before) is reached
    before = digest()
    edited(package / "near.py", "    pass", "    return 5")
    assert digest() == before, "nothing uses it"
    edited(copied / "common" / "files.py", "os.link(source, partial)", "os.link(partial, source)")
    assert digest() != before


def test_an_unknown_module_is_an_error() -> None:
    with pytest.raises(ModuleNotFoundError):
        source.source_of("prunebench.no_such_module")


@pytest.mark.parametrize(
    ("name", "used", "unused"),
    [
        ("train standard", "ultralytics", {"onnxruntime", "onnx", "torch-pruning"}),
        ("train preserving", "torch", {"onnxruntime", "onnx", "torch-pruning"}),
        ("train sparse", "torch-pruning", {"onnxruntime", "onnx"}),
        ("prune", "torch-pruning", {"onnxruntime", "onnx"}),
        ("prune measured", "onnxruntime", set()),
        ("export", "onnxslim", {"torch-pruning"}),
        ("quantize", "onnxruntime", {"torch-pruning"}),
        ("accuracy", "onnxruntime", {"torch-pruning", "onnxslim"}),
        ("inspect", "ultralytics", {"onnxruntime", "torch-pruning"}),
    ],
)
def test_a_key_holds_the_versions_of_the_libraries_that_are_used(
    name: str, used: str, unused: set[str]
) -> None:
    versions = code_of(*REQUESTS.get(name, (name, None)))["versions"]
    assert used in versions
    assert unused.isdisjoint(versions)


def test_strategies_are_looked_up_for_requests_that_name_one_only() -> None:
    """Or a step would use rows of the tables that its key leaves out."""
    for step, module in STEP_MODULES.items():
        reached, _ = source.follow([(module, "run")], frozenset())
        looked_up = {name for name, _ in reached} & {"prunebench.variants.retraining.strategy"}
        assert not looked_up or step == "train"
