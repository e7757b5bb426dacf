"""Finished runs for the history: one measured beside the sentinel, and later copies of it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from report_kit import MIXED, make_run

from prunebench.common.records import FileRef
from prunebench.measuring.latency.log import lines_of
from prunebench.measuring.latency.raw import SENTINEL, Sample
from prunebench.measuring.latency.records import LatencyResult
from prunebench.measuring.latency.samples import read_samples
from prunebench.results.outcome import LATENCY_FILE
from prunebench.results.run_folder import LATENCY_FOLDER

FIRST_RUN = "20240101T000000-abcdefabcdef"


def first_run(out: Path) -> Path:
    """A finished run with a failed variant, at one thread, measured beside the sentinel."""
    folder = out / FIRST_RUN
    makers = (*MIXED[:2], MIXED[4], MIXED[5])
    make_run(folder, makers, threads=(1,), rounds=6)
    rng = np.random.default_rng(0)

    def with_sentinel(samples: list[Sample]) -> list[Sample]:
        rounds = {sample.round: sample for sample in samples if sample.variant == "baseline"}
        sentinels = [
            replace(sample, variant=SENTINEL, model_ms=tuple(rng.normal(3, 0.01, 20)))
            for sample in rounds.values()
        ]
        return [*(s for s in samples if s.variant != SENTINEL), *sentinels]

    rewrite_samples(folder, with_sentinel)
    return folder


def another_run(template: Path, name: str, *, days: int = 0, slower: float = 1.0) -> Path:
    """A copy of the run, measured ``days`` later, its variants slower by a factor."""
    folder = template.parent / name
    if folder.exists():
        return folder
    shutil.copytree(template, folder)
    seconds = 86400 * days + sum(name.encode()) / 1e3

    def moved(samples: list[Sample]) -> list[Sample]:
        return [
            replace(
                sample,
                started_s=sample.started_s + seconds,
                model_ms=tuple(
                    ms * (1.0 if sample.variant == SENTINEL else slower) for ms in sample.model_ms
                ),
            )
            for sample in samples
        ]

    rewrite_samples(folder, moved)
    return folder


def rewrite_samples(folder: Path, change: Callable[[list[Sample]], list[Sample]]) -> None:
    latency_folder = folder / LATENCY_FOLDER
    result = LatencyResult.model_validate_json((latency_folder / LATENCY_FILE).read_text())
    path = latency_folder / result.samples.path
    samples = change(read_samples(path))
    path.write_text(lines_of(samples))
    again = result.model_copy(update={"samples": FileRef.of(path, latency_folder)})
    (latency_folder / LATENCY_FILE).write_text(again.model_dump_json())


def on_another_host(folder: Path) -> Path:
    path = folder / LATENCY_FOLDER / LATENCY_FILE
    values = json.loads(path.read_text())
    values["fingerprint"]["onnxruntime"] = "1.31.0"
    path.write_text(json.dumps(values))
    return folder
