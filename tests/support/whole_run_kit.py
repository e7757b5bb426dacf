"""Two finished runs side by side, the later one with every file a run can have."""

from __future__ import annotations

from pathlib import Path

import yaml
from experiment_kit import experiment_of
from report_kit import IMAGES, MIXED, make_run

from prunebench.common.records import FileRef
from prunebench.experiment.inputs import EXPERIMENT_FILE
from prunebench.measuring.profile import Diagnosis, NetworkProfile
from prunebench.results.devices import Device, Devices
from prunebench.results.diagnoses import DIAGNOSES_FILE, Diagnoses
from prunebench.results.outcome import read_outcome
from prunebench.results.run_folder import (
    CONFIG_FILE,
    DEVICES_FILE,
    LATENCY_FOLDER,
    RANKING_FILE,
    read_run_config,
    read_variants,
    save_variant,
)

RUN, OTHER = "20260102T000000-abc", "20260101T000000-abc"
OWN = "variants/preserving-1"
"""The files of one variant stand for those of every other."""


def make_whole_runs(home: Path) -> Path:
    """Write both into ``home``; their ONNX files hold a line of text."""
    makers = (*MIXED[:2], next(maker for maker in MIXED if maker.name == "preserving-1"))
    image = home / "image.png"
    image.write_bytes(b"an image")
    for name in (OTHER, RUN):
        folder = home / name
        make_run(folder, makers, threads=(1,), rounds=4, frames=4)
        for variant in read_variants(folder):
            assert variant.exported is not None
            onnx = folder / variant.exported.onnx.path
            onnx.write_bytes(f"the model of {variant.name}".encode())
            exported = variant.exported.model_copy(update={"onnx": FileRef.of(onnx, folder)})
            known = {"exported": exported, "checkpoint": None}
            save_variant(folder, variant.model_copy(update=known))
        experiment = experiment_of(folder).model_copy(update={"images": (str(image),) * IMAGES})
        (folder / EXPERIMENT_FILE).write_text(experiment.model_dump_json())
    asking = read_run_config(home / RUN).model_copy(
        update={"devices": ("pi5",), "store": "file:///shared/store"}
    )
    values = yaml.safe_dump(asking.model_dump(mode="json"), sort_keys=False)
    (home / RUN / CONFIG_FILE).write_text(values)
    devices = Devices(devices=(Device(name="pi5", ranking=read_outcome(home / RUN)),))
    (home / RUN / DEVICES_FILE).write_text(devices.model_dump_json())
    _diagnose(home / RUN)
    return home


def _diagnose(folder: Path) -> None:
    profile = NetworkProfile(
        convolutions=9,
        blocked=9,
        quantized=0,
        reorders=0,
        off_block={},
        weights=100,
        denormal_weights=0,
        mmacs=100.0,
        kernel_ms=2.0,
        time_shares={"Conv": 1.0},
    )
    found = Diagnosis(
        block=16, threads=1, variant=profile, baseline=profile, times_baseline=1.0, causes=()
    )
    diagnoses = Diagnoses(found={"pruned": found}, failures={})
    (folder / LATENCY_FOLDER / DIAGNOSES_FILE).write_text(diagnoses.model_dump_json())
    outcome = read_outcome(folder).model_copy(update={"diagnoses": diagnoses.explanations()})
    (folder / RANKING_FILE).write_text(outcome.model_dump_json())
