"""An experiment: a configuration whose inputs were found, checked and digested before work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import PrivateAttr, ValidationError

from prunebench.common.cores import usable_cores
from prunebench.common.errors import InputError
from prunebench.common.records import Audit, Record, Runtime, Structure
from prunebench.config.loading import Config
from prunebench.data.dataset import Dataset, read_dataset
from prunebench.experiment.plan import PlannedVariant
from prunebench.measuring.host.block import Block
from prunebench.measuring.remote.there import There
from prunebench.results.history.store import default_url
from prunebench.results.run_folder import STEPS_FOLDER, read_run_config
from prunebench.variants.devices import Device
from prunebench.variants.int8.on_device import Measured
from prunebench.variants.rewriting.choice import Passes

EXPERIMENT_FILE = "experiment.json"


class Checked(Record):
    """A configuration whose inputs were found, checked and digested, with the variants it plans.

    Attributes:
        variants: Each after its parent.
        out: Absolute path of the output folder, as the other paths.
        checkpoint: The given checkpoint, ``None`` where a baseline is trained, and so its digest
            and its audit.
        data_digest: Digest of the dataset's images and labels.
        class_names: Class index to name.
        recipe: Arguments that every retraining is given, its strategy's settings over them.
        device: What trainings run on, and multiply in.
        auto_batch: Images per batch of every retraining, where the device decides.
        there: The device that counts for pruning, and what it is; ``None``: this host.
        integers: What that device runs INT8 files fastest with, where some are made.
        block: What widths are multiples of, ``None`` where the configuration says it.
        widths: Channels of layers, where the configuration names a file of them.
        passes: What rewriting gains on this host, ``None`` where nothing is rewritten.
        split: Split the accuracy images come from, ``images`` in order.
        runtimes: What the leading variants run in besides onnxruntime.
    """

    config: Config
    variants: tuple[PlannedVariant, ...]
    out: str
    checkpoint: str | None
    checkpoint_sha256: str | None
    audit: Audit | None
    data_yaml: str
    data_digest: str
    class_names: dict[int, str]
    recipe: dict[str, Any]
    device: Device = Device()
    auto_batch: int = 16
    there: There | None = None
    integers: Measured | None = None
    block: Block | None = None
    widths: dict[str, int] | None = None
    passes: Passes | None = None
    split: str
    images: tuple[str, ...]
    runtimes: tuple[Runtime, ...] = ()
    _dataset: Dataset | None = PrivateAttr(default=None)
    _asked: Config | None = PrivateAttr(default=None)

    @property
    def structure(self) -> Structure | None:
        """Structure of the given checkpoint."""
        return None if self.audit is None else self.audit.structure

    @property
    def applied_passes(self) -> tuple[str, ...]:
        """Passes that rewrite every exported graph."""
        return () if self.passes is None else self.passes.applied

    @property
    def batch(self) -> int:
        """Images per batch of every retraining."""
        asked = self.config.retrain.batch
        return self.auto_batch if asked == "auto" else asked

    @property
    def dataset(self) -> Dataset:
        """The dataset; its images are listed once per process, not once per reader."""
        if self._dataset is None:
            self._dataset = read_dataset(Path(self.data_yaml))
        return self._dataset


class Experiment(Checked):
    """A checked configuration with the absolute path of the run's folder, below ``out``."""

    folder: str

    @property
    def run_folder(self) -> Path:
        """The run's folder."""
        return Path(self.folder)

    @property
    def steps_root(self) -> Path:
        """Folder of the cached steps, shared by every run of the output folder."""
        return Path(self.out) / STEPS_FOLDER

    @property
    def history_url(self) -> str:
        """URL of the history store the run is recorded in."""
        return self.config.history or default_url(Path(self.out))

    @property
    def latency_images(self) -> list[Path]:
        """The images that latency is measured on; InputError where one is gone."""
        images = [Path(image) for image in self.images[: self.config.latency.images]]
        for image in images:
            if not image.is_file():
                what = "an image that latency is measured on is gone"
                raise InputError(what, where=image, fix="put it back, or run again")
        return images

    @property
    def threads(self) -> int:
        """Threads of a step that has the host's cores to itself."""
        return self.config.retrain.threads or usable_cores()

    @property
    def retraining_threads(self) -> int:
        """Threads of a retraining: its share where several run at once."""
        share = usable_cores() // self.config.retrain.parallel_trainings
        return self.config.retrain.threads or max(1, share)


def output_folder(config: Config) -> Path:
    """Absolute path of the output folder."""
    return Path(config.out).expanduser().resolve()


def read_experiment(folder: Path) -> Experiment:
    """An earlier run's experiment; InputError where there is none, or of another version."""
    read_run_config(folder)
    path = folder / EXPERIMENT_FILE
    try:
        return Experiment.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValidationError) as error:
        raise InputError(
            "the experiment of this run cannot be read",
            where=path,
            fix="make a new run with this version",
        ) from error
