"""The same files measured on several hosts: how a device answers through the store."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from prunebench.common.errors import InputError
from prunebench.common.files import write_atomically
from prunebench.operating.store.files import FileStore
from prunebench.operating.store.runs import fetch_run
from prunebench.results.devices import Device, Devices
from prunebench.results.history.recording import record_run
from prunebench.results.history.store import Store
from prunebench.results.outcome import read_latency, read_outcome
from prunebench.results.report.build import build_report
from prunebench.results.run_folder import DEVICES_FILE, DEVICES_FOLDER


def answer(store: FileStore, source: str, device: str, run: str) -> None:
    """Say in the store that ``run`` is what ``device`` measured of ``source``."""
    store.write_document(_document(source, device), {"run": run})


def take_answer(store: FileStore, run: Path, device: str, history: str) -> Device:
    """Take what a device measured of a run home, and into the history at a URL."""
    home = run / DEVICES_FOLDER
    column = read_answer(store, run.name, device, home)
    with Store(history) as kept:
        record_run(kept, home / str(column.run))
    return column


def read_answer(store: FileStore, source: str, device: str, out: Path) -> Device:
    """Take what a device measured of the run ``source`` from the store; its run goes to ``out``."""
    found = store.read_document(_document(source, device))
    try:
        run = str(found["run"])
    except (TypeError, KeyError) as error:
        raise InputError(f"the answer of {device} cannot be read", where=source) from error
    folder = fetch_run(run, store, out)
    host, ranking = read_latency(folder).fingerprint, read_outcome(folder)
    return Device(name=device, run=run, fingerprint=host, ranking=ranking)


def write_devices(folder: Path, devices: Sequence[Device]) -> None:
    """Write ``devices.json`` into a finished run's folder, and its report anew with them."""
    text = Devices(devices=tuple(devices)).model_dump_json(indent=2)
    write_atomically(folder / DEVICES_FILE, text)
    build_report(folder)


def _document(source: str, device: str) -> str:
    """Name of a device's answer."""
    try:
        Device(name=device)
    except ValidationError:  # The name might lead elsewhere.
        raise InputError("it is not the name of a device", where=device) from None
    return f"devices/{source}/{device}"
