"""What other hosts measured of a run's files: a column per device beside this host's figures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prunebench.common.records import Record
from prunebench.common.text import compact, times
from prunebench.config.sections import DeviceName
from prunebench.measuring.host.fingerprint import Fingerprint
from prunebench.results.outcome import RunRanking
from prunebench.results.run_folder import DEVICES_FILE, read_record

HERE = "this host"


class Device(Record):
    """What one device says of a run's files: its own run and ranking, or why it has no figures.

    ``name`` is also the work queue its worker takes runs from, where it has one; ``model_only``:
    its frames per second are of the network alone.
    """

    name: DeviceName
    run: str | None = None
    model_only: bool = False
    fingerprint: Fingerprint | None = None
    ranking: RunRanking | None = None
    failure: str | None = None


class Devices(Record):
    """Every device's answer, as ``devices.json`` keeps it."""

    devices: tuple[Device, ...]


def read_devices(folder: Path) -> tuple[Device, ...]:
    """What the devices of a run answered; nothing where none was asked."""
    path = folder / DEVICES_FILE
    if not path.is_file():
        return ()
    what = "what the devices answered cannot be read"
    return read_record(path, Devices, what=what, fix="remove the file").devices


def device_rows(here: RunRanking, devices: Sequence[Device]) -> list[dict[str, Any]]:
    """A row per variant of this host's first thread count, and a column per device, as plain
    values: rank, milliseconds of the network alone, frames per second, and those by the baseline's.
    """
    columns = {HERE: here} | {d.name: d.ranking for d in devices if d.ranking is not None}
    cells = {
        name: {
            row.name: f"{row.label}: {compact(row.latency_ms)} ms, {compact(row.fps)} FPS"
            + (f", {times(row.times_baseline)} baseline" if row.times_baseline else "")
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
