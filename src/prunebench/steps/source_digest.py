"""A digest of the source a step runs, so that editing it invalidates the step's cache.

Definitions are followed, not modules: ``follow`` goes from a step's ``run`` and ``Request`` to what
they name, to what that names in turn, and so on through imports. ``_Module`` splits a file into
statements and says which names each defines; ``_WithoutRemarks`` takes out what changes nothing at
run time (docstrings, descriptions of settings, most annotations); ``_Names`` collects what a
statement names. Statements that define nothing count as soon as their module is imported. A module
that is named in a string or handed on as a value counts whole.
"""

from __future__ import annotations

import ast
import contextlib
import copy
import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

PACKAGE = "prunebench"
PACKAGE_ROOT = Path(__file__).parents[1]

TABLES = {
    ("prunebench.config.strategy_settings", "BUILT_IN"),
    ("prunebench.config.strategy_settings", "BEFORE_PRUNING"),
    ("prunebench.variants.retraining.strategy", "BUILT_IN"),
}
"""Dictionaries of which those rows alone are used that a request names."""

ONLY_WITH = {
    ("prunebench.variants.retraining.step", "run"): {"stage_training"},
    ("prunebench.variants.retraining.activation", "with_activation"): {"activation"},
    ("prunebench.variants.pruning.timing", "Stopwatch"): {"timing"},
    ("prunebench.measuring.remote.asking", "device_at"): {"there"},
    ("prunebench.measuring.host.lock", "working_on_host"): {"timing", "costs"},
    ("prunebench.variants.devices", "using"): {"cards"},
    ("prunebench.variants.retraining.fit", "_device_alone"): {"cards"},
    ("prunebench.measuring.runtimes.opening", "other_opener"): {"runtime"},
    ("prunebench.variants.conversion", "by_nncf"): {"judged"},
}
"""Definitions that a step uses only where its request sets one of these fields."""

EVENTS = "prunebench.steps.events"
"""How progress is told, which changes no result: what steps use of it is not followed."""

LIBRARIES = {
    "torch": "torch",
    "torchvision": "torchvision",
    "ultralytics": "ultralytics",
    "torch_pruning": "torch-pruning",
    "onnx": "onnx",
    "onnxslim": "onnxslim",
    "onnxruntime": "onnxruntime",
    "numpy": "numpy",
    "scipy": "scipy",
    "cv2": "opencv",
}
"""Modules whose version can change a result, each with its distribution."""

_IMPLIED = {
    "ultralytics": {"torch", "torchvision", "numpy", "cv2"},
    "torch_pruning": {"torch"},
    "onnxruntime": {"numpy"},
}
_FOR_PEOPLE = {"description", "title", "examples"}
"""Arguments of pydantic's ``Field`` that change nothing but texts."""

_READ_RETURNS = {"computed_field", "model_serializer", "field_serializer"}
"""Decorators of pydantic that read the annotation of what a function returns."""

Target = tuple[str, str | None]
"""What is used: a module and one of its names. ``None``: all of it; ``""``: its import alone."""


class Source(NamedTuple):
    """What a step runs: a SHA-256 over it, and the distributions of its libraries, sorted."""

    digest: str
    libraries: tuple[str, ...]


@cache
def source_of(module: str, named: frozenset[str] | None = None) -> Source:
    """The source behind a step.

    Args:
        module: The step's module (``prunebench.variants.export``).
        named: What its request names: the fields that are set, and a strategy. ``None`` where
            there is no request, so that every row and definition counts.

    Raises:
        ModuleNotFoundError: The module is not part of this package.
    """
    if not _is_ours(module):
        raise ModuleNotFoundError(module)
    # How its process is set up decides how many threads share a sum.
    setup = (f"{PACKAGE}.steps.environment", "thread_environment")
    reached, libraries = follow([(module, "run"), (module, "Request"), setup], named)
    digest = hashlib.sha256()
    for name, number in sorted(reached):
        digest.update(f"{name}\0{_module(name).read(number, named).text}\0".encode())
    return Source(digest.hexdigest(), tuple(sorted(LIBRARIES[library] for library in libraries)))


