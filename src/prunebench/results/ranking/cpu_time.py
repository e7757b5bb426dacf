"""Whether wall time and CPU time say the same of a variant's speed beside the baseline's.

What other processes take from a variant lengthens its wall time and not its CPU time. Of one
thread both hold the same work, so their ratios may differ by what matters only where the host
disturbed one variant more than the other. With more threads they differ by how well the work is
shared out, so nothing is said.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from prunebench.common.statistics import FEWEST_ROUNDS, Footing
from prunebench.results.ranking.doubts import CpuDisagrees
from prunebench.results.ranking.measured import MeasuredVariant


def doubts_of_cpu_time(
    measured: Sequence[MeasuredVariant],
    baseline: MeasuredVariant | None,
    smallest_difference: float,
    level: float,
) -> Iterator[CpuDisagrees]:
    """Variants whose two ratios to the baseline differ by more than ``smallest_difference``.

    The differences of all variants are one family, corrected by Bonferroni.
    """
    wall = {v.name: v.latency_ms.get(1, {}) for v in measured}
    cpu = {v.name: v.cpu_ms.get(1, {}) for v in measured}
    others = [v.name for v in measured if v is not baseline]
    if baseline is None or not others or not all((*wall.values(), *cpu.values())):
        return
    waits = Footing(
        {
            name: {number: ms / cpu[name][number] for number, ms in rounds.items()}
            for name, rounds in wall.items()
        }
    )
    footings = Footing(wall), Footing(cpu)
    single = 1 - (1 - level) / len(others)
    found = []
    for name in others:
        if waits.shared(name, baseline.name) < FEWEST_ROUNDS:
            continue
        apart = waits.ratio(baseline.name, name)
        if abs(apart.centre) - apart.half_width(single) > math.log1p(smallest_difference):
            found.append(name)
    if found:
        by_wall, by_cpu = (
            {name: footing.ratio(baseline.name, name).ratio(level) for name in found}
            for footing in footings
        )
        yield CpuDisagrees(baseline=baseline.name, by_wall=by_wall, by_cpu=by_cpu)
