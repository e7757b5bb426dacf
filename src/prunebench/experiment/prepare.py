"""A configuration checked once, before any work: what is asked, the model, the data, the output."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path

from prunebench.common.files import check_output_folder, taken_back, write_atomically
from prunebench.common.records import sha256_of
from prunebench.common.versions import check_versions
from prunebench.config.loading import Config
from prunebench.data.check import check_dataset, evaluation_split, flawed_sentence, leave_out
from prunebench.data.dataset import Dataset, Split, dataset_digest, images_of, resolve_dataset
from prunebench.data.file_memo import remembering
from prunebench.data.single_class import as_one_class
from prunebench.experiment.controls import smaller_network
from prunebench.experiment.given_model import block_for_counts, look_at_model, plan_notes
from prunebench.experiment.inputs import EXPERIMENT_FILE, Checked, Experiment, output_folder
from prunebench.experiment.plan import ONE_CLASS, checkpoint_named, plan_variants
from prunebench.experiment.requirements import (
    check_engine,
    check_heads,
    check_int8_targets,
    check_single_cls,
    require_checkpoint,
    require_loggers,
    with_metric,
)
from prunebench.experiment.runtimes import runtimes_of
from prunebench.experiment.there import flags_that_count, look_at_integers, look_there
from prunebench.measuring.host.emulation import require_real_cpu
from prunebench.measuring.host.fingerprint import cpus_of, int8_obstacle
from prunebench.results.history.store import check_store, default_url
from prunebench.results.messages.catalogue import Messages
from prunebench.results.messages.observations import tell_integers
from prunebench.results.run_folder import DATA_FOLDER, open_run
from prunebench.steps.events import stage
from prunebench.variants.given import Given
from prunebench.variants.pruning.alignment import block_for
from prunebench.variants.rewriting.choice import passes_for

DATA_KEPT_AFTER_S = 10.0

_checked: ContextVar[Checked | None] = ContextVar("checked", default=None)


@contextlib.contextmanager
def checked_already(checked: Checked) -> Iterator[None]:
    """Let ``prepare`` in the block take over what was checked just before it."""
    token = _checked.set(checked)
    try:
        yield
    finally:
        _checked.reset(token)


def check(config: Config) -> Checked:
    """Find and check everything a run needs, before any work starts, and leave no trace if refused.

    Measuring comes last, but for the block that the widths of a counted target are multiples of.

    InputError of the kind that says what is wrong: a library version, the checkpoint, the
    dataset, the output folder, the history store.
    """
    check_versions()
    check_engine(config)
    require_real_cpu()
    for cores in config.latency.cores:
        cpus_of(cores)
    out = output_folder(config)
    checkpoint = checkpoint_named(config.model, "model")
    if checkpoint is not None:
        require_checkpoint(checkpoint)
        checkpoint = checkpoint.resolve()
    require_loggers(config.retrain.loggers)
    runtimes = runtimes_of(config)
    stage(f"reading {Path(config.model).name}")
    there = look_there(config)
    check_int8_targets(config, flags_that_count(there))
    block = block_for_counts(config, there)
    given = look_at_model(config, block)
    sha256 = None if checkpoint is None else sha256_of(checkpoint)
    structure = None if checkpoint is None else given.audit.structure
    variants = plan_variants(config, given.info.imgsz, given.info.stride)
    if "smaller" in config.controls:
        smaller_network(config.model, structure)
    task = given.info.task
    asked, config = config, with_metric(config, task)
    check_heads(config, given.info)
    check_output_folder(out)
    check_store(config.history or default_url(out))
    stage(f"checking the images and labels of {config.data}")
    with taken_back(out / DATA_FOLDER, kept_after_s=DATA_KEPT_AFTER_S):
        dataset, split, data_digest = _data(config, given, out / DATA_FOLDER)
    integers = look_at_integers(config, there)
    block = block or block_for(config.prune, config.latency, there)
    passes = passes_for(config.export, config.latency, config.image.hw, there)
    for note in plan_notes(config, variants, given, block, passes, there):
        stage(note)
    if integers is not None and there is not None:
        stage(tell_integers(integers, there.name, Messages()))
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
        there=there,
        integers=integers,
        block=block,
        widths=given.widths,
        passes=passes,
        split=split,
        images=tuple(str(p) for p in images_of(dataset, split, limit=config.accuracy.images)),
        runtimes=runtimes,
    )
    checked._dataset, checked._asked = dataset, asked
    return checked


def _data(config: Config, given: Given, folder: Path) -> tuple[Dataset, Split, str]:
    """The dataset as it is used, the split that is evaluated, and the digest of its files."""
    dataset = resolve_dataset(config.data, cache_dir=folder)
    audit = given.audit if checkpoint_named(config.model, "model") else None
    if audit is not None:
        check_single_cls(given.info, dataset, config.single_cls)
    names = None if audit is None else audit.structure.names
    with remembering(dataset.yaml, folder) as memo:
        needed: tuple[Split, ...] = ("train", "val")
        found = check_dataset(
            dataset,
            class_names=None if config.single_cls else names,
            splits=(*needed, "test") if config.accuracy.split == "test" else needed,
            task=given.info.task,
            keypoints=None if audit is None else given.info.keypoints,
            memo=memo,
            bad_images=config.bad_images,
        )
        split, why = evaluation_split(dataset, found, config.accuracy.split)
        if why:
            stage(why)
        if found.flawed:
            stage(f"{flawed_sentence(dataset, found.flawed)}; left out everywhere")
            dataset = leave_out(dataset, found.flawed, folder)
        data_digest = dataset_digest(dataset, memo)
        if config.single_cls:
            one = ONE_CLASS if names is None else names[0]
            dataset = as_one_class(dataset, one, data_digest, folder)
            data_digest = dataset_digest(dataset, memo)
    return dataset, split, data_digest


def was_checked(config: Config) -> bool:
    """Whether ``prepare`` takes over what was checked before."""
    checked = _checked.get()
    return checked is not None and checked._asked == config


def prepare(config: Config) -> Experiment:
    """Check everything as ``check`` does and open the run's folder, as ``out``'s sole user."""
    checked = _checked.get()
    if checked is None or checked._asked != config:
        checked = check(config)
    config = checked.config
    obstacle = int8_obstacle(flags_that_count(checked.there))
    if obstacle is not None and any(variant.quantized for variant in checked.variants):
        where = f"{checked.there.name}: " if checked.there else ""
        stage(f"{where}{obstacle} It is measured anyway, as asked.")
    folder = open_run(config, Path(checked.out))
    experiment = Experiment(folder=str(folder), **dict(checked))
    experiment._dataset = checked._dataset
    write_atomically(folder / EXPERIMENT_FILE, experiment.model_dump_json(indent=2))
    return experiment
