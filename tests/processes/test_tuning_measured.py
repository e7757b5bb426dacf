"""Tuning with real sessions: each setting runs as asked, and a killed tuning goes on."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from latency_kit import IMGSZ, write_detector, write_images
from whole_run_kit import RUN, make_whole_runs

from prunebench.common.records import FileRef
from prunebench.experiment.inputs import EXPERIMENT_FILE, read_experiment
from prunebench.measuring.host.fingerprint import fingerprint_for
from prunebench.measuring.latency.samples import read_samples
from prunebench.operating.tuning import run
from prunebench.operating.tuning.changes import Change
from prunebench.operating.tuning.choice import OWN
from prunebench.results.outcome import LATENCY_FILE, read_latency
from prunebench.results.run_folder import (
    CONFIG_FILE,
    LATENCY_FOLDER,
    read_run_config,
    read_variant,
    save_variant,
)
from prunebench.steps.events import Event

NAME = "preserving-1"


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A run whose variant is a tiny detector, measured on this host."""
    folder = make_whole_runs(tmp_path) / RUN
    config = read_run_config(folder)
    short = {"rounds_min": 3, "rounds_max": 6, "seconds": 0.02, "threads": (1,)}
    latency = config.latency.model_copy(update=short)
    image = config.image.model_copy(update={"height": IMGSZ[0], "width": IMGSZ[1]})
    config = config.model_copy(update={"latency": latency, "image": image})
    (folder / CONFIG_FILE).write_text(
        yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)
    )
    known = {
        "config": config,
        "images": tuple(map(str, write_images(tmp_path))),
        "class_names": {index: str(index) for index in range(3)},
    }
    experiment = read_experiment(folder).model_copy(update=known)
    (folder / EXPERIMENT_FILE).write_text(experiment.model_dump_json())
    result = read_latency(folder).model_copy(update={"fingerprint": fingerprint_for(latency)})
    (folder / LATENCY_FOLDER / LATENCY_FILE).write_text(result.model_dump_json())
    variant = read_variant(folder, NAME)
    assert variant.exported is not None
    onnx = folder / variant.exported.onnx.path
    write_detector(onnx, 2)
    exported = variant.exported.model_copy(
        update={"onnx": FileRef.of(onnx, folder), "imgsz": IMGSZ}
    )
    save_variant(folder, variant.model_copy(update={"exported": exported}))
    return folder


class Killed(BaseException):
    """Ends a tuning in the middle."""


def test_settings_are_measured_as_asked_and_a_killed_tuning_goes_on(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change = Change("arena off", {"enable_cpu_mem_arena": False})
    monkeypatch.setattr(run, "changes_of", lambda *asked: [change])
    monkeypatch.setattr(run, "shortlist", lambda compared, names: list(names))
    told: list[str] = []

    def kill(event: Event) -> None:
        told.append(event.what)
        if event.what == "round 2 is measured":
            raise Killed

    with pytest.raises(Killed):
        run.tune(here, NAME, (), kill)
    log = here / "tuning" / NAME / "screening" / "samples.jsonl"
    before = log.read_text()
    tuned = run.tune(here, NAME, (), lambda event: told.append(event.what))
    assert log.read_text().startswith(before)
    assert told.count("round 1 is measured") == 2  # Of the screening and the confirming rounds.
    for stage in ("screening", "confirming"):
        samples = read_samples(here / "tuning" / NAME / stage / "samples.jsonl")
        arena = {s.variant: s.session["enable_cpu_mem_arena"] for s in samples}
        assert (arena[OWN], arena["arena off"]) == ("True", "False")
        assert {s.round for s in samples} == {0, 1, 2}
    assert [setting.name for setting in tuned.confirmed] == [OWN, "arena off"]
    assert all(setting.memory_mb > 0 for setting in tuned.confirmed)
