"""Ctrl-C and SIGTERM end a command and what it started, whatever it is stuck in."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from signals_kit import at_work

from prunebench.measuring.host.lock import host_lock
from tests.conftest import ROOT

ENDED_S = 3.0

COMMAND = """
import subprocess, sys, threading, time
import typer
from prunebench.cli.options import run_app

app = typer.Typer()

def ready():
    print("ready", flush=True)

{phase}

app.command()(phase)
run_app(app)
"""

PHASES = {
    "work in the main thread": "def phase():\n    ready()\n    time.sleep(60)",
    "a library that swallows every exception": """
def phase():
    ready()
    while True:
        try:
            time.sleep(60)
        except BaseException:
            pass
""",
    "waiting for a thread that nothing ends": """
def phase():
    thread = threading.Thread(target=time.sleep, args=(60,))
    thread.start()
    ready()
    thread.join()
""",
    "a child that is deaf to signals": """
DEAF = (
    "import signal, time\\n"
    "for number in (signal.SIGINT, signal.SIGTERM): signal.signal(number, signal.SIG_IGN)\\n"
    "print('deaf', flush=True)\\n"
    "time.sleep(60)"
)

def phase():
    child = subprocess.Popen([sys.executable, "-c", DEAF], stdout=subprocess.PIPE)
    child.stdout.readline()
    ready()
    while True:
        try:
            child.wait()
        except BaseException:
            pass
""",
    "waiting for the host's lock": """
from prunebench.measuring.host.lock import host_lock

def phase():
    def measure():
        with host_lock("second", lambda sentence: ready()):
            pass

    thread = threading.Thread(target=measure)
    thread.start()
    thread.join()
""",
}


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("group", [False, True], ids=["process", "group"])
def test_every_phase_ends(phase: str, number: signal.Signals, group: bool, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND.format(phase=PHASES[phase])],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    with host_lock("first", print, folder=tmp_path):
        assert process.stdout.readline() == "ready\n", process.stderr.read()
        below = psutil.Process(process.pid).children(recursive=True)
        began = time.monotonic()
        (os.killpg if group else os.kill)(process.pid, number)
        _, told = process.communicate(timeout=30)
        took = time.monotonic() - began
    _, left = psutil.wait_procs(below, timeout=1)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    assert [one for one in left if at_work(one)] == []
    assert took < ENDED_S
    assert process.returncode == 130
    assert told.count("interrupted; the same command goes on where it stopped: prunebench") == 1
