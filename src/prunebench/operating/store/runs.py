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
from prunebench.common.text import listed
from prunebench.experiment.inputs import EXPERIMENT_FILE, read_experiment
from prunebench.operating.store.files import FileStore, Stored
from prunebench.results.outcome import read_outcome
from prunebench.results.run_folder import RANKING_FILE, STORE_FOLDER, read_variants

CACHE_GB = 5.0
"""Default of what a host keeps of a store, in 10^9 bytes."""

IMAGES_FOLDER = "images"

MOST_NAMED = 5
"""Runs of a store that are named where the one that was asked for is not there."""

RunName = Annotated[str, Field(pattern=r"^[0-9]{8}T[0-9A-Za-z.-]+$", max_length=120)]


class RunDocument(Record):
    """A run in a store: its files by their path below its folder.

    ``images`` are the paths of those that latency is measured on, in order.
    """

    name: RunName
    files: dict[PathInside, Stored]
    images: tuple[PathInside, ...]


def open_store(url: str, out: Path, cache_gb: float = CACHE_GB) -> FileStore:
    """The store a URL names, with its cache below the folder of all runs."""
    return FileStore(url, out / STORE_FOLDER, cache_gb)


def push_run(folder: Path, store: FileStore) -> RunDocument:
    """Copy a finished run into a store; what is there already is not sent again."""
    read_outcome(folder)
    read_variants(folder)
    experiment = read_experiment(folder)
    images = experiment.latency_images
    files = {
        path.relative_to(folder).as_posix(): store.put(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink() and not path.name.startswith(".")
    }
    names = tuple(f"{IMAGES_FOLDER}/{index}{image.suffix}" for index, image in enumerate(images))
    files |= {name: store.put(image) for name, image in zip(names, images, strict=True)}
    document = RunDocument(name=folder.name, files=files, images=names)
    store.write_document(_name_of(folder.name), document.model_dump(mode="json"))
    return document


def damaged_files(folder: Path) -> list[str]:
    """Files of a run's variants that are gone, or not those it made."""
    refs = (ref for variant in read_variants(folder) for ref in variant.files)
    return [ref.path for ref in refs if not ref.holds(folder)]


def fetch_run(name: str, store: FileStore, out: Path) -> Path:
    """Make a run of a store a run folder of this host; one that is there is left as it is."""
    folder = out / name
    if Path(name).name != name:
        _name_of(name)
    if (folder / RANKING_FILE).is_file():
        return folder
    _check_there(name, store)
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


def _check_there(name: str, store: FileStore) -> None:
    names = store.documents("runs")
    if name not in names:
        newest = listed(names[-MOST_NAMED:])
        fix = f"choose among its last ones, {newest}" if names else "`prunebench push` a run to it"
        raise InputError(f"the store has no run {name}", where=store.url, fix=fix)


def _name_of(run: str) -> str:
    """Name of a run's document."""
    try:
        RunDocument(name=run, files={}, images=())
    except ValidationError:  # A path might lead elsewhere.
        what = "it is not the name of a run"
        raise InputError(what, where=run, fix="give the name alone") from None
    return f"runs/{run}"
