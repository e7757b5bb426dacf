"""The table with a column per device, and how a device's answer is found."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from device_kit import make_run_to_carry
from experiment_kit import experiment_of
from report_kit import MIXED, make_run

from prunebench.common.errors import ConfigError, InputError
from prunebench.config.loading import parse_config
from prunebench.experiment.measure_and_rank import rank_on_cores
from prunebench.operating.devices import answer, read_answer, take_answer, write_devices
from prunebench.operating.store.files import FileStore
from prunebench.operating.store.runs import push_run
from prunebench.results.devices import HERE, Device, device_rows, read_devices
from prunebench.results.history.reading import history
from prunebench.results.history.store import Store
from prunebench.results.outcome import read_latency, read_outcome
from prunebench.results.report.build import build_report
from prunebench.results.report.numbers import with_interval
from prunebench.results.run_folder import read_variants


def test_every_variant_has_a_cell_of_every_device(tmp_path: Path) -> None:
    here = make_run(tmp_path / "here", MIXED[:3], threads=(1,), rounds=4, frames=4)
    there = make_run(tmp_path / "there", MIXED[:2], threads=(1,), rounds=4, frames=4)
    devices = [
        Device(name="pi5", run="there", ranking=there),
        Device(name="laptop", failure="it did not answer within 10 minutes"),
    ]
    rows = {row["variant"]: row for row in device_rows(here, devices)}
    assert set(rows) == {row.name for row in here.rankings[0].rows}
    assert list(rows["baseline"]) == ["variant", HERE, "pi5", "laptop"]
    assert "FPS" in rows["baseline"]["pi5"]
    assert [row["pi5"] for name, row in rows.items() if name not in ("baseline", "pruned")] == [
        "not ranked"
    ]
    assert {row["laptop"] for row in rows.values()} == {"it did not answer within 10 minutes"}


def test_a_class_of_cores_is_a_column_of_its_own(tmp_path: Path) -> None:
    folder = tmp_path / "here"
    here = make_run(folder, MIXED[:2], threads=(1,), rounds=4, frames=4)
    shutil.copytree(folder / "latency", folder / "latency-little")
    latency = read_latency(folder)
    little = latency.settings.model_copy(update={"cores": ("little",)})
    latency = latency.model_copy(update={"settings": little})
    found = rank_on_cores(experiment_of(folder), read_variants(folder), latency)
    assert (found.name, found.run) == ("little-cores", "here")
    assert found.ranking is not None
    assert found.ranking.rankings == here.rankings
    write_devices(folder, [found])
    assert "Rank, little-cores" in (folder / "report.md").read_text()


def test_the_report_has_columns_of_the_devices(tmp_path: Path) -> None:
    folder = tmp_path / "here"
    make_run(folder, MIXED[:3], threads=(1,), rounds=4, frames=4)
    there = make_run(tmp_path / "there", MIXED[:2], threads=(1,), rounds=4, frames=4)
    pi5 = Device(
        name="pi5",
        run="there",
        fingerprint=read_latency(tmp_path / "there").fingerprint,
        ranking=there,
    )
    laptop = Device(name="laptop", failure="it did not answer within 10 minutes")
    assert "On other devices" not in (folder / "report.md").read_text()
    write_devices(folder, [pi5, laptop])
    assert read_devices(folder) == (pi5, laptop)
    shown = (folder / "report.md").read_text()
    section = shown.split("## On other devices")[1].split("\n## ")[0]
    [head] = [line for line in section.splitlines() if line.startswith("| Variant")]
    pi5_columns = ["Rank, pi5", "FPS, pi5", "x baseline, pi5", "Model ms, pi5 |"]
    assert head.split(" | ")[5:] == pi5_columns
    [baseline] = [line for line in section.splitlines() if line.startswith("| baseline")]
    row = there.rankings[0].row("baseline")
    assert f"{row.label} | {with_interval(row.fps)}" in baseline
    assert "**pi5:** Test CPU" in section
    assert "**laptop:** no figures: it did not answer within 10 minutes." in section
    (folder / "devices.json").write_text("{}")
    with pytest.raises(InputError, match="devices answered cannot be read"):
        build_report(folder)


def test_an_answer_that_is_not_there_and_names_that_lead_elsewhere(tmp_path: Path) -> None:
    store = FileStore(f"file://{tmp_path}/store", tmp_path / "cache", 1)
    with pytest.raises(InputError, match="the store has no devices/20260101T000000-a/pi5"):
        read_answer(store, "20260101T000000-a", "pi5", tmp_path)
    answer(store, "20260101T000000-a", "pi5", "../../escape")
    with pytest.raises(InputError, match="it is not the name of a run"):
        read_answer(store, "20260101T000000-a", "pi5", tmp_path)
    with pytest.raises(InputError, match="it is not the name of a device"):
        answer(store, "20260101T000000-a", "../pi5", "20260101T000000-b")


def test_an_answer_becomes_a_column_and_is_in_the_runs_history(tmp_path: Path) -> None:
    """As what a kit brings home; it is known by the fingerprint of the host that measured it."""
    there = make_run_to_carry(tmp_path / "there")
    store = FileStore(f"file://{tmp_path}/store", tmp_path / "cache", 1)
    push_run(there, store)
    run, history_url = tmp_path / "20260101T000000-a", f"sqlite:///{tmp_path}/history.db"
    answer(store, run.name, "pi5", there.name)
    for _ in range(2):  # Asked again, nothing is new.
        column = take_answer(store, run, "pi5", history_url)
    assert column.ranking == read_outcome(there)
    assert column.fingerprint is not None
    with Store(history_url) as kept:
        [point] = history(kept, variant="pruned")
    assert point.fingerprint == column.fingerprint.digest()


def test_devices_need_a_store() -> None:
    with pytest.raises(ConfigError, match="devices take the files from a store"):
        parse_config({"model": "best.pt", "devices": ["pi5"]})
    with pytest.raises(ConfigError, match=r"devices\.0"):
        parse_config({"model": "best.pt", "devices": ["Pi 5"], "store": "file:///shared"})
