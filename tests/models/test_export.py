"""The exported file is static, carries its names and computes what the checkpoint does."""

from __future__ import annotations

import ast
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
import torch
from pruning_kit import HW, NAMES, parameters, prune_uniformly, tiny_network
from ultralytics import YOLO

from prunebench.common.errors import CheckpointError, DatasetError, ParityError
from prunebench.common.records import Exported
from prunebench.common.variant_record import VariantRecord
from prunebench.config.sections import LatencyConfig
from prunebench.measuring.inference import OnnxNetwork
from prunebench.measuring.session import SessionSettings
from prunebench.variants.audit import audit_file, judge
from prunebench.variants.checkpoint import load_checkpoint, save_checkpoint
from prunebench.variants.export import Request, compare, run
from prunebench.variants.provenance import Provenance
from prunebench.variants.structure import structure_of

SESSION = SessionSettings.of(LatencyConfig())


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("images") / "image.png"
    pixels = np.random.default_rng(0).integers(0, 255, (50, 90, 3), dtype=np.uint8)
    cv2.imwrite(str(path), pixels)
    return path


@pytest.fixture(scope="module")
def pruned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pruned") / "pruned.pt"
    network = tiny_network("yolov8n")
    prune_uniformly(network, ratio=0.3, round_to=None)
    save_checkpoint(network, path, {})
    return path


def request(checkpoint: Path, image: Path, **changes: Any) -> Request:
    values: dict[str, Any] = {
        "checkpoint": str(checkpoint),
        "imgsz": HW,
        "opset": 17,
        "images": (str(image),),
        "box_tolerance_px": 0.5,
        "score_tolerance": 0.005,
        "thresholds": {"conf": 0.25, "iou": 0.7, "max_det": 300},
        "session": SESSION,
    }
    return Request.model_validate(values | changes)


@pytest.fixture(scope="module")
def provenance(pruned: Path) -> Provenance | None:
    return provenance_of("yolov8n", pruned)


def provenance_of(name: str, pruned: Path) -> Provenance | None:
    root = judge(structure_of(tiny_network(name), HW), parent=None, baseline=None)
    audit = judge(structure_of(load_checkpoint(pruned), HW), parent=root, baseline=root)
    baseline, variant = (
        VariantRecord(name=name, parent=None, steps=(), audit=one)
        for name, one in (("baseline", root), ("pruned", audit))
    )
    return Provenance.of(variant, baseline)


@pytest.fixture(scope="module")
def exported(
    pruned: Path, image: Path, provenance: Provenance, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Exported]:
    workdir = tmp_path_factory.mktemp("export")
    result = run(request(pruned, image, provenance=provenance), workdir, lambda event: None)
    return workdir / result.onnx.path, result


def test_the_file_is_static_and_names_its_classes(exported: tuple[Path, Exported]) -> None:
    path, result = exported
    model = onnx.load(path)
    shape = [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim]
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    assert shape == [1, 3, *HW]
    assert model.opset_import[0].version == result.opset == 17
    assert ast.literal_eval(metadata["names"]) == NAMES
    assert ast.literal_eval(metadata["imgsz"]) == list(HW)
    assert (metadata["conf"], metadata["iou"], metadata["max_det"]) == ("0.25", "0.7", "300")
    assert "date" not in metadata
    assert not {"Identity", "Constant", "Shape"} & {node.op_type for node in model.graph.node}


