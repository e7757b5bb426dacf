"""The model registry: one small YAML file per promoted variant, readable by a person.

Runs are named relative to the folder that holds the registry, so that both can be moved together.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import Field, ValidationError

from prunebench.common.errors import InputError
from prunebench.common.files import write_atomically
from prunebench.common.records import Record
from prunebench.common.variant_record import VariantRecord
from prunebench.results.outcome import RunRanking, read_outcome
from prunebench.results.run_folder import read_variant

Stage = Literal["promoted", "regressed"]

EntryName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]*$", max_length=120)]


class Entry(Record):
    """A variant in use, named by its experiment and itself.

    Attributes:
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
        """Its variant; ``InputError`` where its run or the file that was promoted is gone."""
        folder = self.run_folder(registry)
        variant = read_variant(folder, self.variant)
        onnx = variant.exported.onnx if variant.exported else None
        if onnx is None or onnx.sha256 != self.onnx_sha256 or not onnx.holds(folder):
            raise InputError(
                f"the ONNX file of {self.variant} is not the one that was promoted",
                where=folder,
                fix=f"put the file back, or promote again: {self.name}",
            )
        return variant


def promote(run: Path, variant: str, registry: Path, *, anyway: bool = False) -> Entry:
    """Put a variant of a finished run into the registry, in place of one of the same name.

    Args:
        anyway: Even where its run speaks against it; the entry keeps what it says.

    Raises:
        InputError: The run is not finished, has no such variant with an ONNX file, or speaks
            against it.
    """
    outcome = read_outcome(run)
    record = read_variant(run, variant)
    if record.exported is None or record.failure is not None:
        what = f"{variant} has no ONNX file that was ranked"
        raise InputError(what, where=run, fix="choose another variant")
    against = "; ".join(_against(outcome, variant))
    if against and not anyway:
        fix = "choose another variant, measure again, or promote it with --anyway"
        raise InputError(f"{variant} should not be promoted: {against}", where=run, fix=fix)
    home, folder = registry.resolve().parent, run.resolve()
    entry = Entry(
        name=f"{outcome.name}-{variant}",
        variant=variant,
        onnx_sha256=record.exported.onnx.sha256,
        run=str(folder.relative_to(home) if folder.is_relative_to(home) else folder),
        stage="promoted",
        since=_now(),
        note=f"promoted anyway: {against}" if against else None,
    )
    entry.subject(registry)
    _write(entry, registry)
    return entry


def _against(outcome: RunRanking, variant: str) -> Iterator[str]:
    """What a run says against putting one of its variants into use."""
    if outcome.noise:
        yield "the host was noisy while its run was measured"
    ranking = outcome.rankings[0]
    row = next((row for row in ranking.rows if row.name == variant), None)
    if row is None:
        yield "it is not in the ranking"
        return
    if row.keeps_accuracy == "no":
        yield "it is shown to lose more accuracy than allowed"
    if row.keeps_memory == "no":
        yield f"it is shown to take more than {ranking.max_rss_mb:g} MB of memory"
    if row.realtime == "no":
        yield f"it is shown not to keep {ranking.realtime_fps:g} FPS"


def read_registry(registry: Path) -> tuple[Entry, ...]:
    """Every entry by name; empty where there is no such folder."""
    return tuple(_read(path) for path in sorted(registry.glob("*.yaml")))


def set_stage(registry: Path, name: str, stage: Stage, note: str | None) -> Entry:
    """Move an entry to a stage."""
    found = {entry.name: entry for entry in read_registry(registry)}
    if name not in found:
        fix = f"choose among {', '.join(found)}" if found else "promote a variant first"
        raise InputError(f"there is no entry {name}", where=registry, fix=fix)
    entry = found[name].model_copy(update={"stage": stage, "since": _now(), "note": note})
    _write(entry, registry)
    return entry


def _read(path: Path) -> Entry:
    try:
        entry = Entry.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, ValidationError) as error:
        fix = "remove it, or promote again"
        raise InputError("it is not an entry of a registry", where=path, fix=fix) from error
    if entry.name != path.stem:
        what = f"the entry in it is named {entry.name}"
        raise InputError(what, where=path, fix="give the file that name")
    return entry


def _write(entry: Entry, registry: Path) -> None:
    values = entry.model_dump(mode="json", exclude_none=True)
    text = yaml.safe_dump(values, sort_keys=False, width=100)
    write_atomically(registry / f"{entry.name}.yaml", text)


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)
