"""Step ``pace``: how long this host takes for an image, in training and in use, by a short try."""

from __future__ import annotations

import itertools
import time
from pathlib import Path
from typing import Any

from prunebench.common.records import Record
from prunebench.steps.events import Emit, Stage
from prunebench.variants.devices import Device

MOST_TRIES = 3  # Batches that are timed at most, after one that warms up.
ENOUGH_S = 3.0  # Seconds after which no further batch is tried.
LOOKED_AT = 4  # Images that inference is timed on.
NARROWED = 0.4  # Time of all layers, averaged over the grid they are timed at, to the network's.


class Request(Record):
    """Input of the step; ``model`` and ``images`` are absolute paths (or Ultralytics' name).

    ``imgsz`` is the side trained at, ``hw`` (height, width) of the letterbox, in pixels,
    ``device`` what a training runs on, ``None`` where that is another host's.
    """

    model: str
    names: dict[int, str]
    images: tuple[str, ...]
    imgsz: int
    hw: tuple[int, int]
    device: Device | None = Device()
    layers: bool = False
    ignore: tuple[str, ...] = ()


class Pace(Record):
    """Seconds per image, read and used: in a training step, validating it, in the letterbox.

    ``layers_s`` is measuring what every layer matters, once, ``costs_s`` what each costs; 0 where
    nobody asks. What another host trains is not tried here: ``train_s`` is ``None``, the first 0.
    """

    train_s: float | None
    validate_s: float
    infer_s: float
    layers_s: float = 0.0
    costs_s: float = 0.0


def run(request: Request, workdir: Path, emit: Emit) -> Pace:
    """Train on a few batches and throw the result away; InputError for a bad file or name."""
    import torch

    from prunebench.measuring.heads import head_for
    from prunebench.measuring.inference import read_input
    from prunebench.variants.checkpoint import keypoints_of
    from prunebench.variants.pruning.batches import BATCH

    does = "uses the network" if request.device is None else "trains"
    emit(Stage(what=f"trying how fast this host {does}"))
    network = _network(request.model, request.names)
    head = head_for(network.task, keypoints_of(network))
    # Few images are gone through again and again.
    endless = itertools.cycle(map(Path, request.images))
    enough = list(itertools.islice(endless, BATCH * (MOST_TRIES + 1)))
    square = (request.imgsz, request.imgsz)
    train_s = None if request.device is None else _train_s(network, request.device, enough, square)
    network.eval().cpu()

    def seconds(imgsz: tuple[int, int]) -> float:
        started = time.perf_counter()
        with torch.inference_mode():
            for path in enough[:LOOKED_AT]:
                network(torch.from_numpy(read_input(path, imgsz, head)[0]))
        return (time.perf_counter() - started) / LOOKED_AT

    seconds(square)
    validate_s, infer_s, layers_s, costs_s = seconds(square), seconds(request.hw), 0.0, 0.0
    if request.layers:
        from prunebench.measuring.jobs import RUNS, WARM_RUNS
        from prunebench.variants.pruning.costs import GRID

        emit(Stage(what="trying how fast the layers are measured"))
        costs_s = GRID**2 * (RUNS + WARM_RUNS) * NARROWED * infer_s
        layers_s = 0.0 if request.device is None else _layers_s(network, enough, request)
    return Pace(
        train_s=train_s,
        validate_s=validate_s,
        infer_s=infer_s,
        layers_s=layers_s,
        costs_s=costs_s,
    )


def _train_s(network: Any, on: Device, images: list[Path], square: tuple[int, int]) -> float:
    """Seconds per image of a training step."""
    import torch

    from prunebench.variants.pruning.batches import BATCH, batches_for
    from prunebench.variants.pruning.importance import training_losses

    device, precision = torch.device(on.torch_name), on.precision
    network.train().requires_grad_(True).to(device, memory_format=torch.channels_last)
    batches = batches_for(network, images, MOST_TRIES + 1, imgsz=square, seed=0)
    started, trained = time.perf_counter(), 0
    few_bits = precision != "float32"
    with torch.autocast(device.type, getattr(torch, precision) if few_bits else None, few_bits):
        for index, loss in enumerate(training_losses(network, batches)):
            loss.backward()
            float(loss)  # Waits for a GPU.
            if index == 0:
                started = time.perf_counter()
                continue
            trained += BATCH
            if time.perf_counter() - started > ENOUGH_S:
                break
    return (time.perf_counter() - started) / trained


def _layers_s(network: Any, images: list[Path], request: Request) -> float:
    """Seconds of the step ``sensitivity``, from one batch."""
    from prunebench.variants.pruning.batches import batches_for
    from prunebench.variants.pruning.paths import bundles_of
    from prunebench.variants.pruning.pruner import open_network
    from prunebench.variants.pruning.sensitivity import BATCHES, SHARES, loss_of

    [batch] = batches_for(network, images, 1, imgsz=request.hw, seed=0)
    groups = bundles_of(open_network(network, ignore=request.ignore).graph.groups, None)
    loss_of(network, [batch])
    started = time.perf_counter()
    loss_of(network, [batch])
    loss_s = time.perf_counter() - started
    return len(groups) * len(SHARES) * BATCHES * loss_s


def _network(model: str, names: dict[int, str]) -> Any:
    if model.endswith(".pt"):
        from prunebench.variants.checkpoint import load_checkpoint

        return load_checkpoint(Path(model))
    from prunebench.variants.described import described_network

    return described_network(model, names)
