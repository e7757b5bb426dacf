"""A Dask cluster of programs of their own: a scheduler and workers, on loopback."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from distributed import Client
from prefect_kit import free_port

from tests.conftest import ROOT

DASK = Path(sys.executable).with_name("dask")
STARTUP_S = 120


class Cluster(NamedTuple):
    """What runs.

    Attributes:
        address: Of the scheduler.
        workers: Process of each worker by its name.
        folders: The folder each keeps its files in.
    """

    address: str
    workers: dict[str, subprocess.Popen[bytes]]
    folders: dict[str, Path]


@contextlib.contextmanager
def dask_cluster(home: Path, *names: str, gpu: str | None = None) -> Iterator[Cluster]:
    """Start a scheduler and a worker of each name, every one with a folder of its own.

    The worker ``gpu`` offers a GPU, which is what Dask calls a resource: it looks for none.
    """
    address = f"tcp://127.0.0.1:{free_port()}"
    with contextlib.ExitStack() as stack:
        port = address.rpartition(":")[2]
        arguments = ["scheduler", "--host", "127.0.0.1", "--port", port, "--no-dashboard"]
        stack.enter_context(_program(home / "scheduler", arguments))
        workers, folders = {}, {}
        for name in names:
            folders[name] = home / name
            # Without a nanny: a worker that is killed stays away, as its host would.
            arguments = ["worker", address, "--name", name, "--nthreads", "1", "--no-nanny"]
            arguments += ["--no-dashboard", "--local-directory", str(folders[name])]
            if name == gpu:
                arguments += ["--resources", "GPU=1"]
            workers[name] = stack.enter_context(_program(folders[name], arguments))
        deadline = time.monotonic() + STARTUP_S
        while True:
            with contextlib.suppress(OSError), Client(address, timeout=5) as client:
                client.wait_for_workers(len(names), timeout=STARTUP_S)
                break
            assert time.monotonic() < deadline, "the scheduler never started"
        yield Cluster(address, workers, folders)


@contextlib.contextmanager
def _program(folder: Path, arguments: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    folder.mkdir(parents=True)
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join((str(ROOT / "src"), str(ROOT))),
        "TMPDIR": str(folder),
    }
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [str(DASK), *arguments], cwd=folder, env=environment, stdout=log, stderr=log
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()
