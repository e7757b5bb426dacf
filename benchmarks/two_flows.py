"""Do two measurements started at once disturb each other?

    python benchmarks/two_flows.py [--quick]

Three variants (the shipped network, the same slowed by exactly 10 %, and at a smaller input) are
measured alone, then by two processes started at once, as two flows on one host are. The ratios of
both have to be within 2 % of those measured alone. About four minutes; exit status 1 where the
claim does not hold.
"""

from __future__ import annotations

import math
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from kit import (
    CLASSES,
    IMGSZ,
    arguments,
    copies,
    export_network,
    in_workspace,
    print_claims,
    show,
)
from rich.console import Console
from rich.table import Table

from prunebench.common.statistics import locate, log_ratios
from prunebench.config.sections import LatencyConfig
from prunebench.measuring.latency.measure import Target, measure
from prunebench.measuring.latency.samples import read_samples
from prunebench.measuring.latency.stopping import round_medians

NETWORK, SLOWED, SMALLER = "network", "network x 1.1", "smaller input"
SMALLER_IMGSZ = (128, 224)
ASKED_PERCENT = 2.0


def measure_ratios(
    targets: list[Target], settings: LatencyConfig, folder: Path, who: str
) -> tuple[dict[str, float], float, float]:
    """Milliseconds of each other variant divided by the network's, and when it measured."""
    result = measure(
        targets,
        [],
        settings,
        realtime_fps=20.0,
        imgsz=IMGSZ,
        nc=CLASSES,
        seed=0,
        folder=folder,
        who=who,
        on_event=show,
    )
    samples = read_samples(folder / result.samples.path)
    medians = round_medians(samples, "model")
    ratios = {
        name: math.exp(locate(log_ratios(medians[name, 1], medians[NETWORK, 1])).centre)
        for name in (SLOWED, SMALLER)
    }
    return ratios, samples[0].started_s, samples[-1].started_s + samples[-1].process_s


def main(folder: Path, console: Console) -> int:
    """Measure alone, then twice at once, and print the ratios side by side."""
    quick = arguments(__doc__).quick
    rounds, seconds = (3, 0.2) if quick else (12, 0.5)
    settings = LatencyConfig(threads=(1,), rounds_min=rounds, rounds_max=rounds, seconds=seconds)
    network = copies(export_network(folder), [NETWORK, SLOWED])
    targets = [
        network[0],
        network[1]._replace(slowdown=1.1),
        *copies(export_network(folder, SMALLER_IMGSZ), [SMALLER]),
    ]
    alone, _, _ = measure_ratios(targets, settings, folder / "alone", "alone")
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        futures = [
            pool.submit(measure_ratios, targets, settings, folder / who, who)
            for who in ("flow 1", "flow 2")
        ]
        at_once = [future.result() for future in futures]
    table = Table("variant / network", "alone", "flow 1", "flow 2", "worst difference")
    worst = 0.0
    for name, ratio in alone.items():
        others = [ratios[name] for ratios, _, _ in at_once]
        off = max(abs(other / ratio - 1) for other in others)
        worst = max(worst, off)
        table.add_row(name, *(f"{r:.4f}" for r in (ratio, *others)), f"{off:.2%}")
    console.print(table)
    (_, start_1, end_1), (_, start_2, end_2) = at_once
    apart = max(start_1, start_2) - min(end_1, end_2)
    return print_claims(
        console,
        [
            (
                f"ratios within {ASKED_PERCENT:g} % of those measured alone",
                f"{worst:.2%} at worst",
                worst <= ASKED_PERCENT / 100,
            ),
            (
                "the second measures after the first",
                f"it began {apart:+.1f} s after the first had ended",
                apart >= 0,
            ),
        ],
    )


if __name__ == "__main__":
    in_workspace(main)
