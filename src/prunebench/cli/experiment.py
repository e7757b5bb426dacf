"""The commands around one experiment: its configuration, its baseline, its tables and report."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from prunebench.cli.options import (
    ConfigOption,
    DataOption,
    JsonOption,
    ModelOption,
    OutOption,
    app,
    config_from,
    print_json,
    stdout_console,
    tell,
)
from prunebench.common.errors import InputError
from prunebench.steps.events import Epoch, Event, text_of


@app.command()
def init(
    model: Annotated[
        str, typer.Option("--model", "-m", help="Trained checkpoint (.pt) or network (.yaml).")
    ],
    data: Annotated[str, typer.Option("--data", "-d", help="Data YAML, 'scenes', 'neontrees'.")],
    file: Annotated[Path, typer.Option("--file", "-f", help="Configuration to write.")] = Path(
        "prunebench.yaml"
    ),
    data_dir: Annotated[Path, typer.Option(help="Folder for built-in data.")] = Path("runs/.data"),
) -> None:
    """Look at a model and its data and write a commented configuration for them."""
    from prunebench.common.files import write_atomically
    from prunebench.experiment.first_config import first_config

    if file.exists():
        raise InputError("the file exists already", where=file, fix="choose another with --file")
    write_atomically(file, first_config(model, data, file=str(file), cache_dir=data_dir))
    typer.echo(file)
    tell(f"Next: prunebench run --config {shlex.quote(str(file))} --dry-run")


@app.command()
def plan(
    config: ConfigOption = None,
    model: ModelOption = None,
    data: DataOption = None,
    out: OutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Resolve the configuration and list the variants and their steps; run nothing."""
    from prunebench.cli.views.plain import plan_view
    from prunebench.experiment.plan import plan_variants

    resolved = config_from(config, model, data, out)
    variants = plan_variants(resolved)
    if as_json:
        print_json(
            {
                "config": resolved.model_dump(mode="json"),
                "variants": [variant.model_dump(mode="json") for variant in variants],
            }
        )
        return
    stdout_console().print(plan_view(resolved, variants))


@app.command()
def rank(
    table: Annotated[Path, typer.Argument(help="CSV: variant, params, size_mb, map50, fps.")],
    as_json: JsonOption = False,
) -> None:
    """Rank measurements taken elsewhere."""
    from prunebench.cli.views.terminal import table_ranking_view
    from prunebench.results.table.ranked import rank_table

    ranking = rank_table(table)
    if as_json:
        print_json(ranking.model_dump(mode="json"))
        return
    stdout_console().print(table_ranking_view(ranking))


@app.command()
def audit(
    subjects: Annotated[
        list[str], typer.Argument(help="Checkpoints, ONNX files or bare parameter counts.")
    ],
    trust: Annotated[
        bool, typer.Option("--trust", help="Load what a checkpoint imports, which runs its code.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Say what each file, or each number of parameters, is."""
    from prunebench.cli.views.plain import audit_view
    from prunebench.variants.audit import audit_file, audit_number

    findings = []
    for subject in subjects:
        digits = subject.replace(",", "").replace("_", "")
        findings.append(
            audit_number(int(digits))
            if digits.isdigit()
            else audit_file(Path(subject), trust=trust)
        )
    if as_json:
        print_json([finding.model_dump(mode="json") for finding in findings])
        return
    stdout_console().print(audit_view(findings))


@app.command()
def baseline(
    data: Annotated[str, typer.Option("--data", "-d", help="Data YAML or 'scenes'.")] = "scenes",
    model: Annotated[str, typer.Option("--model", "-m", help="Network (.yaml).")] = "yolov8n.yaml",
    epochs: Annotated[int, typer.Option(min=1, help="Training epochs.")] = 100,
    imgsz: Annotated[int, typer.Option(min=32, help="Square training size in pixels.")] = 320,
    batch: Annotated[int, typer.Option(min=1, help="Images per batch.")] = 16,
    seed: Annotated[int, typer.Option(min=0, help="Seed of everything random.")] = 0,
    out: Annotated[Path, typer.Option("--out", "-o", help="Checkpoint to write.")] = Path(
        "baseline.pt"
    ),
    data_dir: Annotated[Path, typer.Option(help="Folder for built-in data.")] = Path("runs/.data"),
) -> None:
    """Train a baseline from scratch and write its checkpoint with a JSON that says how."""
    from prunebench.common.cores import usable_cores
    from prunebench.data.dataset import check_dataset, resolve_dataset
    from prunebench.variants.retraining.baseline import train_baseline

    dataset = resolve_dataset(data, cache_dir=data_dir)
    check_dataset(dataset, class_names=None)
    path = train_baseline(
        model=model,
        data_yaml=dataset.yaml,
        out=out,
        epochs=epochs,
        imgsz=imgsz,
        batch=batch,
        seed=seed,
        threads=usable_cores(),
        command=shlex.join(["prunebench", *sys.argv[1:]]),
        emit=_tell_epoch,
    )
    typer.echo(path)


@app.command()
def report(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    lang: Annotated[str, typer.Option("--lang", help="Language of the report: en or ko.")] = "en",
    figures: Annotated[
        bool, typer.Option("--figures", help="Also draw each figure as SVG and PNG (Chromium).")
    ] = False,
) -> None:
    """Make a run's report again from what it measured."""
    from prunebench.results.report.build import build_report

    typer.echo(build_report(run, lang=lang, figures=figures))


def _tell_epoch(event: Event) -> None:
    if isinstance(event, Epoch):
        tell(text_of(event))
