"""What does measuring cost beyond the inference asked for?

    python benchmarks/overhead.py [--quick]

Six copies of the shipped network, the default settings at one thread, the minimum of rounds: first
with scenes (inferences, frames, paced frames), then inferences alone. The time asked for is the
timed seconds of the variants; starting processes, loading models, warming up and the noise sentinel
are overhead. About six minutes; exit status 1 where the claim does not hold.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from kit import (
    CLASSES,
    IMGSZ,
    arguments,
    copies,
    export_network,
    in_workspace,
    print_claims,
    show,
    write_scenes,
)
from rich.console import Console
from rich.table import Table

from prunebench.config.sections import LatencyConfig
from prunebench.measuring.latency.measure import measure
from prunebench.measuring.latency.raw import SENTINEL
from prunebench.measuring.latency.records import LatencyResult
from prunebench.measuring.latency.samples import read_samples

VARIANTS = 6
ASKED = 1.3


def main(folder: Path, console: Console) -> int:
    """Measure twice and print where the time went."""
    quick = arguments(__doc__).quick
    names = [f"copy {index}" for index in range(2 if quick else VARIANTS)]
    settings = LatencyConfig(threads=(1,), rounds_min=3 if quick else 8)
    targets = copies(export_network(folder), names)
    scenes = write_scenes(folder)
    table = Table("measured", "child runs", "asked s", "wall s", "factor", "start s", "sentinel s")
    factors = []
    for label, images in (("with scenes", scenes), ("inferences alone", [])):
        result = measure(
            targets,
            images,
            settings,
            realtime_fps=20.0,
            imgsz=IMGSZ,
            nc=CLASSES,
            seed=0,
            folder=folder / label,
            who="benchmarks/overhead.py",
            on_event=show,
            contested=lambda first, second: False,
        )
        factors.append(result.overhead)
        table.add_row(label, *_row(result, folder / label))
    console.print(table)
    found = f"{factors[0]:.2f} with scenes, {factors[1]:.2f} inferences alone"
    claim = f"{len(names)} variants cost at most {ASKED} times the inference asked for"
    return print_claims(console, [(claim, found, factors[0] <= ASKED)])


def _row(result: LatencyResult, folder: Path) -> tuple[str, ...]:
    """Figures of one measurement; ``start`` is a child's wall time beyond what it was asked for."""
    samples = read_samples(folder / result.samples.path)
    own = [s for s in samples if s.variant != SENTINEL]
    each = result.asked_s / len(own)
    start = float(np.median([s.process_s for s in own])) - each
    sentinel = sum(s.elapsed_s for s in samples if s.variant == SENTINEL)
    return (
        str(len(own)),
        f"{result.asked_s:.1f}",
        f"{result.wall_s:.1f}",
        f"{result.overhead:.2f}",
        f"{start:.2f}",
        f"{sentinel:.1f}",
    )


if __name__ == "__main__":
    in_workspace(main)
