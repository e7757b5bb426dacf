"""Parameters of a deployment reach no file outside the allowed folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from prunebench.common.errors import InputError
from prunebench.config.loading import Config, load_config
from prunebench.operating.allowed_paths import check_config, check_path, check_store


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The allowed folder, in which the flow runs; a link in it leads outside."""
    root = tmp_path / "root"
    root.mkdir()
    (root / "best.pt").touch()
    (tmp_path / "secret.pt").touch()
    (root / "link.pt").symlink_to(tmp_path / "secret.pt")
    monkeypatch.chdir(root)
    return root


def check(environ: dict[str, str] | None = None, **values: Any) -> None:
    config = Config.model_validate({"model": "best.pt", "out": "runs", **values})
    check_config(config, environ or {})


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"data": "coco8.yaml", "model": "yolov8n.yaml"},
        {"data": "scenes:train=4,val=4,test=4", "history": "sqlite:///runs/history.db"},
    ],
)
def test_what_lies_inside_or_is_no_file(root: Path, values: dict[str, Any]) -> None:
    check(**values)


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"model": "../secret.pt"}, "config.model"),
        ({"model": "link.pt"}, "config.model"),
        ({"retrain": {"recipe": "../secret.yaml"}}, "config.retrain.recipe"),
        ({"prune": {"widths": "../widths.yaml"}}, "config.prune.widths"),
        ({"model": "/etc/passwd.pt"}, "config.model"),
        ({"data": "~/data.yaml"}, "config.data"),
        ({"out": ".."}, "config.out"),
        ({"history": "sqlite:////tmp/elsewhere.db"}, "config.history"),
        ({"history": "postgresql://db.example/x"}, "config.history"),
        ({"history": "nonsense"}, "config.history"),
    ],
)
def test_what_lies_outside(root: Path, values: dict[str, Any], key: str) -> None:
    with pytest.raises(InputError) as refused:
        check(**values)
    assert refused.value.where == key


@pytest.mark.parametrize(
    "url", ["s3://bucket/x", "file:///tmp", "/tmp", "../up", "filecache::file:///tmp", "http://a/b"]
)
def test_a_store_elsewhere(root: Path, url: str) -> None:
    with pytest.raises(InputError) as refused:
        check_store(url, {"PRUNEBENCH_STORE": "s3://bucket/of-the-operator"})
    assert refused.value.where == "store"
    check_store(url, {"PRUNEBENCH_STORE": url})
    check_store(f"file://{root}/store", {})


def test_a_dask_cluster_of_its_own(root: Path) -> None:
    values = {"engine": "dask", "store": f"file://{root}/store", "address": "tcp://ours:8786"}
    check({"PRUNEBENCH_ADDRESS": "tcp://ours:8786"}, **values)
    with pytest.raises(InputError, match="cannot choose a Dask cluster"):
        check({"PRUNEBENCH_ADDRESS": "tcp://theirs:8786"}, **values)


def test_an_mlflow_server_of_its_own(root: Path) -> None:
    check({"MLFLOW_TRACKING_URI": "http://mlflow:5000/"}, mlflow={"uri": "http://mlflow:5000"})
    for environ in ({}, {"MLFLOW_TRACKING_URI": "http://mlflow:5000"}):
        with pytest.raises(InputError, match="cannot choose an MLflow server"):
            check(environ, mlflow={"uri": "http://elsewhere:5000"})


def test_the_operator_names_the_folders_and_the_database(root: Path, tmp_path: Path) -> None:
    database = "postgresql://db.example/x"
    check({"PRUNEBENCH_HISTORY": database}, history=database)
    environ = {"PRUNEBENCH_ALLOWED_ROOTS": f"{tmp_path / 'shared'}:/data"}
    # The worker's own folder stays allowed: runs are written there.
    check(environ, out="runs")
    (tmp_path / "shared").mkdir()
    (tmp_path / "secret.pt").rename(tmp_path / "shared" / "secret.pt")
    check(environ, model=str(tmp_path / "shared" / "secret.pt"))
    check_path("model", "/data/best.pt", environ)
    with pytest.raises(InputError, match=f"worker allows .{root}, {tmp_path}/shared, /data"):
        check_path("model", "/elsewhere/best.pt", environ)
    # It is no key of the configuration.
    assert load_config(None, overrides={"model": "best.pt"}, environ=environ).model == "best.pt"
