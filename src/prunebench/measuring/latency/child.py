"""The measuring child: one variant, one thread count, one round, one fresh process.

Started with ``REQUEST RESULT`` by ``together.py``,
which has the children of a round take turns: this one works only when told to, a line on standard
input per turn, and answers each with a byte on standard output. It imports numpy, one runtime and,
for end-to-end frames, OpenCV; more would cost start-up time in every round and memory that is not
the model's. It writes raw durations; the parent derives every statistic.

The order is that of a deployment's life: load, first inference, warm-up, back-to-back inferences,
back-to-back frames, then frames that arrive at the real-time rate.
"""

from __future__ import annotations

import contextlib
import gc
import json
import math
import os
import queue
import resource
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prunebench.measuring.host.sensors import EnergyMeter, Sensors
from prunebench.measuring.host.ticks import host_ticks
from prunebench.measuring.runtimes.opening import opener
from prunebench.measuring.session import SessionSettings

MIN_ITERATIONS = 3  # Timed however slow the model: a median of fewer says nothing.
FRAME_WARMUP = 2  # The session is warm by then; this touches OpenCV, the NMS and the masks once.
PACED_OVERRUN = 2.0  # A model too slow is given up after this multiple of the paced seconds.
Request = dict[str, Any]
Infer = Callable[[NDArray[np.float32]], list[NDArray[np.float32]]]


