"""Tables of measurements taken elsewhere: the reference report's, and bad ones."""

from __future__ import annotations

import io
import math
import time
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from prunebench.cli.views.ranking import table_ranking_view
from prunebench.common.errors import TableError
from prunebench.results.table.ranked import TableRanking, effect_sentence, rank
from prunebench.results.table.reader import checked, read_cells

REPORT = Path(__file__).parent / "data" / "report-table.csv"
HEADER = "variant,params,size_mb,map50,fps"


@pytest.fixture(scope="module")
def report() -> TableRanking:
    return rank(REPORT)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return tmp_path / "table.csv"


def test_reproduces_the_reports_efficiencies_and_their_order(report: TableRanking) -> None:
    printed = {"model_0": 3.95, "model_1": 2.32, "model_2": 2.23, "model_3": 2.96, "model_4": 2.33}
    for row in report.rows:
        assert row.efficiency == pytest.approx(printed[row.variant], rel=0.015)
    assert [row.variant for row in report.rows] == sorted(printed, key=lambda v: -printed[v])


def test_reproduces_the_reports_accuracy_speed_ratios(report: TableRanking) -> None:
    ratios = {row.variant: f"{row.map50_per_fps:.3f}" for row in report.rows}
    assert ratios == {
        "model_0": "0.034",
        "model_1": "0.050",
        "model_2": "0.055",
        "model_3": "0.043",
        "model_4": "0.055",
    }


def test_reproduces_the_reports_strategies(report: TableRanking) -> None:
    strategies = {e.strategy: e for e in report.effects if e.kind == "strategy"}
    assert list(strategies) == ["Model_seg_ver3", "train_code"]
    first, second = strategies.values()
    assert (first.variant, first.reference) == ("model_1", "model_0")
    assert 100 + first.speed_percent == pytest.approx(66.5, abs=0.05)
    assert 100 + second.speed_percent == pytest.approx(81.0, abs=0.05)
    assert first.accuracy_percent == pytest.approx(-2.2, abs=0.05)
    assert second.accuracy_percent == pytest.approx(0.9, abs=0.05)
    assert first.parameters_percent == pytest.approx(9.4, abs=0.05)


def test_reproduces_the_reports_round_effects(report: TableRanking) -> None:
    rounds = {e.strategy: e for e in report.effects if e.kind == "round"}
    first, second = rounds["Model_seg_ver3"], rounds["train_code"]
    assert (first.variant, first.reference) == ("model_2", "model_1")
    assert first.accuracy_percent == pytest.approx(2.4, abs=0.05)
    assert first.speed_percent == pytest.approx(-6.1, abs=0.05)
    assert second.accuracy_percent == pytest.approx(0.5, abs=0.05)
    assert second.speed_percent == pytest.approx(-21.9, abs=0.05)
    assert first.within_noise
    assert second.same_network
    assert effect_sentence(second).endswith(
        "they are the same network, so the speed difference is noise."
    )


def test_says_what_the_report_missed(report: TableRanking) -> None:
    notes = " ".join(report.notes)
    assert (
        "model_1, model_2, model_3 and model_4 are the same network, yolov8n, 7 classes, unpruned "
        "(3,012,213 parameters, or 3,007,013 with BatchNorm folded): their speed differences "
        "(15.5 to 20.1 FPS) cannot come from the models." in notes
    )
    assert "retraining restored it and the pruning is lost" in notes
    assert "Only model_0 (2,752,255 parameters, no stock network) is still pruned." in notes
    assert "printed efficiency" not in notes


def test_does_not_rank_the_reports_noise(report: TableRanking) -> None:
    assert report.noise_factor == pytest.approx(20.1 / 15.5)
    assert [row.label for row in report.rows] == ["1", "2=", "2=", "2=", "2="]
    realtime = {row.variant: row.realtime for row in report.rows}
    assert realtime.pop("model_0") == "yes"
    assert set(realtime.values()) == {"not shown"}


def test_view_prints_the_table_and_what_it_misses(report: TableRanking) -> None:
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(table_ranking_view(report))
    text = " ".join(console.export_text().split())
    assert "2= model_3 2.98 0.860 20.1 0.043 5.8 3,007,013 not shown" in text
    assert "cannot come from the models" in text
    assert "retention 66.5 %" in text


