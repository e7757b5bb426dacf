"""What measured copies of known speed say of a host: the false alarms and the finds of a selftest.

A few repetitions cannot show a small false-alarm rate. So whole measurements are also resampled
from the rounds measured: log ratios drawn with replacement, and the labels of a round's two equal
copies swapped at random, which changes nothing but chance as their order was random. The resampled
rates are for the rounds seen, not for a noisier day.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from prunebench.common.records import Interval, Record
from prunebench.common.statistics import Array, locate
from prunebench.config.sections import LatencyConfig
from prunebench.measuring.host.fingerprint import Fingerprint
from prunebench.measuring.latency.raw import Noise
from prunebench.measuring.latency.records import LatencyResult
from prunebench.measuring.latency.stopping import is_interim_look, judge, possible_interim_looks

LEVEL = 0.95
RESAMPLED = 1000


class Comparison(Record):
    """One copy against the first, in one repetition: true (1: the A/A pair) and measured ratio.

    ``p`` is corrected for interim looks; ``significant``: a ranking would call them different.
    """

    slowdown: float
    ratio: Interval
    p: float
    significant: bool
    rounds: int


class Repetition(Record):
    """One measurement of all copies, the A/A pair first; ``median_ms`` is the first copy's."""

    comparisons: tuple[Comparison, ...]
    median_ms: float
    wall_s: float
    asked_s: float
    noise: tuple[Noise, ...]


class Verdict(Record):
    """How often copies of one true ratio were called different, and slower where they are.

    ``share`` has its exact binomial interval; ``resampled`` is that over resampled measurements.
    """

    slowdown: float
    significant: int
    repetitions: int
    share: Interval
    resampled: float


class SelfTest(Record):
    """What the measuring can tell apart on this host, at one confidence level throughout.

    Attributes:
        verdicts: By true ratio; the A/A pair's, the false alarms, first.
        half_width_percent: Of the A/A ratio's interval, median over the repetitions.
        detectable_percent: Slowdown found in ``statistics.POWER`` of measurements that go on to
            ``rounds_max``; ``detectable_soon_percent`` after ``rounds_min``.
        overhead: Wall time divided by the timed inference asked for.
        doubts: Why differences measured here should not be believed.
    """

    model: str
    threads: int
    settings: LatencyConfig
    host: Fingerprint
    level: float
    repetitions: tuple[Repetition, ...]
    verdicts: tuple[Verdict, ...]
    half_width_percent: float
    detectable_percent: float
    detectable_soon_percent: float
    overhead: float
    doubts: tuple[str, ...]

    @property
    def false_alarms(self) -> Verdict:
        """The verdict on the A/A pair."""
        return self.verdicts[0]


class Copies(NamedTuple):
    """Log ratios of each copy to the first, by round, the measurement and the first's median ms."""

    logs: tuple[Array, ...]
    result: LatencyResult
    median_ms: float


def judge_copies(
    model: str, measured: Sequence[Copies], factors: Sequence[float], rng: np.random.Generator
) -> SelfTest:
    """Judge every repetition, resample the protocol, and say what to doubt."""
    result = measured[0].result
    config, looks = result.settings, possible_interim_looks(result)
    repetitions = tuple(_repetition(copies, factors, looks) for copies in measured)
    equal = np.concatenate([copies.logs[0] for copies in measured])
    verdicts = tuple(
        _verdict(
            factor,
            [repetition.comparisons[index] for repetition in repetitions],
            float(np.mean([*resampled_alarms(equal, math.log(factor), config, looks, rng)])),
        )
        for index, factor in enumerate(factors)
    )
    soon, late = (
        100 * math.expm1(locate(equal).detectable(rounds, 1 - (1 - LEVEL) / looks))
        for rounds in (config.rounds_min, config.rounds_max)
    )
    ratios = [repetition.comparisons[0].ratio for repetition in repetitions]
    return SelfTest(
        model=model,
        threads=result.threads[0],
        settings=config,
        host=result.fingerprint,
        level=LEVEL,
        repetitions=repetitions,
        verdicts=verdicts,
        half_width_percent=100 * float(np.median([(r.high - r.low) / 2 for r in ratios])),
        detectable_percent=late,
        detectable_soon_percent=soon,
        overhead=sum(r.wall_s for r in repetitions) / sum(r.asked_s for r in repetitions),
        doubts=tuple(_doubts(repetitions, verdicts[0], late, config)),
    )


