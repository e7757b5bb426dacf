"""What a device measures before anything is pruned for it, rounds of whole networks apart.

Here a step does the same in its own process, there the agent does. Runs with numpy and onnxruntime
alone.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from prunebench.measuring.host.block_timing import Turns, timed_rows
from prunebench.measuring.session import SessionSettings, open_session, session_options

RUNS = 40
WARM_RUNS = 5

Tell = Callable[[str], None]
PathOf = Callable[[str], Path]


def kernel_microseconds(
    graph: bytes, count: int, session: SessionSettings, threads: int, prefix: Path
) -> list[float]:
    """Median microseconds of the nodes ``g0.…`` to ``g<count - 1>.…``, side by side in one graph.

    A node's time is its kernel's, by onnxruntime's profile, which it writes as ``prefix...``.
    """
    options = session_options(session, threads)
    options.enable_profiling = True
    options.profile_file_prefix = str(prefix)
    opened = open_session(graph, options)
    rng = np.random.default_rng(0)
    feed = {
        item.name: rng.standard_normal(item.shape, dtype=np.float32) for item in opened.get_inputs()
    }
    for _ in range(WARM_RUNS + RUNS):
        opened.run(None, feed)
    durations: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for event in json.loads(Path(opened.end_profiling()).read_text(encoding="utf-8")):
        name = event["name"]
        if event.get("cat") == "Node" and name.endswith("_kernel_time") and name.startswith("g"):
            durations[name.partition(".")[0]][name].append(event["dur"])
    return [
        sum(float(np.median(runs[WARM_RUNS:])) for runs in durations[f"g{index}"].values())
        for index in range(count)
    ]


def median_ms(graph: bytes, session: SessionSettings) -> float:
    """Median milliseconds of a network on one thread, roughly: what a host is about as fast as."""
    opened = open_session(graph, session_options(session, 1))
    feed = {item.name: np.zeros(item.shape, np.float32) for item in opened.get_inputs()}
    took = []
    for _ in range(WARM_RUNS + RUNS):
        began = time.perf_counter_ns()
        opened.run(None, feed)
        took.append((time.perf_counter_ns() - began) / 1e6)
    return float(np.median(took[WARM_RUNS:]))


def look(
    job: Mapping[str, Any], path: PathOf, session: SessionSettings, work: Path, tell: Tell
) -> float:
    """Milliseconds of the reference model; what the host is goes with every answer."""
    return median_ms(path(job["sentinel"]).read_bytes(), session)


def rows(
    job: Mapping[str, Any], path: PathOf, session: SessionSettings, work: Path, tell: Tell
) -> dict[str, Any]:
    """Rows of convolutions, a file for each width: the block of the kernels."""
    files = {int(width): path(sha256).read_bytes() for width, sha256 in job["rows"].items()}
    return timed_rows(files, session, work)


def turns(
    job: Mapping[str, Any], path: PathOf, session: SessionSettings, work: Path, tell: Tell
) -> dict[str, list[float]]:
    """Files in turns: microseconds of each in each turn."""
    files = {name: path(sha256).read_bytes() for name, sha256 in job["named"].items()}
    taken = Turns(files, session)
    taken.take_at_least(job["fewest"], job["seconds"])
    return taken.microseconds


def layers(
    job: Mapping[str, Any], path: PathOf, session: SessionSettings, work: Path, tell: Tell
) -> list[list[float]]:
    """Graphs of unconnected layers: microseconds of each layer in each."""
    found = []
    graphs: Sequence[tuple[str, int]] = job["graphs"]
    for done, (sha256, count) in enumerate(graphs, start=1):
        graph, prefix = path(sha256).read_bytes(), work / f"graph-{done}"
        found.append(kernel_microseconds(graph, count, session, job["threads"], prefix))
        tell(f"grid point {done} of {len(graphs)}")
    return found


JOBS: Mapping[str, Callable[..., Any]] = {
    "look": look,
    "rows": rows,
    "turns": turns,
    "layers": layers,
}
"""By the name of each in a manifest."""
