"""Progress of a training as events: what is happening now, never long silent."""

from __future__ import annotations

import sys
import time

from prunebench.steps.events import Batch, Emit, Epoch, Event

HEARTBEAT_S = 2.0  # shortest time between two events about batches


class Progress:
    """Turns the trainer's callbacks into events."""

    def __init__(self, emit: Emit, epochs: int) -> None:
        self._emit, self._epochs = emit, epochs
        self._last = 0.0
        self.start(0)

    def start(self, first_epoch: int) -> None:
        """Start the clock of this attempt at epoch ``first_epoch`` (0 for the first)."""
        self._started = time.monotonic()
        self._first_epoch = first_epoch

    def due(self) -> bool:
        """Whether the last event lies far enough back for another one about a batch."""
        return time.monotonic() - self._last >= HEARTBEAT_S

    def batch(self, phase: str, epoch: int, batch: int, batches: int, loss: float | None) -> None:
        """Say which batch, counted from 1, of which epoch, from 0, has just been done."""
        done = epoch - self._first_epoch + (batch / batches if phase == "train" else 1)
        self.tell(
            Batch(
                phase=phase,
                epoch=epoch + 1,
                epochs=self._epochs,
                batch=batch,
                batches=batches,
                loss=loss,
                seconds_left=self._seconds_left(done),
            )
        )

    def epoch(
        self, epoch: int, loss: float | None, map50: float | None, metric: str = "mAP50"
    ) -> None:
        """Say that ``epoch`` (counted from 0) has been trained, validated and saved."""
        self.tell(
            Epoch(
                epoch=epoch + 1,
                epochs=self._epochs,
                loss=loss,
                map50=map50,
                metric=metric,
                seconds_left=self._seconds_left(epoch + 1 - self._first_epoch),
            )
        )

    def _seconds_left(self, epochs_done: float) -> float | None:
        if epochs_done <= 0:
            return None
        elapsed = time.monotonic() - self._started
        left = self._epochs - self._first_epoch - epochs_done
        return round(max(0.0, elapsed / epochs_done * left), 1)

    def tell(self, event: Event) -> None:
        """Hand on an event."""
        self._last = time.monotonic()
        # Ultralytics' progress bar leaves its line unfinished; an event needs a line of its own.
        print(flush=True, file=sys.stdout)
        self._emit(event)
