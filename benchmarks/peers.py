"""One network measured twice: how far apart do several tools see its two copies?

    pip install --target FOLDER --no-deps openvino==2026.4.1 openvino-telemetry==2025.2.0 \\
        mlcommons-loadgen==6.0.17
    python benchmarks/peers.py [--packages FOLDER] [--repetitions 20] [--seconds 15] [--quick]

In each repetition every tool measures both copies, the tools in random order:

- ``prunebench``: the default settings at one thread, as ``benchmarks/aa.py``.
- ``ProfileModels`` of Ultralytics: its own code with the 8 threads it fixes, both files in one
  call.
- ``benchmark`` of Ultralytics: its export and its validation of two copies of the checkpoint on
  built-in scenes, onnxruntime with the threads it takes; its square 320x320 takes longer.
- ``benchmark_app`` of OpenVINO: a process for each file, one thread and stream, float32; the
  median it prints.
- ``LoadGen SingleStream`` of MLPerf: a process for each file, an onnxruntime session on one thread
  as the system under test; its 90th percentile, which is the result of that scenario.
- ``sequential loop``: one process, onnxruntime's default session, the mean of a loop over the first
  file, then over the second; the simplest way to a table like the reference report's.
- ``pyperf``: its published protocol, 20 fresh processes of 3 values, one thread, first file first;
  left out where it is not installed (``pip install pyperf``).

ProfileModels, benchmark_app, LoadGen and the loop get as many seconds for each copy as
``--seconds`` says. They and ``benchmark`` have no test: a reader takes the lower number for the
faster variant every time. pyperf's test is Student's t at 95 %, as its ``compare_to`` does.
Without ``--packages`` benchmark_app and LoadGen are left out. onnxruntime_perf_test is not part of
onnxruntime's wheels, and optimum-benchmark measures Transformers models, no bare ONNX file. Olive's
``tune-session-params`` measures no such file at all (``findings/olive_tune_session_params.sh``).
Five minutes a repetition on a quiet host, ``--seconds 5`` three.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import random
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from kit import CHECKPOINT, export_network, host_line, in_workspace
from rich.console import Console
from rich.table import Table
from scipy import stats

from prunebench.config.sections import LatencyConfig
from prunebench.data.dataset import resolve_dataset
from prunebench.measuring.selftest import QUICK, THOROUGH, selftest

PROFILE_MODELS = """
import json, sys
from ultralytics.utils.benchmarks import ProfileModels
result, seconds, *files = sys.argv[1:]
found = ProfileModels(files, min_time=float(seconds), imgsz=320, trt=False, device="cpu").run()
times = [float(one["model/speed_ONNX(ms)"]) for one in found]
open(result, "w").write(json.dumps(times))
"""

SEQUENTIAL_LOOP = """
import json, sys, time
import numpy as np, onnxruntime as ort
result, seconds, *files = sys.argv[1:]
means = []
for file in files:
    session = ort.InferenceSession(file, providers=["CPUExecutionProvider"])
    feed = session.get_inputs()[0]
    image = {feed.name: np.random.rand(*feed.shape).astype(np.float32)}
    for _ in range(10):
        session.run(None, image)
    began, count = time.perf_counter(), 0
    while time.perf_counter() < began + float(seconds):
        session.run(None, image)
        count += 1
    means.append(1000 * (time.perf_counter() - began) / count)
open(result, "w").write(json.dumps(means))
"""

PYPERF = """
import sys
import numpy as np, onnxruntime as ort, pyperf
def add(command, args):
    command.extend(["--onnx", args.onnx])
runner = pyperf.Runner(add_cmdline_args=add)
runner.argparser.add_argument("--onnx")
options = ort.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
file = runner.parse_args().onnx
session = ort.InferenceSession(file, options, providers=["CPUExecutionProvider"])
feed = session.get_inputs()[0]
image = {feed.name: np.random.rand(*feed.shape).astype(np.float32)}
runner.bench_func("inference", session.run, None, image)
"""

BENCHMARK_APP = """
import sys
sys.path.append(sys.argv.pop(1))
from openvino.tools.benchmark.main import main
main()
"""

LOADGEN = """
import sys
packages, folder, seconds, file = sys.argv[1:]
sys.path.append(packages)
import mlperf_loadgen as lg, numpy as np, onnxruntime as ort
options = ort.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = ort.InferenceSession(file, options, providers=["CPUExecutionProvider"])
feed = session.get_inputs()[0]
image = {feed.name: np.random.rand(*feed.shape).astype(np.float32)}
for _ in range(10):
    session.run(None, image)
