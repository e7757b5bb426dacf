"""`prunebench baseline`."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from prunebench.cli.options import DataDirOption, app, tell
from prunebench.common.errors import ConfigError
from prunebench.steps.events import Epoch, Event, text_of


@app.command()
def baseline(
    data: Annotated[
        str, typer.Option("--data", "-d", help="Data YAML, folder, or 'scenes'.")
    ] = "scenes",
    model: Annotated[str, typer.Option("--model", "-m", help="Network (.yaml).")] = "yolov8n.yaml",
    epochs: Annotated[int, typer.Option(min=1, help="Training epochs.")] = 100,
    imgsz: Annotated[int, typer.Option(min=32, help="Square training size in pixels.")] = 320,
    batch: Annotated[int, typer.Option(min=1, help="Images per batch.")] = 16,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = "auto",
    seed: Annotated[int, typer.Option(min=0, help="Seed of everything random.")] = 0,
    out: Annotated[Path, typer.Option("--out", "-o", help="Checkpoint to write.")] = Path(
        "baseline.pt"
    ),
    data_dir: DataDirOption = Path("runs/.data"),
) -> None:
    """Train a baseline from scratch and write its checkpoint with a JSON that says how."""
    from prunebench.common.cores import usable_cores
    from prunebench.common.files import check_output_file
    from prunebench.data.check import check_dataset
    from prunebench.data.dataset import resolve_dataset
    from prunebench.data.file_memo import remembering
    from prunebench.variants.described import described_network
    from prunebench.variants.devices import choose, devices_here
    from prunebench.variants.retraining.baseline import Request, train_baseline

    if out.suffix != ".pt":
        raise ConfigError("a checkpoint ends in .pt", where=out, fix=f"use {out.stem}.pt")
    check_output_file(out, "--out")
    chosen = choose(device, "auto", devices_here())
    dataset = resolve_dataset(data, cache_dir=data_dir)
    task = described_network(model, dataset.names, points=dataset.keypoints).task
    with remembering(dataset.yaml, data_dir) as memo:
        check_dataset(dataset, task=task, memo=memo)
    request = Request(
        model=model,
        data_yaml=str(dataset.yaml),
        epochs=epochs,
        imgsz=imgsz,
        batch=batch,
        seed=seed,
        device=chosen,
        precision=chosen.precision,
        workers=chosen.workers,
        cache="auto",
        threads=usable_cores(),
        image_hw=(imgsz, imgsz),
    )
    command = shlex.join(["prunebench", *sys.argv[1:]])
    train_baseline(request, out, command=command, emit=_tell_epoch)
    typer.echo(out)


def _tell_epoch(event: Event) -> None:
    if isinstance(event, Epoch):
        tell(text_of(event))
