"""The model registry: one small YAML file per promoted variant, readable by a person.

``<folder>/<name>.yaml`` says which ONNX file, by its SHA-256, of which run is in use. Runs are
named relative to the folder that holds the registry, so that both can be moved together.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import Field, ValidationError

from prunebench.common.errors import InputError
from prunebench.common.files import write_atomically
from prunebench.common.records import Record, VariantRecord
from prunebench.results.outcome import read_outcome
from prunebench.results.run_folder import read_variants

Stage = Literal["promoted", "regressed"]

EntryName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]*$", max_length=120)]


class Entry(Record):
    """A variant in use.

    Attributes:
        name: Name of the experiment and of the variant.
        variant: The variant.
        onnx_sha256: Digest of its ONNX file.
        run: Folder of the run it came from, absolute or relative to the registry's parent.
        stage: ``promoted``, or ``regressed`` since a slowdown or a loss of accuracy was confirmed.
        since: When it came to its stage (UTC).
        note: Why, where it is not plain.
    """

    name: EntryName
    variant: str
    onnx_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    run: str
    stage: Stage
    since: datetime
    note: str | None = None

    def run_folder(self, registry: Path) -> Path:
        """Folder of the run it came from."""
        return (registry.resolve().parent / self.run).resolve()

    def subject(self, registry: Path) -> VariantRecord:
        """Its variant, checked to be the file that was promoted.

        Raises:
            InputError: The run or the variant is gone, or its ONNX file has changed.
        """
        folder = self.run_folder(registry)
        variant = _variant(folder, self.variant)
        exported = variant.exported
        if (
            exported is None
            or exported.onnx.sha256 != self.onnx_sha256
            or not exported.onnx.holds(folder)
        ):
            raise InputError(
                f"the ONNX file of {self.variant} is not the one that was promoted",
                where=folder,
                fix=f"put the file back, or promote again: {self.name}",
            )
        return variant


def promote(run: Path, variant: str, registry: Path) -> Entry:
    """Put a variant of a finished run into the registry, in place of one of the same name.

    Raises:
        InputError: The run is not finished, or has no such variant with an ONNX file.
    """
    outcome = read_outcome(run)
    record = _variant(run, variant)
    if record.exported is None or record.failure is not None:
        raise InputError(
            f"{variant} has no ONNX file that was ranked", where=run, fix="choose another variant"
        )
    home = registry.resolve().parent
    folder = run.resolve()
    inside = folder.is_relative_to(home)
    entry = Entry(
        name=f"{outcome.name}-{variant}",
        variant=variant,
        onnx_sha256=record.exported.onnx.sha256,
        run=os.path.relpath(folder, home) if inside else str(folder),
        stage="promoted",
        since=_now(),
    )
    entry.subject(registry)
    _write(entry, registry)
    return entry


def read_registry(registry: Path) -> tuple[Entry, ...]:
    """Every entry by name; empty where there is no such folder.

    Raises:
        InputError: A file in it is not an entry.
    """
    return tuple(_read(path) for path in sorted(registry.glob("*.yaml")))


def set_stage(registry: Path, name: str, stage: Stage, note: str | None) -> Entry:
    """Move an entry to a stage.

    Raises:
        InputError: There is no such entry.
    """
    found = {entry.name: entry for entry in read_registry(registry)}
    if name not in found:
        raise InputError(
            f"there is no entry {name}",
            where=registry,
            fix=f"choose among {', '.join(found)}" if found else "promote a variant first",
        )
    entry = found[name].model_copy(update={"stage": stage, "since": _now(), "note": note})
    _write(entry, registry)
    return entry


def _variant(run: Path, name: str) -> VariantRecord:
    variants = {variant.name: variant for variant in read_variants(run)}
    if name not in variants:
        raise InputError(
            f"the run has no variant {name}", where=run, fix=f"choose among {', '.join(variants)}"
        )
    return variants[name]


def _read(path: Path) -> Entry:
    try:
        entry = Entry.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, ValidationError) as error:
        raise InputError(
            "it is not an entry of a registry", where=path, fix="remove it, or promote again"
        ) from error
    if entry.name != path.stem:
        raise InputError(
            f"the entry in it is named {entry.name}", where=path, fix="give the file that name"
        )
    return entry


def _write(entry: Entry, registry: Path) -> None:
    values = entry.model_dump(mode="json", exclude_none=True)
    write_atomically(
        registry / f"{entry.name}.yaml", yaml.safe_dump(values, sort_keys=False, width=100)
    )


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)
