"""The history store: SQLite in a file by default, PostgreSQL by URL, migrated when opened.

SQLite runs in write-ahead mode and takes the write lock when a writing transaction begins, so that
two processes that record at once come one after the other. Migrations run in one transaction under
a lock, so that several processes may open a new store at once.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from alembic import command
from alembic.config import Config as AlembicConfig
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.orm import Session

from prunebench.common.errors import InputError
from prunebench.common.files import check_output_file
from prunebench.common.text import first_line

BUSY_TIMEOUT_MS = 60_000
MIGRATION_LOCK = 7_105_181_120
"""Key of the PostgreSQL advisory lock that migrations are made under."""

SQLITE = "sqlite"
BEGIN_OPTION = "prunebench_begin"


def default_url(out: Path) -> str:
    """URL of the SQLite store that belongs to an output folder."""
    return f"sqlite:///{out / 'history.db'}"


class Store:
    """An open history store; a context manager that closes its connections.

    ``url`` is ``sqlite:///file``, made with ``create``, or ``postgresql://user@host/database``.

    Raises:
        InputError: The URL cannot be used, the database cannot be reached or is not there, or
            it was written by a newer version of this program.
    """

    def __init__(self, url: str, *, create: bool = True) -> None:
        parsed = _parse(url)
        self.shown_url = parsed.render_as_string(hide_password=True)
        is_file = parsed.get_backend_name() == SQLITE
        if is_file and not create and not Path(str(parsed.database)).is_file():
            fix = "finish a run with `prunebench run`, or name the history with --url or --out"
            raise InputError("there is no history yet", where=self.shown_url, fix=fix)
        self.engine = _engine(parsed, self.shown_url)
        try:
            with self._told("opened"):
                self._migrate()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()

    @contextlib.contextmanager
    def reading(self) -> Iterator[Session]:
        """A session that reads one consistent state; its rows can be used after it."""
        session = Session(self.engine, expire_on_commit=False)
        with self._told("read"), session, session.begin():
            yield session

    @contextlib.contextmanager
    def writing(self) -> Iterator[Session]:
        """A session that writes; committed at the end, undone by an exception."""
        engine = self.engine.execution_options(**{BEGIN_OPTION: "BEGIN IMMEDIATE"})
        with self._told("written"), Session(engine) as session, session.begin():
            yield session

    @contextlib.contextmanager
    def _told(self, what: str) -> Iterator[None]:
        """Tell, as an ``InputError``, what its database says, and of damaged text in it."""
        try:
            yield
        except (DBAPIError, ValueError) as error:
            told = first_line(getattr(error, "orig", None) or error)
            raise InputError(
                f"the history store cannot be {what} ({told})",
                where=self.shown_url,
                fix="check the URL and that it can be written",
            ) from error

    def _migrate(self) -> None:
        config = AlembicConfig()
        config.set_main_option("script_location", "prunebench.results.history:migrations")
        script = ScriptDirectory.from_config(config)
        head = script.get_current_head()
        with self.engine.connect() as connection:
            current = MigrationContext.configure(connection).get_current_revision()
        if current == head:
            return
        if current is not None and current not in {r.revision for r in script.walk_revisions()}:
            raise InputError(
                f"the history store has the unknown schema {current}",
                where=self.shown_url,
                fix="a newer version of prunebench wrote it, so use that one",
            )
        engine = self.engine.execution_options(**{BEGIN_OPTION: "BEGIN IMMEDIATE"})
        with engine.begin() as connection:
            if connection.dialect.name != SQLITE:
                connection.execute(text(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})"))
            config.attributes["connection"] = connection
            command.upgrade(config, "head")


def check_store(url: str) -> None:
    """Prove that a store can be opened as ``Store`` does; a file that is not there is not made."""
    parsed = _parse(url)
    file = str(parsed.database)
    if parsed.get_backend_name() == SQLITE and not os.path.exists(file):  # noqa: PTH110 - Path raises
        check_output_file(Path(file), "the key history")
    else:
        Store(url).close()


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError:
        fix = "write sqlite:///file.db or postgresql://user@host/database"
        raise InputError("the history URL is not a database URL", where=url, fix=fix) from None
    if parsed.drivername in ("postgres", "postgresql"):
        parsed = parsed.set(drivername="postgresql+psycopg")
    backend = parsed.get_backend_name()
    if backend not in (SQLITE, "postgresql"):
        raise InputError(
            f"{backend} is not supported as a history store",
            where=parsed.render_as_string(hide_password=True),
            fix="use sqlite:///file.db or postgresql://user@host/database",
        )
    if backend == SQLITE and not parsed.database:
        fix = "write sqlite:///path/history.db"
        raise InputError("the history URL names no file", where=url, fix=fix)
    return parsed


def _engine(url: URL, shown_url: str) -> Engine:
    if url.get_backend_name() == SQLITE:
        folder = Path(str(url.database)).parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            what = f"the folder of the history store cannot be made ({error.strerror})"
            raise InputError(what, where=shown_url, fix="choose another place") from error
    try:
        engine = create_engine(url, pool_pre_ping=True)
    except (ModuleNotFoundError, NoSuchModuleError) as error:
        what = f"the database driver is not installed ({error})"
        raise InputError(what, where=shown_url, fix="install prunebench[postgres]") from error
    if url.get_backend_name() == SQLITE:
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, record: Any) -> None:
    # The driver's own transactions begin too late and leave out schema changes.
    connection.isolation_level = None
    for setting in (f"busy_timeout = {BUSY_TIMEOUT_MS}", "journal_mode = WAL", "foreign_keys = ON"):
        connection.execute(f"PRAGMA {setting}").close()


def _begin_sqlite(connection: Connection) -> None:
    options = connection.get_execution_options()
    connection.exec_driver_sql(str(options.get(BEGIN_OPTION, "BEGIN")))
