"""Another activation in place of SiLU: what is built, told, refused, and read without us."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from pruning_kit import predictions, prune_uniformly, tiny_network
from torch import nn

from prunebench.common.errors import ConfigError
from prunebench.config.strategy_settings import Activation
from prunebench.results.messages.catalogue import Messages
from prunebench.results.messages.observations import tell_finding
from prunebench.variants.audit import audit_file
from prunebench.variants.checkpoint import load_checkpoint, save_checkpoint
from prunebench.variants.given import Request, run
from prunebench.variants.retraining.activation import with_activation
from prunebench.variants.structure import rebuilt

LAYERS = 57
"""Of yolov8n: 64 convolutions, of which six predict and one decodes."""


@pytest.fixture(scope="module")
def silu(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("given") / "silu.pt"
    save_checkpoint(tiny_network("yolov8n"), path, {})
    return path


@pytest.fixture(scope="module")
def relu(silu: Path) -> Path:
    return with_activation(silu, "relu", silu.with_name("relu.pt"))


@pytest.mark.parametrize(
    ("name", "activation", "function"),
    [
        ("yolov8n", "relu", torch.relu),
        ("yolo26n", "hardswish", nn.functional.hardswish),
        ("yolov8n-seg", "relu", torch.relu),
    ],
)
def test_every_silu_is_replaced_and_nothing_else(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    activation: Activation,
    function: Any,
) -> None:
    save_checkpoint(tiny_network(name), tmp_path / "given.pt", {})
    path = with_activation(tmp_path / "given.pt", activation, tmp_path / "replaced.pt")
    replaced, given = load_checkpoint(path), load_checkpoint(tmp_path / "given.pt")
    ours = predictions(replaced)
    # Plain Ultralytics builds a network anew from its description and takes over the tensors.
    built = rebuilt(replaced)
    built.load_state_dict(replaced.state_dict())
    assert all(map(torch.equal, predictions(built), ours))
    monkeypatch.setattr(nn.SiLU, "forward", lambda self, x: function(x))
    assert all(map(torch.equal, predictions(given), ours))


def test_it_is_audited_and_pruned_again_as_any_other(relu: Path, tmp_path: Path) -> None:
    told = f"activation replaced: ReLU in place of SiLU in {LAYERS} layers."
    finding = audit_file(relu)
    assert tell_finding(finding, Messages()).endswith(told)
    assert finding.audit is not None
    assert finding.audit.structure.activations == {"ReLU": LAYERS}
    network = load_checkpoint(relu)
    prune_uniformly(network, ratio=0.3, round_to=None)
    save_checkpoint(network, tmp_path / "pruned.pt", {"step": "prune"})
    again = tell_finding(audit_file(tmp_path / "pruned.pt"), Messages())
    assert again.startswith("pruned: ")
    assert again.endswith(told)
    assert with_activation(relu, "relu", tmp_path / "unused.pt") == relu


@pytest.mark.parametrize("was", ["relu", "SiLU and ReLU", ["SiLU"], None])
def test_a_description_that_says_something_else_is_not_believed(
    relu: Path, tmp_path: Path, was: Any
) -> None:
    network: Any = load_checkpoint(relu)
    network.yaml["replaced_activation"] = was
    save_checkpoint(network, tmp_path / "told.pt", {})
    found = audit_file(tmp_path / "told.pt")
    assert found.counted is not None
    assert found.counted.replaced_activation is None


def test_a_network_of_its_own_description_replaced_nothing(tmp_path: Path) -> None:
    """Ultralytics' YOLOv6 has ReLU from the start."""
    found = run(Request(model="yolov6n.yaml"), tmp_path, lambda event: None)
    structure = found.audit.structure
    assert structure.activations.keys() == {"ReLU"}
    assert structure.replaced_activation is None


def test_what_cannot_be_replaced_is_refused_before_work_starts(silu: Path, relu: Path) -> None:
    assert run(Request(model=str(silu), activation="relu"), Path(), lambda event: None)
    with pytest.raises(ConfigError) as refused:
        run(Request(model=str(relu), activation="hardswish"), Path(), lambda event: None)
    assert str(refused.value) == (
        f"retrain.activation: hardswish takes the place of SiLU, which {relu} has nowhere "
        "(it has ReLU); set it to keep."
    )


def test_plain_ultralytics_opens_trains_and_exports_it(relu: Path, tmp_path: Path) -> None:
    script = tmp_path / "plain.py"
    script.write_text(
        "import sys, torch\n"
        "from ultralytics import YOLO\n"
        "model = YOLO(sys.argv[1])\n"
        "model.export(format='onnx', imgsz=64)\n"
        "model = YOLO(sys.argv[1])\n"
        "model.model.requires_grad_(True).train()\n"
        "model.model(torch.zeros(2, 3, 64, 64))['boxes'].sum().backward()\n"
        "print(sum(isinstance(m, torch.nn.ReLU) for m in model.model.modules()))\n"
        "assert not any(name.startswith('prunebench') for name in sys.modules)\n"
    )
    copy = tmp_path / "relu.pt"
    copy.write_bytes(relu.read_bytes())
    done = subprocess.run(
        [sys.executable, str(script), str(copy)], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1] == str(LAYERS)
    assert copy.with_suffix(".onnx").is_file()
