"""The same files measured on several hosts: how a device answers through the store."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from prunebench.common.errors import InputError
from prunebench.common.files import write_atomically
from prunebench.common.records import Record
from prunebench.operating.store.files import FileStore
from prunebench.operating.store.runs import fetch_run
from prunebench.results.devices import DEVICES_FILE, Device, Devices
from prunebench.results.outcome import read_latency, read_outcome
from prunebench.results.report.build import build_report


class Answer(Record):
    """The document by which a device says which run of its own answers a request."""

    run: str


def answer(store: FileStore, source: str, device: str, run: str) -> None:
    """Say in the store that ``run`` is what ``device`` measured of ``source``.

    Raises:
        OSError: The store is out of reach.
    """
    store.write_document(_document(source, device), Answer(run=run).model_dump())


def read_answer(store: FileStore, source: str, device: str, out: Path) -> Device:
    """Take what a device measured of the run ``source`` from the store, and its run into ``out``.

    Raises:
        InputError: The device has left no answer, or one that cannot be read.
        StoreError: A file is missing in the store, or damaged.
        OSError: The store is out of reach.
    """
    try:
        found = Answer.model_validate(store.read_document(_document(source, device)))
    except ValidationError as error:
        raise InputError(f"the answer of {device} cannot be read", where=source) from error
    folder = fetch_run(found.run, store, out)
    return Device(
        name=device,
        run=found.run,
        fingerprint=read_latency(folder).fingerprint,
        ranking=read_outcome(folder),
    )


def write_devices(folder: Path, devices: Sequence[Device]) -> None:
    """Write ``devices.json`` into a finished run's folder, and its report anew with them.

    Raises:
        InputError: The run is not finished.
    """
    text = Devices(devices=tuple(devices)).model_dump_json(indent=2)
    write_atomically(folder / DEVICES_FILE, text)
    build_report(folder)


def _document(source: str, device: str) -> str:
    """Name of a device's answer.

    Raises:
        InputError: The device's name might lead elsewhere.
    """
    try:
        Device(name=device)
    except ValidationError:
        raise InputError("it is not the name of a device", where=device) from None
    return f"devices/{source}/{device}"