def issue(queries):
    for query in queries:
        session.run(None, image)
        lg.QuerySamplesComplete([lg.QuerySampleResponse(query.id, 0, 0)])
settings = lg.TestSettings()
settings.scenario, settings.mode = lg.TestScenario.SingleStream, lg.TestMode.PerformanceOnly
settings.min_duration_ms = int(1000 * float(seconds))
settings.min_query_count = 64
logs = lg.LogSettings()
logs.log_output.outdir = folder
logs.log_output.copy_summary_to_stdout = False
system = lg.ConstructSUT(issue, lambda: None)
library = lg.ConstructQSL(1, 1, lambda indices: None, lambda indices: None)
lg.StartTestWithLogSettings(system, library, settings, logs)
"""

ULTRALYTICS_BENCHMARK = """
import json, sys
from ultralytics.utils.benchmarks import benchmark
result, data, *files = sys.argv[1:]
rows = [benchmark(model=file, data=data, imgsz=320, format="onnx", device="cpu") for file in files]
(column,) = (name for name in rows[0].columns if name.startswith("Inference time"))
open(result, "w").write(json.dumps([float(one[column][0]) for one in rows]))
"""


class Outcome(NamedTuple):
    """What a tool said of two equal copies.

    Attributes:
        ratio: Milliseconds of the second divided by the first's.
        different: Whether its own test calls them different; ``None`` where it has none.
    """

    ratio: float
    different: bool | None


class Task(NamedTuple):
    """One use of a tool: two equal files, a folder of its own, seconds per file, a seed.

    ``data`` is a data YAML of scenes, ``packages`` where benchmark_app and LoadGen are.
    """

    files: tuple[Path, Path]
    data: Path
    packages: str
    folder: Path
    seconds: float
    quick: bool
    seed: int


def own_protocol(task: Task) -> Outcome:
    """This project."""
    settings: LatencyConfig = QUICK if task.quick else THOROUGH
    result = selftest(
        task.files[0], settings, task.folder, repetitions=1, slowdowns=(), seed=task.seed
    )
    pair = result.repetitions[0].comparisons[0]
    return Outcome(pair.ratio.estimate, pair.significant)


def profile_models(task: Task) -> Outcome:
    """Ultralytics' ProfileModels."""
    return _of_script(PROFILE_MODELS, task)


def sequential_loop(task: Task) -> Outcome:
    """A loop over one file, then over the other."""
    return _of_script(SEQUENTIAL_LOOP, task)


def ultralytics_benchmark(task: Task) -> Outcome:
    """Ultralytics' benchmark of two copies of the checkpoint, which it exports itself."""
    copies = [task.folder / "first" / "model.pt", task.folder / "second" / "model.pt"]
    for copy in copies:
        copy.parent.mkdir()
        copy.write_bytes(CHECKPOINT.read_bytes())
    result = task.folder / "result.json"
    _run(["-c", ULTRALYTICS_BENCHMARK, str(result), str(task.data), *map(str, copies)], task.folder)
    first, second = json.loads(result.read_text(encoding="utf-8"))
    return Outcome(second / first, None)


def benchmark_app(task: Task) -> Outcome:
    """OpenVINO's benchmark_app."""
    asked = ["-d", "CPU", "-hint", "none", "-api", "sync", "-infer_precision", "f32"]
    asked += ["-nstreams", "1", "-nthreads", "1", "-t", str(max(1, round(task.seconds)))]
    medians = []
    for file in task.files:
        command = ["-c", BENCHMARK_APP, task.packages, "-m", str(file), *asked]
        found = re.search(r"Median: +([\d.]+) ms", _run(command, task.folder))
        if found is None:
            raise SystemExit("benchmark_app printed no median")
        medians.append(float(found[1]))
    return Outcome(medians[1] / medians[0], None)


def loadgen(task: Task) -> Outcome:
    """MLPerf's LoadGen, scenario SingleStream."""
    results = []
    for file in task.files:
        folder = task.folder / file.stem
        folder.mkdir()
        command = ["-c", LOADGEN, task.packages, str(folder), str(task.seconds), str(file)]
        _run(command, task.folder)
        summary = (folder / "mlperf_log_summary.txt").read_text(encoding="utf-8")
        found = re.search(r"90\.0+th percentile latency \(ns\) *: *(\d+)", summary, re.IGNORECASE)
        if found is None:
            raise SystemExit(f"LoadGen's summary has no percentile:\n{summary}")
        results.append(float(found[1]))
    return Outcome(results[1] / results[0], None)


