"""Tuning a variant: what is refused, what is taken of given rounds, and where it is noted."""

from __future__ import annotations

import json
import math
import platform
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from latency_kit import sample, write_detector
from typer.testing import CliRunner
from whole_run_kit import RUN, make_whole_runs

from prunebench.cli import app
from prunebench.cli.views.tune import tune_view
from prunebench.common.errors import InputError, StepError
from prunebench.common.records import FileRef
from prunebench.config.sections import LatencyConfig
from prunebench.experiment.inputs import EXPERIMENT_FILE, read_experiment
from prunebench.measuring.host.fingerprint import fingerprint_for
from prunebench.measuring.latency.log import lines_of
from prunebench.measuring.latency.measure import Target
from prunebench.measuring.latency.records import LatencyResult
from prunebench.measuring.map_bootstrap import load_detections
from prunebench.measuring.session import (
    SessionSettings,
    open_session,
    options_in_force,
    session_options,
)
from prunebench.operating.tuning import changes, run
from prunebench.operating.tuning.changes import BF16_ON_ARM, changes_of
from prunebench.operating.tuning.choice import OWN
from prunebench.results.outcome import LATENCY_FILE, read_latency, read_outcome
from prunebench.results.report.build import build_report
from prunebench.results.run_folder import LATENCY_FOLDER, read_run_config, read_variant
from prunebench.results.tuned import Setting, Tuned, session_code
from prunebench.steps.events import Event

NAME = "preserving-1"
SESSION = SessionSettings.of(LatencyConfig())
Effects = dict[str, tuple[float, float]]
"""What a change multiplies milliseconds and megabytes with."""


