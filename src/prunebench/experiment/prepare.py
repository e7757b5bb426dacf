"""An experiment: a configuration whose inputs were found, checked and digested before work."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from pydantic import PrivateAttr, ValidationError

from prunebench.common.cores import usable_cores
from prunebench.common.errors import (
    ConfigError,
    DatasetError,
    EnvironmentMismatch,
    InputError,
)
from prunebench.common.files import check_output_folder, write_atomically
from prunebench.common.records import Audit, Record, Structure, sha256_of
from prunebench.common.versions import check_versions
from prunebench.config.loading import Config
from prunebench.config.strategy_settings import TrainingSettings
from prunebench.data.check import check_dataset, evaluation_split, flawed_sentence, leave_out
from prunebench.data.dataset import (
    Dataset,
    Split,
    dataset_digest,
    images_of,
    read_dataset,
    resolve_dataset,
)
from prunebench.data.file_memo import remembering
from prunebench.data.single_class import as_one_class
from prunebench.experiment.controls import smaller_network
from prunebench.experiment.plan import (
    ONE_CLASS,
    PlannedVariant,
    checkpoint_named,
    class_notes,
    plan_variants,
    size_notes,
)
from prunebench.experiment.requirements import check_engine, require_checkpoint, require_loggers
from prunebench.measuring.host.block import Block
from prunebench.measuring.host.fingerprint import cpu_flags, cpus_of, int8_obstacle
from prunebench.results.history.store import Store, default_url
from prunebench.results.messages.catalogue import Messages
from prunebench.results.messages.observations import tell_block, tell_model
from prunebench.results.run_folder import DATA_FOLDER, STEPS_FOLDER, open_run, read_run_config
from prunebench.steps.child import run_child
from prunebench.steps.events import stage
from prunebench.variants.checkpoint import CheckpointInfo
from prunebench.variants.devices import Device, Devices
from prunebench.variants.given import Given
from prunebench.variants.given import Request as GivenRequest
from prunebench.variants.pruning.alignment import block_for, round_to_of

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
        block: What widths are multiples of, ``None`` where the configuration says it.
        split: Split the accuracy images come from, ``images`` in order.
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
    block: Block | None = None
    split: str
    images: tuple[str, ...]
    _dataset: Dataset | None = PrivateAttr(default=None)

    @property
    def structure(self) -> Structure | None:
        """Structure of the given checkpoint."""
        return None if self.audit is None else self.audit.structure

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


_elsewhere: ContextVar[Devices | None] = ContextVar("trained_elsewhere", default=None)
_checked: ContextVar[Checked | None] = ContextVar("checked", default=None)


@contextlib.contextmanager
def trained_on(devices: Devices | None) -> Iterator[None]:
    """Let what is checked in the block train on another host's devices, ``None``: on this one's."""
    token = _elsewhere.set(devices)
    try:
        yield
    finally:
        _elsewhere.reset(token)


@contextlib.contextmanager
def checked_already(checked: Checked) -> Iterator[None]:
    """Let ``prepare`` in the block take over what was checked just before it."""
    token = _checked.set(checked)
    try:
        yield
    finally:
        _checked.reset(token)


def check(config: Config) -> Checked:
    """Find and check everything a run needs, before any work starts.

    InputError of the kind that says what is wrong: a library version, the checkpoint, the
    dataset, the output folder, the history store.
    """
    check_versions()
    check_engine(config)
    check_int8_targets(config)
    for cores in config.latency.cores:
        cpus_of(cores)
    out = output_folder(config)
    checkpoint = checkpoint_named(config.model, "model")
    if checkpoint is not None:
        require_checkpoint(checkpoint)
        checkpoint = checkpoint.resolve()
    require_loggers(config.retrain.loggers)
    stage(f"reading {Path(config.model).name}")
    block = block_for(config.prune, config.latency)
    given = Given.model_validate(_in_child("given", given_request(config, block)))
    sha256 = None if checkpoint is None else sha256_of(checkpoint)
    structure = None if checkpoint is None else given.audit.structure
    variants = plan_variants(config, given.info.imgsz, given.info.stride)
    for note in plan_notes(config, variants, given, block):
        stage(note)
    if "smaller" in config.controls:
        smaller_network(config.model, structure)
    task = given.info.task
    if config.ranking.metric == "mask" and task == "detect":
        raise ConfigError(
            f"the metric is mask, but {config.model} is a detection model and predicts no masks",
            where="ranking.metric",
            fix="set it to box, or give a segmentation model",
        )
    check_output_folder(out)
    Store(config.history or default_url(out)).close()
    stage(f"checking the images and labels of {config.data}")
    dataset = resolve_dataset(config.data, cache_dir=out / DATA_FOLDER)
    if checkpoint is not None:
        _check_single_cls(given.info, dataset, config.single_cls)
    names = None if structure is None else structure.names
    with remembering(dataset.yaml, out / DATA_FOLDER) as memo:
        needed: tuple[Split, ...] = ("train", "val")
        found = check_dataset(
            dataset,
            class_names=None if config.single_cls else names,
            splits=(*needed, "test") if config.accuracy.split == "test" else needed,
            task=task,
            memo=memo,
            bad_images=config.bad_images,
        )
        split, why = evaluation_split(dataset, found, config.accuracy.split)
        if why:
            stage(why)
        if found.flawed:
            stage(f"{flawed_sentence(dataset, found.flawed)}; left out everywhere")
            dataset = leave_out(dataset, found.flawed, out / DATA_FOLDER)
        data_digest = dataset_digest(dataset, memo)
        if config.single_cls:
            one = ONE_CLASS if names is None else names[0]
            dataset = as_one_class(dataset, one, data_digest, out / DATA_FOLDER)
            data_digest = dataset_digest(dataset, memo)
    checked = Checked(
        config=config,
        variants=variants,
        out=str(out),
        checkpoint=None if checkpoint is None else str(checkpoint),
        checkpoint_sha256=sha256,
        audit=None if checkpoint is None else given.audit,
        data_yaml=str(dataset.yaml),
        data_digest=data_digest,
        class_names=dict(dataset.names),
        recipe=given.recipe.arguments,
        device=given.device,
        auto_batch=given.batch,
        block=block,
        split=split,
        images=tuple(str(p) for p in images_of(dataset, split, limit=config.accuracy.images)),
    )
    checked._dataset = dataset
    return checked


def was_checked(config: Config) -> bool:
    """Whether ``prepare`` takes over what was checked before."""
    checked = _checked.get()
    return checked is not None and checked.config == config


def prepare(config: Config) -> Experiment:
    """Check everything as ``check`` does and open the run's folder, as ``out``'s sole user."""
    checked = _checked.get()
    if checked is None or checked.config != config:
        checked = check(config)
    obstacle = int8_obstacle(cpu_flags())
    if obstacle is not None and any(variant.quantized for variant in checked.variants):
        stage(f"{obstacle} It is measured anyway, as asked.")
    folder = open_run(config, Path(checked.out))
    experiment = Experiment(folder=str(folder), **dict(checked))
    experiment._dataset = checked._dataset
    write_atomically(folder / EXPERIMENT_FILE, experiment.model_dump_json(indent=2))
    return experiment


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


def _in_child(step: str, request: Record) -> dict[str, Any]:
    """Run a step in a child because it imports torch, and keep only its result."""
    with tempfile.TemporaryDirectory() as folder:
        return run_child(step, request, Path(folder), threads=usable_cores())


def given_request(config: Config, block: Block | None) -> GivenRequest:
    """What is asked of the model before anything is made of it."""
    height, width = config.image.hw
    return GivenRequest(
        model=str(Path(config.model).expanduser()),
        hw=config.image.hw,
        sides={"image.height": height, "image.width": width, "retrain.imgsz": config.retrain.imgsz},
        goals=config.prune.goals,
        round_to=round_to_of(config.prune, block),
        ignore=config.prune.ignore,
        recipe=config.retrain.recipe,
        device=config.retrain.device,
        precision=config.retrain.precision,
        batch=config.retrain.batch,
        devices=_elsewhere.get(),
        trained_at=config.retrain.imgsz,
        activation=None if (act := config.retrain.activation) == "keep" else act,
        args={
            name: settings.args
            for name, settings in config.retrain.strategies.items()
            if isinstance(settings, TrainingSettings)
        },
    )


def plan_notes(
    config: Config, variants: Sequence[PlannedVariant], given: Given, block: Block | None
) -> tuple[str, ...]:
    """A sentence each on what a reader of the plan has to know."""
    m = Messages()
    workers = workers_of(config, given.device)
    trained = m(
        "training.plan",
        device=given.device.words,
        precision=given.device.precision,
        batch=given.batch,
        workers=workers,
        cache=config.retrain.cache,
    )
    classes = class_notes(config, given.info)
    blocks = () if block is None else (tell_block(block, m),)
    seeds = next((variant.seeds for variant in variants if variant.seeds), ())
    several = [m("seeds.plan", n=len(seeds), first=seeds[0], last=seeds[-1])] if seeds else []
    sizes = size_notes(config, variants)
    notes = (*given.recipe.notes, *classes, *sizes, trained, *blocks, *several)
    if checkpoint_named(config.model, "model") is None:
        return notes
    return (tell_model(config.model, given.audit, m), *notes)


def workers_of(config: Config, device: Device) -> int:
    """Processes that load images for a training."""
    asked = config.retrain.workers
    return device.workers if asked == "auto" else asked


def _check_single_cls(info: CheckpointInfo, dataset: Dataset, single_cls: bool) -> None:
    """Refuse, with a DatasetError, several classes where training made one of them."""
    if info.single_cls and not single_cls and len(dataset.names) > len(info.names):
        raise DatasetError(
            f"the checkpoint was trained with single_cls, every object as one class "
            f"({info.names[0]!r}), and the dataset has {len(dataset.names)}",
            where=dataset.yaml,
            fix="set single_cls to true in the configuration",
        )


def check_int8_targets(config: Config) -> None:
    """Refuse, with an EnvironmentMismatch, an INT8 file's target where INT8 is known not to pay."""
    flags = cpu_flags()
    obstacle = int8_obstacle(flags) if flags else None
    for goal in config.prune.goals:
        if goal.int8 and obstacle is not None:
            raise EnvironmentMismatch(
                f"the target {goal.label} is that of an INT8 file. {obstacle}",
                fix="give a target of the float file, or run where it does",
            )
