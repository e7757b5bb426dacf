"""The short try behind ``run --dry-run``, in its real child process."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from flows.cli import app
from prunebench.experiment.speed_trial import Request, run
from prunebench.steps.events import to_parent
from prunebench.variants.devices import Devices, GpuCard
from tests.conftest import tiny_values


def test_this_hosts_device_is_not_tried_where_a_cluster_trains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    card = GpuCard(name="H200", memory=140 * 2**30, bfloat16=True, uuid="there")
    monkeypatch.setattr("flows.cli.check_other_hosts", lambda _: Devices(cards=(card,)))

    def tried(step: str, request: Request, folder: Path, **_: object) -> object:
        assert (step, request.device, request.layers) == ("pace", None, True)
        return run(request, folder, to_parent).model_dump(mode="json")

    monkeypatch.setattr("prunebench.experiment.dry_run.run_child", tried)
    for name in ("importance.training_losses", "sensitivity.loss_of"):
        monkeypatch.setattr(f"prunebench.variants.pruning.{name}", None)
    cluster = {"engine": "dask", "address": "tcp://gpu:8786", "store": "s3://bucket/runs"}
    prune = {"target": "1.5x", "bn_batches": 1, "allocation": "latency-aware"}
    values = tiny_values(tmp_path / "out", prune=prune, **cluster)
    file = tmp_path / "config.yaml"
    file.write_text(json.dumps(values))
    app(["run", "--config", str(file), "--dry-run"], standalone_mode=False)
    said = capsys.readouterr()
    assert "Trainings run on H200 in bfloat16" in said.err
    assert "s an epoch" not in said.out
    assert "measuring what each layer costs" in said.out
    assert "measuring what each layer matters" not in said.out
    assert "run on the Dask cluster at tcp://gpu:8786. How long it trains" in said.out


def test_a_dry_run_estimates_and_makes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "config.yaml"
    out = tmp_path / "out"
    values = tiny_values(out)
    values["prune"] = {"target": "1.5x", "bn_batches": 1}
    file.write_text(json.dumps(values))
    app(["run", "--config", str(file), "--dry-run", "--json"], standalone_mode=False)
    said = capsys.readouterr()
    found = json.loads(said.out)
    titles = [part["title"].split(",")[0] for part in found["parts"]]
    assert titles == [
        "checking",
        "2 trainings",
        "measuring what each layer matters",
        "measuring what each layer costs",
        "searching for the target",
        "pruning",
        "exporting and evaluating",
        "measuring latency",
    ]
    assert 0 < found["low_s"] < found["high_s"] < 3600
    assert "trying how fast this host trains" in said.err
    assert "trying how fast the layers are measured" in said.err
    assert not [path for path in out.iterdir() if path.name[:1].isdigit()]
