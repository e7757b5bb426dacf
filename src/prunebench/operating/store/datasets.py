"""A dataset as one file of a store, so that other hosts train on the same images.

The archive needs no path of this host: ``<split>/images/<index>-<name>`` (the index keeps the
order), ``<split>/labels/<index>-<stem>.txt`` and ``data.yaml``; of class folders
``<split>/<class>/<index>-<name>``.
"""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from pathlib import Path

import yaml
from filelock import FileLock
from pydantic import ValidationError

from prunebench.common.errors import InputError
from prunebench.common.records import Record
from prunebench.data.dataset import images_of, read_dataset, splits_of
from prunebench.data.labels import labels_of
from prunebench.operating.store.files import FileStore, Stored

DATA_YAML = "data.yaml"
NOT_TAKEN = ("path", "train", "val", "validation", "test", "nc", "names", "download")


class ArchivedDataset(Record):
    """A dataset in a store, with its digest as ``dataset_digest`` gives it."""

    digest: str
    archive: Stored


def archive_dataset(data_yaml: Path, digest: str, store: FileStore, work: Path) -> ArchivedDataset:
    """Put a dataset into a store; one that is there is not packed again (in ``work``)."""
    name = f"datasets/{digest}"
    try:
        known = ArchivedDataset.model_validate(store.read_document(name))
        if store.has(known.archive):
            return known
    except (InputError, ValidationError):
        pass  # It is not there yet, or of another version.
    with tempfile.TemporaryDirectory(dir=work, prefix=".archiving-") as folder:
        packed = Path(folder) / "dataset.zip"
        _pack(data_yaml, packed)
        made = ArchivedDataset(digest=digest, archive=store.put(packed))
    store.write_document(name, made.model_dump(mode="json"))
    return made


def unpack_dataset(archived: ArchivedDataset, store: FileStore, home: Path) -> Path:
    """Have a dataset of a store in a folder below ``home``, once; gives its YAML."""
    home.mkdir(parents=True, exist_ok=True)
    folder = home / archived.digest
    with FileLock(home / f".{archived.digest}.lock"):
        if not folder.is_dir():
            with tempfile.TemporaryDirectory(dir=home, prefix=".unpacking-") as work:
                packed, made = Path(work) / "dataset.zip", Path(work) / "dataset"
                store.get(archived.archive, packed)
                with zipfile.ZipFile(packed) as file:
                    file.extractall(made)
                made.rename(folder)
    return folder / DATA_YAML


def _pack(data_yaml: Path, target: Path) -> None:
    dataset = read_dataset(data_yaml)
    given = yaml.safe_load(data_yaml.read_text(encoding="utf-8-sig"))
    values = {key: value for key, value in given.items() if key not in NOT_TAKEN}
    values["names"] = dataset.names
    # Images are compressed already.
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as file:
        for split in splits_of(dataset):
            values[split] = split if dataset.class_folders else f"{split}/images"
            for index, image in enumerate(images_of(dataset, split)):
                if dataset.class_folders:
                    name = f"{index:07d}-{image.name}"
                    _add(file, f"{split}/{image.parent.name}/{name}", image)
                    continue
                _add(file, f"{split}/images/{index:07d}-{image.name}", image)
                labels = labels_of(image)
                if labels.is_file():
                    _add(file, f"{split}/labels/{index:07d}-{image.stem}.txt", labels)
        file.writestr(zipfile.ZipInfo(DATA_YAML), yaml.safe_dump(values, sort_keys=False))


def _add(file: zipfile.ZipFile, name: str, path: Path) -> None:
    """Add a file without its time, so that the same dataset is the same archive."""
    with path.open("rb") as source, file.open(zipfile.ZipInfo(name), "w", force_zip64=True) as out:
        shutil.copyfileobj(source, out)