def test_without_repeated_networks_the_order_is_as_given(table: Path) -> None:
    table.write_text(f"{HEADER}\na,1000,5,0.5,10\nb,2000,5,0.5,20\nc,3000,5,0.5,15\n")
    ranking = rank(table)
    assert [(r.label, r.variant) for r in ranking.rows] == [("1", "b"), ("2", "c"), ("3", "a")]
    assert ranking.noise_factor is None
    assert "how much of it is noise cannot be told" in ranking.notes[0]
    assert ranking.effects == ()


def test_equal_counts_of_an_unknown_network_are_presumably_one(table: Path) -> None:
    table.write_text(f"{HEADER}\na,1000,5,0.5,10\nb,1000,5,0.5,12\n")
    ranking = rank(table)
    assert [row.label for row in ranking.rows] == ["1=", "1="]
    assert "a and b have the same parameter count (1,000)" in ranking.notes[0]


def test_strategy_round_and_parent_columns_go_before_the_description(table: Path) -> None:
    table.write_text(
        f"{HEADER},strategy,round,parent,description\n"
        "p,1000,5,0.5,20,,,,pruned\n"
        "q,1001,5,0.5,10,distil,1,p,other round 7\n"
        "r,1002,5,0.6,10,distil,2,q,\n"
    )
    effects = rank(table).effects
    assert [(e.kind, e.strategy, e.variant, e.reference) for e in effects] == [
        ("strategy", "distil", "q", "p"),
        ("round", "distil", "r", "q"),
    ]
    assert effects[1].accuracy_percent == pytest.approx(20.0)


@pytest.mark.parametrize(
    "description",
    [
        "pruned + distil round 2",
        "pruned, distil, 2nd round",
        "pruned + distil 2차",
        "distil: round 2",
    ],
)
def test_rounds_are_read_from_descriptions(table: Path, description: str) -> None:
    table.write_text(f'{HEADER},description\nr,1002,5,0.6,9,"{description}"\n', encoding="utf-8")
    (row,) = checked(read_cells(table)).rows.itertuples()
    assert (row.strategy, row.round) == ("distil", 2)


def test_rounds_are_read_from_this_programs_own_names(table: Path) -> None:
    table.write_text(
        f"{HEADER}\npruned,1000,5,0.5,20\npreserving-1,1000,5,0.5,20\npreserving-2,1000,5,0.6,20\n"
    )
    pruned, _, retrained = checked(read_cells(table)).rows.itertuples()
    assert (pruned.strategy, pruned.round) == ("", 0)
    assert (retrained.strategy, retrained.round) == ("preserving", 2)
    assert [one.reference for one in rank(table).effects] == ["pruned", "preserving-1"]


def test_a_printed_efficiency_that_is_off_is_named(table: Path) -> None:
    table.write_text(f"{HEADER},efficiency\na,1000,5,0.5,10,1.2\n")
    assert any(
        "printed efficiency 1.2 of a is +20.0 % off its own columns (1.00)" in note
        for note in rank(table).notes
    )


def test_a_table_from_a_spreadsheet_is_read(table: Path) -> None:
    table.write_bytes(
        "\ufeff Variant , Params,size_MB,mAP50,FPS\r\na, 1000 ,5,0.5,10\r\n\r\n".encode()
    )
    assert rank(table).rows[0].efficiency == pytest.approx(1.0)


def test_an_int8_file_is_another_network_than_the_float_one(table: Path) -> None:
    table.write_text(
        f"{HEADER},description\n"
        "a,3012213,12,0.85,20,\n"
        "a-int8,3012213,3.2,0.84,40,\n"
        "b,3012213,3.2,0.84,41,in INT8\n"
    )
    ranking = rank(table)
    assert isinstance(ranking, TableRanking)
    assert [(row.label, row.variant, row.int8) for row in ranking.rows] == [
        ("1=", "b", True),
        ("1=", "a-int8", True),
        ("3", "a", False),
    ]
    assert ranking.noise_factor == pytest.approx(41 / 40)
    assert (
        "a-int8 and b are the same network, yolov8n, 7 classes, unpruned, INT8:"
        in (ranking.notes[0])
    )
    table.write_text(f"{HEADER},int8\na,3012213,12,0.85,20,False\nb,3012213,3.2,0.84,40,True\n")
    assert [row.label for row in rank(table).rows] == ["1", "2"]


