"""What was seen on the host that may have falsified a measurement.

The rounds are paired and shuffled, so a little drift cancels; the limits are where it no longer
does. A disturbance counts when it hits a tenth of the child runs, at least two: a single bad round
is what trimmed means are for.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from prunebench.measuring.host.ticks import busy_share
from prunebench.measuring.latency.raw import (
    SENTINEL,
    BusyBefore,
    Disturbed,
    Noise,
    Sample,
    SentinelDrift,
    SentinelOff,
    SentinelReport,
    Unsteady,
)

SENTINEL_LIMIT = 0.05  # Off its own median in a round, as a share (0.9 % is usual when quiet).
SENTINEL_DRIFT_LIMIT = 0.05  # Its change from the first third of the rounds to the last.
STEAL_LIMIT = 0.01  # Share of all CPU time taken by the hypervisor during a timed part.
CPU_PER_WALL_LIMIT = 0.95  # CPU by wall time of a thread that never waits, unless kept from it.
OTHER_LOAD_LIMIT = 0.10  # Share of the host's CPUs kept busy by others.
DISTURBED_SHARE = 0.10

Disturbance = Literal["stolen", "preempted", "busy"]
Drift = Literal["sentinel_slower", "sentinel_faster"]


def noise_findings(
    samples: Sequence[Sample], cpus: int, classes: Mapping[str, Sequence[int]] | None = None
) -> list[Noise]:
    """Judge all child runs of a measurement, the sentinel's included, on ``cpus`` logical CPUs.

    ``classes`` are those of its cores, where they are not all alike.
    """
    findings = _sentinel_findings(sentinel_report(samples))
    stolen = [s.steal_share for s in samples]
    preempted = [1 - s.model_cpu_s / s.model_wall_s for s in samples if s.threads == 1]
    busy = [None if s.other_cores is None else s.other_cores / cpus for s in samples]
    checks: tuple[tuple[Disturbance, Sequence[float | None], float], ...] = (
        ("stolen", stolen, STEAL_LIMIT),
        ("preempted", preempted, 1 - CPU_PER_WALL_LIMIT),
        ("busy", busy, OTHER_LOAD_LIMIT),
    )
    for kind, shares, limit in checks:
        known = [share for share in shares if share is not None]
        hit = [share for share in known if share > limit]
        if len(hit) >= _many(len(known)):
            counts = {"hit": len(hit), "runs": len(known)}
            findings.append(Disturbed(kind=kind, **counts, worst=max(hit), limit=limit))
    throttled = sum(s.turns_throttled > 0 for s in samples)
    migrated = sum(_migrated(s, classes or {}) for s in samples)
    unsteady: tuple[tuple[Literal["throttled", "migrated"], int], ...] = (
        ("throttled", throttled),
        ("migrated", migrated),
    )
    findings += [
        Unsteady(kind=kind, hit=hit, runs=len(samples))
        for kind, hit in unsteady
        if hit >= _many(len(samples))
    ]
    return findings


def _migrated(sample: Sample, classes: Mapping[str, Sequence[int]]) -> bool:
    """Whether its one thread was on cores of several classes."""
    places = {
        next((name for name, cpus in classes.items() if cpu in cpus), "") for cpu in sample.cpus
    }
    return sample.threads == 1 and len(places) > 1


def load_before_start() -> list[BusyBefore]:
    """Whether other processes are busy right now; takes half a second."""
    share = busy_share(0.5)
    if share <= OTHER_LOAD_LIMIT:
        return []
    load = os.getloadavg()[0]
    return [BusyBefore(share=share, limit=OTHER_LOAD_LIMIT, load_average=load)]


def sentinel_report(samples: Sequence[Sample]) -> SentinelReport | None:
    """What the sentinel did over the rounds; ``None`` with fewer than three of them."""
    by_round = {s.round: float(np.median(s.model_ms)) for s in samples if s.variant == SENTINEL}
    medians = np.array([by_round[index] for index in sorted(by_round)])
    if len(medians) < 3:
        return None
    off = medians / np.median(medians) - 1
    third = max(1, len(medians) // 3)
    return SentinelReport(
        rounds=len(medians),
        median_ms=float(np.median(medians)),
        rounds_off=int((np.abs(off) > SENTINEL_LIMIT).sum()),
        worst_off=float(off[np.abs(off).argmax()]),
        drift=float(np.median(medians[-third:]) / np.median(medians[:third])) - 1,
    )


def _sentinel_findings(report: SentinelReport | None) -> list[Noise]:
    if report is None:
        return []
    findings: list[Noise] = []
    hit, rounds = report.rounds_off, report.rounds
    if hit >= _many(rounds):
        off = SentinelOff(hit=hit, rounds=rounds, worst=report.worst_off, limit=SENTINEL_LIMIT)
        findings.append(off)
    share = abs(report.drift)
    if share > SENTINEL_DRIFT_LIMIT:
        kind: Drift = "sentinel_slower" if report.drift > 0 else "sentinel_faster"
        findings.append(SentinelDrift(kind=kind, share=share, limit=SENTINEL_DRIFT_LIMIT))
    return findings


def _many(count: int) -> float:
    return max(2, DISTURBED_SHARE * count)
