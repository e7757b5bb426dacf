"""Step ``integers``: what a device runs INT8 files fastest with, measured there in turns.

A file of signed activations is as accurate as one of unsigned ones, the scales are the same; and
what a layer on integers loses is judged afterwards in any case. So the faster of each is taken.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from prunebench.common.records import Activations, Integers, Interval, Record
from prunebench.config.sections import CoreClass, LatencyConfig
from prunebench.measuring.host.block import row_of_convolutions
from prunebench.measuring.host.remembered import measured_once
from prunebench.measuring.latency.intervals import ratio_interval
from prunebench.measuring.remote.there import There, host_of
from prunebench.measuring.session import SessionSettings
from prunebench.steps.events import Emit, Stage

FEWEST_TURNS, SECONDS = 20, 1.5
LEVEL = 0.95
MATTERS = 1.01
"""Times as fast that the other way has to be at least: else files would differ for nothing."""

WIDTH, IMAGE = 48, 3  # Channels of an inner layer, and of an image.


class Request(Record):
    """Input of the step: the device, the session options and the cores."""

    there: There
    session: SessionSettings
    cores: CoreClass


class Measured(Record):
    """How they are made for a device, and how many times as fast a row of convolutions is there
    with signed activations, and with a narrow first layer on integers.
    """

    integers: Integers
    signed_faster: Interval
    narrow_faster: Interval


def integers_of(flags: frozenset[str]) -> Integers:
    """What is known of a CPU with these ``cpu_flags``: ARM's kernels like signed activations."""
    return Integers(activations="s8" if "asimd" in flags else "u8")


def integers_on(there: There, latency: LatencyConfig) -> Measured:
    """What a device runs fastest, measured once on it as it is."""
    request = Request(there=there, session=SessionSettings.of(latency), cores=latency.cores[0])
    return measured_once("integers", request, host_of(there), Measured)


def run(request: Request, workdir: Path, emit: Emit) -> Measured:
    """Time rows of convolutions on the device."""
    from prunebench.measuring.remote.asking import device_at

    settings = {**asdict(request.session), "cores": (request.cores,)}
    with device_at(request.there, settings, lambda said: emit(Stage(what=said))) as device:
        emit(Stage(what=f"{request.there.name}: timing signed and unsigned integers"))
        return decided(device.turns(rows(), FEWEST_TURNS, SECONDS))


def rows() -> dict[str, bytes]:
    """Rows of convolutions in INT8 that differ in one thing."""
    made = {}
    for name, signed in (("u8", False), ("s8", True)):
        made[name] = row_of_convolutions(WIDTH, "int8", signed=signed)
        for kind, left in (("narrow", False), ("float", True)):
            made[f"{name} {kind}"] = row_of_convolutions(
                WIDTH, "int8", signed=signed, inputs=IMAGE, float_first=left
            )
    return made


def decided(microseconds: Mapping[str, Sequence[float]]) -> Measured:
    """What follows from the timings of ``rows``."""
    by_turn = {name: dict(enumerate(took)) for name, took in microseconds.items()}
    signed = ratio_interval(by_turn["u8"], by_turn["s8"], LEVEL)
    activations: Activations = "s8" if signed.low > MATTERS else "u8"
    left, narrow = by_turn[f"{activations} float"], by_turn[f"{activations} narrow"]
    faster = ratio_interval(left, narrow, LEVEL)
    integers = Integers(activations=activations, narrow=faster.low > MATTERS)
    return Measured(integers=integers, signed_faster=signed, narrow_faster=faster)
