"""A gate: the candidate may not be worse than its baseline by more than it is allowed.

What is shown to be worse, and by more than allowed, is suspected; it counts as a regression where a
second measurement suspects it too. So a disturbance has to strike twice.
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
    Footing,
    Location,
    Rounds,
    add,
    holm,
    locate,
    of_draws,
    over_trainings,
)
from prunebench.common.text import counted, listed, percent, points
from prunebench.measuring.map_bootstrap import Scores, mean_of

GateMetric = Literal["latency", "accuracy", "memory"]
Standing = Literal["holds", "not shown", "suspected"]


class GateLimits(Record):
    """What a candidate may lose: percent of the model-only latency, and mAP50 (0..1).

    ``level`` is the confidence level of each measurement's family of checks.
    """

    latency_percent: float = 3.0
    map50_loss: float = 0.02
    level: float = 0.95


@dataclass(frozen=True)
class Check:
    """One question to the gate.

    ``subject`` is the candidate, with its thread count where it matters; ``change`` how much worse
    it is and ``allowed`` how much worse it may be: a log ratio of milliseconds, lost mAP50, or the
    log ratio of the peak memory to its limit.
    """

    subject: str
    metric: GateMetric
    change: Location
    allowed: float
    called: str = "mAP50"


class GateFinding(Record):
    """The answer of one measurement.

    Attributes:
        change: How much worse it is: percent of latency, lost mAP50, or percent above the limit of
            the memory.
        allowed: How much worse it may be, in the same unit.
        p_corrected: One-sided, of being no worse at all, after Holm's correction.
        standing: ``holds`` (shown to lose less than allowed), ``suspected`` (shown to be worse,
            and by more than allowed) or ``not shown``.
        called: What accuracy is measured by.
    """

    subject: str
    metric: GateMetric
    change: Interval
    allowed: float
    p_corrected: float
    standing: Standing
    called: str = "mAP50"

    @property
    def question(self) -> str:
        """What was asked: the candidate and the metric."""
        return f"{self.subject}: {self.metric}"


class GateResult(Record):
    """The gate's decision; ``regressions`` are the questions that both measurements suspect.

    ``findings`` are of the first measurement, ``confirmation`` of the second, if one was needed.
    """

    passed: bool
    regressions: tuple[str, ...]
    findings: tuple[GateFinding, ...]
    confirmation: tuple[GateFinding, ...]


def paired_latency(
    name: str, threads: int, candidate: Rounds, baseline: Rounds, limits: GateLimits
) -> list[Check]:
    """Check of model-only milliseconds by round, measured in turns; none in too few rounds."""
    footing = Footing({"candidate": candidate, "baseline": baseline})
    if footing.shared("candidate", "baseline") < FEWEST_ROUNDS:
        return []
    return [_latency_check(name, threads, footing.ratio("candidate", "baseline"), limits)]


def paired_accuracy(
    name: str,
    candidate: Sequence[Scores],
    baseline: Sequence[Scores],
    images: int,
    limits: GateLimits,
    called: str = "mAP50",
) -> Check:
    """Check of two accuracies on the same images, resampled alike: the means of their trainings.

    Between the same trainings nothing is left to the choice of them.
    """
    now, before = mean_of(candidate), mean_of(baseline)
    loss = of_draws(before.map50 - now.map50, before.draws - now.draws, images)
    pairs = zip(candidate, baseline, strict=False)
    same = all(np.array_equal(one.draws, other.draws) for one, other in pairs)
    if not same or len(candidate) != len(baseline):
        trainings = ([one.map50 for one in each] for each in (candidate, baseline))
        loss = over_trainings(loss, *trainings)
    return Check(name, "accuracy", loss, limits.map50_loss, called)


def memory_check(name: str, threads: int, candidate: Rounds, limit_mb: float) -> Check:
    """Check of the peak memory, in 10^6 bytes by round, against a limit that holds for itself."""
    above = locate(np.log(list(candidate.values())) - math.log(limit_mb))
    return Check(f"{name}, {counted(threads, 'thread')}", "memory", above, 0.0)


def stored_check(
    name: str, threads: int, candidate: Location, baseline: Location, limits: GateLimits
) -> Check:
    """Check against a stored baseline whose file is gone, on the same fingerprint.

    Both are log(variant / sentinel): ``reading.to_sentinel``.
    """
    return _latency_check(name, threads, add(candidate, -baseline), limits)


def judge(checks: Sequence[Check], limits: GateLimits) -> tuple[GateFinding, ...]:
    """Judge the checks of one measurement, corrected for their number."""
    halves = [(check.change.centre > 0, check.change.p_value() / 2) for check in checks]
    corrected = holm([half if worse else 1 - half for worse, half in halves])
    return tuple(_finding(check, p, limits) for check, p in zip(checks, corrected, strict=True))


def needs_confirmation(findings: Sequence[GateFinding]) -> bool:
    """Whether a second measurement has to be made before the gate decides."""
    return any(finding.standing == "suspected" for finding in findings)


def decide(findings: Sequence[GateFinding], confirmation: Sequence[GateFinding] = ()) -> GateResult:
    """The decision on a first measurement and, where ``needs_confirmation``, an independent second.

    Raises:
        ValueError: A suspicion was not measured again.
    """
    again = {f.question: f for f in confirmation}
    suspected = [f for f in findings if f.standing == "suspected"]
    missing = [f.subject for f in suspected if f.question not in again]
    if missing:
        raise ValueError(f"{listed(missing)} was suspected and not measured again")
    confirmed = [f.question for f in suspected if again[f.question].standing == "suspected"]
    return GateResult(
        passed=not confirmed,
        regressions=tuple(confirmed),
        findings=tuple(findings),
        confirmation=tuple(confirmation),
    )


def decide_once(findings: Sequence[GateFinding]) -> GateResult:
    """The decision where nothing can be measured again: a suspicion alone fails."""
    suspected = tuple(f.question for f in findings if f.standing == "suspected")
    return GateResult(
        passed=not suspected, regressions=suspected, findings=tuple(findings), confirmation=()
    )


def decision_sentence(result: GateResult) -> str:
    """The decision in words."""
    suspected = [f for f in result.findings if f.standing == "suspected"]
    confirmed = [finding_sentence(f) for f in suspected if f.question in result.regressions]
    if confirmed:
        again = (
            "A second measurement confirms it." if result.confirmation else "It is measured once."
        )
        return f"{' '.join(confirmed)} {again}"
    if suspected:
        names = listed([f.subject for f in suspected])
        return f"The suspicion against {names} was not confirmed by a second measurement."
    if all(finding.standing == "holds" for finding in result.findings):
        return "Every check holds."
    return "No regression is shown; not every check is shown to hold either."


def finding_sentence(finding: GateFinding) -> str:
    """The answer of one measurement in words."""
    if finding.metric == "latency":
        change = f"latency {percent(finding.change, signed=True)}, {finding.allowed:+g} % allowed"
    elif finding.metric == "memory":
        change = f"peak memory {percent(finding.change, signed=True)} by ranking.max_rss_mb"
    else:
        loss = f"{finding.called} loss"
        change = f"{loss} {points(finding.change, signed=True)}, {finding.allowed:g} allowed"
    standing = {
        "holds": "the limit holds",
        "suspected": "a regression is suspected",
        "not shown": "the limit is not shown to hold, nor to be broken",
    }[finding.standing]
    return f"{finding.subject}: {change}: {standing}."


def _latency_check(name: str, threads: int, change: Location, limits: GateLimits) -> Check:
    subject = f"{name}, {counted(threads, 'thread')}"
    return Check(subject, "latency", change, math.log1p(limits.latency_percent / 100))


def _finding(check: Check, p_corrected: float, limits: GateLimits) -> GateFinding:
    centre, half = check.change.centre, check.change.half_width(limits.level)
    allowed = check.allowed
    standing: Standing = "not shown"
    if p_corrected <= 1 - limits.level and centre > allowed:
        standing = "suspected"
    elif centre + half <= allowed:
        standing = "holds"
    ends = {"estimate": centre, "low": centre - half, "high": centre + half}
    if check.metric != "accuracy":
        ends = {name: 100 * math.expm1(value) for name, value in ends.items()}
        allowed = limits.latency_percent if check.metric == "latency" else 0.0
    return GateFinding(
        subject=check.subject,
        metric=check.metric,
        change=Interval(level=limits.level, **ends),
        allowed=allowed,
        p_corrected=p_corrected,
        standing=standing,
        called=check.called,
    )
