"""What a kit carries imports nothing that a device lacks, and reads as Python 3.10."""

from __future__ import annotations

import ast

from prunebench.measuring.remote.modules import ON_DEVICE, carried_modules, foreign_modules


def test_a_device_needs_numpy_and_onnxruntime_alone() -> None:
    assert foreign_modules() <= ON_DEVICE
    # OpenCV is imported by what times whole frames, and late, so that it may be missing.
    assert "cv2" not in foreign_modules(["prunebench.measuring.latency.stopping"])


def test_the_least_python_of_a_device_can_read_it() -> None:
    found = carried_modules()
    assert {"prunebench", "prunebench.measuring.latency.child"} <= found.keys()
    for path in found.values():
        ast.parse(path.read_text(), feature_version=(3, 10))
    newer = {"Self", "UTC", "file_digest", "StrEnum", "assert_never", "TaskGroup", "batched"}
    for path in found.values():
        tree = ast.parse(path.read_text())
        only_types = [n for n in ast.walk(tree) if isinstance(n, ast.If)]
        skipped = {id(m) for n in only_types for m in ast.walk(n)}
        names = {
            alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and id(node) not in skipped
            for alias in node.names
        }
        called = {n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute)}
        assert not newer & (names | called), path
