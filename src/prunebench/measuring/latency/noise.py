"""What on the host may have falsified a measurement, one sentence each.

Limits and why: the rounds are paired and shuffled, so a little drift cancels; these are the
sizes at which it no longer does. A disturbance counts when it hits a tenth of the child runs,
at least two: a single bad round is what trimmed means are for.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import numpy as np
import psutil

from prunebench.measuring.latency.records import Sample, SentinelReport
from prunebench.measuring.latency.sentinel import SENTINEL

SENTINEL_LIMIT = 0.05
"""How far the sentinel may be off its own median in a round (0.9 % is usual when quiet)."""

SENTINEL_DRIFT_LIMIT = 0.05
"""Change of the sentinel from the first third of the rounds to the last."""

STEAL_LIMIT = 0.01
"""Share of all CPU time taken by the hypervisor during a timed part."""

CPU_PER_WALL_LIMIT = 0.95
"""CPU time by wall time of one thread that never waits; below, it was kept from running."""

OTHER_LOAD_LIMIT = 0.10
"""Share of the host's CPUs kept busy by others."""

DISTURBED_SHARE = 0.10
START_INTERVAL_S = 0.5


def noise_findings(samples: Sequence[Sample], cpus: int) -> list[str]:
    """Judge all child runs of a measurement, the sentinel's included, on ``cpus`` logical CPUs."""
    findings = _sentinel_findings(sentinel_report(samples))
    checks: list[tuple[Sequence[Sample], Callable[[Sample], float | None], float, str]] = [
        (
            samples,
            lambda s: s.steal_share,
            STEAL_LIMIT,
            "the hypervisor took CPU time away in {hit} of {all} child runs "
            "(worst {worst:.1%} of all CPU time, limit {limit:.0%})",
        ),
        (
            [s for s in samples if s.threads == 1],
            lambda s: 1 - s.model_cpu_s / s.model_wall_s,
            1 - CPU_PER_WALL_LIMIT,
            "the measured thread was kept from running in {hit} of {all} child runs "
            "(worst {worst:.1%} of the wall time, limit {limit:.0%})",
        ),
        (
            samples,
            lambda s: None if s.other_cores is None else s.other_cores / cpus,
            OTHER_LOAD_LIMIT,
            "other processes kept CPUs busy in {hit} of {all} child runs "
            "(worst {worst:.0%} of all CPUs, limit {limit:.0%})",
        ),
    ]
    for runs, read, limit, sentence in checks:
        values = [value for run in runs if (value := read(run)) is not None]
        hit = [value for value in values if value > limit]
        if len(hit) >= _many(len(values)):
            findings.append(
                sentence.format(hit=len(hit), all=len(values), worst=max(hit), limit=limit)
            )
    return findings


def load_before_start() -> list[str]:
    """Whether other processes are busy right now; takes half a second."""
    share = psutil.cpu_percent(interval=START_INTERVAL_S) / 100
    if share <= OTHER_LOAD_LIMIT:
        return []
    return [
        f"other processes kept {share:.0%} of all CPUs busy just before the start "
        f"(limit {OTHER_LOAD_LIMIT:.0%}, load average {os.getloadavg()[0]:.1f})"
    ]


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


def _sentinel_findings(report: SentinelReport | None) -> list[str]:
    if report is None:
        return []
    findings = []
    if report.rounds_off >= _many(report.rounds):
        findings.append(
            f"the reference model was off its median in {report.rounds_off} of {report.rounds} "
            f"rounds (worst {report.worst_off:+.1%}, limit {SENTINEL_LIMIT:.0%})"
        )
    if abs(report.drift) > SENTINEL_DRIFT_LIMIT:
        findings.append(
            f"the reference model became {abs(report.drift):.1%} "
            f"{'slower' if report.drift > 0 else 'faster'} from the first third of the rounds "
            f"to the last (limit {SENTINEL_DRIFT_LIMIT:.0%})"
        )
    return findings


def _many(count: int) -> float:
    return max(2, DISTURBED_SHARE * count)
