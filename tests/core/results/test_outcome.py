"""From a measurement to a ranked run, or to a refusal."""

from __future__ import annotations

from pathlib import Path

import pytest
from experiment_kit import bare_experiment, experiment_of
from report_kit import MIXED, STOLEN, make_run

from prunebench.common.errors import StepError
from prunebench.experiment.measure_and_rank import rank_run
from prunebench.results.outcome import read_latency
from prunebench.results.run_folder import (
    LATENCY_FOLDER,
    RANKING_FILE,
    read_variants,
)


def test_a_noisy_run_is_not_ranked_where_strict_is_set(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    make_run(folder, MIXED, rounds=8)
    (folder / RANKING_FILE).unlink()
    variants, experiment = read_variants(folder), experiment_of(folder)
    config = experiment.config
    latency = config.latency.model_copy(update={"strict": True})
    strict = bare_experiment(config.model_copy(update={"latency": latency}), folder)
    quiet = read_latency(folder).model_copy(update={"noise": ()})
    rank_run(strict, variants, quiet)
    (folder / RANKING_FILE).unlink()
    noisy = quiet.model_copy(update={"noise": (STOLEN,)})
    with pytest.raises(StepError, match=r"3 of 16 child runs.*latency-refused-1"):
        rank_run(strict, variants, noisy)
    assert not (folder / RANKING_FILE).exists()
    assert not (folder / LATENCY_FOLDER).exists(), "the next attempt would reuse these samples"
    assert any((folder / "latency-refused-1").glob("*.jsonl"))