def test_it_runs_in_ultralytics_as_it_is(
    exported: tuple[Path, Exported], image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("YOLO_AUTOINSTALL", "false")
    (result,) = YOLO(exported[0], task="detect").predict(image, conf=0.001, verbose=False)
    assert result.names == NAMES
    assert len(result.boxes) > 0


def test_only_the_file_is_left(exported: tuple[Path, Exported], pruned: Path) -> None:
    path, result = exported
    assert [file.name for file in path.parent.iterdir()] == ["model.onnx"]
    assert [file.name for file in pruned.parent.iterdir()] == ["pruned.pt"]
    assert result.onnx.holds(path.parent)


def test_parity_is_far_below_the_tolerances(exported: tuple[Path, Exported]) -> None:
    parity = exported[1].parity
    assert parity.images == 1
    assert parity.max_box_px < 0.05
    assert parity.max_score < 1e-4


def test_the_same_checkpoint_gives_the_same_bytes(
    exported: tuple[Path, Exported],
    pruned: Path,
    image: Path,
    provenance: Provenance,
    tmp_path: Path,
) -> None:
    asked = request(pruned, image, provenance=provenance)
    assert run(asked, tmp_path, lambda event: None).onnx == exported[1].onnx


def test_an_onnx_file_is_counted_like_its_checkpoint(
    exported: tuple[Path, Exported], pruned: Path, provenance: Provenance
) -> None:
    finding = audit_file(exported[0])
    network = load_checkpoint(pruned)
    expected = structure_of(network, HW)
    assert finding.audit is not None
    assert finding.audit.verdict == "pruned"
    assert finding.audit.kept_share == parameters(network) / parameters(tiny_network("yolov8n"))
    assert finding.audit.structure == expected.model_copy(update={"fused": True})
    assert expected.parameters == parameters(network)
    assert finding.onnx is not None
    assert finding.onnx.provenance == provenance


@pytest.mark.parametrize("value", [12.0, float("nan")])
def test_a_file_that_computes_something_else_fails(
    exported: tuple[Path, Exported], pruned: Path, image: Path, value: float
) -> None:
    network: Any = load_checkpoint(pruned)
    with torch.no_grad():
        network.model[-1].cv3[0][-1].bias += value
    with pytest.raises(ParityError, match=r"differs from the checkpoint by .* px in a box edge"):
        compare(network, exported[0], request(pruned, image))


def test_a_failed_parity_leaves_no_file(
    exported: tuple[Path, Exported],
    pruned: Path,
    image: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def export_again(checkpoint: Path, folder: Path, *_: Any, **__: Any) -> Path:
        return Path(shutil.copy(exported[0], folder / "model.onnx"))

    monkeypatch.setattr("prunebench.variants.export.export_onnx", export_again)
    strict = request(pruned, image, box_tolerance_px=1e-12, score_tolerance=1e-12)
    with pytest.raises(ParityError, match=r"at most 1e-12 px and 1e-12 are allowed"):
        run(strict, tmp_path, lambda event: None)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["yolo26n", "yolov8n-seg"])  # the first with attention
def test_other_heads(name: str, image: Path, tmp_path: Path) -> None:
    checkpoint = tmp_path / "source" / "model.pt"
    network = tiny_network(name)
    prune_uniformly(network, ratio=0.3, round_to=None)
    save_checkpoint(network, checkpoint, {})
    asked = request(checkpoint, image, provenance=provenance_of(name, checkpoint))
    result = run(asked, tmp_path, lambda event: None)
    masks = 32 if name.endswith("seg") else 0
    result_file = tmp_path / result.onnx.path
    outputs = OnnxNetwork(result_file, HW, SESSION)(np.zeros((1, 3, *HW), np.float32))
    assert outputs[0].shape == (1, 4 + len(NAMES) + masks, 126)
    assert len(outputs) == (2 if masks else 1)
    finding, expected = audit_file(result_file), structure_of(load_checkpoint(checkpoint), HW)
    assert finding.audit is not None
    # What only training runs, the other head of YOLO26, is not in the file.
    assert finding.audit.verdict == "pruned"
    assert finding.audit.structure.model_copy(
        update={"widths": expected.widths}
    ) == expected.model_copy(update={"fused": True, "heads": {}})


def test_bad_input(pruned: Path, image: Path, exported: tuple[Path, Exported]) -> None:
    with pytest.raises(CheckpointError, match="does not exist"):
        run(request(pruned.with_name("none.pt"), image), pruned.parent, lambda event: None)
    missing = request(pruned, image.with_name("none.png"))
    with pytest.raises(DatasetError, match=r"none\.png: the image cannot be read"):
        compare(load_checkpoint(pruned), exported[0], missing)
    with pytest.raises(
        CheckpointError, match=r"its input is \[1, 3, 64, 96\], not \[1, 3, 32, 32\]"
    ):
        OnnxNetwork(exported[0], (32, 32), SESSION)
    with pytest.raises(CheckpointError, match="onnxruntime cannot load the file"):
        OnnxNetwork(image, HW, SESSION)