def follow(
    roots: Iterable[Target], named: frozenset[str] | None = None
) -> tuple[set[tuple[str, int]], set[str]]:
    """Statements behind ``roots``, as (module, index), and the ``LIBRARIES`` that they use."""
    reached: set[tuple[str, int]] = set()
    libraries: set[str] = set()
    seen: set[Target] = set()
    waiting = list(roots)
    while waiting:
        target = waiting.pop()
        name, wanted = target
        if target in seen or name == EVENTS:
            continue
        seen.add(target)
        if not _is_ours(name):
            libraries.add(name.split(".")[0])
            continue
        module = _module(name)
        waiting += ((imported, "") for imported in module.imported)
        numbers, handed_on = module.behind(wanted)
        waiting += handed_on
        for number in numbers:
            if (name, number) not in reached:
                reached.add((name, number))
                waiting += (
                    target
                    for target in module.read(number, named).targets
                    if named is None or target not in ONLY_WITH or named & ONLY_WITH[target]
                )
    for library in tuple(libraries):
        libraries |= _IMPLIED.get(library, set())
    if {"ultralytics", "onnx"} <= libraries:
        libraries.add("onnxslim")  # Ultralytics simplifies an export with it
    return reached, libraries & LIBRARIES.keys()


class _Read(NamedTuple):
    """What one statement says, in a form that only its meaning changes, and what it names."""

    text: str
    targets: tuple[Target, ...]


class _Module:
    """The statements of a module and the names they bind.

    Attributes:
        statements: Its top-level statements that run, without remarks.
        binds: Name to the statements that define it.
        imports: Name to what an import binds it to.
        imported: Modules of this package that are imported with it.
    """

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        self._package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        self.statements = _WithoutRemarks().visit(ast.parse(path.read_bytes())).body
        self.binds: dict[str, set[int]] = defaultdict(set)
        self.imports: dict[str, Target] = {}
        self._always: set[int] = set()  # they do more than define a name
        for number, statement in enumerate(self.statements):
            self._sort_in(number, statement)
        self._tables = {
            n for bound in self.binds if (name, bound) in TABLES for n in self.binds[bound]
        }
        self._read: dict[tuple[int, frozenset[str] | None], _Read] = {}
        parents = self._package.split(".")
        self.imported = {".".join(parents[: end + 1]) for end in range(len(parents))}
        for module, bound in self.imports.values():
            self.imported |= {m for m in (module, f"{module}.{bound}") if _is_ours(m)}

    def _sort_in(self, number: int, statement: ast.stmt) -> None:
        always = False
        match statement:
            case ast.Import() | ast.ImportFrom():
                self.imports |= self.bound_by(statement)
                bound, always = [], "*" in self.imports
            case ast.If(test=ast.Compare(left=ast.Name(id="__name__"))):
                return
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                bound = [statement.name]
                # A decorator of our own may keep what it decorates.
                for name in _names_in(*statement.decorator_list):
                    always |= name in self.binds or _is_ours(self.imports.get(name, ("", None))[0])
            case ast.Assign() | ast.AnnAssign():
                targets = (
                    statement.targets if isinstance(statement, ast.Assign) else [statement.target]
                )
                bound = _names_in(*targets)
                always = not all(isinstance(target, ast.Name | ast.Tuple) for target in targets)
            case _:
                always = True
                bound = []
                for node in ast.walk(statement):
                    match node:
                        case ast.Import() | ast.ImportFrom():
                            self.imports |= self.bound_by(node)
                        case ast.Name(ctx=ast.Store(), id=name):
                            bound.append(name)
                        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                            bound.append(node.name)
        for name in bound:
            self.binds[name].add(number)
        if always:
            self._always.add(number)

    def bound_by(self, node: ast.Import | ast.ImportFrom) -> dict[str, Target]:
        """Name to what an import statement binds it to."""
        if isinstance(node, ast.Import):
            return {a.asname or a.name.split(".")[0]: (a.name, None) for a in node.names}
        base = node.module or ""
        if node.level:
            above = self._package.split(".")[: self._package.count(".") + 2 - node.level]
            base = ".".join([*above, base]).rstrip(".")
        return {a.asname or a.name: (base, a.name) for a in node.names}

    def behind(self, wanted: str | None) -> tuple[set[int], list[Target]]:
        """The statements that run for a name, and what is behind it in other modules."""
        if wanted is None:
            return set(range(len(self.statements))), []
        if wanted in self.binds:
            return self._always | self.binds[wanted], []
        if wanted in self.imports:
            return self._always, [self.imports[wanted]]
        if not wanted:
            return self._always, []
        inner = f"{self.name}.{wanted}"
        return self._always, [(inner if _is_ours(inner) else self.name, None)]

    def read(self, number: int, named: frozenset[str] | None) -> _Read:
        """Read one statement; of a table, the rows that ``named`` names."""
        rows = named if number in self._tables else None
        if (number, rows) not in self._read:
            statement = self.statements[number]
            if rows is not None:
                pairs = zip(statement.value.keys, statement.value.values, strict=True)
                chosen = [(key, value) for key, value in pairs if key.value in rows]
                statement = copy.copy(statement)
                statement.value = ast.Dict([k for k, _ in chosen], [v for _, v in chosen])
            names = _Names(self, statement)
            text = ast.unparse(statement) + names.meanings()
            self._read[number, rows] = _Read(text, tuple(names.targets()))
        return self._read[number, rows]


