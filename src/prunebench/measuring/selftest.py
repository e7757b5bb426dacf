"""Can this host tell variants apart? One model, measured as several variants of known speed.

The same file is measured twice as it is (A/A: any difference declared is a false alarm) and once
for each known slowdown (A/B): the measuring process spins inside the timed section after every
inference, for a fixed share of what that inference took. Everything else is as in a comparison:
rounds, stopping and test; each copy is judged against the first as if no other was measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from prunebench.common.errors import CheckpointError
from prunebench.common.records import sha256_of
from prunebench.common.statistics import log_ratios
from prunebench.config.sections import LatencyConfig
from prunebench.measuring.latency.measure import Target, measure
from prunebench.measuring.latency.samples import read_samples
from prunebench.measuring.latency.sentinel import INPUT_HW, write_sentinel
from prunebench.measuring.latency.stopping import round_medians
from prunebench.measuring.selftest_verdict import Copies, SelfTest, judge_copies
from prunebench.measuring.session import SessionSettings, open_session, session_options
from prunebench.steps.events import Emit, Stage

SLOWDOWNS = (1.03, 1.05)
REPETITIONS = 5
THOROUGH = LatencyConfig(threads=(1,))
QUICK = LatencyConfig(threads=(1,), rounds_max=8, seconds=0.2)

REFERENCE = "a"
TWIN = "a again"


def selftest(
    onnx: Path | None,
    config: LatencyConfig,
    folder: Path,
    *,
    repetitions: int = REPETITIONS,
    slowdowns: Sequence[float] = SLOWDOWNS,
    seed: int = 0,
    on_event: Emit | None = None,
) -> SelfTest:
    """Measure copies of one model, ``repetitions`` times.

    ``onnx`` has one float32 input of a fixed shape (``None``: a small built-in model), ``config``
    one thread count; ``slowdowns`` are true ratios above 1 that should be found. CheckpointError
    where the file cannot be measured, ChildFailed where onnxruntime cannot run it.
    """
    emit: Emit = on_event or (lambda event: None)
    if onnx is None:
        folder.mkdir(parents=True, exist_ok=True)
        path, imgsz = folder / "reference.onnx", INPUT_HW
        write_sentinel(path)
    else:
        path, imgsz = onnx, _input_hw(onnx, config)
    factors = (1.0, *slowdowns)
    measured = []
    for index in range(repetitions):
        emit(Stage(what=f"selftest: repetition {index + 1} of {repetitions}"))
        place = folder / f"{index}"
        measured.append(_measure_copies(path, imgsz, config, factors, place, seed + index, emit))
    model = "built-in reference model" if onnx is None else str(onnx)
    return judge_copies(model, measured, factors, np.random.default_rng(seed))


def _input_hw(path: Path, config: LatencyConfig) -> tuple[int, int]:
    if not path.is_file():
        raise CheckpointError("the file does not exist", where=path, fix="check the path")
    try:
        inputs = open_session(str(path), session_options(SessionSettings.of(config))).get_inputs()
    except Exception as error:  # onnxruntime has no public base class for its errors
        raise CheckpointError("onnxruntime cannot load the file", where=path) from error
    match [(item.type, *item.shape) for item in inputs]:
        case [("tensor(float)", int(), int(), int(height), int(width))]:
            return height, width
    raise CheckpointError(
        "its input is not one float32 image of a fixed shape",
        where=path,
        fix="export it with dynamic=False",
    )


def _measure_copies(
    path: Path,
    imgsz: tuple[int, int],
    config: LatencyConfig,
    factors: Sequence[float],
    folder: Path,
    seed: int,
    emit: Emit,
) -> Copies:
    sha256 = sha256_of(path)
    names = [TWIN, *(f"a x {factor:g}" for factor in factors[1:])]
    copies = [Target(n, path, sha256, f) for n, f in zip(names, factors, strict=True)]
    result = measure(
        [Target(REFERENCE, path, sha256), *copies],
        [],
        config,
        realtime_fps=20.0,
        imgsz=imgsz,
        nc=1,
        seed=seed,
        folder=folder,
        who="a selftest",
        on_event=emit,
        contested=lambda first, second: REFERENCE in (first, second),
    )
    medians = round_medians(read_samples(folder / result.samples.path), "model")
    threads = result.threads[0]
    reference = medians[REFERENCE, threads]
    logs = tuple(log_ratios(medians[name, threads], reference) for name in names)
    return Copies(logs, result, float(np.median(list(reference.values()))))
