"""Parameters of a deployment reach no file outside the allowed folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from prunebench.common.errors import InputError
from prunebench.config.loading import Config, load_config
from prunebench.operating.allowed_paths import (
    allowed_roots,
    check_address,
    check_config,
    check_store,
)


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


def check(own_history: str | None = None, **values: Any) -> None:
    config = Config.model_validate({"model": "best.pt", "out": "runs", **values})
    check_config(config, allowed_roots({}), own_history)


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
        check_store(url, allowed_roots({}), "s3://bucket/of-the-operator")
    assert refused.value.where == "store"
    check_store(url, allowed_roots({}), url)
    check_store(f"file://{root}/store", allowed_roots({}), None)


def test_a_dask_cluster_of_its_own() -> None:
    check_address("tcp://ours:8786", "tcp://ours:8786")
    with pytest.raises(InputError, match="cannot choose a Dask cluster"):
        check_address("tcp://elsewhere:8786", "tcp://ours:8786")


def test_the_operator_names_the_folders_and_the_database(root: Path, tmp_path: Path) -> None:
    database = "postgresql://db.example/x"
    check(own_history=database, history=database)
    environ = {"PRUNEBENCH_ALLOWED_ROOTS": f"{tmp_path}:/data"}
    assert allowed_roots(environ) == (tmp_path.resolve(), Path("/data"))
    # It is no key of the configuration.
    assert load_config(None, overrides={"model": "best.pt"}, environ=environ).model == "best.pt"
