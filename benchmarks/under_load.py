"""Is a disturbed measurement marked, is anything false said of it, and do its rows fit its pairs?

    python benchmarks/under_load.py [--repetitions 5] [--quick]

The selftest's copies of the shipped network are measured while one core is kept busy: by
``stress-ng`` where it is installed, else by a process that counts. Every run has to be marked
noisy. A ranking is false where equal copies are called different, or a slowed copy is called
faster. Then copies that are slowed by 1 to 2.2 times are measured in bursts of load, some seconds
each, for as many rounds as each needs: the ratio of two rows, as the table prints them, has to be
the paired one. Beside them stand the ratio of means over the rounds each copy happened to have, and
that of the slowdowns, which a load brings nearer to 1: the waiting that slows a copy goes on while
others have the core. About half an hour; exit status 1 where a claim does not hold.
"""

from __future__ import annotations

import contextlib
import itertools
import random
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from kit import CLASSES, IMGSZ, Claim, arguments, export_network, in_workspace, print_claims, show
from rich.console import Console
from rich.table import Table

from prunebench.cli.views.selftest import selftest_view
from prunebench.common.records import Interval, sha256_of
from prunebench.common.text import times
from prunebench.measuring.latency.measure import Target, measure
from prunebench.measuring.latency.samples import read_samples
from prunebench.measuring.latency.stopping import on_one_footing, round_medians
from prunebench.measuring.latency.summary import summarise
from prunebench.measuring.selftest import QUICK, THOROUGH, selftest
from prunebench.measuring.selftest_verdict import Comparison
from prunebench.results.messages.catalogue import Messages
from prunebench.results.messages.observations import tell_noise

COUNT_FOR_EVER = "import os; mine = os.getppid()\nwhile os.getppid() == mine: pass"
"""Ends with the process that started it, however that ends."""


SLOWED = (1.0, 1.02, 1.45, 1.82, 2.2)
"""Two so alike that they need more rounds than the others."""


@contextlib.contextmanager
def one_busy_core() -> Iterator[str]:
    """Keep one core busy; yields by what."""
    stress = shutil.which("stress-ng")
    command = [stress, "--cpu", "1"] if stress else [sys.executable, "-c", COUNT_FOR_EVER]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield "stress-ng --cpu 1" if stress else "a counting process"
    finally:
        process.terminate()
        process.wait()


def is_false(pair: Comparison) -> bool:
    """Whether a ranking would say something untrue of the pair."""
    return pair.significant and (pair.slowdown == 1 or pair.ratio.estimate < 1)


@contextlib.contextmanager
def bursts() -> Iterator[None]:
    """Keep one core busy for 2 to 20 seconds at a time, with as long pauses."""
    ended = threading.Event()

    def burst() -> None:
        lengths = random.Random(0)
        while not ended.wait(lengths.uniform(2, 20)):
            with one_busy_core():
                ended.wait(lengths.uniform(2, 20))

    thread = threading.Thread(target=burst)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


class Compared(NamedTuple):
    """Two copies: milliseconds of one by the other's, in four ways."""

    names: str
    rounds: tuple[int, int]
    true: float
    rows: float
    paired: Interval
    own_means: float


def compared_in_bursts(network: Path, folder: Path, quick: bool) -> list[Compared]:
    """Every pair of slowed copies of the network, measured in bursts of load."""
    sha256 = sha256_of(network)
    targets = [Target(f"x {factor:g}", network, sha256, factor) for factor in SLOWED]
    with bursts():
        result = measure(
            targets,
            [],
            QUICK if quick else THOROUGH,
            realtime_fps=20.0,
            imgsz=IMGSZ,
            nc=CLASSES,
            seed=0,
            folder=folder,
            who="benchmarks/under_load.py",
            on_event=show,
        )
    medians = round_medians(read_samples(folder / result.samples.path), "model")
    footing = on_one_footing(medians, [target.name for target in targets])[1]
    rows = {row.variant: row for row in summarise(result, folder)}
    found = []
    for a, b in itertools.combinations(targets, 2):
        # As a table prints them.
        printed = [float(f"{rows[one.name].model_ms.estimate:.3g}") for one in (b, a)]
        own = [float(np.mean(list(medians[one.name, 1].values()))) for one in (b, a)]
        found.append(
            Compared(
                names=f"{b.name} / {a.name}",
                rounds=(rows[b.name].rounds, rows[a.name].rounds),
                true=b.slowdown / a.slowdown,
                rows=printed[0] / printed[1],
                paired=footing.ratio(b.name, a.name).ratio(0.95),
                own_means=own[0] / own[1],
            )
        )
    return found


def table_of(found: list[Compared]) -> Table:
    """A pair a row."""
    table = Table("copies", "rounds", "true", "ratio of rows", "paired", "means over own rounds")
    for one in found:
        ratios = f"{one.rows:.3f}", times(one.paired), f"{one.own_means:.3f}"
        table.add_row(one.names, "{}, {}".format(*one.rounds), f"{one.true:.3f}", *ratios)
    return table


def claims_of(found: list[Compared]) -> list[Claim]:
    """Whether rows and pairs agree."""
    # Three digits each: half a unit of the third is at most half a percent, twice.
    apart = max(abs(one.rows / one.paired.estimate - 1) for one in found)
    return [
        (
            "ratios of rows, printed with three digits, are the paired ones",
            f"{apart:.2%} apart at most",
            apart < 0.01,
        ),
    ]


def main(folder: Path, console: Console) -> int:
    """Measure under load, print the selftest's table and the claims."""
    asked = arguments(__doc__, 5)
    network = export_network(folder)
    with one_busy_core() as load:
        result = selftest(
            network,
            QUICK if asked.quick else THOROUGH,
            folder / "samples",
            repetitions=1 if asked.quick else asked.repetitions,
            on_event=show,
        )
    console.print(selftest_view(result))
    found = compared_in_bursts(network, folder / "bursts", asked.quick)
    console.print(table_of(found))
    noisy = [r for r in result.repetitions if r.noise]
    seen = tell_noise(noisy[0].noise[0], Messages()) if noisy else "nothing was seen"
    pairs = [pair for r in result.repetitions for pair in r.comparisons]
    count, false = len(result.repetitions), sum(is_false(pair) for pair in pairs)
    return print_claims(
        console,
        [
            (
                f"marked noisy under {load}",
                f"{len(noisy)} of {count}; {seen}",
                len(noisy) == count,
            ),
            ("no false ranking", f"{false} false of {len(pairs)} comparisons", false == 0),
            *claims_of(found),
        ],
    )


if __name__ == "__main__":
    in_workspace(main)
