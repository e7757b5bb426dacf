"""The Prefect server of a run by hand."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator

from prefect.server.api.server import SubprocessASGIServer
from prefect.settings import PREFECT_API_URL

STARTUP_S = 180
"""The first start migrates a database: Prefect's own 20 s do not do on a busy host."""

WATCH = """
import os, signal, sys
sys.stdin.read()
os.kill(int(sys.argv[1]), signal.SIGKILL)
"""
"""Waits until the pipe to the run closes, then ends the server."""


@contextlib.contextmanager
def prefect_server() -> Iterator[None]:
    """Use the server ``PREFECT_API_URL`` names, or else Prefect's temporary one.

    Prefect stops its temporary server when the interpreter exits, so a run killed by SIGKILL
    would leave it behind, with the run's standard output open. A watcher ends it then.
    """
    if PREFECT_API_URL.value():
        yield
        return
    server = SubprocessASGIServer()
    server.start(timeout=STARTUP_S)
    process = server.server_process
    if process is None:
        yield
        return
    watcher = subprocess.Popen(
        [sys.executable, "-c", WATCH, str(process.pid)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        watcher.kill()
        watcher.wait()
