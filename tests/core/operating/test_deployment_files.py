"""The files of a deployments folder, and what is wrong with them in one sentence."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL, Settings, temporary_settings
from prefect_kit import free_port

from flows.deploying import deploy
from flows.deployment_files import read_operations
from prunebench.common.errors import ConfigError, InputError
from tests.conftest import ROOT


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(ROOT / "deployments", tmp_path / "deployments"))


def test_our_own_files_are_in_order() -> None:
    operations = read_operations(ROOT / "deployments")
    assert operations.root == ROOT
    for deployment in operations.deployments:
        path, function = deployment.entrypoint.split(":")
        assert f"def {function}(" in (ROOT / path).read_text()


@pytest.mark.parametrize(
    ("file", "old", "new", "part"),
    [
        (
            "prefect.yaml",
            "timezone: UTC",
            "timezone: Mars/Olympus",
            "invalid timezone: Mars",
        ),
        ("prefect.yaml", 'cron: "30 2 * * *"', "cron: at night", "schedules"),
        ("prefect.yaml", "slug: nightly", "slug: Every Night", "slug"),
        ("prefect.yaml", "CANCEL_NEW", "ENQUEUE", "must be CANCEL_NEW"),
        ("prefect.yaml", "    schedules:", "    schedule:", "schedule"),
        ("prefect.yaml", "      name: prunebench", "      name: other", "which operations.yaml"),
        ("prefect.yaml", '        anchor_date: "2026', '        # "2026', "needs interval and"),
        ("prefect.yaml", "name: accuracy-check", "name: rebenchmark", "is listed twice"),
        ("operations.yaml", "limit: 1", "limit: 0", "limit"),
        ("operations.yaml", "type: run-deployment", "type: call-webhook", "type"),
        ("operations.yaml", "work_pools:", "work_pools: [", "cannot be read as YAML"),
    ],
)
def test_a_wrong_value(folder: Path, file: str, old: str, new: str, part: str) -> None:
    text = (folder / file).read_text()
    assert old in text
    (folder / file).write_text(text.replace(old, new, 1))
    with pytest.raises(ConfigError, match=part) as refused:
        read_operations(folder)
    assert refused.value.where == str(folder / file)


def test_a_missing_file_a_missing_flow_and_no_server(folder: Path) -> None:
    with pytest.raises(
        InputError, match=r"the flow flows/run_experiment.py:run_experiment .* cannot be loaded"
    ):
        deploy(read_operations(folder), check=True)
    operations = read_operations(ROOT / "deployments")
    with (
        temporary_settings(restore_defaults={PREFECT_API_URL}),
        pytest.raises(InputError, match="no Prefect server is configured"),
    ):
        deploy(operations, check=True)
    with (
        temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{free_port()}/api"}),
        pytest.raises(InputError, match="does not answer"),
    ):
        deploy(operations, check=True)
    (folder / "operations.yaml").unlink()
    with pytest.raises(ConfigError, match="there is no such file"):
        read_operations(folder)


def test_prefects_own_commands_send_no_statistics_from_here(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.delenv("PREFECT_SERVER_ANALYTICS_ENABLED", raising=False)
    assert Settings().server.analytics_enabled is False
