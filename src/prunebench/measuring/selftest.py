"""Can this host tell variants apart? One model, measured as several variants of known speed.

The same file is measured twice as it is (A/A: any difference declared is a false alarm) and once
for each known slowdown (A/B). The slowdown is real: the measuring process spins inside the timed
section after every inference, for a fixed share of what that inference took. Everything else is
what a comparison does, its rounds, its stopping and its test; each copy is judged against the
first alone, as if the two were all that was measured.

A few repetitions cannot show a small false-alarm rate. So whole measurements are also resampled
from the rounds measured: their log ratios are drawn with replacement, and the labels of a round's
two equal copies swapped at random, which changes nothing but chance because the order inside a
round was random. The resampled rates are for the rounds seen, not for a noisier day.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import stats

from prunebench.common.errors import CheckpointError
from prunebench.common.records import Interval, Record, sha256_of
from prunebench.common.statistics import Array, Location, locate, log_ratios, trimmed_at_each_end
from prunebench.config.sections import LatencyConfig
from prunebench.measuring.host.fingerprint import Fingerprint
from prunebench.measuring.latency.measure import Target, measure
from prunebench.measuring.latency.records import LatencyResult, Noise
from prunebench.measuring.latency.samples import read_samples
from prunebench.measuring.latency.sentinel import INPUT_HW, write_sentinel
from prunebench.measuring.latency.stopping import (
    is_look,
    judge_pairs,
    possible_looks,
    round_medians,
)
from prunebench.steps.events import Emit, Stage

THREADS = 1
SLOWDOWNS = (1.03, 1.05)
LEVEL = 0.95
POWER = 0.9
RESAMPLED = 1000

REPETITIONS = 5
THOROUGH = LatencyConfig(threads=(THREADS,))
QUICK = LatencyConfig(threads=(THREADS,), rounds_max=8, seconds=0.2)
"""With one repetition, half a minute."""

REFERENCE = "a"
TWIN = "a again"
BUILT_IN = "built-in reference model"


class Comparison(Record):
    """One copy against the first, in one repetition.

    Attributes:
        slowdown: The true ratio of their milliseconds; 1 for the A/A pair.
        ratio: The measured one.
        p: p-value, corrected for the looks at it while measuring.
        told_apart: Whether a ranking would call them different.
        rounds: Rounds both were measured in.
    """

    slowdown: float
    ratio: Interval
    p: float
    told_apart: bool
    rounds: int


class Repetition(Record):
    """One measurement of all copies.

    Attributes:
        comparisons: The A/A pair first.
        median_ms: Median over rounds of the first copy's milliseconds.
        wall_s: Wall time in seconds.
        asked_s: Seconds of timed inference asked for.
        noise: What was seen on the host that may have falsified it.
    """

    comparisons: tuple[Comparison, ...]
    median_ms: float
    wall_s: float
    asked_s: float
    noise: tuple[Noise, ...]


class Verdict(Record):
    """How often copies of one true ratio were called different.

    Attributes:
        slowdown: The true ratio.
        told_apart: Repetitions in which the copy was called different, and slower where it is.
        repetitions: All of them.
        share: ``told_apart`` by ``repetitions`` with its exact binomial interval.
        resampled: The same share over measurements resampled from the rounds.
    """

    slowdown: float
    told_apart: int
    repetitions: int
    share: Interval
    resampled: float


class SelfTest(Record):
    """What the measuring can tell apart on this host.

    Attributes:
        model: The file, or ``BUILT_IN``.
        threads: ``intra_op_num_threads``.
        settings: The protocol.
        host: The host.
        level: Confidence level of every interval and test.
        repetitions: The measurements.
        verdicts: By true ratio; the A/A pair's, the false alarms, first.
        half_width_percent: Median over the repetitions of half the width of the A/A ratio's
            interval, in percent.
        detectable_percent: Slowdown found in ``POWER`` of measurements that go on to
            ``rounds_max``.
        detectable_soon_percent: The same after ``rounds_min`` rounds.
        overhead: Wall time divided by the timed inference asked for.
        doubts: Why differences measured here should not be believed; empty where nothing speaks
            against them.
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
    """The copies in one repetition.

    Attributes:
        logs: Log ratios of each copy to the first, by round, in the order of the slowdowns.
        result: The measurement.
        median_ms: Median over rounds of the first copy's milliseconds.
    """

    logs: tuple[Array, ...]
    result: LatencyResult
    median_ms: float


