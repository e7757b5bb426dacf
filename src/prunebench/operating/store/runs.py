"""Finished runs carried from host to host through a store, with the images for latency."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from prunebench.common.errors import InputError
from prunebench.common.files import write_atomically
from prunebench.common.records import PathInside, Record
from prunebench.experiment.prepare import EXPERIMENT_FILE, read_experiment
from prunebench.operating.store.files import FileStore, Stored
from prunebench.results.outcome import read_outcome
from prunebench.results.run_folder import RANKING_FILE, STORE_FOLDER

CACHE_GB = 5.0
"""Default of what a host keeps of a store, in 10^9 bytes."""

IMAGES_FOLDER = "images"

RunName = Annotated[str, Field(pattern=r"^[0-9]{8}T[0-9A-Za-z.-]+$", max_length=120)]


class RunDocument(Record):
    """What a store knows of a run.

    Attributes:
        name: Name of its folder.
        files: Path below that folder to the file in the store.
        images: The images latency is measured on, in order, by their path below the folder.
    """

    name: RunName
    files: dict[PathInside, Stored]
    images: tuple[PathInside, ...]


def open_store(url: str, out: Path, cache_gb: float = CACHE_GB) -> FileStore:
    """The store a URL names, with its cache below the folder of all runs.

    Raises:
        InputError: The URL cannot be used.
    """
    return FileStore(url, out / STORE_FOLDER, cache_gb)


def push_run(folder: Path, store: FileStore) -> RunDocument:
    """Copy a finished run into a store; what is there already is not sent again.

    Raises:
        InputError: The run is not finished.
        StoreError: A file arrived damaged.
        OSError: The store is out of reach.
    """
    read_outcome(folder)
    experiment = read_experiment(folder)
    files = {
        path.relative_to(folder).as_posix(): store.put(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink() and not path.name.startswith(".")
    }
    images = []
    for index, image in enumerate(experiment.images[: experiment.config.latency.images]):
        name = f"{IMAGES_FOLDER}/{index}{Path(image).suffix}"
        files[name] = store.put(Path(image))
        images.append(name)
    document = RunDocument(name=folder.name, files=files, images=tuple(images))
    store.write_document(_name_of(folder.name), document.model_dump(mode="json"))
    return document


def fetch_run(name: str, store: FileStore, out: Path) -> Path:
    """Make a run of a store a run folder of this host; one that is there is left as it is.

    Raises:
        InputError: The store has no such run.
        StoreError: A file is missing there, or damaged.
        OSError: The store is out of reach.
    """
    folder = out / name
    if (folder / RANKING_FILE).is_file():
        return folder
    try:
        document = RunDocument.model_validate(store.read_document(_name_of(name)))
    except ValidationError as error:
        raise InputError("it is not a run that this version can read", where=name) from error
    if document.name != name:
        raise InputError(f"the run there is named {document.name}", where=name)
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out, prefix=".fetching-") as work:
        made = Path(work) / name
        for path, stored in document.files.items():
            store.get(stored, made / path)
        experiment = read_experiment(made)
        own = tuple(str(folder / image) for image in document.images)
        moved = experiment.model_copy(
            update={
                "folder": str(folder),
                "out": str(out),
                # The others are named still: accuracy was measured on them.
                "images": own + experiment.images[len(own) :],
            }
        )
        write_atomically(made / EXPERIMENT_FILE, moved.model_dump_json(indent=2))
        shutil.rmtree(folder, ignore_errors=True)
        made.rename(folder)
    return folder


def _name_of(run: str) -> str:
    """Name of a run's document.

    Raises:
        InputError: It is not the name of a run: a path might lead elsewhere.
    """
    try:
        RunDocument(name=run, files={}, images=())
    except ValidationError:
        raise InputError(
            "it is not the name of a run", where=run, fix="give the name alone"
        ) from None
    return f"runs/{run}"
