"""The short try behind ``run --dry-run``, in its real child process."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from flows.cli import app
from tests.conftest import tiny_values


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
        "training",
        "measuring what each layer costs and matters",
        "searching for the target",
        "pruning",
        "exporting and evaluating",
        "measuring latency",
    ]
    assert 0 < found["low_s"] < found["high_s"] < 3600
    assert "trying how fast this host trains" in said.err
    assert "trying how fast the layers are measured" in said.err
    assert not [path for path in out.iterdir() if path.name[:1].isdigit()]