class Measuring:
    """A loaded, warm model and the durations timed so far.

    A request has ``onnx`` (path), ``input`` (path of a (1, 3, height, width) float32 ``.npy``, or
    ``None`` for random pixels), ``frames`` (paths of decoded (H, W, 3) BGR ``.npy`` images; none:
    no end-to-end frames), ``seconds`` per back-to-back part, ``slices`` each part is timed in,
    ``warmup`` inferences, ``realtime_fps`` and ``paced_seconds`` (0: no paced frames), ``imgsz``
    (height, width), ``nc``, ``confidence``, ``iou``, ``max_det``, ``threads``, ``session`` (the
    fields of ``SessionSettings``), ``options`` in place of theirs, ``runtime`` (``name``, of
    ``runtimes/opening.py``, and ``head``, what the ONNX file says of its outputs; ``None``:
    onnxruntime), ``cpus`` it may run on (``None``: any), and from the selftest ``slowdown``
    (a factor).
    """

    def __init__(self, request: Request) -> None:
        self._request = request
        if request.get("cpus"):
            os.sched_setaffinity(0, request["cpus"])
        self._slice_s = request["seconds"] / request["slices"]
        self._least = math.ceil(MIN_ITERATIONS / request["slices"])
        if request["input"] is not None:
            self._tensor = np.load(request["input"])
        settings = SessionSettings(**request["session"])
        runtime = request.get("runtime")
        load = opener(None if runtime is None else runtime["name"])
        rss_base_mb = _memory_mb("VmRSS")
        started = time.perf_counter_ns()
        network = load(request["onnx"], request["threads"], settings, request.get("options"))
        load_ms = _ms_since(started)
        self._metadata = network.metadata if runtime is None else runtime["head"]
        if request["input"] is None:
            shape = network.shape or (1, 3, *request["imgsz"])
            self._tensor = np.random.default_rng(0).random(shape, dtype=np.float32)
        slowdown = request.get("slowdown", 1.0)
        self._infer: Infer = network if slowdown == 1 else _slowed(network, slowdown)
        gc.freeze()
        gc.disable()
        started = time.perf_counter_ns()
        self._infer(self._tensor)
        first_ms = _ms_since(started)
        for _ in range(request["warmup"]):
            self._infer(self._tensor)
        self._load, self._sensors, self._energy = _HostLoad(), Sensors(), EnergyMeter()
        self._joules: float | None = 0.0
        self._known: dict[str, Any] = {
            "load_ms": load_ms,
            "first_ms": first_ms,
            "rss_base_mb": rss_base_mb,
            "session": network.describe(),
        }
        self._model: list[int] = []
        self._model_slices: list[int] = []
        self._model_wall_ns = self._model_cpu_ns = self._preemptions = 0
        self._stages: list[tuple[int, int, int, int]] = []
        self._frame_slices: list[int] = []
        self._response_ms: list[float] = []

    def take_turn(self, command: str) -> None:
        """Do what a line asks for: ``model``, ``open``, ``frames`` or ``paced``."""
        with self._load:
            getattr(self, command)()
        self._sensors.look()

    def model(self) -> None:
        """A slice of back-to-back inferences of one letterboxed image."""
        until = time.perf_counter_ns() + int(self._slice_s * 1e9)
        # Another process has had the caches since this one's last turn.
        self._infer(self._tensor)
        durations: list[int] = []
        switches = resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
        cpu_from, wall_from = time.process_time_ns(), time.perf_counter_ns()
        now = wall_from
        while now < until or len(durations) < self._least:
            self._infer(self._tensor)
            after = time.perf_counter_ns()
            durations.append(after - now)
            now = after
        self._model_wall_ns += now - wall_from
        self._model_cpu_ns += time.process_time_ns() - cpu_from
        self._preemptions += resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw - switches
        self._model += durations
        self._model_slices.append(len(durations))
        self._known["rss_peak_mb"] = _memory_mb("VmHWM")

    def open(self) -> None:
        """Load OpenCV and the frames."""
        import cv2

        from prunebench.measuring.heads import head_of
        from prunebench.measuring.heads.detect import Rules

        request = self._request
        cv2.setNumThreads(request["threads"])
        frames = [np.load(path) for path in request["frames"]]
        height, width = request["imgsz"]
        head = head_of(self._metadata)
        settings = (request["confidence"], request["iou"], request["max_det"])
        rules = Rules(request["nc"], (height, width), *settings)

        def answer(index: int) -> tuple[int, int, int, int]:
            began = time.perf_counter_ns()
            image, _, _ = head.framed(frames[index % len(frames)], (height, width))
            boxed = time.perf_counter_ns()
            outputs = self._infer(image)
            inferred = time.perf_counter_ns()
            head.find(outputs, rules)
            return began, boxed, inferred, time.perf_counter_ns()

        self._answer = answer
        for index in range(FRAME_WARMUP):
            answer(index)

    def frames(self) -> None:
        """A slice of whole frames back to back: as the network's head takes and reads them."""
        until = time.perf_counter_ns() + int(self._slice_s * 1e9)
        count = len(self._stages)
        self._answer(count)
        self._energy.since()
        while len(self._stages) - count < self._least or self._stages[-1][3] < until:
            self._stages.append(self._answer(len(self._stages)))
        spent = self._energy.since()
        self._joules = None if spent is None or self._joules is None else self._joules + spent
        self._frame_slices.append(len(self._stages) - count)

    def paced(self) -> None:
        """Whole frames that arrive at the real-time rate."""
        self._response_ms = _time_paced(self._request, lambda index: self._answer(index)[3])

    def result(self) -> dict[str, Any]:
        """The fields of ``records.Sample`` that a child knows."""
        stages = self._stages
        return {
            **self._known,
            "model_ms": _as_ms(self._model),
            "model_slices": self._model_slices,
            "model_wall_s": self._model_wall_ns / 1e9,
            "model_cpu_s": self._model_cpu_ns / 1e9,
            "model_preemptions": self._preemptions,
            "letterbox_ms": _as_ms([boxed - began for began, boxed, _, _ in stages]),
            "inference_ms": _as_ms([inferred - boxed for _, boxed, inferred, _ in stages]),
            "nms_ms": _as_ms([done - inferred for _, _, inferred, done in stages]),
            "frame_slices": self._frame_slices,
            "response_ms": self._response_ms,
            "frames_joules": self._joules if stages else None,
            "cpus": sorted(self._sensors.cpus),
            "turns_mhz": self._sensors.mhz,
            "turns_celsius": self._sensors.celsius,
            "turns_throttled": self._sensors.throttled,
            **self._load.shares(),
        }


