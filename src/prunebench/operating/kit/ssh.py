"""A kit of a finished run, carried to a device, run there and brought home as a column."""

from __future__ import annotations

import tempfile
from pathlib import Path

from prunebench.common.errors import PrunebenchError, StepError
from prunebench.config.devices import SshDevice
from prunebench.measuring.remote.transport import HOME, Remote, Told
from prunebench.operating.kit.make import content_of
from prunebench.operating.kit.results import column_of
from prunebench.operating.rebenchmark import read_source
from prunebench.results.devices import Device


def measure_there(folder: Path, name: str, device: SshDevice, told: Told) -> Device:
    """Measure a finished run's files on a device; why it has no figures, where it has none."""
    try:
        experiment, variants = read_source(folder)
        content = content_of(experiment, variants)
        there = f"{HOME}/{experiment.config.name}"
        with tempfile.TemporaryDirectory() as work:
            remote = Remote(name, device.address, device.python, there, told)
            return column_of(folder, remote.answer(content, Path(work)), name)
    except StepError as error:
        return Device(name=name, failure=error.reason)
    except PrunebenchError as error:
        return Device(name=name, failure=str(error).rstrip("."))
