"""A run's own table, read back: the ranks, ties and advice that the run gave."""

from __future__ import annotations

import io
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from prunebench.cli.views.ranking import ranking_view, run_table_view
from prunebench.common.errors import TableError
from prunebench.common.records import Verdict
from prunebench.common.variant_record import Judgement
from prunebench.config.ranking import RankingConfig
from prunebench.config.sections import Control
from prunebench.results.messages.catalogue import Messages
from prunebench.results.messages.sentences import headline
from prunebench.results.ranking.measured import MeasuredVariant
from prunebench.results.ranking.rank import rank
from prunebench.results.ranking.records import FailedVariant, NotTrained, RankedVariant, Ranking
from prunebench.results.table.ranked import rank as rank_table
from prunebench.results.table.run_table import RunTable

CONFIG = RankingConfig(bootstrap=200)
ROUNDS = 8
FAILED = FailedVariant(name="broken", step="train", reason="out of memory: killed")
LEFT_OUT = NotTrained(name="late-2", judgement=Judgement(round=1, finding="no_gain"))

of_a_variant = st.fixed_dictionaries(
    {
        "ms": st.sampled_from([2.0, 2.02, 3.0, 8.0, 60.0]),
        "map50": st.sampled_from([0.0, 0.3, 0.80, 0.81, 0.85]),
        "size_mb": st.sampled_from([0.8, 2.0, 2.05, 12.0]),
        "verdict": st.sampled_from([None, "pruned", "preserved", "restored"]),
        "control": st.sampled_from([None, "int8", "smaller"]),
        "quantized": st.booleans(),
        "network": st.sampled_from([None, "one", "two"]),
        "parameters": st.sampled_from([None, 3_012_213]),
    }
)


def ranked(variants: list[dict[str, Any]], seed: int = 0, **options: Any) -> Ranking:
    """Variants, the first is the baseline, measured with noise and ranked."""
    rng = np.random.default_rng(seed)
    drift = rng.normal(0, 0.1, ROUNDS)

    def rounds(ms: float) -> dict[int, float]:
        noise = rng.normal(0, 0.01, ROUNDS)
        return {r: float(ms * np.exp(drift[r] + noise[r])) for r in range(ROUNDS)}

    measured = []
    for number, one in enumerate(variants):
        given = dict(one)
        ms, map50 = given.pop("ms"), given["map50"]
        measured.append(
            MeasuredVariant(
                name=f"v{number}",
                parent="v0" if number else None,
                strategy=None,
                grounds=None,
                map50_draws=np.clip(rng.normal(map50, 0.01, CONFIG.bootstrap), 0, 1),
                images=100,
                latency_ms={1: rounds(ms)},
                end_to_end_ms={1: rounds(ms + 2)},
                cpu_ms={1: rounds(ms)} if seed % 2 else {},
                **given,
            )
        )
    return rank(measured, config=options.pop("config", CONFIG), threads=1, **options)


def made(
    ms: float = 4.0,
    map50: float = 0.8,
    size_mb: float = 6.0,
    verdict: Verdict | None = "pruned",
    control: Control | None = None,
    *,
    quantized: bool = False,
    network: str | None = None,
) -> dict[str, Any]:
    kinds = {"verdict": verdict, "control": control, "quantized": quantized, "network": network}
    return {"ms": ms, "map50": map50, "size_mb": size_mb, "parameters": 3_012_213, **kinds}


SHIPPED = [
    made(ms=8, map50=0.84, size_mb=12, verdict="unpruned", network="full"),
    made(ms=4, map50=0.83, size_mb=2, verdict="preserved", network="narrow"),
    made(ms=2, map50=0.825, size_mb=0.8, verdict="preserved", quantized=True, network="int8"),
    made(ms=8, map50=0.70, size_mb=12, verdict="restored", network="full"),
    made(ms=6, map50=0.78, size_mb=11, verdict=None, control="smaller"),
]


def as_csv(*rankings: Ranking) -> str:
    """As a run writes ``ranking.csv``."""
    frame = pd.concat([one.to_frame() for one in rankings], ignore_index=True)
    return frame.to_csv(index=False, float_format="%.6g")


def read_back(text: str, folder: Path) -> RunTable:
    path = folder / "ranking.csv"
    path.write_text(text)
    found = rank_table(path)
    assert isinstance(found, RunTable)
    return found


