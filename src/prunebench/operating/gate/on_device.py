"""The gate by what a device measured: it is not here, so its stored rounds decide."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from prunebench.common.errors import InputError
from prunebench.common.statistics import Rounds
from prunebench.measuring.latency.records import LatencyResult
from prunebench.measuring.latency.stopping import round_medians
from prunebench.operating.gate.decision import (
    Check,
    GateLimits,
    decide_once,
    judge,
    paired_latency,
    stored_check,
)
from prunebench.operating.gate.run import GateReport, accuracy_checks, check_alike, unchecked
from prunebench.operating.gate.subjects import Subject, find_subject
from prunebench.results.devices import read_devices
from prunebench.results.history.reading import to_sentinel
from prunebench.results.outcome import RunRanking, read_latency, read_run_samples
from prunebench.results.run_folder import DEVICES_FOLDER

Medians = Mapping[tuple[str, int], Rounds]


def gate_on_device(candidate: str, baseline: str, device: str, limits: GateLimits) -> GateReport:
    """Judge a candidate by what ``device`` measured of it and of its baseline.

    Of one run they were measured in turns, of two runs both beside the reference model. InputError
    where the device has not measured both, or is another host by now.
    """
    first, second = _subject(candidate, device), _subject(baseline, device)
    check_alike(first, second)
    (home, latency), (other, earlier) = _measured(first, device), _measured(second, device)
    if differences := earlier.fingerprint.differences(latency.fingerprint):
        what = f"{device} is another host by now ({'; '.join(differences)})"
        raise InputError(what, fix="measure the baseline's run there again")
    now, before = _medians(home, latency), _medians(other, earlier)
    checks: list[Check] = []
    for count in latency.threads:
        name = first.variant.name, count
        base = second.variant.name, count
        if home == other and name in now and base in now:
            checks += paired_latency(first.variant.name, count, now[name], now[base], limits)
            continue
        ratios, stored = to_sentinel(now), to_sentinel(before)
        if name in ratios and base in stored:
            checks.append(stored_check(*name, ratios[name], stored[base], limits))
    if not checks:
        raise InputError(f"{device} has too few rounds of both", fix="measure them there again")
    obstacle = unchecked(first, second)
    if obstacle is None:
        checks += accuracy_checks(first, second, limits, 0)
    return GateReport(
        candidate=first.title,
        baseline=second.title,
        method="on a device",
        unchecked=obstacle,
        images=len(first.experiment.images),
        noise=tuple(dict.fromkeys((*latency.noise, *earlier.noise))),
        result=decide_once(judge(checks, limits)),
    )


def _subject(given: str, device: str) -> Subject:
    found = find_subject(given, lambda folder: _column(folder, device)[1])
    if found is None:
        what = "it is not a variant in a run folder"
        raise InputError(what, where=given, fix="give RUNFOLDER:VARIANT or RUNFOLDER")
    return found


def _measured(subject: Subject, device: str) -> tuple[Path, LatencyResult]:
    """Folder of what the device measured of a run, and its latency."""
    folder, _ = _column(subject.folder, device)
    return folder, read_latency(folder)


def _column(run: Path, device: str) -> tuple[Path, RunRanking]:
    """Folder of what the device measured of a run, and how it ranks the variants."""
    for column in read_devices(run):
        if column.name == device and column.run is not None and column.ranking is not None:
            return run / DEVICES_FOLDER / device / column.run, column.ranking
    fix = "add its results with `prunebench devices RUN --add`"
    raise InputError(f"the run has no figures of {device}", where=run, fix=fix)


def _medians(folder: Path, latency: LatencyResult) -> Medians:
    return round_medians(read_run_samples(folder, latency), "model")
