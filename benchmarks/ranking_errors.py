"""Simulate how often the ranking is wrong, with known truth.

    python benchmarks/ranking_errors.py [--repetitions 2000]

Two tables: false alarms and detection for six variants, and false alarms when measuring stops on
what it sees. What intervals cover is simulated by ``benchmarks/coverage.py``.
Two kinds of noise on every variant and round: normal with 1 % standard deviation, and the same with
15 % of the values slowed down by 5 % on average, as other processes do.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable

import numpy as np
from rich.console import Console
from rich.table import Table

from prunebench.common.statistics import Array, Footing, holm

VARIANTS = 6
LEVEL = 0.95
SLOWDOWNS = (0.03, 0.05)
LOOKS = (8, 12, 18, 27, 40)


def quiet(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Normal noise on log milliseconds, 1 %."""
    return rng.normal(0, 0.01, shape)


def disturbed(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """The same, with 15 % of the values slowed down by 5 % on average."""
    hit = rng.random(shape) < 0.15
    return quiet(rng, shape) + hit * rng.exponential(0.05, shape)


NOISES = {"quiet": quiet, "disturbed": disturbed}
Noise = Callable[[np.random.Generator, tuple[int, ...]], Array]


def told_apart(logs: Array, looks: int = 1) -> set[tuple[int, int]]:
    """Pairs the ranking tells apart; ``logs`` is (variants, rounds)."""
    footing = Footing({index: dict(enumerate(np.exp(row))) for index, row in enumerate(logs)})
    pairs = list(itertools.combinations(range(len(logs)), 2))
    p = [min(1, looks * footing.ratio(a, b).p_value()) for a, b in pairs]
    return {pair for pair, q in zip(pairs, holm(p), strict=True) if q <= 1 - LEVEL}


def ranking_table(repetitions: int, rng: np.random.Generator) -> Table:
    """False alarms among equal variants, and how often one slower variant is found by all."""
    table = Table("noise", "rounds", "any false alarm", *(f"{s:.0%} found" for s in SLOWDOWNS))
    for (name, noise), rounds in itertools.product(NOISES.items(), (8, 12, 20)):
        false, found = 0, dict.fromkeys(SLOWDOWNS, 0)
        for _ in range(repetitions):
            logs = noise(rng, (VARIANTS, rounds)) + rng.normal(0, 0.05, rounds)
            false += bool(told_apart(logs))
            for slowdown in SLOWDOWNS:
                slower = logs.copy()
                slower[0] += np.log1p(slowdown)
                found[slowdown] += (0, 1) in told_apart(slower)
        shares = [f"{found[slowdown] / repetitions:.1%}" for slowdown in SLOWDOWNS]
        table.add_row(name, str(rounds), f"{false / repetitions:.1%}", *shares)
    return table


def stopping_table(repetitions: int, rng: np.random.Generator) -> Table:
    """False alarms of two equal variants that are looked at after every few rounds."""
    table = Table("noise", "looks", "one look's level", "corrected for looks")
    for name, noise in NOISES.items():
        wrong = np.zeros(2)
        for _ in range(repetitions):
            logs = noise(rng, (2, LOOKS[-1]))
            for index, looks in enumerate((1, len(LOOKS))):
                wrong[index] += any(told_apart(logs[:, :rounds], looks) for rounds in LOOKS)
        shares = (f"{share:.1%}" for share in wrong / repetitions)
        table.add_row(name, ", ".join(map(str, LOOKS)), *shares)
    return table


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=2000)
    repetitions = parser.parse_args().repetitions
    console, rng = Console(), np.random.default_rng(20240229)
    console.print(f"Six variants, Holm, level {LEVEL:.0%}, {repetitions} repetitions")
    console.print(ranking_table(repetitions, rng))
    console.print("Two equal variants, measured until told apart or 40 rounds")
    console.print(stopping_table(repetitions, rng))


if __name__ == "__main__":
    main()
