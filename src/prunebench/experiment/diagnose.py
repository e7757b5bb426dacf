"""Why is it not faster? Every pruned variant of a run profiled beside the run's baseline."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from prunebench.common.errors import PrunebenchError
from prunebench.common.files import write_atomically
from prunebench.common.variant_record import VariantRecord
from prunebench.measuring.host.block import measure_block
from prunebench.measuring.host.lock import host_lock
from prunebench.measuring.latency.records import LatencyResult
from prunebench.measuring.profile import Diagnosis, Request
from prunebench.results.diagnoses import DIAGNOSES_FILE, Diagnoses
from prunebench.results.ranking.controls import PRUNED
from prunebench.results.run_folder import LATENCY_FOLDER
from prunebench.steps.child import run_child
from prunebench.steps.ended import was_ended
from prunebench.steps.events import Emit, Waiting, stage

if TYPE_CHECKING:
    from prunebench.experiment.inputs import Experiment


def diagnose_variants(
    experiment: Experiment,
    variants: Sequence[VariantRecord],
    latency: LatencyResult,
    announce: Emit,
    exclusive: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> Diagnoses:
    """Profile every pruned variant beside the baseline and write ``diagnoses.json``.

    One that cannot be profiled is listed with its reason: the ranking needs none of this.
    """
    folder = experiment.run_folder
    files = {
        v.name: folder / v.exported.onnx.path for v in variants if v.exported and not v.failure
    }
    baseline = next((v.name for v in variants if v.parent is None), None)
    pruned = [variant.name for variant in variants if _is_pruned(variant) and variant.name in files]
    found: dict[str, Diagnosis] = {}
    failures: dict[str, str] = {}

    def diagnose(names: Sequence[str], unpruned: Path) -> None:
        # Timed with the host's lock, which is not reentrant.
        block = measure_block(latency.settings).channels
        who = f"run {folder.name}"
        with host_lock(who, lambda sentence: announce(Waiting(what=sentence))), exclusive():
            for name in names:
                request = Request(
                    onnx=str(files[name]),
                    baseline=str(unpruned),
                    threads=latency.threads[0],
                    cores=latency.settings.cores[0],
                    session=latency.fingerprint.session,
                    block=block,
                )
                stage("diagnosis", variant=name)
                workdir = folder / LATENCY_FOLDER / "diagnosis" / name
                try:
                    plain = run_child("diagnose", request, workdir, threads=request.threads)
                except PrunebenchError as error:
                    failures[name] = str(error)
                else:
                    found[name] = Diagnosis.model_validate(plain)

    if pruned and baseline in files:
        try:
            diagnose(pruned, files[baseline])
        except PrunebenchError as error:
            if was_ended():
                raise
            failures = dict.fromkeys(pruned, str(error))
    diagnoses = Diagnoses(found=found, failures=failures)
    write_atomically(folder / LATENCY_FOLDER / DIAGNOSES_FILE, diagnoses.model_dump_json(indent=2))
    return diagnoses


def _is_pruned(variant: VariantRecord) -> bool:
    """Whether it has fewer channels to be faster by; integers have kernels of their own."""
    return (
        variant.parent is not None
        and variant.quantization is None
        and variant.audit is not None
        and variant.audit.verdict in PRUNED
    )
