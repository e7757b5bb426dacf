"""What the doctor says of healthy and of sick machines."""

from __future__ import annotations

import importlib.metadata
import os

import block_kit
import pytest

from prunebench.common.errors import EnvironmentMismatch
from prunebench.common.versions import check_versions, in_series
from prunebench.config.loading import Config
from prunebench.experiment.requirements import check_engine
from prunebench.measuring.host import doctor
from prunebench.measuring.host.doctor import Finding, examine

TIMED = {"float": block_kit.BLOCKED, "int8": block_kit.INT8}


@pytest.fixture(autouse=True)
def _idle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.psutil, "cpu_percent", lambda interval: 1.0)
    monkeypatch.setattr(doctor, "measure_block", lambda config, numbers: TIMED[numbers])


def _about(topic: str) -> list[Finding]:
    return [finding for finding in examine() if finding.topic == topic]


def test_every_finding_is_a_sentence_about_a_topic() -> None:
    findings = examine()
    topics = {finding.topic for finding in findings}
    assert {"load", "cores", "cpu quota", "governor", "turbo", "instructions"} <= topics
    assert {"environment", "memory", "swap", "host", "power", "clock", "versions"} <= topics
    for finding in findings:
        assert finding.level in ("ok", "warn", "bad")
        assert finding.sentence.endswith(".")
        assert "\n" not in finding.sentence


@pytest.mark.parametrize(("percent", "level"), [(3.0, "ok"), (12.0, "warn"), (60.0, "bad")])
def test_load(monkeypatch: pytest.MonkeyPatch, percent: float, level: str) -> None:
    monkeypatch.setattr(doctor.psutil, "cpu_percent", lambda interval: percent)
    (finding,) = _about("load")
    assert finding.level == level
    assert f"{percent:.0f}%" in finding.sentence


@pytest.mark.parametrize(
    ("quota", "level", "said"),
    [
        (None, "ok", "No control group"),
        (2.0, "warn", "allows 2 cores"),
        (1.5, "bad", "set a whole number"),
        (0.5, "bad", "set a whole number"),
    ],
)
def test_quota(monkeypatch: pytest.MonkeyPatch, quota: float | None, level: str, said: str) -> None:
    monkeypatch.setattr(doctor, "cpu_quota", lambda: quota)
    (finding,) = _about("cpu quota")
    assert finding.level == level
    assert said in finding.sentence


@pytest.mark.parametrize(
    ("flags", "levels"),
    [
        ({"avx2", "avx512f", "avx512_vnni"}, ["ok"]),
        ({"avx2"}, ["ok", "warn"]),
        ({"sse4_2"}, ["bad", "warn"]),
        ({"asimd", "asimddp"}, ["ok"]),
        ({"asimd"}, ["warn"]),
    ],
)
def test_instructions(monkeypatch: pytest.MonkeyPatch, flags: set[str], levels: list[str]) -> None:
    monkeypatch.setattr(doctor, "cpu_flags", lambda: frozenset(flags))
    assert [finding.level for finding in _about("instructions")] == levels


def test_the_block_is_what_was_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    (finding,) = _about("block")
    assert finding.level == "ok"
    assert finding.sentence.endswith("channels pay in multiples of 16 in float and 16 in int8.")
    doubtful = block_kit.BLOCKED.model_copy(update={"settled": False})
    monkeypatch.setattr(doctor, "measure_block", lambda config, numbers: doubtful)
    (finding,) = _about("block")
    assert finding.level == "warn"


@pytest.mark.parametrize(
    ("name", "level"), [("performance", "ok"), ("powersave", "warn"), (None, "warn")]
)
def test_governor(monkeypatch: pytest.MonkeyPatch, name: str | None, level: str) -> None:
    monkeypatch.setattr(doctor, "governor", lambda: name)
    (finding,) = _about("governor")
    assert finding.level == level


def test_thread_variables_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    (finding,) = _about("environment")
    assert finding.level == "warn"
    assert "OMP_NUM_THREADS=7" in finding.sentence


def test_an_affinity_is_seen() -> None:
    allowed = os.sched_getaffinity(0)
    if len(allowed) < 2:
        pytest.skip("one CPU only: its affinity cannot be narrowed")
    try:
        os.sched_setaffinity(0, {min(allowed)})
        (finding,) = _about("cores")
    finally:
        os.sched_setaffinity(0, allowed)
    assert finding.level == "warn"
    assert "affinity" in finding.sentence


def test_the_installed_versions_are_the_tested_ones() -> None:
    check_versions()
    (finding,) = _about("versions")
    assert finding.level == "ok"
    assert importlib.metadata.version("onnxruntime") in finding.sentence


def test_an_untested_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.metadata.version
    monkeypatch.setattr(
        importlib.metadata,
        "version",
        lambda name: "1.31.2" if name == "onnxruntime" else real(name),
    )
    with pytest.raises(EnvironmentMismatch, match=r"onnxruntime 1\.31\.2 is installed"):
        check_versions()
    (finding,) = _about("versions")
    assert finding.level == "bad"


def test_a_missing_library_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.metadata.version

    def version(name: str) -> str:
        if name == "torch-pruning":
            raise importlib.metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    with pytest.raises(EnvironmentMismatch, match="torch-pruning is not installed"):
        check_versions()


@pytest.mark.parametrize(
    ("version", "series", "inside"),
    [("1.32.0", "1.32", True), ("2.14.1+cpu", "2.14", True), ("1.320.0", "1.32", False)],
)
def test_release_series(version: str, series: str, inside: bool) -> None:
    assert in_series(version, series) is inside


def test_dask_without_its_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    values = {"model": "m.pt", "store": "file:///s", "engine": "dask", "address": "tcp://h:8786"}
    config = Config.model_validate(values)
    check_engine(config)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(EnvironmentMismatch, match=r"pip install 'prunebench\[dask\]'"):
        check_engine(config)
    check_engine(Config(model="m.pt"))
