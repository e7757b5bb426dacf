"""The main flow with controls and a quantized sibling, at the tiny size.

The smaller stock network, which is trained, has its test in ``tests/processes``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flows.run_experiment import run_experiment
from prunebench.common.variant_record import VariantRecord
from prunebench.config.loading import parse_config
from prunebench.results.outcome import read_latency, read_outcome
from prunebench.results.ranking.doubts import Letterbox, LetterboxCosts
from prunebench.results.run_folder import read_variants
from tests.conftest import share_steps, tiny_values


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    values = tiny_values(
        share_steps(tmp_path_factory.mktemp("runs"), tmp_path_factory),
        name="controls",
        # The shipped checkpoint was trained at 160 pixels.
        image={"height": 64, "width": 96},
        retrain={"strategies": {}},
        controls=["int8", "resolution", "plain-export"],
        runtimes=["openvino"],
        quantize={"variants": ["pruned"], "calibration_images": 4, "max_map50_loss": 0.99},
    )
    state = run_experiment(parse_config(values), return_state=True)
    outcome: dict[str, Any] = state.result()
    assert outcome["failed"] == []
    return Path(outcome["folder"])


@pytest.fixture(scope="module")
def variants(folder: Path) -> dict[str, VariantRecord]:
    return {variant.name: variant for variant in read_variants(folder)}


def test_every_control_is_measured_beside_the_pruned_variants(folder: Path) -> None:
    rows = {row.name: row.control for row in read_outcome(folder).rankings[0].rows}
    assert rows == {
        "baseline": None,
        "pruned": None,
        "baseline-96x160": "trained-size",
        "baseline-32x64": "resolution",
        "baseline-plain": "plain-export",
        "baseline-int8": "int8",
        "pruned-int8": None,
    }
    ranking = read_outcome(folder).rankings[0]
    elsewhere = {row.name: row.of for row in ranking.elsewhere}
    # The INT8 file has unsigned activations on x86, which OpenVINO reads.
    assert {"baseline-openvino", "pruned-openvino"} <= set(elsewhere)
    assert ranking.failures_elsewhere == ()
    for row in ranking.elsewhere:
        assert row.int8 or abs(row.map50_change.estimate) < 1e-3
        assert row.int8 or row.runtime.precision == "float32"
    assert set(read_latency(folder).variants) == {*rows, *elsewhere}
    page = (folder / "report.md").read_text(encoding="utf-8")
    assert "baseline-32x64 (the unpruned model at a lower resolution)" in page
    assert "## Is it the pruning, or the runtime?" in page


def test_what_the_letterbox_costs_is_measured_and_told(
    folder: Path, variants: dict[str, VariantRecord]
) -> None:
    ranking = read_outcome(folder).rankings[0]
    costs = next(doubt for doubt in ranking.warnings if doubt.kind == "letterbox")
    assert isinstance(costs, LetterboxCosts)
    assert costs.letterbox == Letterbox(
        baseline="baseline", control="baseline-96x160", trained=(96, 160), deployed=(64, 96)
    )
    before, after = (variants[name].accuracy for name in ("baseline-96x160", "baseline"))
    assert before is not None
    assert after is not None
    assert costs.loss is not None
    assert costs.loss.estimate == pytest.approx(before.map50 - after.map50)
    # The shipped checkpoint finds little at 96 pixels what it finds at 160.
    assert costs.shown
    assert costs.limit == 0.05
    assert set(costs.unadvised) >= {"baseline", "pruned", "baseline-32x64"}
    advice = {advice.use: advice.recommended for advice in ranking.advice}
    assert advice["accuracy"] == "baseline-96x160"
    page = (folder / "report.md").read_text(encoding="utf-8")
    assert (
        "baseline was trained at 160 pixels and is deployed at 64 x 96 (H x W); that costs" in page
    )


def test_the_lower_resolution_is_the_same_checkpoint_at_its_own_letterbox(
    variants: dict[str, VariantRecord],
) -> None:
    lower, baseline = variants["baseline-32x64"], variants["baseline"]
    assert lower.checkpoint is not None
    assert baseline.checkpoint is not None
    assert lower.checkpoint.sha256 == baseline.checkpoint.sha256
    assert lower.exported is not None
    assert lower.accuracy is not None
    assert lower.exported.imgsz == lower.accuracy.imgsz == (32, 64)
    assert lower.audit is not None
    assert baseline.audit is not None
    assert lower.audit.verdict == "unpruned"
    # A third of the pixels, and every layer of yolov8n is a convolution.
    now, before = lower.audit.structure, baseline.audit.structure
    assert now.macs * 3 == before.macs
    assert baseline.accuracy is not None
    assert lower.accuracy.instances == baseline.accuracy.instances


def test_the_plain_export_is_the_same_network_whose_graph_is_not_rewritten(
    folder: Path, variants: dict[str, VariantRecord]
) -> None:
    plain, baseline, pruned = (variants[name] for name in ("baseline-plain", "baseline", "pruned"))
    assert plain.checkpoint is not None
    assert baseline.checkpoint is not None
    assert plain.checkpoint.sha256 == baseline.checkpoint.sha256
    exported = [variant.exported for variant in (plain, baseline, pruned)]
    assert [one and one.rewriting and any(one.rewriting.done.values()) for one in exported] == [
        None,
        True,
        True,
    ]
    assert plain.audit is not None
    assert baseline.audit is not None
    assert plain.audit.verdict == "unpruned"
    assert plain.audit.structure == baseline.audit.structure
    assert plain.accuracy is not None
    assert baseline.accuracy is not None
    assert plain.accuracy.map50 == pytest.approx(baseline.accuracy.map50, abs=1e-3)
    changed = {one.variant for one in read_outcome(folder).rankings[0].changes}
    assert "baseline-plain" not in changed


def test_a_quantized_sibling_is_its_parents_file_in_int8(
    folder: Path, variants: dict[str, VariantRecord]
) -> None:
    for name, verdict in (("baseline-int8", "unpruned"), ("pruned-int8", "preserved")):
        sibling = variants[name]
        parent = variants[sibling.parent or ""]
        assert sibling.checkpoint is None
        assert sibling.exported is not None
        assert parent.exported is not None
        assert sibling.exported.parity is None
        assert sibling.exported.onnx.bytes < parent.exported.onnx.bytes / 2
        assert sibling.exported.onnx.holds(folder)
        assert sibling.accuracy is not None
        assert sibling.quantization is not None
        assert sibling.quantization.calibration_images == 4
        assert sibling.audit is not None
        assert sibling.audit.verdict == verdict
