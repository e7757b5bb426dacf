"""A digest of the source a step runs, so that editing it invalidates the step's cache.

Followed are definitions, not modules: what a step's ``run`` and ``Request`` name, what that names
in turn, and so on through imports. Statements that define nothing count as soon as their module is
imported. Comments, docstrings, descriptions of settings and annotations that nothing reads at run
time do not count. A module that is named in a string or handed on as a value counts whole.
"""

from __future__ import annotations

import ast
import hashlib
from collections import defaultdict
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard

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
    ("prunebench.variants.pruning.timing", "Stopwatch"): {"timing"},
    ("prunebench.measuring.host.lock", "working_on_host"): {"timing", "costs"},
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
    "cv2": "opencv-python",
}
"""Modules whose version can change a result, each with its distribution."""

_IMPLIED = {
    "ultralytics": ("torch", "torchvision", "numpy", "cv2"),
    "torch_pruning": ("torch",),
    "onnxruntime": ("numpy",),
}
_FOR_PEOPLE = {"description", "title", "examples"}
"""Arguments of pydantic's ``Field`` that change nothing but texts."""

_READ_RETURNS = {"computed_field", "model_serializer", "field_serializer"}
"""Decorators of pydantic that read the annotation of what a function returns."""

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
Target = tuple[str, str | None]
"""A module and one of its names: ``None`` is all of it, ``""`` what its import alone runs."""


class Source(NamedTuple):
    """What a step runs.

    Attributes:
        digest: SHA-256 over it, in hexadecimal.
        libraries: Distributions of the libraries that it uses, sorted.
    """

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
    _file_of(module)
    # How its process is set up decides how many threads share a sum.
    setup = (f"{PACKAGE}.steps.child", "thread_environment")
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
        if target in seen:
            continue
        seen.add(target)
        name, wanted = target
        if name == EVENTS:
            continue
        if not _is_ours(name):
            library = name.split(".")[0]
            libraries.update({library, *_IMPLIED.get(library, ())} & LIBRARIES.keys())
            continue
        module = _module(name)
        waiting += ((imported, "") for imported in module.imported)
        numbers = set(module.always)
        if wanted is None:
            numbers |= set(range(len(module.statements)))
        elif wanted in module.binds:
            numbers |= module.binds[wanted]
        elif wanted in module.imports:
            waiting.append(module.imports[wanted])
        elif wanted:
            inner = f"{name}.{wanted}"
            waiting.append((inner if _is_ours(inner) else name, None))
        for number in numbers:
            if (name, number) not in reached:
                reached.add((name, number))
                waiting += (
                    target
                    for target in module.read(number, named).targets
                    if named is None or target not in ONLY_WITH or named & ONLY_WITH[target]
                )
    if {"ultralytics", "onnx"} <= libraries:
        libraries.add("onnxslim")  # Ultralytics simplifies an export with it
    return reached, libraries


class _Read(NamedTuple):
    """What one statement says, in a form that only its meaning changes, and what it names."""

    text: str
    targets: tuple[Target, ...]


class _Module:
    """The statements of a module and the names they bind.

    Attributes:
        name: Its dotted name.
        statements: Its top-level statements that run, without those that are for readers.
        binds: Name to the statements that define it.
        imports: Name to what an import binds it to.
        imported: Modules of this package that are imported with it.
        always: Statements that do more than define a name, whenever it is imported.
    """

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        self._package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        tree = ast.parse(path.read_bytes())
        self.statements = [part for part in tree.body if not _is_for_readers(part)]
        self.binds: dict[str, set[int]] = defaultdict(set)
        self.imports: dict[str, Target] = {}
        self.always: set[int] = set()
        self._read: dict[tuple[int, frozenset[str] | None], _Read] = {}
        for number, statement in enumerate(self.statements):
            self._sort_in(number, statement)
        parents = self._package.split(".")
        self.imported = {".".join(parents[: end + 1]) for end in range(len(parents))}
        for module, bound in self.imports.values():
            self.imported |= {m for m in (module, f"{module}.{bound}") if _is_ours(m)}

    def read(self, number: int, named: frozenset[str] | None) -> _Read:
        """Read one statement, with the rows of a table that ``named`` names."""
        key = (number, named)
        if key not in self._read:
            statement = self.statements[number]
            bound = {(self.name, name) for name, numbers in self.binds.items() if number in numbers}
            reader = _Reader(self, named if bound & TABLES else None)
            text = reader.text(statement, "module")
            self._read[key] = _Read(text + reader.meanings(), reader.targets())
        return self._read[key]

    def bound_by(self, node: ast.Import | ast.ImportFrom) -> dict[str, Target]:
        """Name to what an import statement binds it to."""
        if isinstance(node, ast.Import):
            return {a.asname or a.name.split(".")[0]: (a.name, None) for a in node.names}
        base = node.module or ""
        if node.level:
            above = self._package.split(".")[: self._package.count(".") + 2 - node.level]
            base = ".".join([*above, base]).rstrip(".")
        return {a.asname or a.name: (base, a.name) for a in node.names}

    def _sort_in(self, number: int, statement: ast.stmt) -> None:
        match statement:
            case ast.Import() | ast.ImportFrom():
                self.imports |= self.bound_by(statement)
                bound, always = [], "*" in self.imports
            case ast.If(test=ast.Compare(left=ast.Name(id="__name__"))):
                return
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                bound = [statement.name]
                # A decorator of our own may keep what it decorates.
                names = {n.id for d in statement.decorator_list for n in ast.walk(d) if _is_name(n)}
                always = any(
                    name in self.binds or _is_ours(self.imports.get(name, ("", None))[0])
                    for name in names
                )
            case ast.Assign() | ast.AnnAssign():
                targets = (
                    statement.targets if isinstance(statement, ast.Assign) else [statement.target]
                )
                bound = [n.id for target in targets for n in ast.walk(target) if _is_name(n)]
                always = not all(isinstance(target, ast.Name | ast.Tuple) for target in targets)
            case _:
                nodes = list(ast.walk(statement))
                bound = [n.id for n in nodes if _is_name(n) and isinstance(n.ctx, ast.Store)]
                bound += [n.name for n in nodes if isinstance(n, Definition)]
                for node in nodes:
                    if isinstance(node, ast.Import | ast.ImportFrom):
                        self.imports |= self.bound_by(node)
                always = True
        for name in bound:
            self.binds[name].add(number)
        if always:
            self.always.add(number)


