"""No code of ours sets anything on a module or class of Ultralytics, torch-pruning and the like."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from tests.conftest import ROOT

FOREIGN = ("ultralytics", "torch_pruning", "torch", "torchvision", "onnxruntime", "onnx")
FOLDERS = ("src", "flows", "tasks", "deployments", "benchmarks")


def edits(source: str) -> list[str]:
    """Statements that set or delete an attribute of something imported from those packages."""
    nodes = list(ast.walk(ast.parse(source)))
    theirs = set(_imported(nodes))
    for node in nodes:  # ``helpers: Any = checks``
        if isinstance(node, ast.Assign | ast.AnnAssign) and _root(node.value) in theirs:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if not isinstance(node.value, ast.Call):
                theirs |= {target.id for target in targets if isinstance(target, ast.Name)}
    return [ast.unparse(node) for node in nodes if any(_root(t) in theirs for t in _changed(node))]


def _imported(nodes: list[ast.AST]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.Import):
            for name in node.names:
                if name.name.partition(".")[0] in FOREIGN:
                    yield name.asname or name.name.partition(".")[0]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in FOREIGN:
            yield from (name.asname or name.name for name in node.names)


def _changed(node: ast.AST) -> list[ast.expr]:
    """What a statement changes, as far as it is more than a name."""
    targets: list[ast.expr] = []
    if isinstance(node, ast.Assign | ast.Delete):
        targets = list(node.targets)
    elif isinstance(node, ast.AnnAssign | ast.AugAssign):
        targets = [node.target]
    elif isinstance(node, ast.Call):
        called = ast.unparse(node.func)
        if called in ("setattr", "delattr", "patch.object") or called.endswith(".setattr"):
            return node.args[:1]
    return [target for target in targets if isinstance(target, ast.Attribute | ast.Subscript)]


def _root(node: ast.AST | None) -> str | None:
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return node.id if isinstance(node, ast.Name) else None


@pytest.mark.parametrize(
    "source",
    [
        "from ultralytics.nn import tasks\ntasks.SAFE_LOAD = True",
        "from ultralytics.utils import checks\nx: Any = checks\nx.check_font = None",
        "from ultralytics.utils.events import events\nevents.enabled = False",
        "import torch\nsetattr(torch.nn.Conv2d, 'forward', None)",
        "import torch_pruning as tp\ndel tp.pruner.x",
        "import ultralytics.utils\nultralytics.utils.ROOT += 1",
    ],
)
def test_an_edit_is_found(source: str) -> None:
    assert len(edits(source)) == 1


def test_what_is_ours_may_be_set() -> None:
    assert edits("import torch\nnet = torch.nn.Conv2d(1, 1, 1)\nnet.weight = None\nx = torch") == []


def test_no_edit_in_our_code() -> None:
    files = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")]
    assert len(files) > 100
    found = {str(path.relative_to(ROOT)): edits(path.read_text()) for path in files}
    assert {path: lines for path, lines in found.items() if lines} == {}
