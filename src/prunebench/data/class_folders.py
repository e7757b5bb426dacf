"""Datasets for classification, as Ultralytics takes them: a folder of each class in every split.

The classes are the folders of ``train``, numbered in the order of their names; an image is of the
class whose folder it lies in. A data YAML of ours with the key ``class_folders`` stands for such a
folder from then on, so that nothing is written into it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from prunebench.common.errors import DatasetError
from prunebench.common.files import write_atomically

KEY: Final = "class_folders"
NAMES_OF_SPLITS: Final = {
    "train": ("train",),
    "val": ("val", "validation", "valid"),
    "test": ("test",),
}
"""Folders a split may lie in, the first that is there."""

LABELLED: Final = frozenset({"images", "labels"})
"""Folders in those of a split, as labelling tools write them for objects."""


def has_class_folders(root: Path) -> bool:
    """Whether a folder is laid out for classification rather than as images and labels."""
    train = root / "train"
    folders = (
        {entry.name for entry in os.scandir(train) if entry.is_dir()} if train.is_dir() else {}
    )
    return bool(folders) and not LABELLED.issubset(folders)


def yaml_of_class_folders(root: Path, cache_dir: Path) -> Path:
    """A data YAML for a folder laid out so, in ``cache_dir``."""
    root = root.resolve()
    names = sorted(entry.name for entry in os.scandir(root / "train") if entry.is_dir())
    there = {
        split: next((name for name in known if (root / name).is_dir()), None)
        for split, known in NAMES_OF_SPLITS.items()
    }
    if there["val"] is None:
        fix = "put some of the images of each class there"
        raise DatasetError("the dataset has no folder val", where=root, fix=fix)
    key = hashlib.sha256(os.fsencode(root)).hexdigest()[:16]
    target = (cache_dir / f"class-folders-{key}.yaml").absolute()
    splits = {split: name for split, name in there.items() if name}
    write_class_folders_yaml(target, dict(enumerate(names)), {"path": str(root)} | splits)
    return target


def write_class_folders_yaml(
    path: Path, names: Mapping[int, str], where: Mapping[str, str] | None = None
) -> None:
    """Write a data YAML; by default for the folders of the splits beside it."""
    given = where or {split: split for split in NAMES_OF_SPLITS}
    content: dict[str, Any] = {**given, KEY: True, "names": dict(names)}
    write_atomically(path, yaml.safe_dump(content, sort_keys=False))


def class_of(image: Path, names: Mapping[int, str]) -> int:
    """Class of an image by the folder it lies in; DatasetError where it is none of ``names``."""
    name = image.parent.name
    for index, known in names.items():
        if known == name:
            return index
    raise DatasetError(
        f"the folder {name} of an image is no class: {', '.join([*names.values()][:5])} are",
        where=image,
        fix="move it into the folder of its class, in the split's folder",
    )


def check_places(images: Collection[str], split: Path, names: Collection[str]) -> None:
    """Refuse, with a DatasetError, an image that lies in no class's own folder in its split.

    Ultralytics takes those in folders below it, too, and leaves out those of other classes.
    """
    folders = {image.rpartition(os.sep)[0] for image in images}
    known = {str(split / name) for name in names}
    for folder in sorted(folders - known):
        inside = Path(folder).is_relative_to(split) and Path(folder) != split
        name = Path(folder).relative_to(split).parts[0] if inside else ""
        if name in names:
            what = f"images lie in a folder within that of the class {name}"
            fix = "move them into the folder of the class itself"
        else:
            what = f"images of the split lie in {name or 'it'}, which is no class of train"
            fix = "move them into the folder of a class that train has"
        raise DatasetError(what, where=folder, fix=fix)


def linked(folder: Path, splits: Mapping[Any, Collection[str]], names: Mapping[int, str]) -> Path:
    """A dataset of links to the images that are given by split, in ``folder``; its data YAML."""
    for split, images in splits.items():
        for name in names.values():
            (folder / split / name).mkdir(parents=True, exist_ok=True)
        for image in images:
            link = folder / split / Path(image).parent.name / Path(image).name
            if not link.is_symlink():
                link.symlink_to(image)
    write_class_folders_yaml(folder / "data.yaml", names, {split: split for split in splits})
    return folder / "data.yaml"