def test_intervals_decide_ties_where_the_table_has_them(table: Path) -> None:
    """``b`` and ``c`` overlap; a real speed-up is none of the noise of one network."""
    table.write_text(
        f"{HEADER},fps_low,fps_high,map50_low,map50_high,parent,strategy,round\n"
        "a,1000,5,0.5,30,29,31,0.49,0.51,,,\n"
        "b,1001,5,0.5,20,19,21,0.49,0.51,a,tune,1\n"
        "c,1002,5,0.5,20.5,19.5,21.5,0.49,0.51,b,tune,2\n"
        "d,1002,5,0.3,20.5,19.5,21.5,0.29,0.31,,,\n"
    )
    ranking = rank(table)
    assert isinstance(ranking, TableRanking)
    labels = {row.variant: row.label for row in ranking.rows}
    assert labels == {"a": "1", "b": "2=", "c": "2=", "d": "4"}
    assert [effect.within_noise for effect in ranking.effects] == [False, True]
    assert not any("no intervals" in note for note in ranking.notes)
    assert {row.variant: row.realtime for row in ranking.rows} == {
        "a": "yes",
        "b": "not shown",
        "c": "not shown",
        "d": "not shown",
    }


@pytest.mark.parametrize(
    "rows",
    [
        [f"v{i},3012213,5,0.5,{10 + i / 100},pruned" for i in range(3000)],
        [f"v{i},{1000 + i},5,0.5,{10 + i / 100},pruned + code round {i + 1}" for i in range(3000)],
    ],
    ids=["one network", "3000 rounds"],
)
def test_3000_rows_take_seconds(table: Path, rows: list[str]) -> None:
    table.write_text("\n".join([f"{HEADER},description", *rows]))
    begun = time.process_time()
    ranking = rank(table)
    assert isinstance(ranking, TableRanking)
    Console(width=112, file=io.StringIO()).print(table_ranking_view(ranking))
    assert time.process_time() - begun < 10
    assert len(ranking.rows) == 3000


