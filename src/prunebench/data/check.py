"""Everything a training or an evaluation relies on in a dataset, checked before anything runs."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import yaml

from prunebench.common.errors import DatasetError
from prunebench.common.files import write_atomically
from prunebench.common.text import counted
from prunebench.data.class_folders import linked
from prunebench.data.dataset import Dataset, Split, image_names, read_dataset, splits_of
from prunebench.data.file_memo import FileMemo
from prunebench.data.labels import check_labels, label_path
from prunebench.steps.events import counting

LISTED: Final = 5  # Images a sentence names

BadImages = Literal["refuse", "skip"]


@dataclass(frozen=True)
class Found:
    """What a dataset holds.

    Attributes:
        flawed: Why images cannot be used, by file.
        labelled: Images with an object that can be used, by split.
    """

    flawed: dict[str, str]
    labelled: dict[Split, int]


def check_dataset(
    dataset: Dataset,
    *,
    class_names: Mapping[int, str] | None = None,
    splits: Sequence[Split] = ("train", "val"),
    task: str | None = None,
    keypoints: tuple[int, int] | None = None,
    memo: FileMemo | None = None,
    bad_images: BadImages = "refuse",
) -> Found:
    """Check a dataset: paths, label files, class ids, coordinates, and that images can be decoded.

    Coordinates lie within 0..1, with Ultralytics' tolerance of 0.01. A test split that is there is
    checked even where it is not needed.

    Args:
        class_names: Names of the checkpoint's classes, which must be the dataset's.
        splits: Splits that must exist and have at least one labelled image.
        task: Task of the model, whose labels they must be.
        keypoints: Those that the checkpoint predicts, which must be the dataset's.
        bad_images: Whether an image that cannot be used is an error or only told.

    Raises:
        DatasetError: With the first thing that is wrong, its file and line, or with all the images
            that cannot be used.
    """
    if task is not None:
        _check_kind(dataset, task)
    if class_names is not None:
        _check_names(dataset, class_names)
    if task == "pose":
        _check_keypoints(dataset, keypoints)
    memo = memo or FileMemo()
    classes = len(dataset.names)
    objects = {
        split: {
            image: 1
            if dataset.class_folders
            else check_labels(
                label_path(image), memo, classes=classes, task=task, points=dataset.keypoints
            )
            for image in _counted(dataset, split)
        }
        for split in dict.fromkeys((*splits, *splits_of(dataset)))
    }
    for split in splits:
        # What need not be decoded to be known; an image that is not there is told as that.
        known = (bool(count) or not memo.size(image) for image, count in objects[split].items())
        _require_labelled(dataset, split, any(known))
    images = {image for found in objects.values() for image in found}
    refused = bad_images == "refuse"
    flawed = memo.flaws(sorted(images), soon=refused)
    if flawed and refused:
        fix = "restore or remove {}, or let a configuration say bad_images: skip"
        raise DatasetError(
            flawed_sentence(dataset, flawed),
            where=dataset.known_by,
            fix=fix.format("it" if len(flawed) == 1 else "them"),
        )
    labelled = {
        split: sum(bool(count) and image not in flawed for image, count in found.items())
        for split, found in objects.items()
    }
    for split in splits:
        _require_labelled(dataset, split, labelled[split] > 0)
    return Found(flawed, labelled)


def _counted(dataset: Dataset, split: Split) -> Iterable[str]:
    """The images of a split, whose label files take a while if there are many."""
    images = image_names(dataset, split)
    if dataset.class_folders:
        return images
    return counting(images, len(images), f"label files of the {split} split")


def _require_labelled(dataset: Dataset, split: Split, there: bool) -> None:
    if there:
        return
    what = f"the {split} split has no labelled image"
    fix = "put YOLO label files (.txt) into the labels folder beside images"
    if dataset.class_folders:
        what, fix = f"no image of the {split} split can be used", "put some into its class folders"
    raise DatasetError(what, where=dataset.known_by, fix=fix)


def flawed_sentence(dataset: Dataset, flawed: Mapping[str, str]) -> str:
    """How many images cannot be used, which and why; of many the first ones."""
    root = f"{dataset.root}{os.sep}"
    first = sorted(flawed.items())[:LISTED]
    listed = "; ".join(f"{image.removeprefix(root)} {flaw}" for image, flaw in first)
    rest = f"; and {len(flawed) - LISTED} more" if len(flawed) > LISTED else ""
    return f"{counted(len(flawed), 'image')} cannot be used: {listed}{rest}"


def evaluation_split(
    dataset: Dataset, found: Found, asked: Literal["auto", "val", "test"] = "auto"
) -> tuple[Split, str | None]:
    """The split accuracy comes from, and why it is not ``test`` where the data name one."""
    if asked != "auto":
        return asked, None
    if found.labelled.get("test"):
        return "test", None
    if not dataset.test:
        return "val", None
    lacks = "labelled" if "test" in found.labelled else "there"
    return "val", f"no image of the test split is {lacks}, so accuracy comes from val"


def leave_out(dataset: Dataset, flawed: Mapping[str, str], cache_dir: Path) -> Dataset:
    """The dataset without some of its images: a data YAML in ``cache_dir`` that lists the rest."""
    given = yaml.safe_load(dataset.yaml.read_text(encoding="utf-8-sig"))
    given = {key: given[key] for key in given if key not in ("validation", "test", "download")}
    given |= {"path": str(dataset.root), "names": dataset.names, "nc": len(dataset.names)}
    lists = {
        split: "".join(f"{i}\n" for i in image_names(dataset, split) if i not in flawed)
        for split in splits_of(dataset)
    }
    lists = {split: text for split, text in lists.items() if text}
    digest = hashlib.sha256(yaml.safe_dump([given, lists]).encode()).hexdigest()[:16]
    folder = (cache_dir / f"without-bad-images-{digest}").absolute()
    if dataset.class_folders:
        images = {split: text.splitlines() for split, text in lists.items()}
        return read_dataset(linked(folder, images, dataset.names))
    for split, text in lists.items():
        write_atomically(folder / f"{split}.txt", text)
    given |= {split: str(folder / f"{split}.txt") for split in lists}
    write_atomically(folder / "data.yaml", yaml.safe_dump(given, sort_keys=False))
    return read_dataset(folder / "data.yaml")


def _check_kind(dataset: Dataset, task: str) -> None:
    if dataset.class_folders != (task == "classify"):
        if dataset.class_folders:
            what = "the dataset says the class of each image alone, but the model finds objects"
            fix = "give a dataset of labelled objects, or a classification model"
        else:
            what = "the dataset labels objects, but a classification model needs classes of images"
            fix = "give a folder with a folder of each class in train and val"
        raise DatasetError(what, where=dataset.known_by, fix=fix)


def _check_keypoints(dataset: Dataset, wanted: tuple[int, int] | None) -> None:
    here = dataset.keypoints
    if here is None:
        what = "the data YAML has no kpt_shape, but a pose model needs keypoints"
        fix = "give a pose dataset, or a detection model"
        raise DatasetError(what, where=dataset.known_by, fix=fix)
    if wanted is not None and wanted != here:
        own, other = ("{} keypoints of {} values".format(*shape) for shape in (here, wanted))
        what = f"the dataset has {own}, the checkpoint {other}"
        fix = "use the dataset the checkpoint was trained on"
        raise DatasetError(what, where=dataset.known_by, fix=fix)


def _check_names(dataset: Dataset, class_names: Mapping[int, str]) -> None:
    here, there = len(dataset.names), len(class_names)
    own = counted(here, "class", "classes")
    problem = f"the dataset has {own}, the checkpoint {there}" if here != there else None
    for index, name in dataset.names.items():
        other = class_names.get(index)
        if problem is None and other != name:
            problem = f"class {index} is {name!r} here but {other!r} in the checkpoint"
    if problem is not None:
        fix = "use the dataset the checkpoint was trained on"
        raise DatasetError(problem, where=dataset.known_by, fix=fix)