def selftest(
    onnx: Path | None,
    config: LatencyConfig,
    folder: Path,
    *,
    repetitions: int = REPETITIONS,
    slowdowns: Sequence[float] = SLOWDOWNS,
    seed: int = 0,
    on_event: Emit | None = None,
) -> SelfTest:
    """Measure copies of one model, ``repetitions`` times.

    Args:
        onnx: A file with one float32 input of a fixed shape; ``None``: a small built-in model.
        config: The protocol, with one thread count.
        folder: Where the model and the raw samples go.
        repetitions: Measurements, at least one.
        slowdowns: True ratios above 1 that should be found.
        seed: Seed of the rounds' order and of the resampling.
        on_event: Receives ``Stage`` and what ``measure`` emits.

    Raises:
        CheckpointError: The file cannot be measured.
        ChildFailed: onnxruntime cannot run it.
    """
    emit: Emit = on_event or (lambda event: None)
    if onnx is None:
        folder.mkdir(parents=True, exist_ok=True)
        path, imgsz = folder / "reference.onnx", INPUT_HW
        write_sentinel(path)
    else:
        path, imgsz = onnx, _input_hw(onnx)
    factors = (1.0, *slowdowns)
    measured = []
    for index in range(repetitions):
        emit(Stage(what=f"selftest: repetition {index + 1} of {repetitions}"))
        measured.append(
            _measure_copies(path, imgsz, config, factors, folder / f"{index}", seed + index, emit)
        )
    model = BUILT_IN if onnx is None else str(onnx)
    return summarise_copies(model, measured, factors, np.random.default_rng(seed))


def _input_hw(path: Path) -> tuple[int, int]:
    import onnx
    from onnx import TensorProto

    if not path.is_file():
        raise CheckpointError("the file does not exist", where=path, fix="check the path")
    try:
        graph = onnx.load(path, load_external_data=False).graph
    except Exception as error:  # protobuf's errors have no public base class
        raise CheckpointError("it is no valid ONNX file", where=path) from error
    stored = {tensor.name for tensor in graph.initializer}
    inputs = [value.type.tensor_type for value in graph.input if value.name not in stored]
    shapes = [[dim.dim_value for dim in value.shape.dim] for value in inputs]
    fixed = len(shapes) == 1 and len(shapes[0]) == 4 and all(shapes[0])
    if not fixed or inputs[0].elem_type != TensorProto.FLOAT:
        raise CheckpointError(
            "its input is not one float32 image of a fixed shape",
            where=path,
            fix="export it with dynamic=False",
        )
    return shapes[0][2], shapes[0][3]


def _measure_copies(
    path: Path,
    imgsz: tuple[int, int],
    config: LatencyConfig,
    factors: Sequence[float],
    folder: Path,
    seed: int,
    emit: Emit,
) -> Copies:
    sha256 = sha256_of(path)
    names = [TWIN, *(f"a x {factor:g}" for factor in factors[1:])]
    result = measure(
        [
            Target(REFERENCE, path, sha256),
            *(Target(n, path, sha256, f) for n, f in zip(names, factors, strict=True)),
        ],
        [],
        config,
        realtime_fps=20.0,
        imgsz=imgsz,
        nc=1,
        seed=seed,
        folder=folder,
        who="a selftest",
        on_event=emit,
        contested=lambda first, second: REFERENCE in (first, second),
    )
    medians = round_medians(read_samples(folder / result.samples.path), "model")
    threads = result.threads[0]
    reference = medians[REFERENCE, threads]
    logs = tuple(log_ratios(medians[name, threads], reference) for name in names)
    return Copies(logs, result, float(np.median(list(reference.values()))))


