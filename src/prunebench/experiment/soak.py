"""What minutes of load do: the last third of a measurement beside its first minute."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from prunebench.common.statistics import FEWEST_ROUNDS
from prunebench.common.variant_record import VariantRecord
from prunebench.experiment.figures import measured_from
from prunebench.measuring.latency.raw import SENTINEL, Sample
from prunebench.measuring.latency.records import LatencyResult
from prunebench.measuring.latency.samples import read_samples
from prunebench.results.ranking.rank import rank
from prunebench.results.ranking.records import Ranking
from prunebench.results.run_folder import LATENCY_FOLDER
from prunebench.results.soak import Moved, Part, Soak

if TYPE_CHECKING:
    from prunebench.experiment.inputs import Experiment

BEGINNING_S = 60.0


def soak_of(
    experiment: Experiment, variants: Sequence[VariantRecord], latency: LatencyResult
) -> Soak | None:
    """Compare the last third of the load with its first minute; ``None`` for too few rounds."""
    samples = read_samples(experiment.run_folder / LATENCY_FOLDER / latency.samples.path)
    first, last = parts_of(samples)
    if len(last) < FEWEST_ROUNDS or max(first) >= min(last):
        return None

    def ranked(rounds: Sequence[int]) -> Ranking:
        measured = measured_from(experiment, variants, latency, rounds=rounds)
        return rank(measured, config=experiment.config.ranking, threads=latency.threads[0])

    before, after = ranked(first), ranked(last)
    labels = {row.name: row.label for row in before.rows}
    return Soak(
        minutes=sum(sample.elapsed_s for sample in samples) / 60,
        times=_times(samples, first, last),
        moved=tuple(
            Moved(name=row.name, first=labels[row.name], last=row.label)
            for row in after.rows
            if labels.get(row.name, row.label) != row.label
        ),
        first=_seen(samples, first),
        last=_seen(samples, last),
    )


def parts_of(samples: Sequence[Sample]) -> tuple[list[int], list[int]]:
    """Rounds of the first minute, but no fewer than a ranking needs, and of the last third.

    Of a load that is shorter than three minutes the first third stands for the first minute.
    Time is what the rounds took, so that a pause of an interrupted measurement counts for none.
    """
    spent: dict[int, float] = {}
    for sample in samples:
        spent[sample.round] = spent.get(sample.round, 0.0) + sample.elapsed_s
    rounds = sorted(spent)
    begun = dict(zip(rounds, np.cumsum([0.0, *(spent[r] for r in rounds)]), strict=False))
    whole = sum(spent.values())
    first = [r for r in rounds if begun[r] < min(BEGINNING_S, whole / 3)]
    first += [r for r in rounds if r not in first][: max(0, FEWEST_ROUNDS - len(first))]
    return first, [r for r in rounds if begun[r] >= whole * 2 / 3]


def _times(samples: Sequence[Sample], first: Sequence[int], last: Sequence[int]) -> float:
    """How many times as long a network took at the end: the median of all variants."""
    ratios = []
    for key in {(s.variant, s.threads) for s in samples if s.variant != SENTINEL}:
        own = [s for s in samples if (s.variant, s.threads) == key]
        before, after = (
            [float(np.median(s.model_ms)) for s in own if s.round in part] for part in (first, last)
        )
        if before and after:
            ratios.append(float(np.median(after) / np.median(before)))
    return float(np.median(ratios))


def _seen(samples: Sequence[Sample], rounds: Sequence[int]) -> Part:
    chosen = [sample for sample in samples if sample.round in rounds]

    def typical(turns: Sequence[Sequence[float | None]]) -> float | None:
        known = [value for one in turns for value in one if value is not None]
        return float(np.median(known)) if known else None

    return Part(
        rounds=len(rounds),
        mhz=typical([sample.turns_mhz for sample in chosen]),
        celsius=typical([sample.turns_celsius for sample in chosen]),
        throttled=sum(sample.turns_throttled > 0 for sample in chosen),
        runs=len(chosen),
    )