BAD = {
    "empty": ("", "the table is empty"),
    "blank": (" \n\n", "the table is empty"),
    "header only": (f"{HEADER}\n", "no rows with figures"),
    "columns": ("variant,params,map50\na,1,0.5\n", "the columns size_mb, fps are missing"),
    "column": ("variant,params,map50,fps\na,1,0.5,2\n", "the column size_mb is missing"),
    "twice": (f"{HEADER},fps\na,1000,5,0.5,10,10\n", "the column fps occurs twice"),
    "nan": (f"{HEADER}\na,1000,5,NaN,10\n", "line 2, column map50: 'NaN' is not a finite number"),
    "inf": (f"{HEADER}\na,1000,5,0.5,inf\n", "line 2, column fps: 'inf' is not a finite number"),
    "text": (
        f"{HEADER}\na,1000,5,0.5,quick\n",
        "line 2, column fps: 'quick' is not a finite number",
    ),
    "missing": (f"{HEADER}\na,1000,5,,10\n", "line 2, column map50: the value is empty"),
    "wrong ends": (
        f"{HEADER},fps_low,fps_high\na,1000,5,0.5,10,11,12\n",
        "line 2, column fps_low: '11' is above fps",
    ),
    "zero size": (f"{HEADER}\na,1000,0,0.5,10\n", "line 2, column size_mb: '0' is not above 0"),
    "negative fps": (f"{HEADER}\na,1000,5,0.5,-3\n", "line 2, column fps: '-3' is not above 0"),
    "zero latency": (
        f"{HEADER},latency_ms\na,1000,5,0.5,3,0\n",
        "line 2, column latency_ms: '0' is not above 0",
    ),
    "percent": (f"{HEADER}\na,1000,5,85.2,10\n", "line 2, column map50: '85.2' is outside 0..1"),
    "fraction": (
        f"{HEADER}\na,3.2,5,0.5,10\n",
        "line 2, column params: '3.2' is not a whole number",
    ),
    "unnamed": (f"{HEADER}\n,1000,5,0.5,10\n", "line 2, column variant: the value is empty"),
    "duplicate": (
        f"{HEADER}\na,1000,5,0.5,10\na,1000,5,0.5,11\n",
        "line 3, column variant: 'a' occurs a second time",
    ),
    "short": (
        f"{HEADER}\na,1000,5,0.5\n",
        "line 2: the line has fewer values than the header, which has 5",
    ),
    "long": (f"{HEADER}\na,1000,5,0.5,1,2\n", "not valid CSV (Expected 5 fields in line 2, saw 6)"),
    "quote": (f'{HEADER}\n"a,1000,5,0.5,10\n', "the file is not valid CSV"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_tables_are_refused_in_one_sentence(table: Path, case: str) -> None:
    text, expected = BAD[case]
    table.write_text(text)
    with pytest.raises(TableError) as caught:
        rank(table)
    sentence = str(caught.value)
    assert expected in sentence
    assert sentence.startswith(str(table))
    assert "\n" not in sentence
    assert caught.value.exit_code == 2


def test_a_frame_is_ranked_as_its_file_is(report: TableRanking) -> None:
    ranking = rank(pd.read_csv(REPORT))
    assert ranking.source == "the table"
    assert ranking.model_copy(update={"source": report.source}) == report


def test_a_ranked_table_is_a_frame_that_is_ranked_again(report: TableRanking) -> None:
    frame = report.to_frame()
    assert list(frame["rank"]) == ["1", "2=", "2=", "2=", "2="]
    assert frame["efficiency"].to_list() == [row.efficiency for row in report.rows]
    assert rank(frame).rows == report.rows


def test_rows_with_a_failure_come_last_in_the_frame(table: Path) -> None:
    table.write_text(f"{HEADER},failure\na,,,,,train: killed\nb,1000,5,0.5,10,\n")
    frame = rank(table).to_frame()
    assert list(frame["variant"]) == ["b", "a"]
    assert frame["failure"].iloc[1] == "train: killed"
    assert frame["params"].isna().to_list() == [False, True]


def test_a_bad_value_of_a_frame_is_named_with_its_row() -> None:
    frame = pd.DataFrame(
        {"variant": ["a", "b"], "params": 1000, "size_mb": 5.0, "map50": [0.5, None], "fps": 9}
    )
    with pytest.raises(TableError, match="the table, row 1, column map50: the value is empty"):
        rank(frame)


def test_missing_binary_and_folder_paths_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="does not exist"):
        rank(tmp_path / "none.csv")
    binary = tmp_path / "model.pt"
    binary.write_bytes(b"\x80\x02\xff\xfe\x00")
    with pytest.raises(TableError, match="not UTF-8 text"):
        rank(binary)
    with pytest.raises(
        TableError, match=r"cannot be read .*; give a CSV file, of a run the ranking"
    ):
        rank(tmp_path)


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(0.5, 50), st.floats(0, 1), st.floats(0.1, 500)),
        min_size=1,
        max_size=6,
    )
)
def test_laws_of_a_ranked_table(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[float, float, float]]
) -> None:
    path = tmp_path_factory.mktemp("tables") / "table.csv"
    lines = [f"v{i},{1000 + i},{mb!r},{map50!r},{fps!r}" for i, (mb, map50, fps) in enumerate(rows)]
    path.write_text("\n".join([HEADER, *lines]))
    ranking = rank(path)
    efficiencies = [row.efficiency for row in ranking.rows]
    assert efficiencies == sorted(efficiencies, reverse=True)
    assert [row.rank for row in ranking.rows] == sorted(row.rank for row in ranking.rows)
    assert any(row.pareto for row in ranking.rows)
    for row in ranking.rows:
        assert math.isclose(row.efficiency, row.map50 * row.fps / row.size_mb, rel_tol=1e-12)