def pyperf_protocol(task: Task) -> Outcome:
    """pyperf's protocol and test."""
    import pyperf  # type: ignore[import-untyped]

    script = task.folder / "inference.py"
    script.write_text(PYPERF, encoding="utf-8")
    values = []
    for index, file in enumerate(task.files):
        out = task.folder / f"{index}.json"
        few = ["--processes=2", "--values=2", "--min-time=0.02"] if task.quick else []
        _run([str(script), "--quiet", "--onnx", str(file), "-o", str(out), *few], task.folder)
        values.append(pyperf.BenchmarkSuite.load(str(out)).get_benchmarks()[0].get_values())
    first, second = values
    different = bool(stats.ttest_ind(first, second).pvalue < 0.05)
    return Outcome(float(np.mean(second) / np.mean(first)), different)


def _of_script(script: str, task: Task) -> Outcome:
    result = task.folder / "result.json"
    files = [str(file) for file in task.files]
    _run(["-c", script, str(result), str(task.seconds), *files], task.folder)
    first, second = json.loads(result.read_text(encoding="utf-8"))
    return Outcome(second / first, None)


def _run(arguments: list[str], folder: Path) -> str:
    environment = {**os.environ, "YOLO_AUTOINSTALL": "false", "YOLO_OFFLINE": "true"}
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{arguments[:3]} failed:\n{(done.stdout + done.stderr)[-2000:]}")
    return done.stdout


TOOLS: dict[str, Callable[[Task], Outcome]] = {
    "prunebench": own_protocol,
    "ProfileModels": profile_models,
    "Ultralytics' benchmark": ultralytics_benchmark,
    "benchmark_app": benchmark_app,
    "LoadGen SingleStream": loadgen,
    "sequential loop": sequential_loop,
    "pyperf": pyperf_protocol,
}


def main(folder: Path, console: Console) -> int:
    """Let every tool measure the copies and print their spread."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repetitions", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=15.0, help="per copy, for four tools")
    parser.add_argument("--packages", help="where OpenVINO and LoadGen are")
    parser.add_argument("--quick", action="store_true", help="prove that it runs, no more")
    asked = parser.parse_args()
    tools = dict(TOOLS)
    if importlib.util.find_spec("pyperf") is None:
        console.print("pyperf is not installed and left out: pip install pyperf")
        del tools["pyperf"]
    if asked.packages is None:
        del tools["benchmark_app"], tools["LoadGen SingleStream"]
    spec = f"scenes:train=8,val={8 if asked.quick else 64}"
    data = resolve_dataset(spec, cache_dir=folder / "data").yaml
    packages = str(Path(asked.packages or ".").resolve())
    first = export_network(folder)
    second = folder / "same-network.onnx"
    second.write_bytes(first.read_bytes())
    outcomes: dict[str, list[Outcome]] = {name: [] for name in tools}
    seconds = dict.fromkeys(tools, 0.0)
    rng = random.Random(0)
    count = 1 if asked.quick else asked.repetitions
    for index in range(count):
        for name in rng.sample(list(tools), len(tools)):
            print(f"repetition {index + 1} of {count}: {name}", file=sys.stderr, flush=True)
            own = folder / f"{index}-{re.sub('[^A-Za-z]+', '-', name)}"
            own.mkdir()
            timed = 0.3 if asked.quick else asked.seconds
            began = time.perf_counter()
            task = Task((first, second), data, packages, own, timed, asked.quick, seed=index)
            outcomes[name].append(tools[name](task))
            seconds[name] += time.perf_counter() - began
    console.print(spread_table(outcomes, seconds, count))
    return 0


def spread_table(
    outcomes: dict[str, list[Outcome]], seconds: dict[str, float], count: int
) -> Table:
    """How far from 1 each tool saw the ratio of two equal copies."""
    title = f"One network as two variants, {count} times; {host_line()}"
    table = Table("tool", title=title, title_justify="left")
    for column in ("error, median", "worst", "95 % within", "called different", "s each time"):
        table.add_column(column, justify="right")
    for name, found in outcomes.items():
        errors = np.abs([outcome.ratio - 1 for outcome in found])
        verdicts = [outcome.different for outcome in found if outcome.different is not None]
        table.add_row(
            name,
            f"{np.median(errors):.2%}",
            f"{errors.max():.2%}",
            f"{np.percentile(errors, 95):.2%}",
            f"{sum(verdicts)} of {count}" if verdicts else "always (no test)",
            f"{seconds[name] / count:.0f}",
        )
    return table


if __name__ == "__main__":
    in_workspace(main)
