"""The device that pruning is for, looked at before anything is made for it."""

from __future__ import annotations

import tempfile
from pathlib import Path

from prunebench.common.records import Integers
from prunebench.config.loading import Config
from prunebench.config.sections import LatencyConfig
from prunebench.experiment.inputs import Checked
from prunebench.measuring.host.fingerprint import cpu_flags
from prunebench.measuring.jobs import median_ms
from prunebench.measuring.latency.sentinel import write_sentinel
from prunebench.measuring.remote.asking import device_at
from prunebench.measuring.remote.there import There, host_of
from prunebench.measuring.remote.transport import check_ssh
from prunebench.measuring.session import SessionSettings
from prunebench.steps.events import stage
from prunebench.variants.int8.on_device import Measured, integers_of, integers_on


def look_there(config: Config) -> There | None:
    """What ``prune.measure_on`` names, ``None`` where this host counts.

    Raises:
        ConfigError: This host has no ssh.
        EnvironmentMismatch: An emulator runs there.
        StepError: It cannot be reached, or cannot measure.
    """
    name = config.prune.measure_on
    if name is None:
        return None
    check_ssh("prune.measure_on")
    device = config.over_ssh[name]
    there = There(name=name, address=device.address, python=device.python)
    stage(f"{name}: looking at what it is")
    with device_at(there, config.latency.model_dump(mode="json"), stage) as asked:
        return asked.look()


def times_as_slow(there: There, latency: LatencyConfig) -> float:
    """Its time of the reference model, by this host's."""
    with tempfile.TemporaryDirectory() as folder:
        write_sentinel(sentinel := Path(folder) / "sentinel.onnx")
        here = median_ms(sentinel.read_bytes(), SessionSettings.of(latency))
    return (there.sentinel_ms or here) / here


def look_at_integers(config: Config, there: There | None) -> Measured | None:
    """What the device runs INT8 files fastest with, where any are made for it."""
    int8 = config.quantize is not None or "int8" in config.controls
    if there is None or not (int8 or any(goal.int8 for goal in config.prune.goals)):
        return None
    return integers_on(there, config.latency)


def integers_that_count(experiment: Checked) -> Integers:
    """How INT8 files are made: as measured on the device, else as is known of this host's CPU."""
    if experiment.integers is not None:
        return experiment.integers.integers
    return integers_of(flags_that_count(experiment.there))


def flags_that_count(there: There | None) -> frozenset[str]:
    """Feature flags of the CPU that files are made for, as far as its fingerprint names them."""
    return cpu_flags() if there is None else host_of(there).flags