def ignore(event: Event) -> None:
    pass


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run that was measured on this host."""
    folder = make_whole_runs(tmp_path_factory.mktemp("whole")) / RUN
    host = fingerprint_for(read_run_config(folder).latency)
    latency = read_latency(folder).model_copy(update={"fingerprint": host})
    (folder / LATENCY_FOLDER / LATENCY_FILE).write_text(latency.model_dump_json())
    data = folder.parent / "data.yaml"
    data.write_text(f"path: {folder.parent}\ntrain: .\nval: .\nnames: {{0: thing}}\n")
    experiment = read_experiment(folder).model_copy(update={"data_yaml": str(data)})
    (folder / EXPERIMENT_FILE).write_text(experiment.model_dump_json())
    return folder


@pytest.fixture
def here(whole: Path, tmp_path: Path) -> Path:
    """A copy of that run, which still names the images of the first."""
    return shutil.copytree(whole, tmp_path / RUN)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> Callable[[Effects], list[Sequence[Target]]]:
    """Lets settings have the effects given, and tells what was measured."""

    def given(effects: Effects) -> list[Sequence[Target]]:
        calls: list[Sequence[Target]] = []

        def measure(
            targets: Sequence[Target], images: object, config: LatencyConfig, **known: Any
        ) -> LatencyResult:
            calls.append(targets)
            return made_up(targets, config, effects, len(calls), known["folder"])

        monkeypatch.setattr(run, "measure", measure)
        monkeypatch.setattr(run._Tuning, "_images_are_there", True)
        return calls

    return given


def made_up(
    targets: Sequence[Target], config: LatencyConfig, effects: Effects, seed: int, folder: Path
) -> LatencyResult:
    rng = np.random.default_rng(seed)
    samples = []
    for number in range(config.rounds_max):
        for target in targets:
            parts = [effects.get(part, (1.0, 1.0)) for part in target.name.split(" + ")]
            ms, mb = np.prod(parts, axis=0) * np.exp(rng.normal(0, 0.005, 2))
            samples.append(
                sample(target.name, number, 8 * float(ms), rss_peak_mb=50 + 40 * float(mb))
            )
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "samples.jsonl"
    path.write_text(lines_of(samples))
    return LatencyResult.model_construct(
        variants={target.name: target.sha256 for target in targets},
        failures={},
        kind="model",
        rounds=config.rounds_max,
        noise=(),
        samples=FileRef.of(path, folder),
    )


def test_what_is_shown_to_be_smaller_is_taken_and_noted(
    here: Path, measured: Callable[[Effects], list[Sequence[Target]]]
) -> None:
    calls = measured({"memory pattern off": (1.0, 0.83)})
    tuned = run.tune(here, NAME, (), ignore)
    assert (tuned.name, tuned.options) == ("memory pattern off", {"enable_mem_pattern": False})
    assert [target.name for target in calls[1]] == [OWN, "memory pattern off"]
    assert calls[1][1].options == {"enable_mem_pattern": False}
    taken = tuned.taken
    assert taken is not None
    assert taken.smaller
    assert not taken.faster
    assert taken.memory is not None
    assert taken.memory.estimate == pytest.approx(0.83, abs=0.01)
    assert all(ref.holds(here) for ref in tuned.samples)
    assert read_outcome(here).tuned == (tuned,)
    card = (here / "variants" / NAME / "README.md").read_text()
    assert "options.enable_mem_pattern = False" in card
    build_report(here)
    assert (here / "variants" / NAME / "README.md").read_text() == card


def test_nothing_is_changed_where_nothing_is_better_and_a_later_tuning_takes_its_place(
    here: Path, measured: Callable[[Effects], list[Sequence[Target]]]
) -> None:
    calls = measured({})
    (here / "tuning" / NAME / "older").mkdir(parents=True)
    first = run.tune(here, NAME, (), ignore)
    assert first.name is None
    assert first.options == {}
    # What a killed tuning left is gone on with, what a finished one left is not.
    assert (here / "tuning" / NAME / "older").is_dir()
    calls.clear()
    again = run.tune(here, NAME, (), ignore)
    assert not (here / "tuning" / NAME / "older").is_dir()
    assert read_outcome(here).tuned == (again,)
    assert "none is shown to be better" in (here / "variants" / NAME / "README.md").read_text()


@pytest.mark.parametrize("lost", [0.0, 0.3])
def test_what_may_compute_something_else_is_taken_only_without_a_shown_loss(
    here: Path,
    measured: Callable[[Effects], list[Sequence[Target]]],
    monkeypatch: pytest.MonkeyPatch,
    lost: float,
) -> None:
    measured({"denormals to zero on": (0.8, 1.0)})
    own = read_variant(here, NAME).accuracy
    assert own is not None
    asked: list[Any] = []

    def evaluate(step: str, request: Any, folder: Path, **known: object) -> object:
        asked.append((step, request.options))
        with np.load(here / own.detections.path) as arrays:
            kept = dict(arrays)
        missed = np.random.default_rng(0).random(len(kept["tp"])) < lost
        kept["tp"] = kept["tp"] & ~missed[:, None]
        np.savez(folder / "detections.npz", **kept)
        return own.model_copy(
            update={"detections": FileRef.of(folder / "detections.npz", folder)}
        ).model_dump(mode="json")

    monkeypatch.setattr(run, "run_child", evaluate)
    tuned = run.tune(here, NAME, (), ignore)
    assert asked == [("accuracy", {"session.set_denormal_as_zero": "1"})]
    if lost:
        assert (tuned.name, tuned.refused) == (None, ("denormals to zero on",))
        assert tuned.map50 is None
    else:
        assert (tuned.name, tuned.refused) == ("denormals to zero on", ())
        assert tuned.map50 == pytest.approx(own.map50)
        assert tuned.lost is not None
        assert tuned.lost.estimate == 0
    assert load_detections(here / own.detections.path).images == own.images


def test_without_its_images_only_what_computes_the_same_is_tried(
    here: Path,
    measured: Callable[[Effects], list[Sequence[Target]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = measured({})
    monkeypatch.undo()
    monkeypatch.setattr(
        run,
        "measure",
        lambda targets, images, config, **known: (
            calls.append(targets) or made_up(targets, config, {}, 0, known["folder"])
        ),
    )
    tuned = run.tune(here, NAME, (), ignore)
    arithmetic = {change.name for change in changes_of(SESSION, 1, ()) if change.arithmetic}
    assert set(tuned.left_out) == arithmetic
    assert not arithmetic & {target.name for target in calls[0]}


def other_host(run_folder: Path) -> None:
    path = run_folder / LATENCY_FOLDER / LATENCY_FILE
    plain = json.loads(path.read_text())
    plain["fingerprint"]["cpu"] = "another CPU"
    path.write_text(json.dumps(plain))


def image_gone(folder: Path) -> None:
    path = folder / EXPERIMENT_FILE
    path.write_text(path.read_text().replace("image.png", "gone.png"))


REFUSED: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "another host": (other_host, NAME, "measured on another host .cpu: another CPU -> "),
    "no such variant": (lambda folder: None, "nobody", "the run has no variant nobody"),
    "ONNX gone": (
        lambda folder: (folder / "variants" / NAME / "model.onnx").unlink(),
        NAME,
        "has no ONNX file",
    ),
    "unfinished": (
        lambda folder: (folder / "ranking.json").unlink(),
        NAME,
        "the run is not finished",
    ),
    "image gone": (
        image_gone,
        NAME,
        "an image that latency is measured on is gone",
    ),
    "no experiment": (
        lambda folder: (folder / EXPERIMENT_FILE).unlink(),
        NAME,
        "the experiment of this run cannot be read",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_tuned_is_refused_before_anything_is_measured(
    case: str, here: Path, measured: Callable[[Effects], list[Sequence[Target]]]
) -> None:
    damage, name, sentence = REFUSED[case]
    calls = measured({})
    damage(here)
    with pytest.raises(InputError, match=sentence) as error:
        run.tune(here, name, (), ignore)
    assert error.value.exit_code == 2
    assert not calls
    assert not (here / "tuning").exists()


def test_without_figures_of_the_runs_own_settings_the_tuning_fails(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measure(targets: Sequence[Target], *given: Any, **known: Any) -> LatencyResult:
        found = made_up(targets, given[1], {}, 0, known["folder"])
        return found.model_copy(update={"failures": {OWN: "its process fell"}})

    monkeypatch.setattr(run, "measure", measure)
    with pytest.raises(StepError, match=f"{NAME}: latency failed: its process fell"):
        run.tune(here, NAME, (), ignore)


def test_the_command_prints_what_was_found(
    here: Path, measured: Callable[[Effects], list[Sequence[Target]]]
) -> None:
    measured({"memory pattern off": (1.0, 0.83)})
    shown = CliRunner().invoke(app, ["tune", str(here), NAME])
    assert shown.exit_code == 0
    assert "Taken: memory pattern off." in shown.stdout
    assert "options.enable_mem_pattern = False" in shown.stdout
    plain = CliRunner().invoke(app, ["tune", str(here), NAME, "--json"])
    assert json.loads(plain.stdout)["name"] == "memory pattern off"


def test_the_code_opens_the_session_that_was_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_detector(tmp_path / "model.onnx", 1)
    options: dict[str, bool | int | str] = {
        "enable_mem_pattern": False,
        "intra_op_num_threads": 2,
        "inter_op_num_threads": 2,
        "execution_mode": "ORT_PARALLEL",
        "session.intra_op.allow_spinning": "1",
        "mlas.nchwc_pointwise_conv_max_input_channel_batch": "32",
    }
    tuned = tuned_with(options)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(session_code(tuned, "model.onnx"), names)
    ours = open_session("model.onnx", session_options(SESSION, 1, options))
    assert options_in_force(names["session"]) == options_in_force(ours)
    assert options_in_force(ours)["enable_mem_pattern"] == "False"
    assert options_in_force(ours)["execution_mode"] == "ORT_PARALLEL"
    for session in (names["session"], ours):
        in_force = session.get_session_options()
        for key in (key for key in options if "." in key):
            assert in_force.get_session_config_entry(key) == options[key]


def tuned_with(options: dict[str, bool | int | str], **known: Any) -> Tuned:
    values: dict[str, Any] = {
        "variant": NAME,
        "threads": 1,
        "session": SESSION,
        "name": "some",
        "options": options,
        "screened": (Setting(name=OWN, ms=8.0, memory_mb=40.0),),
        "confirmed": (),
        "rounds": (8,),
        "minutes": 1.0,
        "noise": (),
        "samples": (),
    }
    return Tuned(**{**values, **known})


def test_the_view_says_what_was_left_out_and_refused() -> None:
    from rich.console import Console

    view = tune_view(tuned_with({}, name=None, left_out=("a",), refused=("b", "c")))
    console = Console(width=100)
    with console.capture() as capture:
        console.print(view)
    assert "they stay" in capture.get()
    assert "gone or have changed: a." in capture.get()
    assert "shown to be lost: b; c." in capture.get()


@pytest.mark.parametrize("threads", [1, 2])
def test_every_change_changes_the_session_and_one_that_needs_threads_waits_for_them(
    threads: int,
) -> None:
    found = changes_of(SESSION, threads, ())
    assert len({change.name for change in found}) == len(found)
    assert ("spinning on" in [change.name for change in found]) == (threads > 1)
    before = options_of(session_options(SESSION, threads), found)
    for change in found:
        after = options_of(session_options(SESSION, threads, change.options), found)
        assert {key for key in before if before[key] != after[key]} == set(change.options), change


def test_another_number_of_threads_is_tried_with_spinning_and_without() -> None:
    found = {change.name: change.options for change in changes_of(SESSION, 1, (2,))}
    assert found["threads 2"] == {"intra_op_num_threads": 2}
    spinning = found["threads 2 + spinning on"]
    assert spinning["intra_op_num_threads"] == 2
    assert spinning["session.intra_op.allow_spinning"] == "1"
    assert "spinning on" not in found  # Of one thread it says nothing.


def options_of(options: ort.SessionOptions, found: Sequence[changes.Change]) -> dict[str, str]:
    def value(name: str) -> str:
        if "." not in name:
            return str(getattr(options, name))
        try:
            return str(options.get_session_config_entry(name))
        except RuntimeError:  # It is not set.
            return ""

    return {name: value(name) for change in found for name in change.options}


def test_a_change_undoes_what_the_run_declares() -> None:
    declared = SessionSettings.of(
        LatencyConfig(arena=False, flush_denormals=True, spinning=True, graph_level="extended")
    )
    found = {change.name: change.options for change in changes_of(declared, 2, (2, 3))}
    assert len(changes_of(declared, 2, (3, 3))) == len(found)
    assert found["arena on"] == {"enable_cpu_mem_arena": True}
    assert found["denormals to zero off"] == {"session.set_denormal_as_zero": "0"}
    assert found["graph level all"] == {"graph_optimization_level": "ORT_ENABLE_ALL"}
    assert "graph level extended" not in found
    assert found["threads 3"] == {"intra_op_num_threads": 3}
    assert "threads 2" not in found
    assert set(found["spinning off"].values()) == {"0"}


@pytest.mark.parametrize(
    ("machine", "flags", "there"),
    [
        ("aarch64", {"asimd", "bf16"}, True),
        ("aarch64", {"asimd"}, False),
        ("x86_64", {"bf16"}, False),
    ],
)
def test_bfloat16_is_tried_where_a_cpu_multiplies_it(
    machine: str, flags: set[str], there: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(changes, "cpu_flags", lambda: frozenset(flags))
    found = [change for change in changes_of(SESSION, 1, ()) if BF16_ON_ARM in change.options]
    assert [change.arithmetic for change in found] == [True] * there


def test_ratios_are_of_the_rounds_that_were_made_up(
    here: Path, measured: Callable[[Effects], list[Sequence[Target]]]
) -> None:
    measured({"arena off": (0.9, 0.8)})
    tuned = run.tune(here, NAME, (), ignore)
    (one,) = (setting for setting in tuned.screened if setting.name == "arena off")
    assert one.time is not None
    assert math.log(one.time.estimate / 0.9) == pytest.approx(0, abs=0.01)
    assert tuned.name == "arena off"
    assert tuned.rounds == (4, 20)
