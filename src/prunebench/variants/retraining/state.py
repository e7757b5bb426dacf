"""What survives a kill: the last good epoch of a training and what it has cost so far.

Ultralytics overwrites ``last.pt`` and ``best.pt`` in place, so a kill while it saves leaves a
broken file. After each save both are copied here under names of their own, and only then does
``state.json`` name them, by a rename: at every moment it names complete files.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from pydantic import Field, ValidationError

from prunebench.common.files import write_atomically
from prunebench.common.records import FileRef, Record, TrainedOn, sha256_of

STATE_FILE = "state.json"
GOOD_FOLDER = "good"


class TrainingState(Record):
    """The progress of one training; another ``digest`` of what it was asked to do starts again.

    ``metrics`` are Ultralytics' of the best epoch's validation, once there is a final file;
    ``stopped`` says why it ended before its last epoch; ``transferred`` tensors were the parent's.
    """

    digest: str
    epochs: int = 0
    seconds: float = 0.0
    resumed: int = 0
    last: FileRef | None = None
    best: FileRef | None = None
    transferred: int = 0
    tensors: int = 0
    stopped: str | None = None
    trained_on: TrainedOn | None = None
    metrics: dict[str, float] = Field(default_factory=dict)
    finished: bool = False


class StateStore:
    """The state of the training in one folder, and the files it names.

    ``digest`` is that of what the training is asked to do.
    """

    def __init__(self, folder: Path, digest: str) -> None:
        self.folder = folder
        self.fit = folder / "fit"
        self.curves = self.fit / "results.csv"  # Ultralytics appends every epoch
        self.weights = self.fit / "weights"  # and keeps last.pt and best.pt here
        self.state = self._read(digest)

    def read_again(self) -> None:
        """Take over what another process has written."""
        self.state = self._read(self.state.digest)

    def begin(self) -> Path | None:
        """Prepare an attempt, and return the ``last.pt`` to continue from, if any."""
        if self.state.last is None:
            self._clear()
            return None
        self.update(resumed=self.state.resumed + 1)
        self.weights.mkdir(parents=True, exist_ok=True)
        (self.weights / "best.pt").unlink(missing_ok=True)
        for name, ref in (("last.pt", self.state.last), ("best.pt", self.state.best)):
            if ref is not None:
                write_atomically(self.weights / name, (self.folder / ref.path).read_bytes())
        # Epochs that were not saved are trained and written again.
        if self.curves.is_file():
            lines = self.curves.read_text(encoding="utf-8").splitlines(keepends=True)
            write_atomically(self.curves, "".join(lines[: 1 + self.state.epochs]))
        return self.weights / "last.pt"

    def save_epoch(self, epochs: int, *, finished: bool, stopped: str | None) -> None:
        """Keep copies of the files that Ultralytics has just saved.

        ``finished`` says that this was the last epoch to be trained, ``stopped`` why, where it came
        before the last one asked for.
        """
        last = self._keep(self.weights / "last.pt", f"last-{epochs}.pt")
        best_source = self.weights / "best.pt"
        best = None
        if best_source.is_file():
            digest = sha256_of(best_source)
            copies = [ref for ref in (last, self.state.best) if ref and ref.sha256 == digest]
            best = copies[0] if copies else self._keep(best_source, f"best-{epochs}.pt")
        self.update(epochs=epochs, last=last, best=best, finished=finished, stopped=stopped)
        named = {Path(ref.path).name for ref in (last, best) if ref is not None}
        for path in (self.folder / GOOD_FOLDER).iterdir():
            if path.name not in named:
                path.unlink()

    def update(self, **changes: object) -> None:
        """Change fields of the state and write it."""
        self.state = self.state.model_copy(update=changes)
        write_atomically(self.folder / STATE_FILE, self.state.model_dump_json())

    def finish(self, model: FileRef, metrics: dict[str, float]) -> None:
        """Name the final file and remove what only a continued training needs."""
        self.update(last=None, best=model, metrics=metrics)
        self._clear()

    def _read(self, digest: str) -> TrainingState:
        try:
            text = (self.folder / STATE_FILE).read_text(encoding="utf-8")
            state = TrainingState.model_validate_json(text)
        except (OSError, UnicodeDecodeError, ValidationError):
            return TrainingState(digest=digest)
        if state.digest != digest:
            return TrainingState(digest=digest)
        files = [ref for ref in (state.last, state.best) if ref is not None]
        if all(ref.holds(self.folder) for ref in files) and (files or not state.finished):
            return state
        # The saved epoch is gone: its time was spent all the same, its progress is not trusted.
        return TrainingState(digest=digest, seconds=state.seconds)

    def _clear(self) -> None:
        shutil.rmtree(self.fit, ignore_errors=True)
        shutil.rmtree(self.folder / GOOD_FOLDER, ignore_errors=True)

    def _keep(self, source: Path, name: str) -> FileRef:
        target = self.folder / GOOD_FOLDER / name
        write_atomically(target, source.read_bytes())
        return FileRef.of(target, self.folder)