def summarise_copies(
    model: str, measured: Sequence[Copies], factors: Sequence[float], rng: np.random.Generator
) -> SelfTest:
    """Judge every repetition, resample the protocol, and say what to doubt."""
    result = measured[0].result
    config, looks = result.settings, possible_looks(result)
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
        100 * smallest_detectable(equal, rounds, 1 - (1 - LEVEL) / looks)
        for rounds in (config.rounds_min, config.rounds_max)
    )
    halves = [
        (pair.ratio.high - pair.ratio.low) / 2
        for pair in (repetition.comparisons[0] for repetition in repetitions)
    ]
    return SelfTest(
        model=model,
        threads=result.threads[0],
        settings=config,
        host=result.fingerprint,
        level=LEVEL,
        repetitions=repetitions,
        verdicts=verdicts,
        half_width_percent=100 * float(np.median(halves)),
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
                ratio=_ratio(location),
                p=p,
                told_apart=p <= 1 - LEVEL,
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


def _ratio(location: Location) -> Interval:
    half = location.half_width(LEVEL)
    return Interval(
        estimate=math.exp(location.centre),
        low=math.exp(location.centre - half),
        high=math.exp(location.centre + half),
        level=LEVEL,
    )


def _verdict(factor: float, pairs: Sequence[Comparison], resampled: float) -> Verdict:
    # A slowed copy that is called faster is an error, not a find.
    hits = [pair.told_apart and (factor == 1 or pair.ratio.estimate > 1) for pair in pairs]
    exact = stats.binomtest(sum(hits), len(pairs)).proportion_ci(LEVEL, method="exact")
    share = sum(hits) / len(pairs)
    return Verdict(
        slowdown=factor,
        told_apart=sum(hits),
        repetitions=len(pairs),
        share=Interval(estimate=share, low=float(exact.low), high=float(exact.high), level=LEVEL),
        resampled=resampled,
    )


def resampled_alarms(
    equal: Array, shift: float, config: LatencyConfig, looks: int, rng: np.random.Generator
) -> Iterator[bool]:
    """Whether each of ``RESAMPLED`` measurements, made of the rounds seen, ends told apart.

    Each runs through the real stopping rule and ends in the real test.

    Args:
        equal: Shape (rounds,): log ratios of two equal copies.
        shift: True log ratio that is added; 0 or more.
        config: The protocol.
        looks: How often it may stop on what it sees.
        rng: Source of randomness.
    """
    for _ in range(RESAMPLED):
        drawn = rng.choice(equal, config.rounds_max) * rng.choice((-1, 1), config.rounds_max)
        logs = shift + drawn
        for done in range(config.rounds_min, config.rounds_max + 1):
            last = done == config.rounds_max
            if last or (is_look(done, config.rounds_min) and _is_settled(logs[:done], config)):
                location = locate(logs[:done])
                told_apart = looks * location.p_value() <= 1 - LEVEL
                yield told_apart and (shift == 0 or location.centre > 0)
                break


def _is_settled(logs: Array, config: LatencyConfig) -> bool:
    medians = {
        (REFERENCE, THREADS): dict.fromkeys(range(len(logs)), 1.0),
        (TWIN, THREADS): dict(enumerate(np.exp(logs).tolist())),
    }
    names = (TWIN, REFERENCE)
    percent = config.smallest_difference_percent
    return judge_pairs(medians, names, [THREADS], percent, None)[0].state != "open"


def smallest_detectable(equal: Array, rounds: int, level: float, power: float = POWER) -> float:
    """Smallest slowdown, as a share, that a test after ``rounds`` rounds finds with ``power``.

    Args:
        equal: Shape (n,): log ratios of two equal copies.
        rounds: Rounds of the measurement.
        level: Confidence level of the test, after any correction.
        power: Chance to find it.
    """
    location = locate(equal)
    se = location.se * math.sqrt(location.n / rounds)
    df = rounds - 2 * trimmed_at_each_end(rounds) - 1
    return math.expm1(float(stats.t.ppf(0.5 + level / 2, df) + stats.t.ppf(power, df)) * se)


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
    hits, count = false_alarms.told_apart, false_alarms.repetitions
    if stats.binom.sf(hits - 1, count, 1 - LEVEL) < 1 - LEVEL:
        yield (
            f"Equal copies were called different in {hits} of {count} measurements, more than "
            f"the {1 - LEVEL:.0%} that chance explains."
        )
    noisy = [repetition.noise for repetition in repetitions if repetition.noise]
    if noisy:
        yield f"{len(noisy)} of {count} measurements were noisy."
