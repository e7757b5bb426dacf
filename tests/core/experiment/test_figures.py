"""From a run's files to the ranking's input, and a run's ranking on a terminal."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from experiment_kit import experiment_of
from report_kit import MIXED, STOLEN, host, make_run
from rich.console import Console

from prunebench.cli.views.ranking import devices_view, run_ranking_view
from prunebench.common.errors import StepError
from prunebench.common.records import Quantization
from prunebench.config.sections import LatencyConfig
from prunebench.experiment.figures import measured_from, network_key
from prunebench.measuring.latency.stopping import possible_interim_looks
from prunebench.results.devices import Device
from prunebench.results.messages.sentences import neighbours
from prunebench.results.outcome import RunRanking, read_latency
from prunebench.results.ranking.measured import MeasuredVariant
from prunebench.results.run_folder import read_variants


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RunRanking]:
    folder = tmp_path_factory.mktemp("runs") / "run"
    return folder, make_run(folder, MIXED, rounds=8)


@pytest.fixture(scope="module")
def measured(run: tuple[Path, RunRanking]) -> dict[str, MeasuredVariant]:
    folder, _ = run
    found = measured_from(experiment_of(folder), read_variants(folder), read_latency(folder))
    return {variant.name: variant for variant in found}


def test_every_variant_with_figures_is_gathered(measured: dict[str, MeasuredVariant]) -> None:
    assert set(measured) == {"baseline", "pruned", "standard-1", "standard-2", "preserving-1"}
    standard = measured["standard-2"]
    assert (standard.parent, standard.strategy) == ("standard-1", "standard")
    assert set(standard.latency_ms) == {1, 2}
    assert sorted(standard.latency_ms[1]) == list(range(8))
    assert standard.end_to_end_ms[1][0] > standard.latency_ms[1][0]
    assert standard.realtime[1] in ("yes", "no", "not shown")
    assert standard.few_frames == {}


def test_frames_that_are_too_few_for_a_verdict_are_counted(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    make_run(folder, MIXED[:2], threads=(1,), rounds=4, frames=4)
    found = measured_from(experiment_of(folder), read_variants(folder), read_latency(folder))
    assert [(one.realtime, one.few_frames) for one in found] == [({1: "not shown"}, {1: 16})] * 2


def test_size_is_that_of_the_configured_file(
    run: tuple[Path, RunRanking], measured: dict[str, MeasuredVariant]
) -> None:
    folder, _ = run
    variants = {variant.name: variant for variant in read_variants(folder)}
    exported = variants["pruned"].exported
    assert exported is not None
    assert measured["pruned"].size_mb == exported.onnx.bytes / 1e6


def quantization(left: tuple[str, ...]) -> Quantization:
    return Quantization(
        layers=63,
        quantized=63 - len(left),
        left_float=dict.fromkeys(left, "it loses accuracy"),
        map50_float=0.8,
        map50=0.8,
        activations="u8",
        calibration_images=128,
    )


def test_networks_are_one_by_their_widths_not_by_their_names(
    run: tuple[Path, RunRanking], measured: dict[str, MeasuredVariant]
) -> None:
    folder, _ = run
    assert measured["baseline"].is_same_network(measured["standard-1"])
    assert measured["pruned"].is_same_network(measured["preserving-1"])
    assert not measured["pruned"].is_same_network(measured["baseline"])
    baseline = next(v for v in read_variants(folder) if v.name == "baseline")
    assert baseline.audit is not None
    structure = baseline.audit.structure
    plain = network_key(structure, baseline)
    assert plain == network_key(structure, baseline.model_copy(update={"name": "other"}))
    lower = structure.model_copy(update={"macs_imgsz": (160, 288)})
    assert plain != network_key(lower, baseline)
    quantized = [
        baseline.model_copy(update={"quantization": quantization(left)}) for left in ((), ("/22",))
    ]
    assert len({plain, *(network_key(structure, variant) for variant in quantized)}) == 3


def test_accuracy_draws_are_paired_and_spread_around_the_estimate(
    measured: dict[str, MeasuredVariant],
) -> None:
    for variant in measured.values():
        assert variant.map50_draws.shape == measured["baseline"].map50_draws.shape
        low, high = np.quantile(variant.map50_draws, [0.005, 0.995])
        assert low < variant.map50 < high


def test_a_variant_whose_measurement_failed_keeps_the_reason(run: tuple[Path, RunRanking]) -> None:
    folder, _ = run
    latency = read_latency(folder)
    broken = latency.model_copy(update={"failures": {"pruned": "its process was ended by SIGKILL"}})
    found = measured_from(experiment_of(folder), read_variants(folder), broken)
    assert {v.name: v.failure for v in found}["pruned"] == "its process was ended by SIGKILL"


def test_variants_evaluated_on_other_images_are_refused(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "run"
    make_run(folder, MIXED[:2], rounds=4)
    path = next(folder.glob("variants/pruned/*.npz"))
    with np.load(path) as arrays:
        changed = {name: arrays[name] for name in arrays}
    changed["target_counts"] = changed["target_counts"] + 1
    np.savez_compressed(path, **changed)
    with pytest.raises(StepError, match="other images or labels"):
        measured_from(experiment_of(folder), read_variants(folder), read_latency(folder))


def test_looks_are_those_the_measuring_could_have_stopped_at(run: tuple[Path, RunRanking]) -> None:
    folder, _ = run
    latency = read_latency(folder)

    def looks(first: int, last: int) -> int:
        settings = latency.settings.model_copy(update={"rounds_min": first, "rounds_max": last})
        return possible_interim_looks(latency.model_copy(update={"settings": settings}))

    assert looks(8, 8) == 1
    assert looks(8, 12) == 2
    assert looks(8, 40) == 5  # after 8, 12, 18, 27 and 40 rounds


def test_view_shows_ranks_failures_noise_and_advice(run: tuple[Path, RunRanking]) -> None:
    _, outcome = run
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(run_ranking_view(outcome.model_copy(update={"noise": (STOLEN,)})))
    text = console.export_text()
    first = outcome.rankings[0]
    for row in first.rows:
        assert row.name in text
    assert "preserving-2: export: parity" in text
    assert "the hypervisor took CPU time away in 3 of 16 child runs" in text
    assert "What to ship" in text
    assert "1 thread;" in text
    assert "2 threads;" in text


def test_view_says_what_each_device_is_or_why_it_has_no_figures(
    run: tuple[Path, RunRanking],
) -> None:
    _, outcome = run
    console = Console(width=100, record=True, file=io.StringIO())
    asked = [
        Device(name="pi5", fingerprint=host(LatencyConfig()), ranking=outcome, model_only=True),
        Device(name="laptop", failure="it cannot be reached"),
    ]
    console.print(devices_view(asked))
    said = " ".join(console.export_text().split())
    assert "pi5: Test CPU <i>9000</i>, 1 thread; OpenCV is not installed there" in said
    assert "laptop: no figures: it cannot be reached." in said


def test_neighbours_are_compared_in_speed_only_where_they_are_two_networks(
    run: tuple[Path, RunRanking],
) -> None:
    _, outcome = run
    pairs = neighbours(outcome.rankings[0])
    assert len(pairs) >= len(outcome.rankings[0].rows) - 1
    assert not any(pair.same_network and pair.metric == "speed" for pair in pairs)
