"""What a gate compares: variants in run folders, and stored rounds of those that are gone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import select

from prunebench.common.errors import InputError
from prunebench.common.records import FileRef
from prunebench.common.statistics import Location
from prunebench.common.variant_record import VariantRecord
from prunebench.config.sections import LatencyConfig
from prunebench.experiment.inputs import Experiment, read_experiment
from prunebench.measuring.host.fingerprint import fingerprint_for
from prunebench.results.history.lookup import history_url, is_run_folder, recorded
from prunebench.results.history.reading import find_run, fingerprint_of, stored_to_sentinel
from prunebench.results.history.store import Store
from prunebench.results.history.tables import ResultRow
from prunebench.results.outcome import RunRanking, read_outcome
from prunebench.results.run_folder import read_variant


class Subject(NamedTuple):
    """A variant in a run's folder; ``title`` is the variant in words."""

    folder: Path
    experiment: Experiment
    variant: VariantRecord
    title: str

    @property
    def onnx(self) -> FileRef | None:
        """Its ONNX file, where it is still there as it was made."""
        exported = self.variant.exported
        return exported.onnx if exported and exported.onnx.holds(self.folder) else None

    @property
    def detections(self) -> tuple[Path, ...]:
        """Those of each of its trainings, where all are still there as they were made."""
        each = [one.accuracy for one in self.variant.trainings or (self.variant,)]
        refs = [accuracy.detections for accuracy in each if accuracy is not None]
        if len(refs) < len(each) or not all(ref.holds(self.folder) for ref in refs):
            return ()
        return tuple(self.folder / ref.path for ref in refs)

    @property
    def trainings(self) -> int:
        """Trainings behind its accuracy, 0 where it was not retrained."""
        retrained = any(step.startswith("retrain ") for step in self.variant.steps)
        return len(self.variant.trainings) or int(retrained)


class StoredBaseline(NamedTuple):
    """A variant of a run in the history; log(variant / sentinel) by threads."""

    title: str
    ratios: dict[int, Location]


def find_subject(
    given: str, outcome: Callable[[Path], RunRanking] = read_outcome
) -> Subject | None:
    """The variant ``RUNFOLDER:VARIANT``, or the best-ranked one of ``RUNFOLDER`` by ``outcome``.

    ``None`` where there is no such run folder; ``InputError`` where it has no such variant.
    """
    path, name = _split(given)
    if not is_run_folder(str(path)):
        return None
    folder = path.resolve()
    experiment = read_experiment(folder)
    ranked = [] if name else [row.name for row in outcome(folder).rankings[0].rows]
    chosen, title = _choose(name, ranked, folder.name)
    return Subject(folder, experiment, read_variant(folder, chosen), title)


def find_stored(
    given: str, candidate: Subject, settings: LatencyConfig, subject: Subject | None
) -> StoredBaseline:
    """The baseline's rounds in the candidate's history, at the thread counts of ``settings``.

    ``given`` is as for ``find_subject``, but its folder need not exist any more. Where it does,
    ``subject`` is the baseline, and its run is recorded if need be.

    Raises:
        InputError: The history does not have them, or they come from another host.
    """
    path, name = _split(given)
    with Store(history_url(candidate.folder), create=subject is not None) as store:
        run = path.name if subject is None else recorded(store, str(path))
        with store.reading() as session:
            row = find_run(session, run)
            query = select(ResultRow.variant).where(ResultRow.run_id == row.id)
            ranked = session.scalars(query.order_by(ResultRow.threads, ResultRow.rank)).all()
            host = fingerprint_of(session, row)
            ratios = stored_to_sentinel(session, row.id)
    if subject is None:
        chosen, title = _choose(name, ranked, row.name)
    else:
        chosen, title = subject.variant.name, subject.title
    differences = host.differences(fingerprint_for(settings))
    if differences:
        raise InputError(
            f"the ONNX file of {title} is gone, and the run was measured on another host "
            f"({'; '.join(differences)})",
            fix="run the baseline again on this host",
        )
    wanted = settings.threads or ()
    found = {count: ratios[chosen, count] for count in wanted if (chosen, count) in ratios}
    if not found:
        raise InputError(
            f"the ONNX file of {title} is gone, and the history has no rounds of it at "
            f"{' or '.join(map(str, wanted))} thread(s)",
            fix="run the baseline again on this host",
        )
    return StoredBaseline(title, found)


def _split(given: str) -> tuple[Path, str | None]:
    folder, colon, name = given.rpartition(":")
    if not colon or Path(given).is_dir():
        return Path(given), None
    return Path(folder), name


def _choose(name: str | None, ranked: Sequence[str], run: str) -> tuple[str, str]:
    """Name and title of the variant that was asked for, or of the one that ranks first."""
    if name is not None:
        return name, f"{name} of run {run}"
    if not ranked:
        raise InputError("no variant of the run is ranked", where=run, fix="name a variant")
    return ranked[0], f"{ranked[0]}, the best-ranked variant, of run {run}"
