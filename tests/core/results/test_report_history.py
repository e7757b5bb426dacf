"""The report beside earlier runs of its host, and beside other hosts with the same files."""

from __future__ import annotations

from pathlib import Path

import pytest
from experiment_kit import experiment_of
from history_kit import FIRST_RUN, another_run, first_run, on_another_host

from prunebench.experiment.measure_and_rank import rank_run
from prunebench.results.history.recording import record_run
from prunebench.results.history.store import Store, default_url
from prunebench.results.messages.catalogue import Messages
from prunebench.results.outcome import read_latency
from prunebench.results.report.build import compose, report_markdown
from prunebench.results.report.document import Figure, Table
from prunebench.results.report.over_time import over_time
from prunebench.results.report.stored import ReportedRun, read_stored_run
from prunebench.results.run_folder import read_variants

SLOWER = 1.2
MEASURED = 3


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of three days on one host, the last slower, and one of a day between on another host.

    All but the last are in the history, as it is when a run's report is first made.
    """
    folder = tmp_path_factory.mktemp("runs")
    first = first_run(folder)
    second = another_run(first, "20240102T000000-abcdefabcdef", days=1)
    abroad = on_another_host(another_run(first, "20240103T000000-abcdefabcdef", days=2))
    last = another_run(first, "20240104T000000-abcdefabcdef", days=3, slower=SLOWER)
    with Store(default_url(folder)) as store:
        for run in (first, second, abroad):
            record_run(store, ranked(run))
    ranked(last)
    return folder


def ranked(folder: Path) -> Path:
    rank_run(experiment_of(folder), read_variants(folder), read_latency(folder))
    return folder


@pytest.fixture(scope="module")
def last(out: Path) -> ReportedRun:
    return read_stored_run(out / "20240104T000000-abcdefabcdef")


def test_latency_over_time_ends_with_the_run_itself(last: ReportedRun) -> None:
    found = over_time(last)
    assert {series.variant for series in found.series} == {"baseline", "pruned", "preserving-1"}
    for series in found.series:
        assert [point.run[:8] for point in series.points] == ["20240101", "20240102", "20240104"]
        first, second, third = (point.to_sentinel for point in series.points)
        assert first is not None
        assert second == pytest.approx(first, rel=1e-9)
        assert third == pytest.approx(SLOWER * first, rel=1e-9)


def test_a_recorded_run_stands_in_its_report_once(out: Path, last: ReportedRun) -> None:
    before = over_time(last)
    with Store(default_url(out)) as store:
        record_run(store, last.folder)
    again = over_time(read_stored_run(last.folder))
    assert [s.model_dump() for s in again.series] == [s.model_dump() for s in before.series]


def test_later_runs_are_left_out(out: Path) -> None:
    assert over_time(read_stored_run(out / FIRST_RUN)).series == ()


def test_the_figure_and_the_devices_are_in_the_report(last: ReportedRun) -> None:
    m = Messages("en")
    (section,) = (s for s in compose(last, m).sections if s.id == "history")
    (figure,) = (block for block in section.blocks if isinstance(block, Figure))
    assert [len(trace["x"]) for trace in figure.spec["data"]] == [MEASURED] * MEASURED
    (table,) = (block for block in section.blocks if isinstance(block, Table))
    (digest,) = over_time(last).elsewhere
    assert table.columns[3].title == f"FPS, Test CPU <i>9000</i> ({digest[:6]})"
    assert [row[0].text for row in table.rows] == [row.name for row in last.ranking.rows]
    assert all("[" in cell.text for row in table.rows for cell in row[1:])
    assert "there are fewer" in report_markdown(last.folder)


def test_without_a_history_there_is_no_such_section(tmp_path: Path) -> None:
    folder = first_run(tmp_path)
    assert "Over time" not in report_markdown(folder)
