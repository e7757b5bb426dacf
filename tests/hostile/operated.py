"""What the flows do with a run's folder, without Prefect, for inputs by the hundred.

Nothing is timed here: whatever is measured comes out as made-up samples. The gate, which has a
command of its own, measures so too.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from report_kit import Maker, made_up_latency

import prunebench.experiment.measure_and_rank
import prunebench.operating.gate.run
from prunebench.cli.options import existing_run
from prunebench.config.sections import LatencyConfig
from prunebench.experiment.measure_and_rank import measure_latency, rank_run
from prunebench.measuring.latency.measure import Target
from prunebench.measuring.latency.records import LatencyResult
from prunebench.operating.devices import take_answer, write_devices
from prunebench.operating.rebenchmark import compare_recorded, open_rebenchmark, read_source
from prunebench.operating.store.runs import open_store
from prunebench.results.diagnoses import Diagnoses
from prunebench.results.history.lookup import history_url
from prunebench.results.history.recording import record_run
from prunebench.results.history.store import Store
from prunebench.results.run_folder import LATENCY_FOLDER
from prunebench.steps.events import announce

DEVICE = "pi5"


def measured(
    targets: Sequence[Target],
    images: Sequence[Path],
    config: LatencyConfig,
    *,
    realtime_fps: float,
    folder: Path,
    **_: Any,
) -> LatencyResult:
    """In place of ``measure``: every target takes 10 ms."""
    makers = tuple(Maker(one.name, None, (), "unpruned", 10.0, 0.9) for one in targets)
    settings: Any = SimpleNamespace(
        latency=config, ranking=SimpleNamespace(realtime_fps=realtime_fps)
    )
    with tempfile.TemporaryDirectory() as work:
        result = made_up_latency(Path(work), makers, settings, config.threads or (1,), 4, (), 4)
        shutil.copytree(Path(work) / LATENCY_FOLDER, folder, dirs_exist_ok=True)
    return result


def rebenchmark(run: str) -> None:
    """Measure a run's variants again and compare, as the flow does."""
    source = existing_run(Path(run))
    read_source(source)
    with Store(history_url(source)) as store:
        earlier = record_run(store, source)
    experiment, variants = open_rebenchmark(source)
    latency = measure_latency(experiment, variants, announce)
    rank_run(experiment, variants, latency, Diagnoses(found={}, failures={}))
    with Store(experiment.history_url) as store:
        now = record_run(store, experiment.run_folder)
    compare_recorded(experiment, earlier, now)


def devices(run: str, store: str) -> None:
    """Take what a device answered from the store into a run's folder, as the flow does."""
    folder = existing_run(Path(run))
    history = history_url(folder)
    found = take_answer(open_store(store, folder.parent), folder, DEVICE, history)
    write_devices(folder, (found,))


OPERATED: dict[str, Callable[..., None]] = {"rebenchmark": rebenchmark, "devices": devices}


def measure_nothing() -> None:
    """Let this process make up what it would measure."""
    for module in (prunebench.experiment.measure_and_rank, prunebench.operating.gate.run):
        module.measure = measured  # type: ignore[attr-defined]
