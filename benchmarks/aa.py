"""Are equal variants called different, and is a true slowdown found?

    python benchmarks/aa.py [--repetitions 20] [--quick]

The shipped network is measured as two equal copies and two slowed by exactly 3 and 5 %, with the
default settings at one thread; ``prunebench selftest`` does the same. About an hour on a quiet
host; exit status 1 where a claim does not hold.
"""

from __future__ import annotations

import statistics
from pathlib import Path

from kit import arguments, export_network, in_workspace, print_claims, show
from rich.console import Console

from prunebench.cli.views.selftest import selftest_view
from prunebench.measuring.selftest import QUICK, THOROUGH, selftest


def main(folder: Path, console: Console) -> int:
    """Measure, print the selftest's table and the claims."""
    asked = arguments(__doc__, 20)
    count = min(2, asked.repetitions) if asked.quick else asked.repetitions
    result = selftest(
        export_network(folder),
        QUICK if asked.quick else THOROUGH,
        folder / "samples",
        repetitions=count,
        on_event=show,
    )
    console.print(selftest_view(result))
    equal, slower_3, slower_5 = result.verdicts
    rounds = statistics.median(r.comparisons[0].rounds for r in result.repetitions)
    return print_claims(
        console,
        [
            (
                "at most 1 in 20 equal copies called different",
                f"{equal.significant} of {count}, resampled {equal.resampled:.1%}",
                equal.significant <= count / 20,
            ),
            (
                "median half width of the A/A interval at most 1.5 %",
                f"{result.half_width_percent:.2f} % (median of {rounds:g} rounds)",
                result.half_width_percent <= 1.5,
            ),
            (
                "a true 5 % found in at least 19 of 20",
                f"{slower_5.significant} of {count}, resampled {slower_5.resampled:.1%}",
                slower_5.significant >= 0.95 * count,
            ),
            (
                "a true 3 % found in at least 15 of 20",
                f"{slower_3.significant} of {count}, resampled {slower_3.resampled:.1%}",
                slower_3.significant >= 0.75 * count,
            ),
        ],
    )


if __name__ == "__main__":
    in_workspace(main)