def _slowed(infer: Infer, factor: float) -> Infer:
    """Let every inference take ``factor`` times as long, the CPU kept busy meanwhile."""

    def slowed(image: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        began = time.perf_counter_ns()
        outputs = infer(image)
        until = began + int(factor * (time.perf_counter_ns() - began))
        while time.perf_counter_ns() < until:
            pass
        return outputs

    return slowed


def _time_paced(request: Request, answer: Callable[[int], int]) -> list[float]:
    """Milliseconds from each frame's arrival to its result, waiting in the queue included.

    Frames arrive every ``1 / realtime_fps`` seconds whether or not the last one is done, and
    none is dropped. Those unanswered when the time is overrun get the time waited so far, a lower
    bound that is beyond any deadline.
    """
    seconds = request["paced_seconds"]
    interval = 1e9 / request["realtime_fps"]
    count = max(1, int(seconds * request["realtime_fps"]))
    start = time.perf_counter_ns() + int(interval)
    give_up = start + int(PACED_OVERRUN * max(seconds * 1e9, count * interval))
    responses: list[int] = []
    for index in range(count):
        arrival = start + int(index * interval)
        now = time.perf_counter_ns()
        if now > give_up:
            responses.append(now - arrival)
            continue
        if now < arrival:
            time.sleep((arrival - now) / 1e9)
        responses.append(answer(index) - arrival)
    return _as_ms(responses)


def _ms_since(started_ns: int) -> float:
    return round((time.perf_counter_ns() - started_ns) / 1e6, 3)


def _as_ms(durations_ns: list[int]) -> list[float]:
    return [round(duration / 1e6, 3) for duration in durations_ns]


def _memory_mb(entry: str) -> float:
    """``VmRSS``, what is resident now, or ``VmHWM``, the most so far, in 10^6 bytes."""
    # Linux's ru_maxrss starts at the resident memory of the process this one was forked from;
    # these belong to this program alone.
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(f"{entry}:"):
                return int(line.split()[1]) * 1024 / 1e6
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


class _HostLoad:
    """The rest of the host's load during this process's turns."""

    def __init__(self) -> None:
        self._ticks = np.zeros(3, dtype=np.int64)
        self._wall_ns = self._own_cpu_ns = 0

    def __enter__(self) -> None:
        self._before = host_ticks()
        self._wall_from, self._cpu_from = time.perf_counter_ns(), time.process_time_ns()

    def __exit__(self, *_: object) -> None:
        self._wall_ns += time.perf_counter_ns() - self._wall_from
        self._own_cpu_ns += time.process_time_ns() - self._cpu_from
        self._ticks += host_ticks() - self._before

    def shares(self) -> dict[str, float | None]:
        """Stolen share of all CPU time, and cores kept busy by others; ``None`` off Linux."""
        busy, stolen, total = self._ticks.tolist()
        if total == 0:
            return {"steal_share": None, "other_cores": None}
        others_s = busy / os.sysconf("SC_CLK_TCK") - self._own_cpu_ns / 1e9
        return {
            "steal_share": round(stolen / total, 4),
            "other_cores": round(max(0.0, others_s) / (self._wall_ns / 1e9), 3),
        }


def _read_lines(lines: queue.Queue[str]) -> None:
    """Pass standard input on; end this process at once when the parent's end of it closes."""
    for line in sys.stdin:
        lines.put(line.strip())
    os._exit(1)


def main(argv: list[str]) -> None:
    """Entry point: ``REQUEST RESULT``. Ends the process without the interpreter's teardown."""
    # Whatever a library prints belongs in the log, not among the answers.
    answers = os.dup(1)
    os.dup2(2, 1)
    lines: queue.Queue[str] = queue.Queue()
    threading.Thread(target=_read_lines, args=(lines,), daemon=True).start()
    measuring = Measuring(json.loads(Path(argv[0]).read_text(encoding="utf-8")))
    os.write(answers, b".")
    for command in iter(lines.get, "end"):
        measuring.take_turn(command)
        os.write(answers, b".")
    result = Path(argv[1])
    partial = result.with_suffix(".partial")
    partial.write_text(json.dumps(measuring.result()), encoding="utf-8")
    partial.replace(result)
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
