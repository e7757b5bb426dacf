"""A real PostgreSQL server for tests, started from Debian's package."""

from __future__ import annotations

import contextlib
import functools
import os
import pwd
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg

ROOT = 0
PORT = 5432
"""Part of the socket's name only: the server listens on no network."""


def installed() -> Path | None:
    """Folder of the newest installed server's programs."""
    found = list(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        return None
    return max(found, key=lambda path: int(path.parts[-3])).parent


class Server:
    """A server that only its own socket folder leads to.

    Attributes:
        sockets: That folder.
        start: Starts it.
        stop: Stops it, as a power cut would.
    """

    def __init__(self, sockets: Path, start: Callable[[], None], stop: Callable[[], None]) -> None:
        self.sockets = sockets
        self.start = start
        self.stop = stop

    def new_database(self) -> str:
        """URL of a new, empty database."""
        name = f"test_{uuid.uuid4().hex}"
        with psycopg.connect(
            host=str(self.sockets), user="tester", dbname="postgres", autocommit=True
        ) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return f"postgresql://tester@/{name}?host={self.sockets}"


@contextlib.contextmanager
def running(programs: Path) -> Iterator[Server]:
    """Start a server in a temporary folder and stop it at the end.

    PostgreSQL refuses to run as root, so root starts it as another user.
    """
    user = None
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    if os.geteuid() == ROOT:
        account = _unprivileged()
        user = account.pw_name
        os.chown(folder, account.pw_uid, account.pw_gid)
    data, log = folder / "data", folder / "log"

    def run(program: str, *arguments: str) -> None:
        subprocess.run(
            [programs / program, "-D", data, *arguments],
            user=user,
            cwd=folder,
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env={"PATH": os.defpath, "LC_ALL": "C"},
        )

    try:
        run("initdb", "--auth=trust", "--username=tester", "--encoding=UTF8", "--no-sync")
        options = f"-c listen_addresses= -c fsync=off -k {folder} -p {PORT}"
        start = functools.partial(run, "pg_ctl", "start", "--wait", "-l", str(log), "-o", options)
        stop = functools.partial(run, "pg_ctl", "stop", "--wait", "-m", "immediate")
        start()
        try:
            yield Server(folder, start, stop)
        finally:
            stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _unprivileged() -> pwd.struct_passwd:
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise RuntimeError("there is no unprivileged user to run PostgreSQL as")
