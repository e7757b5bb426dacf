"""Checkpoints: what is written is Ultralytics', what is read is checked first."""

from __future__ import annotations

import copy
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from pruning_kit import NAMES, parameters, predictions, tiny_network
from torch import nn
from ultralytics.nn.tasks import RTDETRDetectionModel, SegmentationModel

from prunebench.common.errors import CheckpointError
from prunebench.variants.checkpoint import inspect_checkpoint, load_checkpoint, save_checkpoint
from prunebench.variants.checkpoint_faults import layers_fault


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("checkpoint") / "model.pt"
    save_checkpoint(tiny_network("yolov8n"), path, {"step": "test", "ratio": 0.5})
    return path


def test_a_saved_network_comes_back_in_half_precision(saved: Path) -> None:
    network: Any = load_checkpoint(saved)
    original = tiny_network("yolov8n")
    expected = original.half().float()
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}
    assert torch.equal(predictions(network)[0], predictions(expected)[0])
    assert 1.9 * parameters(network) < saved.stat().st_size < 2.3 * parameters(network)


def test_saving_leaves_the_network_as_it_was(tmp_path: Path) -> None:
    network = tiny_network("yolov8n")
    before = predictions(network)[0]
    save_checkpoint(network, tmp_path / "model.pt", {})
    assert torch.equal(predictions(network)[0], before)


def test_the_same_network_gives_the_same_bytes(saved: Path, tmp_path: Path) -> None:
    network = tiny_network("yolov8n")
    predictions(network)  # leaves anchors of an image size behind
    save_checkpoint(network, tmp_path / "again.pt", {"step": "test", "ratio": 0.5})
    assert (tmp_path / "again.pt").read_bytes() == saved.read_bytes()


def test_inspection_says_what_the_file_is(saved: Path) -> None:
    info = inspect_checkpoint(saved)
    assert (info.task, info.names) == ("detect", NAMES)
    assert info.parameters == parameters(tiny_network("yolov8n"))
    network: Any = load_checkpoint(saved)
    assert network.yaml["scales"] == {"t": [0.33, 0.125, 1024]}
    assert info.provenance == {"step": "test", "ratio": 0.5}


def test_plain_ultralytics_opens_it_and_can_train_it(saved: Path, tmp_path: Path) -> None:
    script = tmp_path / "plain.py"
    script.write_text(
        "import sys, torch\n"
        "from ultralytics import YOLO\n"
        "model = YOLO(sys.argv[1])\n"
        "print(model.task, sorted(model.names.items())[0], model.ckpt['train_args'])\n"
        "model.model.requires_grad_(True).train()\n"
        "model.model(torch.zeros(2, 3, 64, 64))['boxes'].sum().backward()\n"
        "print(sum(p.numel() for p in model.model.parameters()))\n"
        "assert not any(name.startswith('prunebench') for name in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, str(script), str(saved)], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert "detect (0, 'disc')" in done.stdout
    assert done.stdout.split()[-1] == str(parameters(tiny_network("yolov8n")))


def test_missing_folder_and_wrong_suffix(tmp_path: Path) -> None:
    refused(tmp_path / "none.pt", "the checkpoint does not exist")
    refused(tmp_path, "this is not a file")
    other = tmp_path / "model.onnx"
    other.write_bytes(b"x")
    refused(other, "a checkpoint ends in .pt, not in .onnx")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        ("weights: für später\n".encode() * 400, "it is a text file, not a checkpoint"),
        (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", "it is no PyTorch archive, not a checkpoint"),
        (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", "it is no PyTorch archive"),
    ],
    ids=["empty", "text", "png", "pickle"],
)
def test_a_file_that_is_no_archive(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(content)
    refused(path, message)


@pytest.mark.parametrize("share", [0.2, 0.9, 0.999])
def test_a_truncated_file(saved: Path, tmp_path: Path, share: float) -> None:
    content = saved.read_bytes()
    path = tmp_path / "cut.pt"
    path.write_bytes(content[: int(len(content) * share)])
    refused(path, "the file is truncated")


def test_a_damaged_file(saved: Path, tmp_path: Path) -> None:
    content = bytearray(saved.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path = tmp_path / "damaged.pt"
    path.write_bytes(bytes(content))
    refused(path, "the file is damaged")


@pytest.mark.parametrize(
    ("member", "message"),
    [
        ("letter.txt", "a zip archive, but no PyTorch checkpoint"),
        ("archive/constants.pkl", "it is a TorchScript archive"),
    ],
)
def test_a_zip_of_something_else(tmp_path: Path, member: str, message: str) -> None:
    path = tmp_path / "other.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(member, "hello")
    refused(path, message)


def test_weights_without_a_network(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch.save({"model": nn.Conv2d(1, 1, 1).state_dict()}, path)
    refused(path, "it holds weights but no network")


class Foreign(nn.Module):
    """Not one of Ultralytics' classes."""


def test_a_file_that_would_run_foreign_code(tmp_path: Path) -> None:
    path = tmp_path / "foreign.pt"
    torch.save({"model": Foreign()}, path)
    refused(path, rf"would import {Foreign.__module__}\.Foreign, which no Ultralytics checkpoint")


def test_another_task(tmp_path: Path) -> None:
    path = tmp_path / "other.pt"
    torch.save({"model": RTDETRDetectionModel("yolov8-rtdetr.yaml", verbose=False).half()}, path)
    what = r"its network ends in model\.\d+ \(RTDETRDecoder\), which cannot be pruned"
    refused(path, f"{what}; give a checkpoint of .*, oriented boxes or classification\\.$")


def test_masks_of_other_prototypes(tmp_path: Path) -> None:
    path = tmp_path / "other.pt"
    network = tiny_network("yolov8n-seg")
    description = copy.deepcopy(network.yaml)
    description["head"][-1][-1][1] = 16
    torch.save({"model": SegmentationModel(description, verbose=False).half()}, path)
    refused(path, "its masks are made of 16 prototypes in place of 32; train a network of 32")


def test_a_fused_network(tmp_path: Path) -> None:
    path = tmp_path / "fused.pt"
    torch.save({"model": tiny_network("yolov8n").fuse(verbose=False).half()}, path)
    refused(path, r"BatchNorm layers are folded already \(a fused model\)")


def refused(path: Path, message: str) -> None:
    with pytest.raises(CheckpointError, match=message) as caught:
        load_checkpoint(path)
    assert caught.value.where == str(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "fault"),
    [
        ("torchvision.ops.Conv2dNormActivation", None),
        ("torchvision.ops.nms", "it knows no layer 'torchvision.ops.nms'"),
        ("torchvision.models.VGG", "it knows no layer 'torchvision.models.VGG'"),
    ],
)
def test_of_torchvision_a_description_may_name_its_layers(kind: str, fault: str | None) -> None:
    assert layers_fault({"backbone": [[-1, 1, kind, [3]]], "head": []}) == fault
