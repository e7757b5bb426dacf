"""The history store on SQLite and on a real PostgreSQL: recording, reading, comparing."""

from __future__ import annotations

import multiprocessing
import shutil
import sqlite3
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config as AlembicConfig
from alembic.runtime.migration import MigrationContext
from history_kit import another_run, first_run, on_another_host
from postgres import Server, installed, running
from sqlalchemy import func, inspect, select, text

from prunebench.common.errors import InputError
from prunebench.results.history.compare import change_sentence, compare_runs
from prunebench.results.history.reading import history
from prunebench.results.history.recording import record_run
from prunebench.results.history.store import Store, default_url
from prunebench.results.history.tables import (
    Base,
    FailureRow,
    FingerprintRow,
    ResultRow,
    RoundRow,
    RunRow,
)
from prunebench.results.outcome import read_outcome
from tests.conftest import missing_system_package

WRITERS = 4
RUNS_PER_WRITER = 3


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return first_run(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    programs = installed()
    if programs is None:
        missing_system_package(
            "no PostgreSQL server is installed (Debian: apt-get install postgresql)"
        )
    with running(programs) as started:
        yield started


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return default_url(tmp_path / "not" / "made" / "yet")
    started: Server = request.getfixturevalue("server")
    return started.new_database()


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    with Store(url) as opened:
        yield opened


def counts(store: Store) -> tuple[int, ...]:
    with store.reading() as session:
        tables = (FingerprintRow, RunRow, ResultRow, RoundRow)
        return tuple(session.scalar(select(func.count()).select_from(t)) or 0 for t in tables)


def test_the_schema_is_what_the_tables_say_and_can_be_undone(store: Store) -> None:
    with store.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []
    config = AlembicConfig()
    config.set_main_option("script_location", "prunebench.results.history:migrations")
    with store.engine.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
    assert inspect(store.engine).get_table_names() == ["alembic_version"]


def test_a_run_is_read_back_as_it_was_ranked(store: Store, template: Path) -> None:
    recorded = record_run(store, template)
    assert recorded.new
    with store.reading() as session:
        run = session.scalars(select(RunRow)).one()
        failure = session.scalars(select(FailureRow)).one()
    assert (run.name, run.experiment, run.rounds) == (template.name, "compare", 6)
    assert (failure.variant, failure.step) == ("preserving-2", "export")
    assert failure.reason.startswith("parity")
    assert run.started_at.tzinfo is not None
    ranking = read_outcome(template).rankings[0]
    points = history(store)
    assert [point.variant for point in points] == [row.name for row in ranking.rows]
    for point, row in zip(points, ranking.rows, strict=True):
        for name in ("latency_ms", "fps", "map50", "efficiency"):
            assert getattr(point, name) == getattr(row, name)
        assert point.to_sentinel is not None


def test_recording_again_adds_nothing(store: Store, template: Path) -> None:
    first = record_run(store, template)
    before = counts(store)
    second = record_run(store, template)
    assert (second.id, second.new) == (first.id, False)
    assert counts(store) == before


def test_moments_keep_their_zone(store: Store, template: Path) -> None:
    record_run(store, template)
    moment = datetime(2024, 5, 1, 12, tzinfo=timezone(timedelta(hours=9)))
    with store.writing() as session:
        session.scalars(select(RunRow)).one().started_at = moment
    with store.reading() as session:
        run = session.scalars(select(RunRow)).one()
    assert run.started_at == moment
    assert run.started_at.utcoffset() == timedelta(0)
    assert run.started_at.tzinfo == UTC


def test_a_failed_write_leaves_nothing(store: Store, template: Path) -> None:
    def write_half() -> None:
        with store.writing() as session:
            session.add(FingerprintRow(digest="half", fields={}))
            session.flush()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_half()
    assert counts(store) == (0, 0, 0, 0)
    assert record_run(store, template).new


def test_history_is_narrowed_down_and_in_order(store: Store, template: Path) -> None:
    for index, name in enumerate(("later", "earlier")):
        record_run(store, another_run(template, name, days=2 - index))
    record_run(store, template)
    assert [p.run for p in history(store, variant="pruned")] == [template.name, "earlier", "later"]
    assert history(store, variant="nobody") == ()
    assert history(store, threads=2) == ()
    assert len({p.fingerprint for p in history(store)}) == 1
    assert len(history(store, experiment="compare")) == 9


def record_many(url: str, folders: list[Path]) -> None:
    """A process of its own: opens the store, perhaps as the first, and records."""
    with Store(url) as store:
        for folder in folders:
            record_run(store, folder)


def test_concurrent_writers_lose_nothing(url: str, template: Path) -> None:
    """Processes that open a new store at once and record at once, one run each of them."""
    shared = another_run(template, "shared")
    own = [
        [another_run(template, f"writer-{w}-{r}") for r in range(RUNS_PER_WRITER)]
        for w in range(WRITERS)
    ]
    context = multiprocessing.get_context("fork")
    writers = [
        context.Process(target=record_many, args=(url, [*folders, shared])) for folders in own
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(120)
    assert [writer.exitcode for writer in writers] == [0] * WRITERS
    with Store(url) as store:
        runs = WRITERS * RUNS_PER_WRITER + 1
        variants, rounds = 3, 6
        assert counts(store) == (1, runs, runs * variants, runs * (variants + 1) * rounds)


def test_runs_of_one_host_are_compared_by_the_reference_model(store: Store, template: Path) -> None:
    slow = another_run(template, "slow", days=1, slower=1.2)
    record_run(store, template)
    number = record_run(store, slow).id
    comparison = compare_runs(store, template.name, str(number))
    assert comparison.host_differences == ()
    assert comparison.missing == ()
    assert {change.verdict for change in comparison.changes} == {"slower"}
    for change in comparison.changes:
        assert change.same_file
        assert change.latency.low < 20 < change.latency.high
        assert change.latency.estimate == pytest.approx(20, abs=1)
        assert f"{change.variant} is slower: latency +20" in change_sentence(change)
    unchanged = compare_runs(store, template.name, template.name)
    assert {change.verdict for change in unchanged.changes} == {"no change shown"}


def test_different_hosts_are_never_compared_silently(store: Store, template: Path) -> None:
    other = on_another_host(another_run(template, "other-host"))
    record_run(store, template)
    record_run(store, other)
    with pytest.raises(InputError, match=r"different hosts \(onnxruntime: .* -> 1\.31\.0\)"):
        compare_runs(store, template.name, "other-host")
    comparison = compare_runs(store, template.name, "other-host", across_hosts=True)
    assert comparison.host_differences[0].startswith("onnxruntime: ")
    assert comparison.changes
    assert len({point.fingerprint for point in history(store)}) == 2


def test_unknown_runs_are_named(store: Store, template: Path) -> None:
    record_run(store, template)
    with pytest.raises(InputError, match="no run nowhere"):
        compare_runs(store, template.name, "nowhere")


def test_two_runs_of_one_name_are_told_apart_by_number(
    store: Store, template: Path, tmp_path: Path
) -> None:
    record_run(store, template)
    elsewhere = tmp_path / template.name
    shutil.copytree(another_run(template, "twin", days=3), elsewhere)
    record_run(store, elsewhere)
    with pytest.raises(InputError, match=r"2 runs .*give the number instead \(1, 2\)"):
        compare_runs(store, template.name, template.name)
    assert compare_runs(store, "1", "2").changes


def test_an_unfinished_run_is_refused(store: Store, template: Path, tmp_path: Path) -> None:
    folder = tmp_path / "unfinished"
    shutil.copytree(template, folder)
    (folder / "ranking.json").unlink()
    with pytest.raises(InputError, match="not finished"):
        record_run(store, folder)
    assert counts(store) == (0, 0, 0, 0)


def test_a_store_of_a_newer_version_is_left_alone(url: str) -> None:
    with Store(url) as store, store.writing() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(InputError, match="unknown schema 9999; a newer version"):
        Store(url)


def test_sqlite_is_in_write_ahead_mode_and_checks_references(tmp_path: Path) -> None:
    with Store(default_url(tmp_path)) as store, store.engine.connect() as connection:
        assert connection.execute(text("PRAGMA journal_mode")).scalar() == "wal"
        assert connection.execute(text("PRAGMA foreign_keys")).scalar() == 1
    assert sqlite3.connect(tmp_path / "history.db").execute("PRAGMA integrity_check").fetchone()


def test_readers_do_not_wait_for_a_writer(url: str, template: Path) -> None:
    with Store(url) as store:
        record_run(store, template)
        with store.writing() as session:
            session.add(FingerprintRow(digest="open", fields={}))
            session.flush()
            with Store(url) as reader:
                assert counts(reader)[0] == 1


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("nonsense", "is not a database URL; write sqlite:///file.db"),
        ("mysql://host/db", "mysql is not supported as a history store"),
        ("sqlite://", "the history URL names no file"),
        ("sqlite:////dev/null/history.db", "cannot be made"),
        ("postgresql://tester:secret@127.0.0.1:1/none", "the history store cannot be opened"),
    ],
)
def test_bad_urls_are_refused_in_one_sentence(url: str, sentence: str) -> None:
    with pytest.raises(InputError) as caught:
        Store(url)
    assert sentence in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "history.db").write_text("not a database, " * 100)
    with pytest.raises(InputError, match="file is not a database"):
        Store(default_url(tmp_path))


def test_without_the_driver_the_sentence_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(InputError, match=r"install prunebench\[postgres\]"):
        Store("postgresql://tester@127.0.0.1/none")
