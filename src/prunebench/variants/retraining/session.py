"""One attempt at a training: Ultralytics' trainer with our callbacks around it."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from prunebench.common.errors import StepError
from prunebench.common.plain import METRIC_NAMES, VALIDATION
from prunebench.common.records import TrainedOn
from prunebench.common.ultralytics_files import plainly_named
from prunebench.measuring.heads import HEADS
from prunebench.steps.events import Restored, Stage
from prunebench.variants.checkpoint import parameter_count
from prunebench.variants.retraining.events import Progress
from prunebench.variants.retraining.job import Job
from prunebench.variants.retraining.saved import STEP, check_structure, read_saved, tensor_shapes
from prunebench.variants.retraining.state import StateStore

RANK_STRIDE = 7_368_787
"""Distance between the seeds of two processes of one training: a prime."""

SEED_STRIDE = 100_003
"""Distance between the seeds of two experiments: a prime far above any number of epochs."""

Callbacks = Mapping[str, Callable[[Any], None]]
"""Ultralytics' name of a moment (``on_train_epoch_start``) to what is called with the trainer."""


class Session:
    """Runs one attempt and keeps its state in ``store``.

    ``parent`` is the network of ``job.checkpoint``; with ``keep_structure`` the training stops when
    its structure is another one.
    """

    def __init__(
        self, job: Job, store: StateStore, progress: Progress, parent: Any, keep_structure: bool
    ) -> None:
        self._job, self._budget = job, job.budget
        self._store, self._progress = store, progress
        self._parent, self._keep_structure = parent, keep_structure
        self._first = True
        self._stopped: str | None = None
        self._started = time.monotonic()
        self._seconds_before = store.state.seconds
        self._epoch = self._batch = self._val_batch = 0

    def run(self, trainer: type[Any] | None, callbacks: Callbacks) -> None:
        """Train until the last epoch, a limit, or an error; ``callbacks`` come after our own."""
        from ultralytics.models.yolo.model import YOLO

        from prunebench.variants.retraining.every_image import on_every_image
        from prunebench.variants.retraining.ranks import starting_ranks

        last = self._store.begin()
        self._store.fit.mkdir(parents=True, exist_ok=True)
        done = self._store.state.epochs
        whole = f"continuing after epoch {done} of {self._budget.epochs}"
        self._progress.tell(Stage(what=whole if done else "reading the images"))
        arguments = self._arguments()
        teachers = [Path(path) for path in [arguments.get("distill_model")] if path]
        start = last or self._job.checkpoint
        try:
            with plainly_named(start, self._store.fit, *teachers) as (start, folder, *teachers):
                arguments |= [("distill_model", str(path)) for path in teachers]
                model = YOLO(start)
                for event, callback in (*self._callbacks().items(), *callbacks.items()):
                    model.add_callback(event, callback)
                kind = trainer or model.task_map[str(model.task)]["trainer"]
                kind = on_every_image(kind, folder, self._budget.loggers)
                with starting_ranks(self._job.folder) if self._several else nullcontext():
                    model.train(trainer=kind, resume=last is not None, **arguments)
        finally:
            if self._several:
                self._store.read_again()
            self._store.update(seconds=self._seconds())

    @property
    def _several(self) -> bool:
        """Whether Ultralytics starts a process per device, to which this object is pickled."""
        return self._budget.device.count > 1

    def _arguments(self) -> dict[str, Any]:
        from prunebench.variants.retraining.arithmetic import asked_of_ultralytics

        budget = self._budget
        return {
            # Never Ultralytics' "auto", which chooses behind the user's back.
            "optimizer": "SGD",
            "amp": asked_of_ultralytics(budget.device, budget.precision),
            **self._job.arguments,
            "data": budget.data_yaml,
            "epochs": budget.epochs,
            "imgsz": budget.imgsz,
            "batch": budget.batch,
            "workers": budget.workers,
            "save_dir": str(self._store.fit),
            "seed": budget.seed,
            "patience": budget.patience,
            "device": budget.device.ultralytics_name,
            "cache": budget.cache,
            "deterministic": True,
            "plots": False,
            "val": True,
            "exist_ok": True,
            # Ids say which class is which; by their names two of one name would become one.
            "cls_remap": False,
        }

    def _callbacks(self) -> dict[str, Any]:
        return {
            "on_pretrain_routine_start": self._set_threads,
            "on_pretrain_routine_end": self._set_up,
            "on_train_start": self._start_clock,
            "on_train_epoch_start": self._seed_epoch,
            "on_train_batch_start": self._check_batch_size,
            "on_train_batch_end": self._after_batch,
            "on_train_epoch_end": self._after_training,
            "on_val_start": self._before_validation,
            "on_val_batch_end": self._after_validation_batch,
            "on_model_save": self._after_save,
        }

    def _set_threads(self, _: Any) -> None:
        """Undo ``select_device``, which leaves a CPU training one thread less than cores."""
        import torch

        torch.set_num_threads(self._budget.threads)

    def _set_up(self, trainer: Any) -> None:
        from prunebench.variants.retraining.arithmetic import train_in
        from prunebench.variants.retraining.ranks import end_with_starter, first_rank

        end_with_starter(self._job.folder)
        self._first = first_rank()
        self._compare_with_parent(trainer)
        train_in(self._budget.precision, trainer)
        if self._first:
            device = self._budget.device
            self._store.update(
                trained_on=TrainedOn(
                    device=device.kind,
                    name=device.name,
                    devices=device.count,
                    precision=self._budget.precision,
                    batch=trainer.batch_size,
                    workers=trainer.train_loader.num_workers,
                    cache=trainer.train_loader.dataset.kept_in,
                )
            )

    def _start_clock(self, trainer: Any) -> None:
        self._progress.start(trainer.start_epoch)

    def _compare_with_parent(self, trainer: Any) -> None:
        """Count what was taken over from the checkpoint, before the first epoch."""
        from ultralytics.utils.torch_utils import unwrap_model

        network = unwrap_model(trainer.model)
        network = getattr(network, "student_model", network)
        shapes, before = tensor_shapes(network), tensor_shapes(self._parent)
        if not trainer.start_epoch and self._first:
            # As Ultralytics' ``intersect_dicts`` counts in "Transferred N/M items from ...".
            transferred = sum(before.get(name) == shape for name, shape in shapes.items())
            self._store.update(transferred=transferred, tensors=len(shapes))
        if shapes != before and self._first:
            self._progress.tell(
                Restored(
                    transferred=self._store.state.transferred,
                    tensors=len(shapes),
                    parameters=parameter_count(network),
                    parent_parameters=parameter_count(self._parent),
                )
            )
        if self._keep_structure:
            check_structure(network, self._parent, "the network to be trained")

    def _seed_epoch(self, trainer: Any) -> None:
        """Seed each epoch by itself: strategies and continued trainings see the same images."""
        import numpy as np
        import torch
        from ultralytics.utils import RANK

        seed = (self._budget.seed * SEED_STRIDE + trainer.epoch) % 2**32
        # Each of several processes draws its own augmentation, and their samplers agree.
        drawn = (seed + max(0, RANK) * RANK_STRIDE) % 2**32
        random.seed(drawn)
        np.random.seed(drawn)
        torch.manual_seed(drawn)
        loader = trainer.train_loader
        # The sampler shares the loader's generator, whose state depends on when it was made.
        loader.sampler.generator = torch.Generator().manual_seed(seed)
        loader.sampler.seed = self._budget.seed * SEED_STRIDE
        if loader.num_workers:
            # They draw from it, and go on with what they have begun to load.
            loader.generator.manual_seed(drawn)
            loader.reset()
        self._epoch, self._batch = trainer.epoch, 0

    def _check_batch_size(self, trainer: Any) -> None:
        # Ultralytics halves it where memory runs out, and the training would be another one.
        if trainer.batch_size != self._budget.batch:
            raise MemoryError

    def _after_batch(self, trainer: Any) -> None:
        self._batch += 1
        if self._first and self._progress.due():
            self._store.update(seconds=self._seconds())
            batches = len(trainer.train_loader)
            self._progress.batch("train", trainer.epoch, self._batch, batches, _loss(trainer))
        # Several processes have to end with the same batch: they agree after an epoch.
        if not self._several:
            self._stop_at_limit(trainer)

    def _stop_at_limit(self, trainer: Any) -> None:
        limit = self._budget.max_minutes
        last = trainer.epoch + 1 == trainer.epochs and self._batch == len(trainer.train_loader)
        if limit is not None and self._seconds() > limit * 60 and not last:
            self._stopped = (
                f"max_minutes ({limit:g}) reached in epoch {trainer.epoch + 1} of {trainer.epochs}"
            )
            trainer.stop = True

    def _after_training(self, trainer: Any) -> None:
        if self._several and self._first:
            self._stop_at_limit(trainer)
        # Ultralytics recovers from last.pt in later epochs; in the first one it goes on and
        # would save a network of zeros.
        if trainer.epoch == trainer.start_epoch and not math.isfinite(float(trainer.loss.detach())):
            where = f"in epoch {trainer.epoch + 1}"
            raise StepError(STEP, f"the loss is not finite {where}, lower the learning rate (lr0)")

    def _before_validation(self, validator: Any) -> None:
        self._set_threads(validator)
        self._val_batch = 0

    def _after_validation_batch(self, validator: Any) -> None:
        self._val_batch += 1
        if self._first and self._progress.due():
            batches = len(validator.dataloader)
            self._progress.batch("val", self._epoch, self._val_batch, batches, None)

    def _after_save(self, trainer: Any) -> None:
        """Keep what was saved once it is read back complete, finite, of the structure asked for."""
        epochs = trainer.epoch + 1
        if trainer.stop and self._stopped is None and epochs < trainer.epochs:
            best, patience = trainer.stopper.best_epoch, trainer.args.patience
            self._stopped = f"no gain since epoch {best} (patience {patience})"
        tensors = trainer.ema.ema.state_dict().values()
        if not all(bool(tensor.isfinite().all()) for tensor in tensors):
            # Ultralytics replaces them by zeros in the file.
            raise StepError(STEP, f"weights are not finite after epoch {epochs}")
        saved, _ = read_saved(trainer.last)
        if self._keep_structure:
            check_structure(saved, self._parent, f"the checkpoint of epoch {epochs}")
        self._store.save_epoch(epochs, finished=bool(trainer.stop), stopped=self._stopped)
        if trainer.stop:
            # Ultralytics would validate the best epoch once more; its metrics are in the copy.
            trainer.best.unlink(missing_ok=True)
        metric = HEADS[trainer.args.task].overlaps[0]
        score = trainer.metrics.get(VALIDATION[metric])
        known = None if score is None else float(score)
        self._progress.epoch(trainer.epoch, _loss(trainer), known, METRIC_NAMES[metric])

    def _seconds(self) -> float:
        return self._seconds_before + time.monotonic() - self._started


def _loss(trainer: Any) -> float | None:
    total = sum(float(value) for value in (trainer.tloss or {}).values())
    return total if math.isfinite(total) else None