class _WithoutRemarks(ast.NodeTransformer):
    """Takes out what is there for readers and type checkers alone."""

    _inside = "module"

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        """Docstrings and what tells progress change no result."""
        match node.value:
            case ast.Constant(value=str()) | ast.Call(func=ast.Name(id="emit")):
                return None
        return self.generic_visit(node)

    def visit_If(self, node: ast.If) -> ast.AST | None:
        match node:
            case ast.If(test=ast.Name(id="TYPE_CHECKING"), orelse=[]):
                return None
        return self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        if isinstance(node.func, ast.Name) and node.func.id == "Field":
            node.keywords = [k for k in node.keywords if k.arg not in _FOR_PEOPLE]
        return self.generic_visit(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        # Pydantic reads annotations to build a model, a dataclass only their names.
        plain = any("dataclass" in ast.dump(d) for d in node.decorator_list)
        return self._visit_inside(node, "dataclass" if plain else "class")

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> ast.AST:
        if not _READ_RETURNS.intersection(_names_in(*node.decorator_list)):
            node.returns = None
        return self._visit_inside(node, "function")

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        if self._inside != "class":
            node.annotation = ast.Constant(None)
        return self.generic_visit(node)

    def _visit_inside(self, node: ast.AST, inside: str) -> ast.AST:
        around, self._inside = self._inside, inside
        self.generic_visit(node)
        self._inside = around
        return node


class _Names(ast.NodeVisitor):
    """Collects what one statement of a module names."""

    def __init__(self, module: _Module, statement: ast.stmt) -> None:
        self._module = module
        self._whole: list[Target] = []
        self._local: dict[str, Target] = {}
        self._uses: set[tuple[str, str | None]] = set()  # a name, and an attribute of it
        self._in_function = False
        self.visit(statement)

    def meanings(self) -> str:
        """What the imports of the module make of the names that were read."""
        imports = self._module.imports
        names = {name for name, _ in self._uses} & imports.keys()
        return repr(sorted((name, imports[name]) for name in names))

    def targets(self) -> Iterator[Target]:
        """What the names that were read stand for."""
        yield from self._whole
        for name, attribute in self._uses:
            if name in self._module.binds:
                yield self._module.name, name
            for bindings in (self._local, self._module.imports):
                if name in bindings:
                    module, bound = bindings[name]
                    inner = module if bound is None else f"{module}.{bound}"
                    whole = attribute is None or (bound is not None and not _is_ours(inner))
                    yield (module, bound) if whole else (inner, attribute)

    def visit_Import(self, node: ast.Import | ast.ImportFrom) -> None:
        bound = self._module.bound_by(node)
        self._local |= bound
        self._whole += [t for t in bound.values() if not _is_ours(".".join(filter(None, t)))]

    visit_ImportFrom = visit_Import

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if isinstance(node.value, ast.Name):
            self._uses.add((node.value.id, node.attr))
        else:
            self.visit(node.value)

    def visit_Name(self, node: ast.Name) -> None:
        self._uses.add((node.id, None))

    def visit_Constant(self, node: ast.Constant) -> None:
        value = node.value
        if not isinstance(value, str):
            return
        if value != PACKAGE and _is_ours(value):
            self._whole.append((value, None))
        elif not self._in_function:  # it may be an annotation in quotes
            with contextlib.suppress(SyntaxError, ValueError):
                quoted = ast.parse(value, mode="eval")
                self._uses |= {(name, None) for name in _names_in(quoted)}

    def visit_ClassDef(self, node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        around, self._in_function = self._in_function, not isinstance(node, ast.ClassDef)
        self.generic_visit(node)
        self._in_function = around

    visit_FunctionDef = visit_AsyncFunctionDef = visit_ClassDef


def _names_in(*nodes: ast.AST) -> list[str]:
    return [n.id for node in nodes for n in ast.walk(node) if isinstance(n, ast.Name)]


def _is_ours(module: str) -> bool:
    return _file_of(module) is not None


@cache
def _module(name: str) -> _Module:
    path = _file_of(name)
    if path is None:
        raise ModuleNotFoundError(name)
    return _Module(name, path)


@cache
def _file_of(module: str) -> Path | None:
    """The file of a module of this package, ``None`` where it is none."""
    package, *inner = module.split(".")
    if package != PACKAGE:
        return None
    stem = PACKAGE_ROOT.joinpath(*inner)
    files = (stem.with_suffix(".py"), stem / "__init__.py")
    return next((file for file in files if file.is_file()), None)
