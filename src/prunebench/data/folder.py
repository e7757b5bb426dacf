"""Generated datasets on disk: whole or absent, reused while they are still what they were."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import yaml
from numpy.typing import NDArray

from prunebench.common.errors import DatasetError
from prunebench.data.file_memo import FileMemo

MANIFEST_NAME: Final = "manifest.json"
YAML_NAME: Final = "data.yaml"


def make_once(root: Path, parameters: Mapping[str, Any], write: Callable[[Path], None]) -> Path:
    """Make a dataset folder, or reuse a complete one made with the same parameters.

    The folder is written beside ``root`` and then renamed. A set made with other parameters, or one
    whose files have changed, is replaced.

    Args:
        parameters: JSON values that decide the content, the generator's version among them.
        write: Writes the set, ``data.yaml`` included, into an existing empty folder.

    Raises:
        DatasetError: ``root`` holds something else, or cannot be written.
    """
    if _is_complete(root, parameters):
        return root / YAML_NAME
    if root.exists() and not _is_replaceable(root):
        raise DatasetError(
            "the folder for a generated dataset holds other files",
            where=root,
            fix="choose an empty or absent folder",
        )
    try:
        root.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(
            prefix=f".{root.name}-", dir=root.parent, ignore_cleanup_errors=True
        ) as work:
            made = Path(work) / "set"
            made.mkdir()
            write(made)
            manifest = {"parameters": dict(parameters), "digest": _content_digest(made)}
            text = json.dumps(manifest, indent=2) + "\n"
            (made / MANIFEST_NAME).write_text(text, encoding="utf-8")
            _swap_in(made, root, Path(work) / "replaced", parameters)
    except OSError as error:
        raise DatasetError(
            f"the dataset cannot be written ({error.strerror})",
            where=root,
            fix="choose a writable folder with enough space",
        ) from error
    return root / YAML_NAME


def write_data_yaml(
    root: Path,
    splits: Sequence[str],
    names: Mapping[int, str],
    more: Mapping[str, Any] | None = None,
) -> None:
    """Write ``data.yaml`` for image folders ``images/<split>`` below ``root``, and ``more`` keys.

    It has no ``path`` key: Ultralytics then takes the YAML's own folder, and the set can be moved.
    """
    content: dict[str, Any] = {split: f"images/{split}" for split in splits}
    text = yaml.safe_dump(content | {"names": dict(names)} | dict(more or {}), sort_keys=False)
    (root / YAML_NAME).write_text(text, encoding="utf-8")


def label_line(
    class_id: int, box: tuple[float, float, float, float], width: int, height: int
) -> str:
    """One line of a YOLO label file for a box ``(x1, y1, x2, y2)`` in pixels of its image."""
    x1, y1, x2, y2 = box
    values = ((x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height)
    return f"{class_id} " + " ".join(f"{value:.6f}" for value in values) + "\n"


def polygon_line(class_id: int, points: NDArray[np.float64], width: int, height: int) -> str:
    """One line of a YOLO label file for an outline (points, 2) in pixels of its image."""
    return " ".join([str(class_id), *(f"{v:.6f}" for v in (points / (width, height)).flat)]) + "\n"


def _content_digest(root: Path) -> str:
    memo = FileMemo(root / "files.cache")
    digest = hashlib.sha256()
    for file in sorted(root.rglob("*")):
        # Ultralytics has caches too.
        if file.is_file() and file.suffix != ".cache" and file.name != MANIFEST_NAME:
            digest.update(file.relative_to(root).as_posix().encode() + b"\0")
            digest.update(bytes.fromhex(memo.digest(str(file)) or ""))
    memo.save()
    return digest.hexdigest()


def _read_manifest(root: Path) -> dict[str, Any]:
    try:
        manifest = json.loads((root / MANIFEST_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return manifest if isinstance(manifest, dict) else {}


def _is_complete(root: Path, parameters: Mapping[str, Any]) -> bool:
    manifest = _read_manifest(root)
    try:
        known = manifest.get("parameters") == parameters
        return known and bool(manifest["digest"] == _content_digest(root))
    except (KeyError, OSError):
        return False


def _is_replaceable(root: Path) -> bool:
    """Whether a folder is empty or one of ours: never delete what we did not make."""
    if not root.is_dir():
        return False
    return {"parameters", "digest"} <= _read_manifest(root).keys() or not any(root.iterdir())


def _swap_in(made: Path, root: Path, replaced: Path, parameters: Mapping[str, Any]) -> None:
    if root.exists():
        root.rename(replaced)
    try:
        made.rename(root)
    except OSError:
        # Another process made the same set meanwhile: its result is as good as ours.
        if not _is_complete(root, parameters):
            raise
