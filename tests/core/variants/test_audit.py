"""Counts agree with formulas and with Ultralytics; verdicts follow from widths."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import thop
import torch
from pruning_kit import HW, NAMES, parameters, prune_uniformly, stock_network, tiny_network
from quantize_kit import write_detector
from rich.console import Console
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from prunebench.cli.views.audit import audit_view
from prunebench.common.errors import CheckpointError
from prunebench.common.records import (
    Audit,
    LeftAlone,
    Quantization,
    Record,
    Structure,
    TrainingSummary,
)
from prunebench.common.variant_record import VariantRecord
from prunebench.results.messages.catalogue import Messages
from prunebench.results.messages.observations import tell_finding, tell_provenance, tell_variant
from prunebench.variants.audit import audit_file, audit_number, judge
from prunebench.variants.checkpoint import save_checkpoint
from prunebench.variants.provenance import Provenance
from prunebench.variants.structure import Request, run, structure_of


@pytest.fixture(scope="module")
def yolov8n() -> Structure:
    return structure_of(stock_network("yolov8n"), (192, 320))


def test_yolov8n_with_seven_classes(yolov8n: Structure) -> None:
    assert (yolov8n.parameters, yolov8n.parameters_fused) == (3_012_213, 3_007_013)
    assert yolov8n.stock == "yolov8n, 7 classes"
    assert (yolov8n.task, yolov8n.names, yolov8n.fused) == ("detect", NAMES, False)
    assert yolov8n.macs_imgsz == (192, 320)


@pytest.mark.parametrize("name", ["yolov8n-seg", "yolo11n", "yolo12n"])
def test_macs_agree_with_torchs_counter(name: str) -> None:
    """Transposed convolutions and attention are counted too."""
    fused = tiny_network(name).fuse(verbose=False)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        fused(torch.zeros(1, 3, 64, 96))
    assert structure_of(tiny_network(name), (64, 96)).macs == counter.get_total_flops() // 2


def test_macs_of_a_linear_that_runs_over_many_rows() -> None:
    network = tiny_network("yolov8n")
    plain = structure_of(network, (64, 64)).macs
    layer = network.model[4].cv2
    layer.act = nn.Linear(8, 8)  # Over every row of its maps of 8 x 8.
    rows = layer.conv.out_channels * 8
    assert structure_of(network, (64, 64)).macs == plain + rows * 8 * 8


def test_macs_agree_with_thop(yolov8n: Structure) -> None:
    fused: Any = stock_network("yolov8n").fuse(verbose=False)
    macs, _ = thop.profile(fused, inputs=(torch.zeros(1, 3, 192, 320),), verbose=False)
    assert yolov8n.macs == pytest.approx(macs, rel=1e-3)


def test_widths_come_in_the_order_convolutions_run(yolov8n: Structure) -> None:
    first = list(yolov8n.widths.items())[:6]
    assert first == [
        ("model.0.conv", 16),
        ("model.1.conv", 32),
        ("model.2.cv1.conv", 32),
        ("model.2.m.0.cv1.conv", 16),
        ("model.2.m.0.cv2.conv", 16),
        ("model.2.cv2.conv", 32),
    ]
    assert len(yolov8n.widths) == 64


def test_describing_a_network_leaves_it_alone() -> None:
    network: Any = tiny_network("yolo26n")
    before = {name: value.clone() for name, value in network.state_dict().items()}
    structure = structure_of(network, HW)
    assert all(torch.equal(network.state_dict()[name], value) for name, value in before.items())
    assert structure.parameters == parameters(network)
    # Folding drops the head that only training uses.
    assert any("one2one_cv2" in name for name in structure.widths)
    assert structure.parameters_fused == parameters(network.fuse(verbose=False))


def test_a_network_of_an_own_description_is_stock_until_it_is_pruned() -> None:
    network = tiny_network("yolov8n")
    assert structure_of(network, HW).stock == "tiny-yolov8n, 7 classes"
    prune_uniformly(network, ratio=0.5, round_to=None)
    assert structure_of(network, HW).stock is None


def structure(*widths: int, stock: str | None = None, classes: int = 7) -> Structure:
    return Structure(
        task="detect",
        names={index: str(index) for index in range(classes)},
        parameters=100 * sum(widths),
        parameters_fused=99 * sum(widths),
        macs=1,
        macs_imgsz=HW,
        widths={f"model.{index}.conv": width for index, width in enumerate(widths)},
        fused=False,
        stock=stock,
    )


STOCK = structure(16, 32, stock="yolov8n, 7 classes")
BASELINE = judge(STOCK, parent=None, baseline=None)
PRUNED = judge(structure(8, 24), parent=BASELINE, baseline=BASELINE)
RESTORED = judge(STOCK, parent=PRUNED, baseline=BASELINE)
AGAIN = judge(structure(8, 16), parent=PRUNED, baseline=PRUNED)
PRESERVED = judge(structure(8, 24), parent=PRUNED, baseline=BASELINE)


@pytest.mark.parametrize(
    ("audit", "verdict", "why"),
    [
        (BASELINE, "unpruned", "yolov8n, 7 classes, 4,800 parameters, 4,752 with BatchNorm folded"),
        (
            PRUNED,
            "pruned",
            "2 of 2 convolutions are narrower, 3,200 parameters of 4,800 are left (66.7%)",
        ),
        (
            RESTORED,
            "restored",
            "the unpruned widths are back with 4,800 parameters, its pruned parent had 3,200",
        ),
        (
            PRESERVED,
            "preserved",
            "all 2 convolutions are as wide as its parent's, 3,200 parameters",
        ),
        (judge(structure(8, 24), parent=PRESERVED, baseline=BASELINE), "preserved", "all 2"),
        (judge(STOCK, parent=RESTORED, baseline=BASELINE), "restored", "all 2"),
        (judge(STOCK, parent=BASELINE, baseline=BASELINE), "unpruned", "all 2"),
        (
            judge(STOCK, parent=AGAIN, baseline=PRUNED),
            "restored",
            "its pruned parent had 2,400; it is wider than the model given, which was pruned "
            "before and had 3,200",
        ),
        (judge(structure(8, 16), parent=PRUNED, baseline=BASELINE), "pruned", "1 of 2"),
        (judge(structure(4, 40), parent=PRUNED, baseline=BASELINE), "altered", "other layers"),
        (judge(structure(8), parent=PRUNED, baseline=BASELINE), "altered", "other layers"),
        (
            judge(structure(8, 24, classes=80), parent=PRUNED, baseline=BASELINE),
            "altered",
            "it has 80 classes, its parent 7",
        ),
        (judge(structure(8, 24), parent=None, baseline=None), "altered", "no stock network"),
    ],
)
def test_verdicts(audit: Audit, verdict: str, why: str) -> None:
    assert audit.verdict == verdict
    variant = VariantRecord(name="a", parent=None, steps=(), audit=audit)
    assert why in tell_variant(variant, Messages())


def test_the_kept_share_is_of_the_unpruned_baseline() -> None:
    assert BASELINE.kept_share == 1
    assert PRUNED.kept_share == PRESERVED.kept_share == 3200 / 4800
    assert RESTORED.kept_share == 1


def test_the_step_describes_a_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    save_checkpoint(tiny_network("yolov8n"), path, {})
    events: list[Any] = []
    found = run(Request(checkpoint=str(path), imgsz=HW), tmp_path, events.append)
    assert found == structure_of(tiny_network("yolov8n"), HW)
    assert events[0].kind == "stage"


def test_a_checkpoint_is_compared_with_what_its_description_builds(tmp_path: Path) -> None:
    network = tiny_network("yolov8n")
    save_checkpoint(network, tmp_path / "baseline.pt", {})
    finding = audit_file(tmp_path / "baseline.pt")
    assert tell_finding(finding, Messages()).startswith("unpruned: tiny-yolov8n, 7 classes, ")

    alone = prune_uniformly(network, ratio=0.5, round_to=None)
    plain = {name: one.model_dump() for name, one in alone.items()}
    save_checkpoint(network, tmp_path / "pruned.pt", {"left_alone": plain})
    finding = audit_file(tmp_path / "pruned.pt")
    assert finding.audit is not None
    assert finding.audit.verdict == "pruned"
    assert finding.audit.left_alone == alone
    assert finding.audit.kept_share == parameters(network) / parameters(tiny_network("yolov8n"))


def test_macs_are_counted_at_a_checkpoints_own_size(tmp_path: Path) -> None:
    network = tiny_network("yolov8n")
    for file, args, provenance, size in (
        ("pruned.pt", {"imgsz": 320}, {"imgsz": [64, 96]}, (64, 96)),
        ("trained.pt", {"imgsz": 100}, {}, (128, 128)),
        ("bare.pt", {}, {}, (640, 640)),
    ):
        network.args = args
        save_checkpoint(network, tmp_path / file, provenance)
        counted = audit_file(tmp_path / file).counted
        assert counted is not None
        assert counted.macs_imgsz == size
        assert counted.macs == structure_of(network, size).macs


def test_what_pruning_left_alone_is_told_by_reason(tmp_path: Path) -> None:
    network = tiny_network("yolov8n")
    prune_uniformly(network, ratio=0.5, round_to=None)
    left = LeftAlone(reason="narrow_ratio", width=9).model_dump()
    alone = {f"model.{index}.conv": left for index in range(35)}
    save_checkpoint(network, tmp_path / "pruned.pt", {"left_alone": alone})
    console = Console(width=200)
    with console.capture() as captured:
        console.print(audit_view([audit_file(tmp_path / "pruned.pt")]))
    told = [line for line in captured.get().splitlines() if "left alone" in line]
    assert told == [
        "  Pruning left alone model.0.conv, model.1.conv and 33 more (no channel had to go)."
    ]


def exported(path: Path, **entries: Record) -> Path:
    """A small ONNX file with these entries in its metadata."""
    model = onnx.load(write_detector(path))
    for key, record in entries.items():
        model.metadata_props.add(key=key, value=record.model_dump_json())
    onnx.save(model, path)
    return path


def variant(audit: Audit, training: TrainingSummary | None = None) -> VariantRecord:
    return VariantRecord(name="a", parent=None, steps=(), audit=audit, training=training)


@pytest.fixture
def provenance(tmp_path: Path) -> Provenance:
    """Of the small file: narrower than a baseline of twice its parameters and MACs."""
    counted = audit_file(write_detector(tmp_path / "plain.onnx")).counted
    assert counted is not None
    root = counted.model_copy(
        update={"parameters": 2 * counted.parameters, "macs": 4 * counted.macs}
    )
    root = root.model_copy(update={"widths": {n: 2 * w for n, w in counted.widths.items()}})
    baseline = judge(root, parent=None, baseline=None)
    training = TrainingSummary(
        strategy="preserving", round=2, epochs=3, minutes=1.0, transferred=5, tensors=5
    )
    pruned = judge(counted, parent=baseline, baseline=baseline)
    kept = judge(counted, parent=pruned, baseline=baseline)
    found = Provenance.of(variant(kept, training), variant(baseline))
    assert found is not None
    return found


QUANTIZED = Quantization(
    layers=10,
    quantized=8,
    left_float={"a": "b"},
    map50_float=0.8,
    map50=0.79,
    activations="u8",
    calibration_images=64,
)


def test_an_exported_file_says_what_it_was_made_from(
    tmp_path: Path, provenance: Provenance
) -> None:
    path = exported(tmp_path / "kept.onnx", prunebench=provenance)
    finding = audit_file(path)
    assert finding.audit is not None
    assert finding.audit.verdict == "preserved"
    assert finding.audit.kept_share == 0.5
    assert finding.audit.structure.macs_imgsz == (64, 96)
    assert tell_finding(finding, m := Messages()).startswith("preserved: all 10 convolutions are")
    assert finding.onnx is not None
    assert tell_provenance(finding.onnx, m) == [
        f"50.0% of the unpruned network's {provenance.baseline_parameters:,} parameters are left",
        f"{provenance.macs / 1e6:.1f} M MACs of {4 * provenance.macs / 1e6:.1f} M (25.0%)",
        "trained last by preserving, round 2",
    ]


def test_an_int8_file_says_it(tmp_path: Path, provenance: Provenance) -> None:
    entries = {"prunebench": provenance, "prunebench_int8": QUANTIZED}
    finding = audit_file(exported(tmp_path / "int8.onnx", **entries))
    assert finding.audit is not None
    assert finding.audit == audit_file(exported(tmp_path / "f.onnx", prunebench=provenance)).audit
    assert "8 of 10 convolutions compute in INT8" in tell_finding(finding, m := Messages())
    assert finding.onnx is not None
    assert tell_provenance(finding.onnx, m)[-1].startswith("u8 activations, 64 images of calib")


def test_linear_layers_of_a_file_count_for_every_row_they_run_over(tmp_path: Path) -> None:
    path = exported(tmp_path / "model.onnx")
    plain, model = audit_file(path).counted, onnx.load(path)
    height, width = HW
    model.graph.initializer.extend(
        onnx.numpy_helper.from_array(value, name)
        for name, value in {
            "tokens": np.ones((width, 8), np.float32),
            "rows": np.ones((width, 5), np.float32),
            "bias": np.ones(5, np.float32),
            "by width": np.array([-1, width]),
        }.items()
    )
    model.graph.node.extend(
        onnx.helper.make_node(*node)
        for node in (
            ("MatMul", ["images", "tokens"], ["over tokens"]),
            ("Reshape", ["images", "by width"], ["rows of pixels"]),
            ("Gemm", ["rows of pixels", "rows", "bias"], ["over rows"]),
        )
    )
    onnx.save(model, path)
    counted = audit_file(path).counted
    assert plain is not None
    assert counted is not None
    assert counted.macs == plain.macs + 3 * height * width * (8 + 5)
    assert counted.parameters_fused == plain.parameters_fused + width * 8 + (width + 1) * 5


def test_a_file_without_provenance_is_of_unknown_making(tmp_path: Path) -> None:
    finding = audit_file(exported(tmp_path / "plain.onnx"))
    assert (finding.audit, finding.stock) == (None, None)
    assert finding.counted is not None
    count = f"{finding.counted.parameters:,}"
    assert tell_finding(finding, Messages()) == (
        f"of unknown making: no stock network has its {count} parameters, and no provenance in "
        "the file."
    )


def test_a_file_that_is_not_what_its_metadata_says(tmp_path: Path, provenance: Provenance) -> None:
    other = provenance.model_copy(update={"parameters_fused": provenance.parameters_fused + 1})
    finding = audit_file(exported(tmp_path / "other.onnx", prunebench=other))
    assert finding.audit is not None
    assert finding.audit.verdict == "altered"
    assert "so it was changed after its export" in tell_finding(finding, Messages())
    with pytest.raises(CheckpointError, match="its metadata prunebench cannot be read"):
        audit_file(exported(tmp_path / "odd.onnx", prunebench=QUANTIZED))


def test_numbers() -> None:
    found = [audit_number(count) for count in (3_012_213, 3_007_013, 2_752_255)]
    said = [tell_finding(one, Messages()) for one in found]
    assert said[0] == "3,012,213 parameters: yolov8n, 7 classes, unpruned."
    assert "BatchNorm folded" in said[1]
    assert found[2].stock is None
    assert said[2] == "2,752,255 parameters: no stock network has this count."


def test_files_that_are_neither(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="does not exist"):
        audit_file(tmp_path / "none.onnx")
    (tmp_path / "bad.onnx").write_bytes(b"nonsense")
    with pytest.raises(CheckpointError, match="it is not a valid ONNX file"):
        audit_file(tmp_path / "bad.onnx")
