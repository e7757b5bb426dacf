"""Start one measuring child and wait for it, without using any CPU meanwhile."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from prunebench.child import thread_environment
from prunebench.errors import ChildFailed

STEP = "latency"
TIMEOUT_BASE_S = 60.0
TIMEOUT_FACTOR = 10.0
"""A child may take a minute (loading on a slow disk) and ten times its timed seconds."""

INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run_measuring_child(
    request: dict[str, Any], workdir: Path, *, variant: str
) -> tuple[dict[str, Any], float]:
    """Measure once in a fresh process.

    Args:
        request: What ``latency/child.py`` reads; its docstring names the keys.
        workdir: Folder for the request, the result and what the process prints.
        variant: Name for the error.

    Returns:
        The child's raw figures, and the wall time of its process in seconds.

    Raises:
        ChildFailed: The child ended without a result. A negative ``returncode`` in
            ``INTERRUPTS`` means that somebody stopped it, not that the variant is at fault.
    """
    request_file, result_file = workdir / "request.json", workdir / "result.json"
    result_file.unlink(missing_ok=True)
    request_file.write_text(json.dumps(request), encoding="utf-8")
    command = [
        *(sys.executable, "-P", "-m", "prunebench.latency.child"),
        *(str(request_file), str(result_file)),
    ]
    timed_s = 2 * request["seconds"] + request["paced_seconds"]
    started = time.perf_counter()
    with (workdir / "child.log").open("w+", encoding="utf-8", errors="replace") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **thread_environment(request["threads"])},
        )
        timer = threading.Timer(TIMEOUT_BASE_S + TIMEOUT_FACTOR * timed_s, process.kill)
        timer.daemon = True
        timer.start()
        try:
            returncode = process.wait()
        finally:
            timer.cancel()
            process.kill()
            process.wait()
            if process.stdin is not None:
                with contextlib.suppress(OSError):
                    process.stdin.close()
        process_s = time.perf_counter() - started
        log.seek(0)
        printed = log.read()
    if not result_file.is_file():
        raise ChildFailed(
            STEP,
            _reason(returncode, printed),
            returncode=returncode,
            output_tail=printed[-2000:],
            variant=variant,
        )
    return json.loads(result_file.read_text(encoding="utf-8")), process_s


def was_interrupted(error: ChildFailed) -> bool:
    """Whether the child was stopped from outside, as the whole run is when it is cancelled."""
    return error.returncode is not None and -error.returncode in INTERRUPTS


def _reason(returncode: int, printed: str) -> str:
    if returncode < 0:
        name = signal.Signals(-returncode).name
        hint = ", out of memory or out of time" if name == "SIGKILL" else ""
        return f"the measuring process was ended by {name}{hint}"
    last = next((line for line in reversed(printed.splitlines()) if line.strip()), "no output")
    return f"the measuring process exited with {returncode} ({last.strip()})"
