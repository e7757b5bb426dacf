"""A step that another host runs: its files travel there and back through the store.

The host that asks packs a ``RemoteStep``. The host that is asked fetches its files, runs the step
in a child process as it would its own, and uploads what the result names. No folder is shared.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock
from pydantic import model_serializer

from prunebench.common.records import PathInside, Record
from prunebench.operating.store.datasets import ArchivedDataset, unpack_dataset
from prunebench.operating.store.files import FileStore, Stored
from prunebench.operating.store.runs import open_store
from prunebench.results.run_folder import STEPS_FOLDER
from prunebench.steps.cache import code_of, file_refs
from prunebench.steps.child import run_child
from prunebench.steps.events import Emit

FILES: Mapping[str, tuple[str, ...]] = {
    "baseline": ("model",),
    "train": ("checkpoint", "teacher"),
    "sensitivity": ("checkpoint",),
    "prune": ("checkpoint", "costs", "curves"),
    "export": ("checkpoint", "images"),
}
"""Steps that other hosts may run, with the fields of their requests that name files."""

DATASET = "data_yaml"
"""The field that names the dataset, in every step that has one."""

GIVEN_FOLDER = "given"
DATASETS_FOLDER = "datasets"


class RemoteStep(Record):
    """A step, as another host is asked for it.

    Attributes:
        name: Name of the step's folder.
        request: The step's request; a file is named by its path in ``files``.
        files: Path below the step's folder to the file in the store.
        cache_gb: What of the store (a URL) the other host keeps, in 10^9 bytes.
    """

    step: str
    name: PathInside
    request: dict[str, Any]
    files: dict[PathInside, Stored]
    dataset: ArchivedDataset | None
    threads: int
    store: str
    cache_gb: float


class RemoteResult(Record):
    """A remote step's result as plain JSON values, what its libraries printed, and who ran it."""

    result: dict[str, Any]
    log: Stored
    ran_on: str


class _Values(Record):
    """A request whose class need not be known here."""

    values: dict[str, Any]

    @model_serializer
    def _alone(self) -> dict[str, Any]:
        return self.values


def may_run_elsewhere(step: str, request: Record) -> bool:
    """Whether another host may run a step: not where the result depends on this host's speed."""
    return step in FILES and getattr(request, "timing", None) is None


def code_of_remote_steps() -> dict[str, Any]:
    """What two hosts have to agree in before one runs steps for the other."""
    return {step: code_of(step) for step in FILES}


def pack(
    step: str,
    name: str,
    request: Record,
    dataset: ArchivedDataset,
    store: FileStore,
    *,
    threads: int,
) -> RemoteStep:
    """Upload the files of a request, and describe the step for another host."""
    files: dict[str, Stored] = {}

    def sent(path: str) -> str:
        # A network may be named without being a file.
        if not Path(path).is_file():
            return path
        place = f"{GIVEN_FOLDER}/{len(files)}-{Path(path).name}"
        files[place] = store.put(Path(path))
        return place

    values = _with_files(step, request.model_dump(mode="json"), sent)
    return RemoteStep(
        step=step,
        name=name,
        request=values,
        files=files,
        dataset=dataset if DATASET in values else None,
        threads=threads,
        store=store.url,
        cache_gb=store.cache_gb,
    )


def run_for_another_host(
    remote: RemoteStep, home: Path, ran_on: str, on_event: Emit, unwanted: threading.Event
) -> RemoteResult:
    """Run a step for another host; an attempt that was interrupted here goes on where it stopped.

    Files are kept in ``home``; the step is killed once ``unwanted`` is set.
    """
    store = open_store(remote.store, home, remote.cache_gb)
    folder = home / STEPS_FOLDER / remote.name
    folder.mkdir(parents=True, exist_ok=True)
    # The lock lies beside the folder, which is gone when the step is done.
    with FileLock(folder.with_name(f".{folder.name}.lock")):
        for place, stored in remote.files.items():
            store.get(stored, folder / place)

        def found(path: str) -> str:
            return str(folder / path) if path in remote.files else path

        values = _with_files(remote.step, remote.request, found)
        if remote.dataset is not None:
            values[DATASET] = str(unpack_dataset(remote.dataset, store, home / DATASETS_FOLDER))
        result = run_child(
            remote.step,
            _Values(values=values),
            folder,
            threads=remote.threads,
            on_event=on_event,
            unwanted=unwanted,
        )
        for ref in file_refs(result):
            store.put(folder / ref.path)
        log = store.put(folder / f"{remote.step}.log")
        shutil.rmtree(folder)
    return RemoteResult(result=result, log=log, ran_on=ran_on)


def fetch_result(found: RemoteResult, step: str, folder: Path, store: FileStore) -> None:
    """Put what a remote step made into the step's folder of this host."""
    for ref in file_refs(found.result):
        store.get(Stored(sha256=ref.sha256, bytes=ref.bytes), folder / ref.path)
    store.get(found.log, folder / f"{step}.log")


def _with_files(
    step: str, request: Mapping[str, Any], change: Callable[[str], str]
) -> dict[str, Any]:
    """A request with the names of its files changed; a field names one, several or none."""
    values = dict(request)
    for field in FILES[step]:
        if isinstance(values[field], list):
            values[field] = [change(path) for path in values[field]]
        elif values[field] is not None:
            values[field] = change(values[field])
    return values
