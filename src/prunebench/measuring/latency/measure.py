"""Measure variants side by side on this host, alone on it, and make a result of the rounds."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from prunebench.common.errors import StepError
from prunebench.common.files import sha256_of
from prunebench.common.records import FileRef
from prunebench.config.sections import LatencyConfig
from prunebench.measuring.host.emulation import require_real_cpu
from prunebench.measuring.host.fingerprint import cpus_of, fingerprint_for
from prunebench.measuring.host.lock import host_lock
from prunebench.measuring.host.sensors import core_classes
from prunebench.measuring.latency.log import SampleLog
from prunebench.measuring.latency.noise import load_before_start, noise_findings, sentinel_report
from prunebench.measuring.latency.raw import SENTINEL, Sample
from prunebench.measuring.latency.records import LatencyResult
from prunebench.measuring.latency.rounds import Rounds, prepare_frames, protocol_of, threads_of
from prunebench.measuring.latency.rounds import Target as Target
from prunebench.measuring.latency.sentinel import write_sentinel
from prunebench.measuring.latency.stopping import Contested
from prunebench.measuring.latency.together import STEP
from prunebench.steps.events import Emit, Timed, Waiting

if TYPE_CHECKING:
    from prunebench.measuring.heads.detect import Detect

SENTINEL_FILE = "sentinel.onnx"


def measure(
    variants: Sequence[Target],
    images: Sequence[Path],
    config: LatencyConfig,
    *,
    realtime_fps: float,
    imgsz: tuple[int, int],
    nc: int,
    seed: int,
    folder: Path,
    who: str = "a measurement",
    on_event: Emit | None = None,
    exclusive: Callable[[], AbstractContextManager[None]] = nullcontext,
    contested: Contested | None = None,
) -> LatencyResult:
    """Measure the latency of several ONNX files, of unique names, on this host.

    Holds the host's measuring lock meanwhile; ``who`` names the run to others who wait. Killed at
    any moment and called again with the same folder, it continues after the last round that was
    finished, as long as host, files and settings are the same; else it starts anew.

    Args:
        images: For the end-to-end frames. Without any, inferences alone are timed.
        imgsz: (height, width) of the letterbox in pixels, for targets without their own.
        on_event: Receives ``Waiting`` and, after every round for each child, ``Timed``.
        exclusive: Entered with the host's lock held: the flow's own account of who measures.
        contested: Whether the order of two variants is worth more rounds; ``None``: of all.

    Raises:
        EnvironmentMismatch: An emulator runs this process.
        DatasetError: An image cannot be read.
        StepError: A file is not what its sha256 says.
        ChildFailed: The process of the sentinel or of every variant failed, or one was
            interrupted. A variant that fails alone is listed in ``failures`` instead.
    """
    require_real_cpu()
    emit: Emit = on_event or (lambda event: None)
    # Preparing uses the CPU too, so it waits for a measurement that is under way.
    with host_lock(who, lambda sentence: emit(Waiting(what=sentence))), exclusive():
        for target in variants:
            if sha256_of(target.onnx) != target.sha256:
                reason = f"{target.onnx} changed after it was made"
                raise StepError(STEP, reason, variant=target.name)
        used, cpus = images[: config.images], cpus_of(config.cores[0])
        host = fingerprint_for(config)
        shared = {"realtime_fps": realtime_fps, "imgsz": imgsz, "nc": nc, "seed": seed}
        settings = config.model_dump(mode="json")
        protocol = protocol_of(variants, used, settings, shared)
        work = folder / "work"
        work.mkdir(parents=True, exist_ok=True)
        try:
            write_sentinel(work / SENTINEL_FILE)
            rounds = Rounds(
                sentinel=Target(SENTINEL, work / SENTINEL_FILE, ""),
                variants={target.name: target for target in variants},
                threads=threads_of(config.threads, cpus),
                cpus=cpus,
                settings=settings,
                frames=_frames(used, variants, imgsz, work),
                shared=shared,
                work=work,
                log=SampleLog(folder, json.loads(json.dumps({**protocol, "host": host.digest()}))),
                told=lambda samples, runs: _tell(samples, runs, emit),
            )
            load_average = os.getloadavg()
            # In a continued run the samples so far show the load.
            noise = [] if rounds.log.samples else load_before_start()
            stopped = rounds.run(contested)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    samples = rounds.log.samples
    return LatencyResult(
        settings=config,
        realtime_fps=realtime_fps,
        imgsz=imgsz,
        nc=nc,
        seed=seed,
        fingerprint=host,
        threads=rounds.threads,
        variants=protocol["variants"],
        failures=rounds.failures,
        kind=rounds.kind,
        rounds=1 + max(sample.round for sample in samples),
        stopped=stopped,
        pairs=rounds.judge(contested),
        wall_s=sum(sample.elapsed_s for sample in samples),
        asked_s=rounds.asked_s(),
        load_average=load_average,
        sentinel=sentinel_report(samples),
        noise=(*noise, *noise_findings(samples, os.cpu_count() or 1, core_classes())),
        samples=FileRef.of(rounds.log.path, folder),
    )


def _frames(
    images: Sequence[Path], targets: Sequence[Target], imgsz: tuple[int, int], work: Path
) -> list[Path]:
    if not images:
        return []
    from prunebench.data.images import usable_image

    sizes = {target.imgsz or imgsz for target in targets}
    return prepare_frames(images, usable_image, sizes, work, _head_of(targets))


def _head_of(targets: Sequence[Target]) -> Detect:
    """The head of all of them, by the first that can be read."""
    import onnx

    from prunebench.measuring.heads import head_of

    for target in targets:
        with suppress(Exception):  # What is wrong with a file is told when it is measured.
            if target.runtime is not None:
                return head_of(target.runtime["head"])
            return head_of({e.key: e.value for e in onnx.load(target.onnx).metadata_props})
    return head_of({})


def _tell(samples: Sequence[Sample], runs: int, emit: Emit) -> None:
    for sample in samples:
        emit(
            Timed(
                round=sample.round + 1,
                run=sample.position + 1,
                runs=runs,
                variant=sample.variant,
                threads=sample.threads,
                model_ms=float(np.median(sample.model_ms)),
            )
        )
