"""Whole measurements of real ONNX files through onnxruntime."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from latency_kit import IMGSZ, NC, write_detector, write_images
from quota_kit import cpu_quota_group

from prunebench.common.errors import ChildFailed, ConfigError, DatasetError, StepError
from prunebench.common.files import sha256_of
from prunebench.config.sections import LatencyConfig
from prunebench.measuring.host import fingerprint as host_module
from prunebench.measuring.latency.log import SampleLog
from prunebench.measuring.latency.measure import Target, measure
from prunebench.measuring.latency.raw import SENTINEL
from prunebench.measuring.latency.records import LatencyResult
from prunebench.measuring.latency.samples import read_samples
from prunebench.measuring.latency.stopping import round_medians
from prunebench.measuring.latency.summary import summarise
from prunebench.measuring.latency.together import slices_of
from prunebench.steps.events import Event, Timed

QUICK = LatencyConfig(
    threads=(1,),
    rounds_min=3,
    rounds_max=3,
    seconds=0.2,
    paced_seconds=0.1,
    warmup=1,
)
FIXED: dict[str, Any] = {"realtime_fps": 50.0, "imgsz": IMGSZ, "nc": NC, "seed": 3}


@pytest.fixture(autouse=True)
def _own_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real measurement on this host must not make the tests wait."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Target]:
    """Two copies of one model, and one about ten times as deep."""
    folder = tmp_path_factory.mktemp("models")
    fast = write_detector(folder / "a.onnx", depth=3)
    shutil.copy(fast.onnx, folder / "twin.onnx")
    slow = write_detector(folder / "slow.onnx", depth=30)
    return [fast, Target("twin", folder / "twin.onnx", fast.sha256), slow]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_images(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module")
def measured(
    models: list[Target], images: list[Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[LatencyResult, Path, list[dict[str, Any]]]:
    folder = tmp_path_factory.mktemp("measured")
    events: list[Event] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(folder))
        result = measure(models, images, QUICK, **FIXED, folder=folder, on_event=events.append)
    return result, folder, events


def test_every_round_holds_everything_once_in_its_own_order(
    measured: tuple[LatencyResult, Path, list[dict[str, Any]]],
) -> None:
    result, folder, events = measured
    samples = read_samples(folder / result.samples.path)
    orders = []
    for index in range(3):
        of_round = sorted((s for s in samples if s.round == index), key=lambda s: s.position)
        orders.append([s.variant for s in of_round])
        assert sorted(orders[-1]) == sorted([SENTINEL, "a", "twin", "slow"])
    assert len({tuple(order) for order in orders}) > 1
    assert [e.variant for e in events if e.kind == "timed"] == [
        name for order in orders for name in order
    ]
    slices = {len(s.slice_medians("model")) for s in samples}
    assert slices == {slices_of(QUICK.seconds)}
    assert result.rounds == 3
    assert result.samples.holds(folder)
    assert not (folder / "work").exists()


def test_a_known_slower_model_is_told_apart(
    measured: tuple[LatencyResult, Path, list[dict[str, Any]]],
) -> None:
    result, folder, _ = measured
    pairs = {(pair.first, pair.second): pair for pair in result.pairs}
    slow = pairs[("a", "slow")].ratio
    assert slow is not None
    assert slow.estimate < 0.8
    by_name = {s.variant: s for s in summarise(result, folder)}
    assert by_name["slow"].model_ms.estimate > 1.7 * by_name["a"].model_ms.estimate
    fps = {name: summary.frames.fps.estimate for name, summary in by_name.items() if summary.frames}
    assert fps["slow"] < fps["a"]


def test_summaries_agree_with_the_raw_samples(
    measured: tuple[LatencyResult, Path, list[dict[str, Any]]],
) -> None:
    result, folder, _ = measured
    samples = read_samples(folder / result.samples.path)
    first = summarise(result, folder)[0]
    rounds = round_medians(samples, "model")["a", 1]
    assert sorted(rounds) == [0, 1, 2]
    # The typical round is every variant's, so it can lie a little outside of one variant's three.
    assert 0.9 * min(rounds.values()) <= first.model_ms.estimate <= 1.1 * max(rounds.values())
    assert first.paced is not None
    assert first.paced.frames == 15
    assert first.paced.deadline_ms == 20
    assert first.paced.p95_ms is None
    assert first.paced.realtime == "not shown"
    assert first.frames is not None
    stages = (first.frames.letterbox_ms, first.frames.inference_ms, first.frames.nms_ms)
    assert all(stage > 0 for stage in stages)


def test_wall_time_and_inference_asked_for_are_told(
    measured: tuple[LatencyResult, Path, list[dict[str, Any]]],
) -> None:
    result, folder, _ = measured
    # 3 variants, 3 rounds, two timed parts of 0.2 s and 0.1 s of paced frames.
    assert result.asked_s == pytest.approx(9 * 0.5)
    samples = read_samples(folder / result.samples.path)
    assert result.wall_s >= sum(sample.process_s for sample in samples) - 0.1
    assert result.overhead > 1


def test_the_same_call_again_measures_nothing_and_agrees(
    measured: tuple[LatencyResult, Path, list[dict[str, Any]]],
    models: list[Target],
    images: list[Path],
) -> None:
    result, folder, _ = measured
    events: list[Event] = []
    again = measure(models, images, QUICK, **FIXED, folder=folder, on_event=events.append)
    assert events == []
    assert (again.pairs, again.samples) == (result.pairs, result.samples)


SCRIPT = """
import json, sys, tempfile
from pathlib import Path
from prunebench.config.sections import LatencyConfig
from prunebench.measuring.latency.measure import Target, measure
given = json.loads(sys.argv[1])
given["fixed"]["imgsz"] = tuple(given["fixed"]["imgsz"])
tempfile.tempdir = given["folder"]
measure(
    [Target(name, Path(onnx), sha) for name, onnx, sha in given["models"]],
    [Path(image) for image in given["images"]],
    LatencyConfig.model_validate(given["config"]),
    **given["fixed"],
    folder=Path(given["folder"]),
    on_event=lambda event: print(event.kind, flush=True),
)
"""


def test_killed_in_the_middle_it_continues_where_it_stopped(
    models: list[Target], tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    given = {
        "models": [[target.name, str(target.onnx), target.sha256] for target in models[:1]],
        "images": [],
        "config": QUICK.model_dump(mode="json"),
        "fixed": FIXED,
        "folder": str(folder),
    }
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, json.dumps(given)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    for _ in range(3):
        assert process.stdout.readline() == "timed\n"
    process.kill()
    process.wait()
    # A round is kept as a whole: its second event follows at once, and the third round may be.
    kept = (folder / "samples.jsonl").read_text().splitlines()
    assert len(kept) in (4, 6)
    with (folder / "samples.jsonl").open("a") as stream:
        stream.write('{"round": 1, "cut sho')

    events: list[Event] = []
    result = measure(models[:1], [], QUICK, **FIXED, folder=folder, on_event=events.append)
    lines = (folder / "samples.jsonl").read_text().splitlines()
    assert lines[: len(kept)] == kept
    assert len(events) == 6 - len(kept)
    runs = [(s.round, s.variant) for s in read_samples(folder / "samples.jsonl")]
    assert sorted(runs) == sorted((r, name) for r in range(3) for name in ("a", SENTINEL))
    assert (result.rounds, result.stopped) == (3, "settled")


def test_samples_of_another_host_file_or_setting_are_not_continued(
    measured: tuple[LatencyResult, Path, list[dict[str, Any]]],
    models: list[Target],
    tmp_path: Path,
) -> None:
    result, folder, _ = measured
    protocol = json.loads((folder / "protocol.json").read_text())
    assert protocol["host"] == result.fingerprint.digest()
    assert protocol["variants"] == {target.name: target.sha256 for target in models}
    assert protocol["settings"]["seconds"] == QUICK.seconds
    assert "budget_minutes" not in protocol["settings"]
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    assert len(SampleLog(copy, protocol).samples) == 12
    assert SampleLog(copy, {**protocol, "host": "another"}).samples == []
    assert (copy / "samples.jsonl").read_text() == ""


def test_a_variant_that_cannot_run_fails_alone(models: list[Target], tmp_path: Path) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"nothing")
    target = Target("broken", broken, sha256_of(broken))
    quick = QUICK.model_copy(update={"seconds": 0.01, "paced": False})
    result = measure([models[0], target], [], quick, **FIXED, folder=tmp_path / "run")
    assert list(result.failures) == ["broken"]
    assert [s.variant for s in summarise(result, tmp_path / "run")] == ["a"]
    with pytest.raises(ChildFailed, match="broken"):
        measure([target], [], quick, **FIXED, folder=tmp_path / "none")


def test_a_changed_file_is_refused_before_anything_runs(
    models: list[Target], tmp_path: Path
) -> None:
    with pytest.raises(StepError, match="changed after it was made"):
        measure([models[0]._replace(sha256="0" * 64)], [], QUICK, **FIXED, folder=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_image_that_cannot_be_decoded_is_named(models: list[Target], tmp_path: Path) -> None:
    image = tmp_path / "text.png"
    image.write_text("no image")
    with pytest.raises(DatasetError, match=r"text\.png: the image cannot be read"):
        measure(models[:1], [image], QUICK, **FIXED, folder=tmp_path / "run")


def test_a_class_of_cores_is_kept_to(
    models: list[Target], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    only = max(os.sched_getaffinity(0))
    monkeypatch.setattr(host_module, "core_classes", lambda: {"big": (only,)})
    config = QUICK.model_copy(update={"cores": ("big",), "threads": (1, 2), "seconds": 0.1})
    result = measure(models[:1], (), config, **FIXED, folder=tmp_path)
    assert result.threads == (1,)
    samples = read_samples(tmp_path / result.samples.path)
    assert {sample.cpus for sample in samples} == {(only,)}
    assert len(samples[0].turns_mhz) == slices_of(config.seconds)
    with pytest.raises(ConfigError, match="no little cores"):
        measure(
            models[:1],
            (),
            QUICK.model_copy(update={"cores": ("little",)}),
            **FIXED,
            folder=tmp_path,
        )


def test_load_lasts_as_long_as_asked_and_shows_a_quota_that_falls(
    models: list[Target], tmp_path: Path
) -> None:
    """Rounds go on beyond the most there are; a fifth of a core later on stretches the times."""
    config = QUICK.model_copy(update={"soak_minutes": 0.1, "seconds": 0.1})
    with cpu_quota_group() as set_quota:
        lowered = []

        def lower(event: Event) -> None:
            if isinstance(event, Timed) and event.round == 5 and not lowered:
                lowered.append(event.round)
                set_quota(0.2)

        long = models[2]._replace(slowdown=12.0)
        result = measure([long], (), config, **FIXED, folder=tmp_path, on_event=lower)
    samples = read_samples(tmp_path / result.samples.path)
    assert sum(sample.elapsed_s for sample in samples) >= 6
    assert result.rounds > config.rounds_max
    medians = round_medians(samples, "model")["slow", 1]
    before = np.median([medians[index] for index in range(5)])
    after = np.median([medians[index] for index in range(5, result.rounds)])
    assert after / before > 1.5
    assert lowered == [5]
