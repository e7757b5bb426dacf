"""What a candidate is exported as, and which of its times are taken."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from prunebench.config.exporting import ExportHead
from prunebench.config.sections import LatencyConfig
from prunebench.variants.pruning import timing
from prunebench.variants.pruning.timing import Stopwatch


@pytest.mark.parametrize("head", ["one_to_many", "one_to_one"])
def test_candidates_have_the_head_of_the_variants_and_the_threads_of_the_cores(
    head: ExportHead, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eight threads are asked for on little cores, of which there are four."""
    exported: list[ExportHead] = []

    def export(checkpoint: Path, folder: Path, imgsz: object, **given: Any) -> Path:
        exported.append(given["head"])
        (folder / "model.onnx").write_bytes(b"a network")
        return folder / "model.onnx"

    monkeypatch.setattr(timing, "load_checkpoint", lambda path: None)
    monkeypatch.setattr(timing, "save_checkpoint", lambda *given: None)
    monkeypatch.setattr(timing, "export_onnx", export)
    config = LatencyConfig(threads=(8,), cores=("little",))
    stopwatch = Stopwatch(tmp_path / "model.pt", (), (32, 32), 17, (), config, tmp_path, head=head)
    assert exported == [head]
    candidate = tmp_path / "candidate-1.onnx"
    candidate.write_bytes(b"another")
    turns = range(5)
    medians = {
        ("baseline", 4): dict.fromkeys(turns, 8.0),
        ("candidate-1", 4): dict.fromkeys(turns, 4.0),
    }
    monkeypatch.setattr(Stopwatch, "_samples", lambda *given: ([], False))
    monkeypatch.setattr(timing, "round_medians", lambda samples, kind: medians)
    found = stopwatch.time(candidate, lambda said: None)
    assert found.ratio.estimate == pytest.approx(0.5)
    assert found.latency_ms == 4.0
