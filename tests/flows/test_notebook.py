"""The example notebook, cell by cell, inside a running event loop as Jupyter executes it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from prunebench import Run
from tests.conftest import ROOT, share_steps, tiny_values

NOTEBOOK = ROOT / "docs" / "example.ipynb"


def test_the_example_notebook_runs(
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(NOTEBOOK.parent)
    # Without training, and with the finished steps of the other flow tests.
    settings = tiny_values(share_steps(tmp_path / "out", tmp_path_factory), retrain={"rounds": 0})
    names: dict[str, Any] = {}

    async def execute() -> None:
        for number, cell in enumerate(json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]):
            if cell["cell_type"] != "code":
                continue
            if "parameters" in cell["metadata"].get("tags", ()):
                names["settings"] = settings
                continue
            exec(compile("".join(cell["source"]), f"cell {number}", "exec"), names)

    asyncio.run(execute())
    run = names["run"]
    assert isinstance(run, Run)
    assert sorted(run.table["variant"]) == ["baseline", "pruned"]
    assert {"rank", "fps_low", "map50_high", "verdict"} <= set(run.table.columns)
    assert run.report.is_file()
    said = capsys.readouterr().out
    assert "unpruned: yolov8n, 7 classes" in said
    assert all(run.sentence(advice) in said for advice in run.advice)
    assert names["ranking"].notes