def _repetition(copies: Copies, factors: Sequence[float], looks: int) -> Repetition:
    comparisons = []
    for factor, logs in zip(factors, copies.logs, strict=True):
        location = locate(logs)
        p = min(1.0, looks * location.p_value())
        comparisons.append(
            Comparison(
                slowdown=factor,
                ratio=location.ratio(LEVEL),
                p=p,
                significant=p <= 1 - LEVEL,
                rounds=location.n,
            )
        )
    return Repetition(
        comparisons=tuple(comparisons),
        median_ms=copies.median_ms,
        wall_s=copies.result.wall_s,
        asked_s=copies.result.asked_s,
        noise=copies.result.noise,
    )


def _verdict(factor: float, pairs: Sequence[Comparison], resampled: float) -> Verdict:
    # A slowed copy that is called faster is an error, not a find.
    hits = sum(pair.significant and (factor == 1 or pair.ratio.estimate > 1) for pair in pairs)
    exact = stats.binomtest(hits, len(pairs)).proportion_ci(LEVEL, method="exact")
    share = Interval(estimate=hits / len(pairs), low=exact.low, high=exact.high, level=LEVEL)
    return Verdict(
        slowdown=factor, significant=hits, repetitions=len(pairs), share=share, resampled=resampled
    )


def resampled_alarms(
    equal: Array, shift: float, config: LatencyConfig, looks: int, rng: np.random.Generator
) -> Iterator[bool]:
    """Whether each of ``RESAMPLED`` measurements, made of the rounds seen, is called different.

    Each runs through the real stopping rule and test. ``equal``, (rounds,), are log ratios of two
    equal copies, ``shift`` is the true log ratio added, ``looks`` how often it may stop early.
    """
    percent = config.smallest_difference_percent
    for _ in range(RESAMPLED):
        drawn = rng.choice(equal, config.rounds_max) * rng.choice((-1, 1), config.rounds_max)
        logs = shift + drawn
        for done in range(config.rounds_min, config.rounds_max + 1):
            look = is_interim_look(done, config.rounds_min)
            if not look and done < config.rounds_max:
                continue
            location = locate(logs[:done])
            if (look and judge(location, percent) != "open") or done == config.rounds_max:
                significant = looks * location.p_value() <= 1 - LEVEL
                yield significant and (shift == 0 or location.centre > 0)
                break


def percent_text(value: float) -> str:
    """A detectable difference in words; beyond 100 % its size says nothing any more."""
    return "over 100 %" if value > 100 else f"{value:.2g} %"


def _doubts(
    repetitions: Sequence[Repetition],
    false_alarms: Verdict,
    detectable: float,
    config: LatencyConfig,
) -> Iterator[str]:
    wanted = config.smallest_difference_percent
    if detectable > wanted:
        yield (
            f"The host is too noisy: in {config.rounds_max} rounds only differences of "
            f"{percent_text(detectable)} and more are found 9 times in 10, {wanted:g} % matters."
        )
    hits, count = false_alarms.significant, false_alarms.repetitions
    if stats.binom.sf(hits - 1, count, 1 - LEVEL) < 1 - LEVEL:
        yield (
            f"Equal copies were called different in {hits} of {count} measurements, more than "
            f"the {1 - LEVEL:.0%} that chance explains."
        )
    noisy = [repetition.noise for repetition in repetitions if repetition.noise]
    if noisy:
        yield f"{len(noisy)} of {count} measurements were noisy."
