"""The Prefect server of a run by hand."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from prefect.settings import PREFECT_API_URL

from prunebench.steps.signals import SIGNALS

if TYPE_CHECKING:
    from prefect.server.api.server import SubprocessASGIServer

STARTUP_S = 180
"""The first start migrates a database: Prefect's own 20 s do not do on a busy host."""

WATCH = """
import os, signal, sys
for pid in sys.stdin.read().split()[-1:]:
    os.kill(int(pid), signal.SIGKILL)
"""
"""Waits until the pipe to the run closes, then ends the server whose pid came through it last."""


@contextlib.contextmanager
def prefect_server() -> Iterator[None]:
    """Use the server ``PREFECT_API_URL`` names, or else Prefect's temporary one.

    Prefect stops its temporary server when the interpreter exits, so a run killed by SIGKILL would
    leave it behind, with the run's standard output open. A watcher ends it then.
    """
    if PREFECT_API_URL.value():
        yield
        return
    with keeping_out_of_signals():
        command, quiet = [sys.executable, "-c", WATCH], subprocess.DEVNULL
        watcher = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=quiet, stderr=quiet, text=True
        )
    try:
        server = _known_to(watcher)
        server.start(timeout=STARTUP_S)
        yield
    finally:
        watcher.kill()
        watcher.wait()


def _known_to(watcher: subprocess.Popen[str]) -> SubprocessASGIServer:
    """Prefect's temporary server, known to a watcher from its first moment on."""
    # Takes two seconds of a processor, for which a run with a server has no use.
    from prefect.server.api.server import SubprocessASGIServer

    class Watched(SubprocessASGIServer):
        def _run_uvicorn_command(self) -> subprocess.Popen[Any]:
            with keeping_out_of_signals():
                process = super()._run_uvicorn_command()
            if watcher.stdin is not None:
                watcher.stdin.write(f"{process.pid}\n")
                watcher.stdin.flush()
            return process

        def stop(self) -> None:
            # It is deaf to the SIGTERM that Prefect would send, and its database loses nothing.
            if self.server_process is not None:
                self.server_process.kill()
            super().stop()

    return Watched()


@contextlib.contextmanager
def keeping_out_of_signals() -> Iterator[None]:
    """Start processes that no Ctrl-C or SIGTERM to the whole process group ends.

    The flow reports its end to the server, and is interrupted itself. A blocked signal stays
    blocked in a new program, whatever handlers that sets.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
