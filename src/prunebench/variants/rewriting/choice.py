"""Step ``passes``: which passes make files slower on this host, so that they are not applied.

``specimen`` rewritten by all passes is timed in turns with the same without one of them, in one
process. A pass is left out only where it is shown to be slower, and shown again in new sessions,
by more than what would make files of two hosts differ for nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from prunebench.common.records import Interval, Record
from prunebench.config.exporting import ExportConfig
from prunebench.config.sections import CoreClass, LatencyConfig
from prunebench.measuring.host.block_timing import Turns
from prunebench.measuring.host.fingerprint import fingerprint_for
from prunebench.measuring.host.lock import timing_on_host
from prunebench.measuring.host.remembered import measured_once, remembered
from prunebench.measuring.latency.intervals import ratio_interval
from prunebench.measuring.remote.there import There, host_of
from prunebench.measuring.session import SessionSettings
from prunebench.steps.events import Emit, Stage, Waiting, stage
from prunebench.variants.rewriting.apply import PASSES, rewritten
from prunebench.variants.rewriting.specimen import specimen

SECONDS = 1.5
FEWEST_TURNS = 10
LEVEL = 0.95
SLOWER = 0.99
ALL = "all"

Timed = Callable[[Mapping[str, bytes]], Mapping[str, Sequence[float]]]
"""Gives the microseconds of files in turns, by the name of each."""


class Request(Record):
    """Input of the step: (height, width) of the images in pixels, session options and cores."""

    imgsz: tuple[int, int]
    session: SessionSettings
    cores: CoreClass = "all"


class Passes(Record):
    """What a host measured at (height, width) ``imgsz``, with one thread.

    ``faster``: by pass, how many times as fast a file is with it as without it; ``there``: the
    device that measured it, ``None``: this host.
    """

    imgsz: tuple[int, int]
    faster: dict[str, Interval]
    there: str | None = None

    @property
    def slower(self) -> tuple[str, ...]:
        """Passes that are not applied."""
        return tuple(name for name, ratio in self.faster.items() if ratio.high < SLOWER)

    @property
    def applied(self) -> tuple[str, ...]:
        """Passes that every exported graph is rewritten by."""
        return tuple(name for name in self.faster if name not in self.slower)


def passes_for(
    export: ExportConfig,
    latency: LatencyConfig,
    imgsz: tuple[int, int],
    there: There | None = None,
) -> Passes | None:
    """What the host that counts measured; ``None`` where graphs are not rewritten."""
    if export.rewrite == "none":
        return None
    session = SessionSettings.of(latency)
    request = Request(imgsz=imgsz, session=session, cores=latency.cores[0])
    if there is None:
        return measured_once("passes", request, fingerprint_for(latency), Passes)
    from prunebench.measuring.remote.asking import device_at

    def measured() -> Passes:
        with device_at(there, latency.model_dump(mode="json"), stage) as device:
            stage(f"{there.name}: timing what each rewriting pass gains")
            return _decided(request.imgsz, lambda files: device.turns(files, FEWEST_TURNS, SECONDS))

    found = remembered("passes", request, host_of(there), Passes, measured)
    return found.model_copy(update={"there": there.name})


def run(request: Request, workdir: Path, emit: Emit) -> Passes:
    """Time every pass."""
    emit(Stage(what="timing what each rewriting pass gains"))
    with timing_on_host(request.cores, "the rewriting passes", lambda s: emit(Waiting(what=s))):
        return _decided(request.imgsz, lambda files: _turns(files, request.session))


def _decided(imgsz: tuple[int, int], timed: Timed) -> Passes:
    plain = specimen(imgsz)
    applied = {ALL: tuple(PASSES)} | {
        name: tuple(other for other in PASSES if other != name) for name in PASSES
    }
    files = {
        name: rewritten(plain, passes)[0].SerializeToString() for name, passes in applied.items()
    }
    found = _compared(imgsz, timed(files))
    if found.slower:
        again = _compared(imgsz, timed(files))
        likelier = {
            name: max(ratio, again.faster[name], key=lambda one: one.high)
            for name, ratio in found.faster.items()
        }
        found = found.model_copy(update={"faster": likelier})
    return found


def _turns(files: Mapping[str, bytes], session: SessionSettings) -> dict[str, list[float]]:
    turns = Turns(files, session)
    turns.take_at_least(FEWEST_TURNS, SECONDS)
    return turns.microseconds


def _compared(imgsz: tuple[int, int], microseconds: Mapping[str, Sequence[float]]) -> Passes:
    by_turn = {name: dict(enumerate(took)) for name, took in microseconds.items()}
    faster = {name: ratio_interval(by_turn[name], by_turn[ALL], LEVEL) for name in PASSES}
    return Passes(imgsz=imgsz, faster=faster)
