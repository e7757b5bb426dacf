"""Find a dataset by what the user calls it, and list its images.

The rules for paths, image lists and label files are Ultralytics' own, so that what passes here is
what its trainer reads; but its trainer skips a bad image or label with a warning where this refuses
it (``data/check.py``).
"""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import yaml

from prunebench.common.errors import DatasetError
from prunebench.common.text import first_line
from prunebench.data.class_folders import (
    KEY,
    check_places,
    has_class_folders,
    yaml_of_class_folders,
)
from prunebench.data.file_memo import FileMemo
from prunebench.data.labels import label_path
from prunebench.data.neontrees import prepare_neontrees
from prunebench.data.scenes import SETS, generate_scenes
from prunebench.data.ultralytics_sets import datasets_folder, download, find_yaml, yaml_folder

Split = Literal["train", "val", "test"]
MOST_CLASSES: Final = 100_000  # that are counted and not named
SPLITS: Final[tuple[Split, ...]] = ("train", "val", "test")

IMAGE_SUFFIXES: Final = frozenset(
    f".{name}"
    for name in "avif bmp dng heic heif jp2 jpeg jpeg2000 jpg mpo png tif tiff webp".split()  # noqa: SIM905
)
ABOUT_KEYPOINTS: Final = ("kpt_shape", "flip_idx", "kpt_names", "kpt_oks_sigmas")
_SCENE_KEYS: Final = ("train", "val", "test", "width", "height", "seed")


