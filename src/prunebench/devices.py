"""The same files measured on several hosts: one column per device beside this host's figures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError

from prunebench.errors import InputError
from prunebench.files import write_atomically
from prunebench.filestore import FileStore
from prunebench.latency.fingerprint import Fingerprint
from prunebench.outcome import RunRanking, read_latency, read_outcome
from prunebench.records import Interval, Record
from prunebench.report.build import build_report
from prunebench.transfer import fetch_run

DEVICES_FILE = "devices.json"
HERE = "this host"

DeviceName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$", max_length=60)]


class Device(Record):
    """What one device says of a run's files.

    Attributes:
        name: The device, which is the work queue its worker takes runs from.
        run: Name of the run that was made there, ``None`` where there is none.
        fingerprint: The host.
        ranking: How its own measurement ranks the variants.
        failure: Why it has no figures.
    """

    name: DeviceName
    run: str | None = None
    fingerprint: Fingerprint | None = None
    ranking: RunRanking | None = None
    failure: str | None = None


class Devices(Record):
    """Every device's answer, as ``devices.json`` keeps it."""

    devices: tuple[Device, ...]


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
    """Take what a device measured from the store.

    Args:
        store: The store.
        source: Name of the run whose files were measured.
        device: The device.
        out: Folder that the device's run is kept in here.

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


def read_devices(folder: Path) -> tuple[Device, ...]:
    """What the devices of a run answered; nothing where none was asked.

    Raises:
        InputError: ``devices.json`` cannot be read.
    """
    path = folder / DEVICES_FILE
    if not path.is_file():
        return ()
    try:
        return Devices.model_validate_json(path.read_text(encoding="utf-8")).devices
    except (OSError, ValidationError) as error:
        raise InputError(
            "what the devices answered cannot be read", where=path, fix="remove the file"
        ) from error


def device_rows(here: RunRanking, devices: Sequence[Device]) -> list[dict[str, Any]]:
    """A row per variant of this host's first thread count, and a column per device, as plain
    values: rank, milliseconds of the network alone, and frames per second.
    """
    columns = {HERE: here} | {d.name: d.ranking for d in devices if d.ranking is not None}
    cells = {
        name: {
            row.name: f"{row.label}: {_shown(row.latency_ms)} ms, {_shown(row.fps)} FPS"
            for row in ranking.rankings[0].rows
        }
        for name, ranking in columns.items()
    }
    missing = {device.name: device.failure or "" for device in devices if device.ranking is None}
    return [
        {
            "variant": row.name,
            **{name: found.get(row.name, "not ranked") for name, found in cells.items()},
            **missing,
        }
        for row in here.rankings[0].rows
    ]


def _shown(interval: Interval) -> str:
    return f"{interval.estimate:.4g} [{interval.low:.4g}, {interval.high:.4g}]"


def _document(source: str, device: str) -> str:
    """Name of a device's answer.

    Raises:
        InputError: The device's name might lead elsewhere.
    """
    try:
        Device(name=device)
    except ValidationError:
        raise InputError("it is no name of a device", where=device) from None
    return f"devices/{source}/{device}"
