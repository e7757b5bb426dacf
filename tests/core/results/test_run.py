"""A finished run from Python: its table is its ranking, and what ``ranking.csv`` holds."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from report_kit import MIXED, make_run

from prunebench import load_run, rank
from prunebench.common.errors import InputError
from prunebench.config.loading import Config
from prunebench.results.run_folder import open_run


def test_the_table_of_a_run_has_every_variant_of_every_thread_count(tmp_path: Path) -> None:
    make_run(tmp_path / "run", MIXED, rounds=8)
    run = load_run(tmp_path / "run")
    table = run.table
    pd.testing.assert_frame_equal(
        table, pd.concat([one.to_frame() for one in run.outcome.rankings], ignore_index=True)
    )
    ranked, failed = table[table["failure"].isna()], table[table["failure"].notna()]
    rows = [row for ranking in run.outcome.rankings for row in ranking.rows]
    assert list(ranked["variant"]) == [row.name for row in rows]
    assert list(ranked["fps_low"]) == [row.fps.low for row in rows]
    failures = [one.name for ranking in run.outcome.rankings for one in ranking.failures]
    assert failures
    assert set(failed["variant"]) >= set(failures)
    assert failed["fps"].isna().all()

    kept = pd.read_csv(run.folder / "ranking.csv")
    assert list(kept.columns) == list(table.columns)
    assert kept["fps"].to_numpy() == pytest.approx(table["fps"], rel=1e-5, nan_ok=True)
    threads = run.ranking.threads
    assert set(kept["variant"][kept["threads"] == threads]) >= {r.name for r in rank(kept).rows}


def test_a_folder_that_is_not_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a run folder"):
        load_run(tmp_path)


def test_an_unfinished_run_is_continued_without_what_its_kill_left(tmp_path: Path) -> None:
    config = Config(model="best.pt")
    (tmp_path / f"20260101T000000-{config.digest()}").mkdir()
    folder = open_run(config, tmp_path)
    whole = {path.name for path in folder.iterdir()}
    home = folder / "variants" / "pruned"
    (home / ".export.abc").mkdir(parents=True)
    for left in (folder / ".ranking.csv.x1", home / ".model.onnx.placing", home / ".export.abc/f"):
        left.write_text("half")
    assert open_run(config, tmp_path) == folder
    assert list(tmp_path.iterdir()) == [folder]
    assert {path.name for path in folder.iterdir()} == {*whole, "variants"}
    assert list(home.iterdir()) == []
