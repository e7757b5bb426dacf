"""The registry: what is promoted, by content, and what of it is measured again."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError
from report_kit import MIXED, STOLEN, make_run

from prunebench.common.errors import InputError
from prunebench.common.records import FileRef
from prunebench.common.variant_record import VariantRecord
from prunebench.operating.rebenchmark import find_sources
from prunebench.operating.registry import promote, read_registry, set_stage
from prunebench.results.run_folder import read_variants, save_variant

NAME = "compare-pruned"
GOOD = (MIXED[0], replace(MIXED[1], found=0.86))
"""A pruned variant that loses nothing."""


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return made(tmp_path / "runs" / "20260101T000000-abcdefabcdef", GOOD)


def made(folder: Path, makers: Any, **settings: Any) -> Path:
    """A finished run whose variants have ONNX files."""
    make_run(folder, makers, **{"threads": (1,), "rounds": 4, "frames": 4, **settings})
    for variant in read_variants(folder):
        assert variant.exported is not None
        path = folder / variant.exported.onnx.path
        path.write_text(variant.name)
        exported = variant.exported.model_copy(update={"onnx": FileRef.of(path, folder)})
        save_variant(folder, variant.model_copy(update={"exported": exported}))
    return folder


def test_an_entry_says_what_where_from_and_since_when(run: Path, tmp_path: Path) -> None:
    registry = tmp_path / "registry"
    entry = promote(run, "pruned", registry)
    values = yaml.safe_load((registry / f"{NAME}.yaml").read_text())
    assert values["run"] == f"runs/{run.name}"
    assert values["stage"] == "promoted"
    assert values["onnx_sha256"] == entry.onnx_sha256
    assert promote(run, "pruned", registry).name == entry.name
    assert [one.name for one in read_registry(registry)] == [NAME]
    assert set_stage(registry, NAME, "regressed", "slower").note == "slower"
    assert read_registry(registry)[0].stage == "regressed"
    assert promote(run, "pruned", registry).note is None


def test_a_registry_moves_with_its_runs(run: Path, tmp_path: Path) -> None:
    promote(run, "pruned", tmp_path / "registry")
    moved = tmp_path.with_name(f"{tmp_path.name}-moved")
    shutil.move(tmp_path, moved)
    (entry,) = read_registry(moved / "registry")
    assert entry.subject(moved / "registry").name == "pruned"


def test_what_is_promoted_is_measured_again_and_the_newest_run_without(
    run: Path, tmp_path: Path
) -> None:
    registry = tmp_path / "registry"
    (newest,), problems = find_sources(None, tmp_path / "runs", registry)
    assert (newest.folder, newest.variants, problems) == (str(run), None, ())
    for name in ("baseline", "pruned"):
        promote(run, name, registry)
    (source,), problems = find_sources(None, tmp_path / "runs", registry)
    assert (source.folder, source.variants, problems) == (str(run), ("baseline", "pruned"), ())
    (run / "variants" / "pruned" / "model.onnx").write_text("another network")
    (source,), (problem,) = find_sources(None, tmp_path / "runs", registry)
    assert source.variants == ("baseline",)
    assert "the ONNX file of pruned is not the one that was promoted" in problem
    (named,), _ = find_sources(str(run), tmp_path, registry)
    assert named.variants is None


def test_what_cannot_be_promoted_or_read(run: Path, tmp_path: Path) -> None:
    registry = tmp_path / "registry"
    assert read_registry(registry) == ()
    with pytest.raises(InputError, match="has no variant standard-9; choose among"):
        promote(run, "standard-9", registry)
    with pytest.raises(InputError, match="there is no entry compare-pruned; promote"):
        set_stage(registry, NAME, "regressed", None)
    promote(run, "pruned", registry)
    with pytest.raises(InputError, match="choose among compare-pruned"):
        set_stage(registry, "other", "regressed", None)
    (registry / f"{NAME}.yaml").rename(registry / "other.yaml")
    with pytest.raises(InputError, match=f"the entry in it is named {NAME}"):
        read_registry(registry)
    (registry / "other.yaml").write_text("name: ../../escape\n")
    with pytest.raises(InputError, match="it is not an entry of a registry"):
        read_registry(registry)


@pytest.mark.parametrize(
    ("settings", "makers", "reason"),
    [
        ({"noise": (STOLEN,)}, GOOD, "the host was noisy while its run was measured"),
        ({"realtime_fps": 5000.0, "frames": 200}, GOOD, "it is shown not to keep 5000 FPS"),
        ({"limits": {"max_rss_mb": 60}}, GOOD, "it is shown to take more than 60 MB of memory"),
        ({}, MIXED[:2], "it is shown to lose more accuracy than allowed"),
    ],
)
def test_what_its_run_speaks_against_is_promoted_only_when_insisted_on(
    tmp_path: Path, settings: Any, makers: Any, reason: str
) -> None:
    folder = made(tmp_path / "runs" / "20260101T000000-abcdefabcdef", makers, **settings)
    registry = tmp_path / "registry"
    with pytest.raises(InputError, match=f"pruned should not be promoted: {reason}"):
        promote(folder, "pruned", registry)
    assert read_registry(registry) == ()
    assert promote(folder, "pruned", registry, anyway=True).note == f"promoted anyway: {reason}"


@pytest.mark.parametrize("name", ["../escape", "a/b", "", ".hidden", "a\nb"])
def test_a_variants_name_cannot_leave_its_folder(name: str) -> None:
    with pytest.raises(ValidationError):
        VariantRecord(name=name, parent=None, steps=())


@pytest.mark.parametrize("path", ["/etc/passwd", "../up", "variants/../../up"])
def test_a_files_path_cannot_leave_its_folder(path: str) -> None:
    with pytest.raises(ValidationError, match="is no path below its folder"):
        FileRef(path=path, sha256="0" * 64, bytes=0)