def facts(row: RankedVariant) -> dict[str, Any]:
    """What is no figure, and so has to be read back as it was."""
    told = row.model_dump(exclude={"tied_with"})
    plain = {k: v for k, v in told.items() if not isinstance(v, float | dict)}
    return plain | {"tied_with": set(row.tied_with)}


def figures(row: RankedVariant) -> dict[str, float]:
    told = pd.json_normalize(row.model_dump()).iloc[0]
    return {name: value for name, value in told.items() if isinstance(value, float)}


@settings(max_examples=25, deadline=None)
@given(st.lists(of_a_variant, min_size=1, max_size=5), st.integers(0, 10_000))
def test_a_table_read_back_is_the_ranking(
    tmp_path_factory: pytest.TempPathFactory, variants: list[dict[str, Any]], seed: int
) -> None:
    told = ranked(variants, seed, failures=[FAILED], not_trained=[LEFT_OUT])
    (again,) = read_back(as_csv(told), tmp_path_factory.mktemp("tables")).rankings
    assert [row.name for row in again.rows] == [row.name for row in told.rows]
    assert list(map(facts, again.rows)) == list(map(facts, told.rows))
    for row, before in zip(again.rows, told.rows, strict=True):
        assert figures(row) == pytest.approx(figures(before), rel=1e-5, abs=1e-12)
    assert again.advice == told.advice
    assert again.warnings == told.warnings
    assert again.failures[0] == FAILED
    for name in ("threads", "level", "realtime_fps", "metric", "smallest_difference_percent"):
        assert getattr(again, name) == getattr(told, name)
    # And once more: nothing is lost by reading.
    assert rank_table(again.to_frame()).rows == again.rows


def test_every_column_is_read_and_shown_as_the_run_showed_it(tmp_path: Path) -> None:
    told = ranked(SHIPPED)
    found = read_back(as_csv(told), tmp_path)
    assert shown(run_table_view(found)).startswith(f"{tmp_path / 'ranking.csv'}: ranks, ties")
    before, after = (shown(ranking_view(one)) for one in (told, found.rankings[0]))
    table = before[: before.index("\n\nBefore you trust the table")]
    assert after.startswith(table)
    assert before[: before.index("\n\nNeighbours in the table")] == after.rstrip()
    assert list(found.to_frame().columns) == list(told.to_frame().columns)


def test_the_limit_of_the_memory_is_read_back(tmp_path: Path) -> None:
    limited = CONFIG.model_copy(update={"max_rss_mb": 64.0})
    told = ranked(SHIPPED, config=limited)
    (again,) = read_back(as_csv(told), tmp_path).rankings
    assert (again.max_rss_mb, {row.keeps_memory for row in again.rows}) == (64.0, {"not shown"})
    assert "64 MB RSS" in shown(ranking_view(again))
    (without,) = read_back(as_csv(ranked(SHIPPED)), tmp_path).rankings
    assert without.max_rss_mb is None


def test_every_thread_count_is_ranked_by_itself(tmp_path: Path) -> None:
    one, two = ranked(SHIPPED), ranked(SHIPPED, seed=1).model_copy(update={"threads": 2})
    found = read_back(as_csv(one, two), tmp_path)
    assert [ranking.threads for ranking in found.rankings] == [1, 2]
    assert found.rows == found.rankings[0].rows


def test_rows_taken_out_leave_the_ranks_of_the_others(tmp_path: Path) -> None:
    told = ranked(SHIPPED)
    assert [row.label for row in told.rows] == ["1", "2", "3", "4", "5"]
    first, *rest = as_csv(told).splitlines()
    found = read_back("\n".join([first, *rest[1:]]), tmp_path)
    assert [row.name for row in found.rows] == [row.name for row in told.rows[1:]]
    assert [row.label for row in found.rows] == ["1", "2", "3", "4"]
    # What was to be shipped is gone, and no other is named in its place.
    assert found.rankings[0].advice == ()
    assert found.rankings[0].warnings == told.warnings
    shown(run_table_view(found))


def test_a_row_added_by_hand_makes_it_a_table_from_elsewhere(tmp_path: Path) -> None:
    told = ranked(SHIPPED)
    frame = told.to_frame()
    mine = {"variant": "mine", "params": 1_000_000, "size_mb": 3.0, "map50": 0.8, "fps": 100.0}
    mine["threads"] = 1
    found = rank_table(pd.concat([frame, pd.DataFrame([mine])], ignore_index=True))
    assert not isinstance(found, RunTable)
    assert "mine" in [row.variant for row in found.rows]


