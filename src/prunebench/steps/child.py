"""Run one step in a child process: killable, with explicit threads, watched through a pipe.

The parent writes the request to a file and starts ``python -m prunebench.steps.child``. The child
prints one JSON event per line on standard output, writes its result to a temporary name and
renames it. The parent blocks on the pipe, it never polls. The child stays in the parent's
process group, and it ends itself when its standard input closes, so that neither a cancelled
nor a killed parent leaves an orphan.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from prunebench.common.cores import physical_cores
from prunebench.common.errors import (
    ChildFailed,
    InputError,
    PrunebenchError,
    StepError,
    error_of,
    values_of,
)
from prunebench.common.files import full_disk
from prunebench.common.records import Record
from prunebench.common.text import first_line
from prunebench.steps.ended import ENDED_REASON, ended
from prunebench.steps.environment import thread_environment
from prunebench.steps.events import EVENT, EVENT_MARK, Emit, to_parent

STEP_MODULES: Mapping[str, str] = {
    "given": "prunebench.variants.given",
    "inspect": "prunebench.variants.structure",
    "baseline": "prunebench.variants.retraining.baseline",
    "pace": "prunebench.experiment.speed_trial",
    "costs": "prunebench.variants.pruning.costs",
    "sensitivity": "prunebench.variants.pruning.sensitivity",
    "smaller": "prunebench.variants.stock_width",
    "prune": "prunebench.variants.pruning.step",
    "train": "prunebench.variants.retraining.step",
    "export": "prunebench.variants.export",
    "quantize": "prunebench.variants.int8.step",
    "accuracy": "prunebench.measuring.accuracy",
    "passes": "prunebench.variants.rewriting.choice",
    "integers": "prunebench.variants.int8.on_device",
    "convert": "prunebench.variants.conversion",
    "block": "prunebench.measuring.host.block",
    "diagnose": "prunebench.measuring.profile",
    "destinations": "prunebench.operating.destinations",
    "mlflow": "prunebench.operating.mlflow",
}
"""Step name to the module that holds its ``Request`` record and its ``run`` function."""

TAIL_LINES = 40
UNWANTED_REASON = "nobody waits for its result any more"
UNWANTED_POLL_S = 0.5
ONE_CORE_EACH: Mapping[str, str] = {"OMP_PROC_BIND": "true", "OMP_PLACES": "cores"}
"""Every thread on a core of its own.

oneDNN's convolutions in bfloat16 meet thousands of times in a backward pass, and who waits there
spins. Where another process runs, a scheduler that puts two of them on one core lets each spin
through the other's time: measured, ten times slower than in float32.
"""

TRAININGS = ("train", "baseline")
"""Steps that OpenMP keeps busy and that start no other process, which would inherit one core."""

_lock = threading.Lock()
_alive: set[subprocess.Popen[str]] = set()


@contextlib.contextmanager
def ending_children() -> Iterator[None]:
    """End every child of this process at once where a signal ends the block.

    Threads that wait for their children cannot be interrupted, and whoever ends a run waits for
    its threads; so the children go first, and no further one is started.
    """
    ended.clear()
    try:
        yield
    except Exception:
        raise
    except BaseException:
        end_children()
        raise


def end_children() -> None:
    """End every child of this process at once, and start no further one."""
    with _lock:
        ended.set()
        for process in _alive:
            process.kill()


def run_child(
    step: str,
    request: Record,
    workdir: Path,
    *,
    threads: int,
    on_event: Emit | None = None,
    timeout_s: float | None = None,
    unwanted: threading.Event | None = None,
    env: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Run ``step`` in a fresh process and return its result as plain JSON values.

    Args:
        workdir: Folder the step may write in; the log ``<step>.log`` is kept there.
        on_event: Called in the parent with each event as it arrives.
        unwanted: Set by another thread once nobody waits for the result: the child is killed.

    Raises:
        InputError: The child found bad input.
        StepError: The child failed with a reason of its own.
        ChildFailed: The child ended without a result.
    """
    workdir.mkdir(parents=True, exist_ok=True)
    request_file = workdir / f"{step}.request.json"
    result_file = workdir / f"{step}.result.json"
    result_file.unlink(missing_ok=True)
    request_file.write_text(request.model_dump_json(), encoding="utf-8")
    command = [sys.executable, "-m", "prunebench.steps.child"]
    command += [step, str(request_file), str(result_file)]
    with _lock:
        if ended.is_set():
            raise StepError(step, ENDED_REASON)
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env={
                **binding(step, request, threads),
                **os.environ,
                **thread_environment(threads),
                **(env or {}),
            },
        )
        _alive.add(process)
    timed_out = threading.Event()
    over = threading.Event()

    def expire() -> None:
        if not over.wait(timeout_s):
            timed_out.set()
            process.kill()

    def end_unwanted(unwanted: threading.Event) -> None:
        while not over.is_set():
            if unwanted.wait(UNWANTED_POLL_S):
                process.kill()
                return

    if timeout_s is not None:
        threading.Thread(target=expire, daemon=True).start()
    if unwanted is not None:
        threading.Thread(target=end_unwanted, args=(unwanted,), daemon=True).start()
    try:
        tail = _follow(process, workdir / f"{step}.log", on_event)
        returncode = process.wait()
    except OSError as error:
        full = full_disk(workdir, error)
        if full is None:
            raise
        raise StepError(step, full) from error
    finally:
        over.set()
        with _lock:
            _alive.discard(process)
        if process.poll() is None:
            process.kill()
            process.wait()
        if process.stdin is not None:
            with contextlib.suppress(OSError):
                process.stdin.close()
    if timed_out.is_set():
        raise ChildFailed(step, f"it ran longer than {timeout_s:g} s", returncode=returncode)
    if returncode and ended.is_set():
        raise StepError(step, ENDED_REASON)
    if returncode and unwanted is not None and unwanted.is_set():
        raise StepError(step, UNWANTED_REASON)
    return _read_result(step, result_file, returncode, tail)


