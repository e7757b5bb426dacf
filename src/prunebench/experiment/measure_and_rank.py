"""From finished variants to a ranked run: measure, rank, write the tables and the report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from prunebench.common.errors import StepError
from prunebench.common.files import write_atomically
from prunebench.common.variant_record import VariantRecord
from prunebench.config.sections import CoreClass
from prunebench.experiment.figures import in_runtimes_from, measured_from
from prunebench.experiment.soak import soak_of
from prunebench.measuring.latency.measure import Target, measure
from prunebench.measuring.latency.records import LatencyResult
from prunebench.measuring.latency.stopping import possible_interim_looks
from prunebench.results.devices import Device
from prunebench.results.diagnoses import Diagnoses
from prunebench.results.messages.catalogue import Messages
from prunebench.results.messages.observations import tell_noise
from prunebench.results.outcome import LATENCY_FILE, RANKING_CSV, RunRanking
from prunebench.results.ranking.doubts import Letterbox
from prunebench.results.ranking.rank import rank
from prunebench.results.ranking.records import FailedVariant, NotTrained, Ranking
from prunebench.results.report.build import build_report
from prunebench.results.run_folder import (
    LATENCY_FOLDER,
    RANKING_FILE,
    read_elsewhere,
    save_variant,
)
from prunebench.steps.events import Emit

if TYPE_CHECKING:
    from prunebench.experiment.inputs import Experiment


def measure_latency(
    experiment: Experiment,
    variants: Sequence[VariantRecord],
    announce: Emit,
    exclusive: Callable[[], AbstractContextManager[None]] = nullcontext,
    cores: CoreClass | None = None,
) -> LatencyResult:
    """Measure every variant that has an ONNX file, or go on with an interrupted measurement.

    ``exclusive`` is entered with the host's lock held, ``cores`` are others than the run's first.
    StepError where none has a file.
    """
    folder = experiment.run_folder
    targets = targets_of(folder, variants)
    if not targets:
        reasons = "; ".join(f"{v.name}: {v.failure.reason}" for v in variants if v.failure)
        raise StepError("latency", f"no variant is left to measure ({reasons})")
    config = experiment.config
    settings, home = config.latency, folder / LATENCY_FOLDER
    if cores is not None:
        settings = settings.model_copy(update={"cores": (cores,)})
        home = folder / _folder_of(cores)
    result = measure(
        targets,
        [Path(image) for image in experiment.images[: config.latency.images]],
        settings,
        realtime_fps=config.ranking.realtime_fps,
        imgsz=config.image.hw,
        nc=len(experiment.class_names),
        seed=config.seed,
        folder=home,
        who=f"run {folder.name}",
        on_event=announce,
        exclusive=exclusive,
    )
    write_atomically(home / LATENCY_FILE, result.model_dump_json(indent=2))
    return result


def targets_of(folder: Path, variants: Sequence[VariantRecord]) -> list[Target]:
    """What is measured of a run: its variants that have a file, and those in other runtimes."""
    return [
        Target(
            v.name,
            folder / v.exported.onnx.path,
            v.exported.onnx.sha256,
            imgsz=v.exported.imgsz,
            runtime=v.runtime.model_dump(include={"name", "head"}) if v.runtime else None,
        )
        for v in (*variants, *read_elsewhere(folder))
        if v.exported is not None and v.failure is None
    ]


def rank_run(
    experiment: Experiment,
    variants: Sequence[VariantRecord],
    latency: LatencyResult,
    diagnoses: Diagnoses | None = None,
) -> RunRanking:
    """Rank what was measured and write ``ranking.csv``, the report and ``ranking.json``.

    ``ranking.json`` is written last: a run that has it is finished. StepError where the run was
    noisy and the configuration refuses to rank such a run.
    """
    folder, config = experiment.run_folder, experiment.config
    for variant in variants:
        save_variant(folder, variant)
    if latency.noisy and config.latency.strict:
        aside = _set_aside(folder / LATENCY_FOLDER)
        seen = [tell_noise(one, Messages()) for one in latency.noise]
        raise StepError(
            "rank",
            f"the run was noisy and strict is set: {'; '.join(seen)}; its samples are "
            f"kept in {aside.name}, run it again to measure anew",
        )
    rankings = _rankings(experiment, variants, latency, LATENCY_FOLDER)
    baseline = next((v.name for v in variants if v.parent is None), None)
    slow = diagnoses and diagnoses.not_faster(rankings[0], baseline)
    outcome = RunRanking(
        name=config.name,
        run=folder.name,
        rankings=rankings,
        noise=latency.noise,
        stopped=latency.stopped,
        rounds=latency.rounds,
        split=experiment.split,
        passes=experiment.passes,
        diagnoses=slow.explanations() if slow else (),
        soak=soak_of(experiment, variants, latency) if config.latency.soak_minutes else None,
    )
    csv = outcome.to_frame().to_csv(index=False, float_format="%.6g", lineterminator="\n")
    write_atomically(folder / RANKING_CSV, csv)
    build_report(folder, outcome)
    write_atomically(folder / RANKING_FILE, outcome.model_dump_json(indent=2))
    return outcome


def rank_on_cores(
    experiment: Experiment, variants: Sequence[VariantRecord], latency: LatencyResult
) -> Device:
    """What a class of this host's cores says of a run's files, as another device would."""
    cores = latency.settings.cores[0]
    outcome = RunRanking(
        name=experiment.config.name,
        run=experiment.run_folder.name,
        rankings=_rankings(experiment, variants, latency, _folder_of(cores)),
        noise=latency.noise,
        stopped=latency.stopped,
        rounds=latency.rounds,
    )
    name = f"{cores}-cores"
    return Device(name=name, run=outcome.run, fingerprint=latency.fingerprint, ranking=outcome)


def _folder_of(cores: CoreClass) -> str:
    return f"{LATENCY_FOLDER}-{cores}"


def _rankings(
    experiment: Experiment,
    variants: Sequence[VariantRecord],
    latency: LatencyResult,
    within: str,
) -> tuple[Ranking, ...]:
    """The ranking of each thread count, from what lies in a folder of the run."""
    config = experiment.config
    measured = measured_from(experiment, variants, latency, within=within)
    elsewhere = read_elsewhere(experiment.run_folder)
    in_runtimes = in_runtimes_from(experiment, elsewhere, latency, within=within)
    return tuple(
        rank(
            measured,
            config=config.ranking,
            threads=threads,
            failures=_failures(variants),
            not_trained=[
                NotTrained(name=v.name, judgement=v.not_trained) for v in variants if v.not_trained
            ],
            smallest_difference_percent=config.latency.smallest_difference_percent,
            interim_looks=possible_interim_looks(latency),
            letterbox=_letterbox(experiment),
            in_runtimes=in_runtimes,
            failures_elsewhere=_failures(elsewhere),
        )
        for threads in latency.threads
    )


def _failures(variants: Sequence[VariantRecord]) -> list[FailedVariant]:
    return [
        FailedVariant(name=v.name, step=v.failure.step, reason=v.failure.reason)
        for v in variants
        if v.failure is not None
    ]


def _letterbox(experiment: Experiment) -> Letterbox | None:
    """The letterbox, where it is of another size than the baseline's training."""
    for variant in experiment.variants:
        if variant.control == "trained-size" and variant.imgsz and variant.parent:
            # Not its INT8 sibling, which comes after it.
            return Letterbox(
                baseline=variant.parent,
                control=variant.name,
                trained=variant.imgsz,
                deployed=experiment.config.image.hw,
            )
    return None


def _set_aside(measured: Path) -> Path:
    """Move a refused measurement away, or the next attempt would go on with its samples."""
    number = 1
    while (aside := measured.with_name(f"{measured.name}-refused-{number}")).exists():
        number += 1
    measured.rename(aside)
    return aside