BAD = {
    "fps": ("quick", "column fps: 'quick' is not a finite number"),
    "fps_low": ("1e9", "column fps_low: '1e9' is above fps"),
    "map50_high": ("0.01", "column map50_high: '0.01' is below map50"),
    "rounds": ("0", "column rounds: '0' is not above 0"),
    "verdict": ("melted", "column verdict: 'melted' is none of its values"),
    "pareto": ("", "column pareto: the value is empty"),
    "realtime": ("perhaps", "column realtime: 'perhaps' is none of its values"),
    "advice": ("[{", "column advice: '[{' is none of its values"),
    "warnings": ('[{"kind": "loud"}]', "column warnings: {'kind': 'loud'} is none of its values"),
    "metric": ("iou", "column metric: 'iou' is none of its values"),
    "level": ("", None),
}


@pytest.mark.parametrize("column", BAD)
def test_a_bad_value_is_named_with_its_place(tmp_path: Path, column: str) -> None:
    frame = pd.read_csv(io.StringIO(as_csv(ranked(SHIPPED[:1]))), dtype=str, keep_default_na=False)
    value, expected = BAD[column]
    frame.loc[0, column] = value
    path = tmp_path / "ranking.csv"
    frame.to_csv(path, index=False)
    if expected is None:  # Incomplete, so it is read as a table from elsewhere.
        assert not isinstance(rank_table(path), RunTable)
        return
    with pytest.raises(TableError) as caught:
        rank_table(path)
    assert str(caught.value).startswith(f"{path}, line 2, {expected}")
    assert "\n" not in str(caught.value)


def shown(view: Any, width: int = 112) -> str:
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(view)
    return "\n".join(line.rstrip() for line in console.export_text().splitlines())


@pytest.mark.parametrize("width", [80, 112])
def test_the_table_fits_the_terminal(width: int) -> None:
    told = ranked(SHIPPED, seed=1)
    text = shown(ranking_view(told), width)
    assert "…" not in text
    for row in told.rows[:1]:
        low, high = row.fps.low, row.fps.high
        assert f"[{low:.0f}, {high:.0f}]" in text
    times = told.rows[0].times_baseline
    assert times is not None
    assert f"[{times.low:.2f}, {times.high:.2f}]" in text
    cpu = told.rows[0].cpu_ms
    assert cpu is not None
    assert f"{cpu.estimate:.2f} [{cpu.low:.2f}, {cpu.high:.2f}]" in text


def test_the_first_sentence_is_the_shipped_file_against_the_baseline() -> None:
    told = ranked(SHIPPED)
    row = told.row("v2")
    times, change = row.times_baseline, row.map50_change
    assert times is not None
    assert change is not None
    speed = f"{times.estimate:.2f}\N{MULTIPLICATION SIGN} [{times.low:.2f}, {times.high:.2f}]"
    loss = f"{change.estimate:+.3f} [{change.low:+.3f}, {change.high:+.3f}]"
    expected = f"Ship v2: {speed} as fast as the baseline, mAP50 {loss}."
    assert {advice.recommended for advice in told.advice} == {"v2"}
    assert shown(ranking_view(told)).splitlines()[0] == expected


def test_times_the_baseline_is_the_paired_ratio() -> None:
    told = ranked(SHIPPED)
    for row in told.rows:
        if row.name == "v0":
            assert row.times_baseline is row.map50_change is None
            continue
        speed = told.difference("speed", row.name, "v0").seen_from(row.name)
        assert speed is not None
        assert row.times_baseline is not None
        assert row.times_baseline.estimate == pytest.approx(1 + speed.estimate / 100)
        assert row.times_baseline.low == pytest.approx(1 + speed.low / 100, rel=1e-3)
        change = told.difference("accuracy", row.name, "v0").seen_from(row.name)
        assert change is not None
        assert row.map50_change is not None
        assert asdict(row.map50_change) == pytest.approx(asdict(change))
        assert row.rounds == ROUNDS


def test_the_advice_is_the_first_sentence_where_nothing_is_shown_to_do() -> None:
    told = ranked([made(ms=300), made(ms=200)])
    said = headline(told, Messages())
    assert said is not None
    assert said.endswith("no variant that keeps its accuracy is shown to keep 20 FPS.")