def binding(step: str, request: Any, threads: int) -> Mapping[str, str]:
    """``ONE_CORE_EACH`` for a training with every core: with fewer, two would share the first.

    Processes that load images would inherit one core.
    """
    alone = getattr(request, "workers", 0) == 0
    whole = step in TRAININGS and threads == physical_cores() and alone
    return ONE_CORE_EACH if whole else {}


def _follow(process: subprocess.Popen[str], log: Path, on_event: Emit | None) -> str:
    tail: deque[str] = deque(maxlen=TAIL_LINES)
    with log.open("a", encoding="utf-8") as out:
        for line in process.stdout or ():
            if not line.startswith(EVENT_MARK):
                out.write(line)
                tail.append(line)
            elif on_event is not None:
                on_event(EVENT.validate_json(line[len(EVENT_MARK) :]))
    return "".join(tail)


def _read_result(step: str, result_file: Path, returncode: int, tail: str) -> dict[str, Any]:
    if not result_file.is_file():
        if returncode < 0:
            name = signal.Signals(-returncode).name
            hint = ", perhaps out of memory" if name == "SIGKILL" else ""
            reason = f"its process was ended by {name}{hint}"
        else:
            last = (tail.rstrip().splitlines() or ["no output"])[-1]
            reason = f"its process exited with {returncode} ({last.strip()})"
        reason = full_disk(result_file.parent) or reason
        raise ChildFailed(step, reason, returncode=returncode, output_tail=tail)
    answer: dict[str, Any] = json.loads(result_file.read_text(encoding="utf-8"))
    if "result" in answer:
        return dict(answer["result"])
    raise error_of(answer)


def _told(step: str, error: Exception, folder: Path) -> PrunebenchError:
    """What to say of an error: what it says itself where it is one of ours."""
    full = full_disk(folder, error)
    if full is None and isinstance(error, InputError | StepError):
        return error
    return StepError(step, full or f"{type(error).__name__}: {first_line(error)}")


def _end_with_parent(stream: IO[str]) -> None:
    """Block until the parent's end of the pipe closes, then end this process at once."""
    with contextlib.suppress(OSError, ValueError):
        stream.read()
    os.kill(os.getpid(), signal.SIGKILL)


def main(argv: list[str]) -> int:
    """Entry point of the child: ``STEP REQUEST RESULT``."""
    step, request_file, result_file = argv[0], Path(argv[1]), Path(argv[2])
    threading.Thread(target=_end_with_parent, args=(sys.stdin,), daemon=True).start()
    answer: dict[str, Any]
    try:
        module = importlib.import_module(STEP_MODULES[step])
        request = module.Request.model_validate_json(request_file.read_text(encoding="utf-8"))
        result = module.run(request, result_file.parent, to_parent)
        answer = {"result": result.model_dump(mode="json")}
    except Exception as error:
        import traceback

        traceback.print_exc()
        answer = values_of(_told(step, error, result_file.parent))
    partial = result_file.with_suffix(".partial")
    partial.write_text(json.dumps(answer, default=str), encoding="utf-8")
    partial.replace(result_file)
    return 0 if "result" in answer else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
