"""What does orchestration cost beyond the child processes that do the work?

    python benchmarks/orchestration.py [--quick]

First the demo as a flow on a temporary Prefect server: the share of its wall time in which no child
process was alive. Children overlap (two trainings at once, the turns of a measurement), so the time
in which at least one was alive is what the rest is compared with. Then the flow's bookkeeping for
200 variants, whose steps are children that sleep. About ten minutes; exit status 1 where a claim
does not hold.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from kit import CHECKPOINT, arguments, in_workspace, print_claims
from rich.console import Console

import flows.run_experiment
import tasks.variants
from flows.temporary_server import prefect_server
from prunebench.common.variant_record import VariantRecord
from prunebench.config.loading import Config, load_config
from prunebench.experiment.inputs import Experiment
from prunebench.experiment.plan import PlannedVariant
from prunebench.measuring.latency import together
from prunebench.results.outcome import RunRanking
from prunebench.steps import child

SHARE = 0.05
PER_STEP_S = 0.5
VARIANTS = 200
QUICK_VARIANTS = 4
SLEEP_S = 0.05
STEPS = ("make_variant", "export_variant", "evaluate_variant")
QUICKSTART = CHECKPOINT.parent.parent / "configs" / "quickstart.yaml"


class Children:
    """When child processes were alive, as their parent saw it."""

    def __init__(self) -> None:
        self.intervals: list[tuple[float, float]] = []
        self._lock = threading.Lock()

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Watch every child of steps and measurements."""
        with patch.object(child, "subprocess", self._module()), self._together():
            yield

    def alive_s(self) -> float:
        """Seconds in which at least one was alive."""
        total, until = 0.0, 0.0
        for begin, end in sorted(self.intervals):
            total += max(0.0, end - max(begin, until))
            until = max(until, end)
        return total

    def _together(self) -> Any:
        return patch.object(together, "subprocess", self._module())

    def _module(self) -> Any:
        watch = self

        class Watched(subprocess.Popen):  # type: ignore[type-arg]
            def __init__(self, *args: Any, **kwargs: Any) -> None:
                self.begun = time.perf_counter()
                super().__init__(*args, **kwargs)

            def wait(self, timeout: float | None = None) -> int:
                returncode = super().wait(timeout)
                if self.begun:
                    with watch._lock:
                        watch.intervals.append((self.begun, time.perf_counter()))
                    self.begun = 0.0
                return returncode

        return SimpleNamespace(**{**vars(subprocess), "Popen": Watched})


def main(folder: Path, console: Console) -> int:
    """Run both and print the claims."""
    quick = arguments(__doc__).quick
    variants = QUICK_VARIANTS if quick else VARIANTS
    with prefect_server():
        wall_s, alive_s = demo(folder / "runs", quick)
        per_step_s = bookkeeping(folder / "faked", variants)
    overhead = (wall_s - alive_s) / alive_s
    return print_claims(
        console,
        [
            (
                f"the demo: time without a child at most {SHARE:.0%} of the time with one",
                f"{overhead:.1%} ({wall_s:.1f} s, {alive_s:.1f} s of it with a child)",
                overhead <= SHARE,
            ),
            (
                f"{variants} variants: at most {PER_STEP_S} s a step, {SLEEP_S} s of sleep in it",
                f"{per_step_s:.3f} s",
                per_step_s <= PER_STEP_S,
            ),
        ],
    )


def demo(out: Path, quick: bool) -> tuple[float, float]:
    """Wall time of the demo's flow, and the part of it with a child alive, in seconds."""
    flags: dict[str, Any] = {"out": str(out), "model": str(CHECKPOINT)}
    if quick:
        flags |= {"data": "scenes:train=16,val=8,test=24", "retrain.rounds": 0}
    config = load_config(QUICKSTART, overrides=flags, environ={})
    children = Children()
    begun = time.perf_counter()
    with children.watched():
        flows.run_experiment.run_experiment(config)
    return time.perf_counter() - begun, children.alive_s()


def bookkeeping(out: Path, count: int) -> float:
    """Seconds of the flow's wall time per step of ``count`` variants, the sleep included: the next
    steps are prepared while children sleep, so there is no telling the two apart.
    """
    out.mkdir()
    config = Config(model=str(CHECKPOINT), out=str(out))
    first = PlannedVariant(name="baseline", parent=None, steps=())
    plan = [first] + [
        PlannedVariant(name=f"variant-{i}", parent="baseline", steps=()) for i in range(1, count)
    ]
    experiment = Experiment(
        config=config,
        variants=tuple(plan),
        folder=str(out),
        out=str(out),
        checkpoint=None,
        checkpoint_sha256=None,
        audit=None,
        data_yaml="",
        data_digest="",
        class_names={},
        recipe={},
        split="val",
        images=(),
    )

    def sleep(*given: Any) -> VariantRecord:
        """A step's child that only sleeps; gives the variant on."""
        command = [sys.executable, "-S", "-c", f"import time; time.sleep({SLEEP_S})"]
        subprocess.run(command, check=True)
        found = next(one for one in given if isinstance(one, PlannedVariant | VariantRecord))
        return VariantRecord(name=found.name, parent=found.parent, steps=())

    faked = RunRanking(
        name="faked", run="faked", rankings=(), noise=(), stopped="settled", rounds=0
    )
    nothing: dict[str, Any] = {
        "prepare_experiment": lambda config: experiment,
        "measure": lambda *_: None,
        "diagnose": lambda *_: None,
        "rank_variants": lambda *_: faked,
        "publish": lambda *_: None,
        "publish_latency": lambda *_: None,
        "record": lambda *_, **__: SimpleNamespace(is_completed=lambda: True),
    }
    with ExitStack() as patches:
        for name, value in nothing.items():
            patches.enter_context(patch.object(flows.run_experiment, name, value))
        for name in STEPS:
            patches.enter_context(patch.object(tasks.variants, name, sleep))
        begun = time.perf_counter()
        flows.run_experiment.run_experiment(config)
        wall_s = time.perf_counter() - begun
    return wall_s / (len(STEPS) * count)


if __name__ == "__main__":
    in_workspace(main)
