"""Is a disturbed measurement marked, and is anything false said of it?

    python benchmarks/under_load.py [--repetitions 5] [--quick]

The selftest's copies of the shipped network are measured while one core is kept busy: by
``stress-ng`` where it is installed, else by a process that counts. Every run has to be marked
noisy. A ranking is false where equal copies are called different, or a slowed copy is called
faster. About twenty minutes; exit status 1 where a claim does not hold.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from kit import arguments, export_network, in_workspace, print_claims, show
from rich.console import Console

from prunebench.cli.views.selftest import selftest_view
from prunebench.measuring.selftest import QUICK, THOROUGH, selftest
from prunebench.measuring.selftest_verdict import Comparison
from prunebench.results.messages.catalogue import Messages
from prunebench.results.messages.observations import tell_noise

COUNT_FOR_EVER = "import os; mine = os.getppid()\nwhile os.getppid() == mine: pass"
"""Ends with the process that started it, however that ends."""


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
        ],
    )


if __name__ == "__main__":
    in_workspace(main)
