"""The datasets Ultralytics knows by name, loaded by its own code."""

from __future__ import annotations

import contextlib
import importlib.util
import shutil
import sys
from pathlib import Path
from typing import Any

import yaml

from prunebench.common.errors import DatasetError
from prunebench.common.files import write_atomically
from prunebench.common.text import first_line
from prunebench.common.ultralytics_files import import_offline


def yaml_folder() -> Path | None:
    """Ultralytics' own dataset YAMLs, found without importing it (that imports torch)."""
    found = importlib.util.find_spec("ultralytics")
    if found is None or found.origin is None:
        return None
    return Path(found.origin).parent / "cfg" / "datasets"


def find_yaml(spec: str) -> Path | None:
    """The YAML of the dataset called ``spec`` (``coco8`` or ``coco8.yaml``), if there is one."""
    folder = yaml_folder()
    if folder is None or Path(spec).name != spec:
        return None
    path = folder / (spec if spec.endswith((".yaml", ".yml")) else f"{spec}.yaml")
    return path if path.is_file() else None


def datasets_folder() -> Path:
    """The folder Ultralytics downloads to, from the user's own settings."""
    import_offline()
    from ultralytics.utils import DATASETS_DIR

    return Path(DATASETS_DIR)


def download(named: Path, cache_dir: Path) -> Path:
    """Let Ultralytics load one of its datasets, from the network unless it already has it.

    Returns a YAML with the absolute paths, written into ``cache_dir``. What a failed download began
    in Ultralytics' folder of datasets is removed, and so is that folder where it was made for it.

    Raises:
        DatasetError: Ultralytics could not load it.
    """
    # Its log goes to standard output, which is for our JSON.
    with contextlib.redirect_stdout(sys.stderr):
        from ultralytics.data.utils import check_det_dataset

        data: dict[str, Any] = yaml.safe_load(named.read_text(encoding="utf-8"))
        folder = data["path"] = datasets_folder() / data["path"]
        begun = [path for path in (folder, *folder.parents) if not path.exists()]
        wanted = data["val"] if isinstance(data["val"], list) else [data["val"]]
        try:
            if not all((folder / part).exists() for part in wanted):  # or it would fetch a font
                data = check_det_dataset(named.name)
        except Exception as error:
            # Ultralytics and its download helpers raise many kinds, bare Exception among them.
            for path in begun:
                if path == folder:
                    shutil.rmtree(path, ignore_errors=True)
                elif path.is_dir() and not any(path.iterdir()):
                    path.rmdir()
            raise DatasetError(
                f"Ultralytics could not load the dataset ({first_line(error)})",
                where=named.name,
                fix="check the network, or give the path of a data YAML",
            ) from error
    content: dict[str, Any] = {"path": str(data["path"]), "names": dict(data["names"])}
    content |= {split: data[split] for split in ("train", "val", "test") if data.get(split)}
    path = cache_dir / "ultralytics" / named.name
    write_atomically(path, yaml.safe_dump(content, sort_keys=False))
    return path
