"""The core's modules form a tree: no circle of modules, and none of packages."""

from __future__ import annotations

import grimp
import pytest

GRAPH = grimp.build_graph("prunebench", cache_dir=None)


def circle(imports: dict[str, set[str]]) -> list[str]:
    """A circle in a graph of imports, empty where there is none.

    What imports nothing that is left is taken away until nothing can be: what stays is in a
    circle, or imports one.
    """
    left = {name: set(found) for name, found in imports.items()}
    while free := [name for name, found in left.items() if not found & left.keys()]:
        for name in free:
            del left[name]
    return sorted(left)


def test_no_modules_import_each_other_in_a_circle() -> None:
    imports = {m: GRAPH.find_modules_directly_imported_by(m) for m in GRAPH.modules}
    # The package itself hands on names of its rooms to whoever uses them.
    imports["prunebench"] = set()
    assert circle(imports) == []


@pytest.mark.parametrize("depth", [2, 3])
def test_no_packages_import_each_other_in_a_circle(depth: int) -> None:
    imports: dict[str, set[str]] = {}
    for module in GRAPH.modules - {"prunebench"}:
        name = ".".join(module.split(".")[:depth])
        found = {
            ".".join(other.split(".")[:depth])
            for other in GRAPH.find_modules_directly_imported_by(module) - {"prunebench"}
        }
        imports.setdefault(name, set()).update(found - {name})
    assert circle(imports) == []


def test_a_circle_is_found() -> None:
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}, "e": set()}) == [*"abcd"]
