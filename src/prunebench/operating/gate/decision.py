"""A gate: the candidate may not be worse than its baseline by more than it is allowed.

Candidate and baseline are measured in the same job where both files exist, paired by round
and by image. What is shown to be worse, and by more than allowed, is suspected; it counts as a
regression where a second measurement suspects it too. So a disturbance has to strike twice.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from prunebench.common.records import Interval, Record
from prunebench.common.statistics import (
    FEWEST_ROUNDS,
    Array,
    Location,
    add,
    holm,
    locate,
    log_ratios,
)
from prunebench.common.text import listed, percent, points
from prunebench.results.ranking.compare import FEWEST_IMAGES
from prunebench.results.ranking.measured import MeasuredVariant

GateMetric = Literal["latency", "accuracy"]
Standing = Literal["holds", "not shown", "suspected"]


class GateLimits(Record):
    """What a candidate is allowed to lose.

    Attributes:
        latency_percent: Slowdown of the model-only latency, in percent.
        map50_loss: Loss of mAP50, 0..1.
        level: Confidence level of each measurement's family of checks.
    """

    latency_percent: float = 3.0
    map50_loss: float = 0.02
    level: float = 0.95


@dataclass(frozen=True)
class Check:
    """One question to the gate.

    Attributes:
        subject: The candidate, with its thread count where it matters.
        metric: What is checked.
        change: How much worse it is: a log ratio of milliseconds, or lost mAP50.
        allowed: How much worse it may be, in the same unit.
    """

    subject: str
    metric: GateMetric
    change: Location
    allowed: float


class GateFinding(Record):
    """The answer of one measurement.

    Attributes:
        subject: The candidate.
        metric: What was checked.
        change: How much worse it is: percent of latency, or lost mAP50.
        p_corrected: One-sided, of being no worse at all, after Holm's correction.
        standing: ``holds`` (shown to lose less than allowed), ``suspected`` (shown to be worse,
            and by more than allowed) or ``not shown``.
        sentence: All of it in words.
    """

    subject: str
    metric: GateMetric
    change: Interval
    p_corrected: float
    standing: Standing
    sentence: str


class GateResult(Record):
    """The gate's decision.

    Attributes:
        passed: Whether no regression was confirmed.
        regressions: Subjects and metrics that both measurements suspect.
        findings: Of the first measurement.
        confirmation: Of the second one, empty where none was needed.
        sentence: The decision in words.
    """

    passed: bool
    regressions: tuple[str, ...]
    findings: tuple[GateFinding, ...]
    confirmation: tuple[GateFinding, ...]
    sentence: str


def paired_checks(
    candidate: MeasuredVariant,
    baseline: MeasuredVariant,
    threads: Sequence[int],
    limits: GateLimits,
) -> list[Check]:
    """Checks of two variants that were measured in the same rounds and on the same images.

    Thread counts with fewer than ``FEWEST_ROUNDS`` shared rounds are left out, and so is the
    accuracy of fewer than ``FEWEST_IMAGES`` images.
    """
    checks = []
    for count in threads:
        ratios = log_ratios(candidate.latency_ms[count], baseline.latency_ms[count])
        if len(ratios) >= FEWEST_ROUNDS:
            checks.append(_latency_check(candidate.name, count, locate(ratios), limits))
    if candidate.images >= FEWEST_IMAGES:
        spread = float(np.nanstd(baseline.map50_draws - candidate.map50_draws))
        loss = Location(
            baseline.map50 - candidate.map50, spread, candidate.images - 1, candidate.images
        )
        checks.append(Check(candidate.name, "accuracy", loss, limits.map50_loss))
    return checks


def stored_check(
    name: str, threads: int, candidate: Array, baseline: Array, limits: GateLimits
) -> Check:
    """Check against a stored baseline whose file is gone, on the same fingerprint.

    Args:
        name: Name of the candidate.
        threads: Thread count of both.
        candidate: log(candidate / sentinel) of each round, shape (rounds,).
        baseline: The same of the stored run (``reading.log_to_sentinel``), shape (rounds,).
        limits: What it may lose.
    """
    return _latency_check(name, threads, add(locate(candidate), -locate(baseline)), limits)


def judge(checks: Sequence[Check], limits: GateLimits) -> tuple[GateFinding, ...]:
    """Judge the checks of one measurement, corrected for their number."""
    corrected = holm([_p_of_no_loss(check.change) for check in checks])
    return tuple(_finding(check, p, limits) for check, p in zip(checks, corrected, strict=True))


def needs_confirmation(findings: Sequence[GateFinding]) -> bool:
    """Whether a second measurement has to be made before the gate decides."""
    return any(finding.standing == "suspected" for finding in findings)


def decide(findings: Sequence[GateFinding], confirmation: Sequence[GateFinding] = ()) -> GateResult:
    """The decision.

    Args:
        findings: Of the first measurement.
        confirmation: Of a second, independent one; needed where ``needs_confirmation``.

    Raises:
        ValueError: A suspicion was not measured again.
    """
    suspected = [f for f in findings if f.standing == "suspected"]
    again = {(f.subject, f.metric): f for f in confirmation}
    missing = [f.subject for f in suspected if (f.subject, f.metric) not in again]
    if missing:
        raise ValueError(f"{listed(missing)} was suspected and not measured again")
    confirmed = [f for f in suspected if again[f.subject, f.metric].standing == "suspected"]
    if confirmed:
        text = " ".join(f.sentence for f in confirmed) + " A second measurement confirms it."
    elif suspected:
        names = listed([f.subject for f in suspected])
        text = f"The suspicion against {names} was not confirmed by a second measurement."
    elif all(finding.standing == "holds" for finding in findings):
        text = "Every check holds."
    else:
        text = "No regression is shown; not every check is shown to hold either."
    return GateResult(
        passed=not confirmed,
        regressions=tuple(f"{f.subject}: {f.metric}" for f in confirmed),
        findings=tuple(findings),
        confirmation=tuple(confirmation),
        sentence=text,
    )


def _latency_check(name: str, threads: int, change: Location, limits: GateLimits) -> Check:
    subject = f"{name}, {threads} thread{'' if threads == 1 else 's'}"
    return Check(subject, "latency", change, math.log1p(limits.latency_percent / 100))


def _p_of_no_loss(change: Location) -> float:
    two_sided = change.p_value()
    return two_sided / 2 if change.centre > 0 else 1 - two_sided / 2


def _finding(check: Check, p_corrected: float, limits: GateLimits) -> GateFinding:
    change, half = check.change, check.change.half_width(limits.level)
    standing: Standing = "not shown"
    if p_corrected <= 1 - limits.level and change.centre > check.allowed:
        standing = "suspected"
    elif change.centre + half <= check.allowed:
        standing = "holds"
    interval = Interval(
        estimate=change.centre,
        low=change.centre - half,
        high=change.centre + half,
        level=limits.level,
    )
    if check.metric == "latency":
        ends = {k: 100 * math.expm1(getattr(interval, k)) for k in ("estimate", "low", "high")}
        interval = Interval(level=limits.level, **ends)
        what = f"latency {percent(interval, signed=True)}, {limits.latency_percent:+g} % allowed"
    else:
        what = f"mAP50 loss {points(interval, signed=True)}, {limits.map50_loss:g} allowed"
    says = {
        "holds": "the limit holds",
        "suspected": "a regression is suspected",
        "not shown": "the limit is not shown to hold, nor to be broken",
    }
    return GateFinding(
        subject=check.subject,
        metric=check.metric,
        change=interval,
        p_corrected=p_corrected,
        standing=standing,
        sentence=f"{check.subject}: {what}: {says[standing]}.",
    )