@dataclass(frozen=True)
class Dataset:
    """A resolved data YAML; all paths are absolute.

    Attributes:
        root: Folder its paths are relative to.
        names: Class index to name.
        train: Image folders, image lists (.txt) or both, not checked for existence.
        test: Empty where the YAML names none.
        keypoints: Number of keypoints of an object and values of each, as ``kpt_shape``; ``None``
            where the YAML names none.
        sigmas: Spread of each keypoint (``kpt_oks_sigmas``); empty: Ultralytics' defaults.
        about_keypoints: Further keys on them, for Ultralytics.
        class_folders: Whether an image is of the class whose folder it lies in, and has no labels.
    """

    yaml: Path
    root: Path
    names: dict[int, str]
    train: tuple[Path, ...]
    val: tuple[Path, ...]
    test: tuple[Path, ...] = ()
    keypoints: tuple[int, int] | None = None
    sigmas: tuple[float, ...] = ()
    about_keypoints: dict[str, Any] = field(default_factory=dict)
    class_folders: bool = False
    _images: dict[Split, list[str]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @property
    def known_by(self) -> Path:
        """What its user calls it: the YAML, or the folder that ours stands for."""
        return self.root if self.class_folders else self.yaml

    def sources(self, split: Split) -> tuple[Path, ...]:
        """Folders and lists of one split."""
        return {"train": self.train, "val": self.val, "test": self.test}[split]


def resolve_dataset(spec: str, *, cache_dir: Path) -> Dataset:
    """Find the dataset a configuration names, making or downloading it where needed.

    Args:
        spec: ``scenes`` (built in; ``scenes:train=40,val=20,test=20,seed=1`` sets its parameters),
            ``scenes-seg``, ``scenes-pose``, ``scenes-obb`` (the same scenes, labelled for other
            tasks), ``scenes-classes`` (one object in each, a folder for each class),
            ``neontrees`` (real photographs, downloaded once), the path of a data YAML, the name
            of a dataset Ultralytics can download (``coco8.yaml``), or a folder with a folder of
            each class in ``train`` and ``val``.

    Raises:
        DatasetError: There is no such dataset, or its YAML cannot be used.
    """
    kind, _, arguments = spec.partition(":")
    if kind in SETS:
        return read_dataset(_scenes(kind, arguments, cache_dir))
    if spec == "neontrees":
        return read_dataset(prepare_neontrees(cache_dir / "neontrees"))
    path = Path(spec).expanduser()
    if path.is_file():
        return read_dataset(path)
    named = find_yaml(spec)
    if named is not None:
        return read_dataset(download(named, cache_dir))
    if path.is_dir() and has_class_folders(path):
        return read_dataset(yaml_of_class_folders(path, cache_dir))
    if path.is_dir():
        fix = "give its data YAML, or, for classification, a folder of each class in train and val"
        raise DatasetError("the dataset is a folder", where=path, fix=fix)
    raise DatasetError(
        "there is no such data YAML", where=spec, fix=_suggestion(spec) or "check the path"
    )


def read_dataset(path: Path) -> Dataset:
    """Read a data YAML; image and label files are not looked at.

    Raises:
        DatasetError: It cannot be read, or ``train``, ``val`` or ``names`` is missing or wrong.
    """
    path = path.absolute()
    data = _read_yaml(path)
    if "val" not in data and "validation" in data:
        data["val"] = data["validation"]
    for split in ("train", "val"):
        if not data.get(split):
            raise DatasetError(
                f"the data YAML has no {split} split", where=path, fix=f"add the key {split}"
            )
    try:
        root = _root(data, path)
        sources = {split: _sources(data, split, root, path) for split in SPLITS}
    except (OSError, RuntimeError, ValueError) as error:
        what = f"a path in the data YAML cannot be followed ({first_line(error)})"
        raise DatasetError(what, where=path, fix="correct path, train, val and test") from error
    keypoints, sigmas = _keypoints(data, path)
    return Dataset(
        yaml=path,
        root=root,
        names=_names(data, path),
        **sources,
        keypoints=keypoints,
        sigmas=sigmas,
        about_keypoints={key: data[key] for key in ABOUT_KEYPOINTS if data.get(key) is not None},
        class_folders=data.get(KEY) is True,
    )


def splits_of(dataset: Dataset) -> tuple[Split, ...]:
    """Train, val, and test where it is there: an export may name one that it left out."""
    with contextlib.suppress(DatasetError):
        image_names(dataset, "test")
    return SPLITS if dataset._images.get("test") else ("train", "val")


def images_of(dataset: Dataset, split: Split, limit: int | None = None) -> list[Path]:
    """The (first ``limit``) images of one split, by path; listed once for each ``Dataset`` object.

    Raises:
        DatasetError: The split is missing, one of its paths is, or it holds no image.
    """
    return [Path(image) for image in image_names(dataset, split)[:limit]]


def dataset_digest(dataset: Dataset, memo: FileMemo | None = None) -> str:
    """SHA-256 over the YAML and every image and label of every split that is there, in hexadecimal.

    Where the dataset lies does not matter, unless its YAML holds an absolute path; that of class
    folders counts by its names.
    """
    memo = memo or FileMemo()
    root = f"{dataset.root}{os.sep}"
    folders = dataset.class_folders
    what = [*dataset.names.values()] if folders else memo.digest(str(dataset.yaml))
    digest = hashlib.sha256(f"{what}\0".encode())
    for split in splits_of(dataset):
        for image in image_names(dataset, split):
            for file in (image,) if folders else (image, label_path(image)):
                inside = file.startswith(root)
                name = file[len(root) :] if inside else os.path.relpath(file, dataset.root)
                digest.update(f"{split}/{name}\0{memo.digest(file)}\0".encode())
    return digest.hexdigest()


def image_names(dataset: Dataset, split: Split) -> list[str]:
    """All of ``images_of`` as text: a large dataset has hundreds of thousands."""
    if split not in dataset._images:
        dataset._images[split] = _listed(dataset, split)
    return dataset._images[split]


def _listed(dataset: Dataset, split: Split) -> list[str]:
    sources = dataset.sources(split)
    if not sources:
        raise DatasetError(
            f"the data YAML has no {split} split", where=dataset.yaml, fix=f"add the key {split}"
        )
    images: list[str] = []
    for source in sources:
        if source == source.parent:
            raise DatasetError(
                f"the path of the {split} split is all of the file system",
                where=dataset.yaml,
                fix=f"correct the keys path and {split}",
            )
        if source.is_dir():
            images += _images_below(source)
        elif source.is_file():
            images += filter(_is_image, _lines_of(source))
        else:
            raise DatasetError(
                f"the path of the {split} split does not exist: {source}",
                where=dataset.yaml,
                fix=f"correct the keys path and {split}",
            )
    if not images:
        raise DatasetError(
            f"the {split} split has no images", where=sources[0], fix="put images there"
        )
    if dataset.class_folders:
        check_places(images, sources[0], dataset.names.values())
    # As paths compare: folder by folder.
    return sorted(images, key=lambda image: image.replace(os.sep, "\0"))


def _images_below(source: Path) -> Iterator[str]:
    """Images in a folder and those below it: not hidden ones, which Ultralytics does not see."""
    for folder, folders, names in os.walk(source, followlinks=True):
        folders[:] = (
            name
            for name in folders
            if not name.startswith(".") and not _leads_back(Path(folder, name))
        )
        for name in names:
            if _is_image(name) and not name.startswith("."):
                yield f"{folder}{os.sep}{name}"


def _leads_back(folder: Path) -> bool:
    """Whether a folder is a link to one that it lies in."""
    return folder.is_symlink() and folder.parent.resolve().is_relative_to(folder.resolve())


def _is_image(name: str) -> bool:
    _, dot, suffix = name.rpartition(".")
    return f"{dot}{suffix.lower()}" in IMAGE_SUFFIXES


def _lines_of(file: Path) -> Iterator[str]:
    """Paths in an image list, those after ``./`` relative to it."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        what = "the list of images cannot be read"
        raise DatasetError(what, where=file, fix="write one path a line, in UTF-8") from error
    for line in map(str.strip, text.split("\n")):
        if line:
            yield str(file.parent / line[2:] if line.startswith("./") else Path(line).absolute())


def _scenes(kind: str, arguments: str, cache_dir: Path) -> Path:
    values: dict[str, int] = {}
    for part in filter(None, arguments.split(",")):
        key, _, text = (item.strip() for item in part.partition("="))
        if key not in _SCENE_KEYS:
            raise DatasetError(
                f"unknown parameter {key}",
                where=f"{kind}:{arguments}",
                fix=f"use {', '.join(_SCENE_KEYS)}",
            )
        try:
            values[key] = int(text)
        except ValueError:
            raise DatasetError(
                f"{key} is no whole number: {text or 'nothing'}",
                where=f"{kind}:{arguments}",
                fix=f"write {key}=100",
            ) from None
    # Each parameter set has its own folder: one run never replaces what another reads.
    name = "-".join([kind, *(f"{key}{values[key]}" for key in sorted(values))])
    return generate_scenes(cache_dir / name, **values, labels=SETS[kind])


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        what = "the data YAML cannot be read"
        raise DatasetError(what, where=path, fix="check the path") from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:  # 2026-99-99 is no date
        mark = getattr(error, "problem_mark", None)
        line = "" if mark is None else f" at line {mark.line + 1}"
        raise DatasetError(f"the data YAML is no valid YAML{line}", where=path) from error
    if not isinstance(data, dict):
        fix = "set train, val and names"
        raise DatasetError("the data YAML holds no keys", where=path, fix=fix)
    return data


def _names(data: Mapping[str, Any], path: Path) -> dict[int, str]:
    names, count = data.get("names"), data.get("nc")
    with contextlib.suppress(TypeError, ValueError, OverflowError):
        count = int(count)  # type: ignore[arg-type]
    if names is None and isinstance(count, int) and count <= MOST_CLASSES:
        names = [f"class_{index}" for index in range(count)]
    if isinstance(names, list):
        names = dict(enumerate(names))
    if isinstance(names, dict):  # ids may be text, and tell one class from another
        names = {int(key) if str(key).isdecimal() else key: names[key] for key in names}
    if not isinstance(names, dict) or not names:
        problem, fix = "the data YAML has no class names", "set names to a list of names"
    elif set(names) != set(range(len(names))):
        problem, fix = "the class ids in names are not 0, 1, 2 and so on", "number them anew"
    elif count is not None and count != len(names):
        problem, fix = f"nc is {count} but names has {len(names)} entries", "remove nc"
    else:
        return {index: str(names[index]) for index in sorted(names)}
    raise DatasetError(problem, where=path, fix=fix)


def _keypoints(
    data: Mapping[str, Any], path: Path
) -> tuple[tuple[int, int] | None, tuple[float, ...]]:
    """``kpt_shape`` and ``kpt_oks_sigmas``; ``flip_idx`` is checked."""
    given, sigmas = data.get("kpt_shape"), data.get("kpt_oks_sigmas") or ()
    if given is None:
        return None, ()
    match given:
        case [int(count), int(2 | 3 as values)] if count > 0:
            pass
        case _:
            fix = "write [number of keypoints, 2 or 3]"
            raise DatasetError("kpt_shape is no shape of keypoints", where=path, fix=fix)
    try:
        spread = tuple(float(value) for value in sigmas)
    except (TypeError, ValueError):
        spread = (0.0,)
    if spread and (len(spread) != count or not all(0 < value < math.inf for value in spread)):
        what = "kpt_oks_sigmas is not one positive number for each keypoint"
        raise DatasetError(what, where=path, fix=f"write {count} or remove the key")
    match data.get("flip_idx"):
        case None | []:
            pass
        case [*order] if len(order) == count and {*map(str, order)} == {*map(str, range(count))}:
            pass
        case _:
            fix = f"write 0 to {count - 1} in the order they have in a mirrored image"
            raise DatasetError("flip_idx does not name every keypoint", where=path, fix=fix)
    return (count, values), spread


def _root(data: Mapping[str, Any], path: Path) -> Path:
    given = data.get("path")
    if not given:
        return path.parent
    root = Path(str(given))
    if root.exists() or root.is_absolute():
        return root.absolute()
    # Ultralytics looks for a relative path in its own folder of datasets.
    return datasets_folder() / root


def _sources(data: Mapping[str, Any], split: Split, root: Path, path: Path) -> tuple[Path, ...]:
    given = data.get(split) or []
    entries = [given] if isinstance(given, str) else given
    if not isinstance(entries, list) or not all(isinstance(entry, str) for entry in entries):
        raise DatasetError(
            f"{split} is neither a path nor a list of paths", where=path, fix="correct it"
        )
    sources = []
    for entry in entries:
        source = (root / entry).resolve()
        if not source.exists() and entry.startswith("../"):
            source = (root / entry[3:]).resolve()  # as Ultralytics does for Roboflow's exports
        sources.append(source)
    return tuple(sources)


def _suggestion(spec: str) -> str | None:
    if Path(spec).name != spec:
        return None
    folder = yaml_folder()
    shipped = [] if folder is None else sorted(path.name for path in folder.glob("*.yaml"))
    near = difflib.get_close_matches(spec, [*SETS, "neontrees", *shipped], n=1)
    return f"did you mean {near[0]}" if near else None
