"""Run folders: ``<out>/<UTC time>-<configuration digest>/`` and the files every run has.

A run is finished when ``ranking.json`` is there, which is written last.
"""

from __future__ import annotations

import itertools
import json
import platform
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol, TypeVar

import yaml

from prunebench.common.errors import InputError, PrunebenchError
from prunebench.common.files import write_atomically
from prunebench.common.records import Record
from prunebench.common.text import first_line
from prunebench.common.variant_record import VariantRecord
from prunebench.common.versions import version_of
from prunebench.config.loading import Config, load_config
from prunebench.steps.source_digest import LIBRARIES

R = TypeVar("R", bound=Record)

STEPS_FOLDER = ".steps"
DATA_FOLDER = ".data"
STORE_FOLDER = ".store"
CONFIG_FILE = "config.yaml"
DEVICES_FILE = "devices.json"
DEVICES_FOLDER = "devices"
ENVIRONMENT_FILE = "environment.json"
RANKING_FILE = "ranking.json"
VARIANT_FILE = "record.json"
LATENCY_FOLDER = "latency"
TUNING_FOLDER = "tuning"
RUNTIMES_FOLDER = "runtimes"
REBENCHMARK = "rebenchmark"
LAST_KEY = next(reversed(Config.model_fields))
UNREADABLE = {"what": "the record of a variant cannot be read", "fix": "run again"}


def open_run(config: Config, out: Path, *, kind: str | None = None) -> Path:
    """Folder of a new run of ``config`` below ``out``, or of its unfinished one.

    ``kind`` ends the folder's name; runs of the main flow have none.
    """
    ending = config.digest() if kind is None else f"{config.digest()}-{kind}"
    for folder in sorted(out.glob(f"*-{ending}"), reverse=True):
        if (folder / CONFIG_FILE).is_file() and not (folder / RANKING_FILE).exists():
            _sweep(folder)
            return folder
        if all(path.name.startswith(".") for path in folder.iterdir()):
            shutil.rmtree(folder)  # Of a run that was killed before it had a configuration.
    started = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    starts = itertools.chain([started], (f"{started}.{n}" for n in itertools.count(2)))
    folders = (out / f"{start}-{ending}" for start in starts)
    folder = next(folder for folder in folders if not folder.exists())
    folder.mkdir(parents=True)
    values = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)
    write_atomically(folder / CONFIG_FILE, values)
    write_atomically(folder / ENVIRONMENT_FILE, json.dumps(environment(), indent=2))
    return folder


def _sweep(folder: Path) -> None:
    """Remove what a killed run was just writing: temporary files and folders, which are hidden."""
    for path in [*folder.rglob(".*")]:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def environment() -> dict[str, Any]:
    """Versions a run depends on."""
    libraries = ("prunebench", "prefect", *LIBRARIES.values())
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": {name: version_of(name) for name in libraries},
    }


def read_run_config(folder: Path) -> Config:
    """The configuration a run was made with; ``InputError`` where ``folder`` is not a run's."""
    path = folder / CONFIG_FILE
    if not path.is_file():
        what = f"no {CONFIG_FILE} there, so this is not a run folder"
        raise InputError(what, where=folder, fix="give the folder that `prunebench run` printed")
    config = load_config(path, environ={})
    text = path.read_text(encoding="utf-8")
    # Every run writes every key, so that a file that lacks the last one was cut short.
    if not text.endswith("\n") or f"\n{LAST_KEY}:" not in text:
        raise InputError("the file is cut short", where=path, fix="put it back, or run again")
    return config


def read_record(path: Path, kind: type[R], *, what: str, fix: str) -> R:
    """A record from its JSON file; where it cannot be read, an ``InputError`` says ``what``."""
    try:
        return kind.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:  # pydantic's and Unicode's errors are ValueErrors
        raise InputError(what, where=path, fix=fix) from error


@contextmanager
def fitting_together(folder: Path) -> Iterator[None]:
    """Tell, as an ``InputError``, of whatever records of a run that contradict each other cause.

    Each of them may be as it should be: a ranking of variants that another file does not know.
    """
    try:
        yield
    except (PrunebenchError, OSError):
        raise
    except Exception as error:
        what = f"its files do not fit together ({type(error).__name__}: {first_line(error)})"
        fix = "put back what was changed, or run again"
        raise InputError(what, where=folder, fix=fix) from error


def read_environment(folder: Path) -> dict[str, Any]:
    """Versions and platform a run was made with; ``InputError`` where they cannot be read."""
    path = folder / ENVIRONMENT_FILE
    try:
        read: dict[str, Any] = {"versions": {}, **json.loads(path.read_text(encoding="utf-8"))}
    except (OSError, ValueError, TypeError) as error:
        what, fix = "the environment of the run cannot be read", "put the file back, or run again"
        raise InputError(what, where=path, fix=fix) from error
    return read


class Seeded(Protocol):
    """A variant, or with a ``seed`` one of its several trainings."""

    @property
    def name(self) -> str:
        """The variant's."""

    @property
    def seed(self) -> int | None:
        """The training's."""


def folder_of(variant: Seeded) -> str:
    """Path of its folder below ``variants``; a training's is inside of its variant's."""
    return variant.name if variant.seed is None else f"{variant.name}/seeds/{variant.seed}"


def title_of(variant: Seeded) -> str:
    """What its progress is told as."""
    return variant.name if variant.seed is None else f"{variant.name}, seed {variant.seed}"


def save_variant(folder: Path, variant: VariantRecord) -> None:
    """Keep what is known of a variant in its folder."""
    path = folder / "variants" / folder_of(variant) / VARIANT_FILE
    write_atomically(path, variant.model_dump_json(indent=2))


def read_variants(folder: Path) -> tuple[VariantRecord, ...]:
    """Every variant of a run, parents first; ``InputError`` if none or one cannot be read."""
    records = [
        read_record(path / VARIANT_FILE, VariantRecord, **UNREADABLE)
        for path in folder.glob("variants/*")
        if path.is_dir()
    ]
    if not records:
        fix = "finish it with `prunebench run`"
        raise InputError("the run has no variants yet", where=folder, fix=fix)
    return tuple(sorted(records, key=lambda record: (len(record.steps), record.name)))


def read_elsewhere(folder: Path) -> tuple[VariantRecord, ...]:
    """A run's variants in other runtimes, if it has any; ``InputError`` if one cannot be read."""
    return tuple(
        read_record(path, VariantRecord, **UNREADABLE)
        for path in sorted(folder.glob(f"{RUNTIMES_FOLDER}/*/{VARIANT_FILE}"))
    )


def read_variant(folder: Path, name: str) -> VariantRecord:
    """One variant of a run; ``InputError`` where there is none of that name."""
    path = folder / "variants" / name / VARIANT_FILE
    if path.parent.is_dir():
        return read_record(path, VariantRecord, **UNREADABLE)
    names = ", ".join(variant.name for variant in read_variants(folder))
    raise InputError(f"the run has no variant {name}", where=folder, fix=f"choose among {names}")


def is_rebenchmark(folder: Path) -> bool:
    """Whether a run measured an earlier one's variants again: it asked no devices."""
    return folder.name.endswith(f"-{REBENCHMARK}")


def latest_run(out: Path) -> Path:
    """The newest finished run of the main flow below ``out``; ``InputError`` if there is none."""
    folders = [path.parent for path in out.glob(f"*/{RANKING_FILE}")]
    finished = [folder for folder in folders if not is_rebenchmark(folder)]
    if not finished:
        raise InputError("no finished run there", where=out, fix="run `prunebench run` first")
    return max(finished)
