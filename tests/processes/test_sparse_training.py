"""Real sparse trainings of a tiny network: weaker channels, the same structure, stock classes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch_pruning as tp
from experiment_kit import bare_experiment
from retraining_kit import make_dataset, make_network, parameters_in, request

from prunebench.common.errors import StepError
from prunebench.common.records import FileRef, sha256_of
from prunebench.config.loading import parse_config
from prunebench.experiment.prune import prune
from prunebench.steps.cache import run_step
from prunebench.steps.events import Event
from prunebench.variants.checkpoint import load_checkpoint
from prunebench.variants.graph.groups import trace
from prunebench.variants.graph.surgery import split_c2f
from prunebench.variants.retraining.saved import tensor_shapes
from prunebench.variants.retraining.step import Request, Result, run

STRONG, NONE = 1.0, 1e-12


def ignore(_: Event) -> None:
    pass


def sparse(checkpoint: Path, data_yaml: Path, weight: float) -> Request:
    """Two epochs of two optimizer steps each: ``nbs`` is the batch."""
    settings = {"kind": "group_lasso", "weight": weight, "lr0": 0.01, "nbs": 3}
    return request(checkpoint, data_yaml, "sparse", round=0, settings=settings)


@pytest.fixture(scope="module")
def data_yaml(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def unpruned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_network(tmp_path_factory.mktemp("network") / "unpruned.pt")


Done = tuple[Path, Result]


@pytest.fixture(scope="module")
def trained(
    unpruned: Path, data_yaml: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[float, Done]:
    """Model and result of a training with and one without a regulariser worth its name."""
    done = {}
    for weight in (STRONG, NONE):
        folder = tmp_path_factory.mktemp("sparse")
        result = run(sparse(unpruned, data_yaml, weight), folder, ignore)
        done[weight] = (folder / result.checkpoint.path, result)
    return done


def least_important_norms(path: Path) -> list[float]:
    """Squared norm of the weakest channel of every group, the mean over the group's layers."""
    network: Any = load_checkpoint(path)
    split_c2f(network)
    norm = tp.importance.GroupMagnitudeImportance(p=2, normalizer=None)
    return [float(norm(group.layers).min()) for group in trace(network).groups]


def test_a_big_weight_weakens_the_least_important_channels(trained: dict[float, Done]) -> None:
    strong, without = (least_important_norms(trained[weight][0]) for weight in (STRONG, NONE))
    assert len(strong) == len(without) > 10
    assert all(one < other for one, other in zip(strong, without, strict=True))


def test_the_structure_stays_and_plain_ultralytics_opens_it(
    trained: dict[float, Done], unpruned: Path
) -> None:
    model, result = trained[STRONG]
    assert tensor_shapes(load_checkpoint(model)) == tensor_shapes(load_checkpoint(unpruned))
    assert (result.training.strategy, result.training.round) == ("sparse", 0)
    assert result.training.transferred == result.training.tensors
    code = (
        "import sys; sys.modules['prunebench'] = sys.modules['torch_pruning'] = None\n"
        "from ultralytics import YOLO\n"
        "import numpy as np\n"
        "model = YOLO(sys.argv[1])\n"
        "model.predict(np.zeros((32, 32, 3), np.uint8), imgsz=32, verbose=False)\n"
        "print(sum(p.numel() for p in YOLO(sys.argv[1]).model.parameters()))\n"
    )
    command = [sys.executable, "-I", "-c", code, str(model)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout.split()[-1]) == parameters_in(unpruned)


def test_the_last_epoch_is_handed_on_though_an_earlier_one_was_more_accurate(
    unpruned: Path, data_yaml: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ultralytics.models.yolo.detect import DetectionTrainer

    fitness = iter([0.6, 0.5])
    original = DetectionTrainer.validate

    def validate(trainer: Any) -> Any:
        metrics, _ = original(trainer)
        value = next(fitness)
        trainer.best_fitness = max(value, trainer.best_fitness or 0)
        return metrics, value

    monkeypatch.setattr(DetectionTrainer, "validate", validate)
    result = run(sparse(unpruned, data_yaml, STRONG), tmp_path, ignore)
    assert result.metrics["fitness"] == 0.5


def test_an_interrupted_training_continues_regularised(
    trained: dict[float, Done], unpruned: Path, data_yaml: Path, tmp_path: Path
) -> None:
    def interrupt(event: Event) -> None:
        if event.kind == "epoch" and event.epoch == 1:
            raise RuntimeError("interrupted")

    arguments = sparse(unpruned, data_yaml, STRONG)
    with pytest.raises(StepError, match="interrupted"):
        run(arguments, tmp_path, interrupt)
    result = run(arguments, tmp_path, ignore)
    assert (result.training.resumed, result.training.epochs) == (1, 2)
    assert tensor_shapes(load_checkpoint(tmp_path / "model.pt")) == tensor_shapes(
        load_checkpoint(unpruned)
    )
    continued, whole, without = (
        sum(least_important_norms(path))
        for path in (tmp_path / "model.pt", *(trained[weight][0] for weight in (STRONG, NONE)))
    )
    # Ultralytics keeps the optimizer's state in FP16, so the two are not equal to the last digit.
    assert without - continued == pytest.approx(without - whole, rel=0.05)


def test_the_sparse_network_is_what_is_pruned(
    unpruned: Path, data_yaml: Path, tmp_path: Path
) -> None:
    config = parse_config(
        {
            "model": str(unpruned),
            "image": {"height": 32, "width": 32},
            "prune": {
                "target": 0.5,
                "allocation": "uniform",
                "round_to": None,
                "bn_batches": 0,
                "sparsity": {"kind": "bn_l1", "epochs": 1},
            },
            "retrain": {"imgsz": 32, "batch": 3, "threads": 1},
        }
    )
    experiment = bare_experiment(
        config, tmp_path / "run", data_yaml=str(data_yaml), data_digest="of the data"
    )
    steps: list[str] = []

    def run_it(step: str, request: Any, inputs: Any) -> Any:
        done = run_step(experiment.steps_root, step, request, inputs, threads=1)
        steps.append(f"{step} {'cached' if done.cached else 'ran'}")
        return done

    planned = next(v for v in experiment.variants if v.name == "pruned")
    inputs = {"checkpoint": sha256_of(unpruned), "data_yaml": experiment.data_digest}
    for _ in range(2):
        done = prune(experiment, planned, unpruned, inputs, run_it)
    assert steps == ["train ran", "prune ran", "train cached", "prune cached"]
    pruned = Path(done.folder) / FileRef.model_validate(done.result["checkpoint"]).path
    assert parameters_in(pruned) < parameters_in(unpruned)