class _Reader:
    """Reads one statement of a module and collects what it names."""

    def __init__(self, module: _Module, named: frozenset[str] | None) -> None:
        self._module = module
        self._named = named
        self._whole: list[Target] = []
        self._local: dict[str, Target] = {}
        self._uses: set[tuple[str, str | None]] = set()

    def meanings(self) -> str:
        """What the imports of the module make of the names that were read."""
        imports = self._module.imports
        names = {name for name, _ in self._uses} & imports.keys()
        return repr(sorted((name, imports[name]) for name in names))

    def targets(self) -> tuple[Target, ...]:
        """What the names that were read stand for."""
        targets = list(self._whole)
        for name, attribute in self._uses:
            if name in self._module.binds:
                targets.append((self._module.name, name))
            for bindings in (self._local, self._module.imports):
                if name in bindings:
                    module, bound = bindings[name]
                    inner = module if bound is None else f"{module}.{bound}"
                    whole = attribute is None or (bound is not None and not _is_ours(inner))
                    targets.append((module, bound) if whole else (inner, attribute))
        return tuple(targets)

    def text(self, node: Any, inside: str) -> str:
        """A node without what is for readers; ``inside`` is a module, class or function."""
        if isinstance(node, list):
            parts = [self.text(part, inside) for part in node if not _is_for_readers(part)]
            return f"[{','.join(parts)}]"
        if not isinstance(node, ast.AST):
            return repr(node)
        left_out = {"ctx", "kind", "type_comment"}
        match node:
            case ast.Import() | ast.ImportFrom():
                for name, target in self._module.bound_by(node).items():
                    self._local[name] = target
                    if not _is_ours(".".join(filter(None, target))):
                        self._whole.append(target)
            case ast.Attribute(value=ast.Name(id=name), attr=attribute):
                self._uses.add((name, attribute))
                return f"{name}.{attribute}"
            case ast.Name(id=name):
                self._uses.add((name, None))
            case ast.Constant(value=str(value)):
                self._use_string(value, inside)
            case ast.ClassDef():
                # Pydantic reads annotations to build a model, a dataclass only their names.
                plain = any("dataclass" in ast.dump(d) for d in node.decorator_list)
                inside = "dataclass" if plain else "class"
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                inside = "function"
                named = {n.id for d in node.decorator_list for n in ast.walk(d) if _is_name(n)}
                left_out |= set() if named & _READ_RETURNS else {"returns"}
            case ast.arg():
                left_out |= {"annotation"}
            case ast.AnnAssign() if inside != "class":
                left_out |= {"annotation"}
            case ast.Call(func=ast.Name(id="Field")):
                kept = [k for k in node.keywords if k.arg not in _FOR_PEOPLE]
                node = ast.Call(node.func, node.args, kept)
            case ast.Dict() if inside == "module" and self._named is not None:
                pairs = zip(node.keys, node.values, strict=True)
                counted = [(k, v) for k, v in pairs if getattr(k, "value", None) in self._named]
                node = ast.Dict([k for k, _ in counted], [v for _, v in counted])
        fields = [
            f"{name}={self.text(value, inside)}"
            for name, value in ast.iter_fields(node)
            if name not in left_out and value is not None and value != []
        ]
        return f"{type(node).__name__}({','.join(fields)})"

    def _use_string(self, value: str, inside: str) -> None:
        if value != PACKAGE and _is_ours(value):
            self._whole.append((value, None))
        elif inside != "function":
            # It may be an annotation in quotes.
            try:
                names = [n.id for n in ast.walk(ast.parse(value, mode="eval")) if _is_name(n)]
            except (SyntaxError, ValueError):
                return
            self._uses |= {(name, None) for name in names}


def _is_name(node: ast.AST) -> TypeGuard[ast.Name]:
    return isinstance(node, ast.Name)


def _is_for_readers(node: Any) -> bool:
    """Whether a statement is a docstring, tells progress, or is for type checkers alone."""
    match node:
        case ast.Expr(value=ast.Constant(value=str())):
            return True
        case ast.Expr(value=ast.Call(func=ast.Name(id="emit"))):
            return True
        case ast.If(test=ast.Name(id="TYPE_CHECKING"), orelse=[]):
            return True
    return False


def _is_ours(module: str) -> bool:
    if module != PACKAGE and not module.startswith(f"{PACKAGE}."):
        return False
    try:
        _file_of(module)
    except ModuleNotFoundError:
        return False
    return True


@cache
def _module(name: str) -> _Module:
    return _Module(name, _file_of(name))


@cache
def _file_of(module: str) -> Path:
    stem = PACKAGE_ROOT.joinpath(*module.split(".")[1:])
    for candidate in (stem.with_suffix(".py"), stem / "__init__.py"):
        if candidate.is_file():
            return candidate
    raise ModuleNotFoundError(module)
