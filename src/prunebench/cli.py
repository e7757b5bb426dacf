"""The commands that need no orchestrator. ``flows.cli`` adds those that do.

JSON goes to standard output, progress and errors to standard error. Exit codes: 0 done, 1 failed,
2 bad input, 3 some variants failed and the rest are ranked, 4 a gate or regression failed.
"""

from __future__ import annotations

import json
import shlex
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from prunebench.config import Config, load_config
from prunebench.errors import InputError, PrunebenchError, RegressionFound
from prunebench.version import __version__

INTERRUPTED = 130
"""Exit status after Ctrl-C, as a shell gives it: 128 + SIGINT."""

PIPED_WIDTH = 112
"""Columns the tables are laid out for, used where standard output is no terminal."""

app = typer.Typer(
    name="prunebench",
    help="Which pruned YOLO do I ship on this CPU, and is the difference real?",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    pass


ConfigOption = Annotated[
    Path | None, typer.Option("--config", "-c", help="YAML file with the configuration.")
]
ModelOption = Annotated[
    str | None, typer.Option("--model", "-m", help="Trained checkpoint (.pt) or network (.yaml).")
]
DataOption = Annotated[
    str | None, typer.Option("--data", "-d", help="Data YAML, 'scenes' or 'neontrees'.")
]
OutOption = Annotated[str | None, typer.Option("--out", "-o", help="Folder for runs.")]
UrlOption = Annotated[
    str | None,
    typer.Option("--url", envvar="PRUNEBENCH_HISTORY", help="History: sqlite:///, postgresql://."),
]
RunsOption = Annotated[
    Path, typer.Option("--out", "-o", envvar="PRUNEBENCH_OUT", help="Folder of runs.")
]
StoreOption = Annotated[
    str, typer.Option("--store", envvar="PRUNEBENCH_STORE", help="file:///folder, s3://bucket.")
]
StrictOption = Annotated[
    bool | None, typer.Option("--strict/--no-strict", help="Refuse to rank a noisy run.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]


def run_app(application: typer.Typer) -> None:
    """Run a command line and turn every expected error into its sentence and exit code."""
    try:
        application()
    except PrunebenchError as error:
        _tell(f"prunebench: {error}")
        sys.exit(error.exit_code)
    except SystemExit as ended:
        # Typer makes this of a KeyboardInterrupt.
        if ended.code == INTERRUPTED:
            again = shlex.join(["prunebench", *sys.argv[1:]])
            _tell(f"prunebench: interrupted; the same command goes on where it stopped: {again}")
        raise


def _tell(sentence: str) -> None:
    Console(stderr=True).print(sentence, markup=False, highlight=False, soft_wrap=True)


def _tell_epoch(event: dict[str, Any]) -> None:
    if event["kind"] == "epoch":
        _tell(f"epoch {event['epoch']}/{event['epochs']}, mAP50 {event['map50']:.3f}")


def stdout_console() -> Console:
    """The console of results: wide enough for them where no terminal says otherwise."""
    console = Console()
    return console if console.is_terminal else Console(width=PIPED_WIDTH)


def config_from(
    config: Path | None,
    model: str | None,
    data: str | None,
    out: str | None,
    strict: bool | None = None,
) -> Config:
    """The configuration of a command: flags over environment over file over defaults."""
    flags = {"model": model, "data": data, "out": out, "latency": {"strict": strict}}
    return load_config(config, flags=flags)


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
    from prunebench.files import write_atomically
    from prunebench.starter import first_config

    if file.exists():
        raise InputError("the file exists already", where=file, fix="choose another with --file")
    write_atomically(file, first_config(model, data, file=str(file), cache_dir=data_dir))
    typer.echo(file)
    _tell(f"Next: prunebench run --config {shlex.quote(str(file))} --dry-run")


@app.command()
def plan(
    config: ConfigOption = None,
    model: ModelOption = None,
    data: DataOption = None,
    out: OutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Resolve the configuration and list the variants and their steps; run nothing."""
    from prunebench.plan import plan_variants
    from prunebench.views import plan_view

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
    from prunebench.table import rank_table
    from prunebench.terminal import table_ranking_view

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
    from prunebench.auditing import audit_file, audit_number
    from prunebench.views import audit_view

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
    from prunebench.data.dataset import check_dataset, resolve_dataset
    from prunebench.latency.fingerprint import usable_cores
    from prunebench.retraining.baseline import train_baseline

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
    from prunebench.report.build import build_report

    typer.echo(build_report(run, lang=lang, figures=figures))


@app.command()
def doctor(as_json: JsonOption = False) -> None:
    """Say what on this machine would falsify a measurement."""
    from prunebench.doctor import examine
    from prunebench.views import doctor_view

    findings = examine()
    if as_json:
        print_json([finding._asdict() for finding in findings])
        return
    stdout_console().print(doctor_view(findings))


@app.command()
def selftest(
    onnx: Annotated[
        Path | None, typer.Option("--onnx", help="Model to measure; default: a small built-in one.")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="One short repetition (half a minute).")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Say what difference this host can tell: equal copies of a model, and known slowdowns."""
    from prunebench import selftest as module
    from prunebench.views import selftest_view

    with tempfile.TemporaryDirectory(prefix="prunebench-selftest-") as folder:
        result = module.selftest(
            onnx,
            module.QUICK if quick else module.THOROUGH,
            Path(folder),
            repetitions=1 if quick else module.REPETITIONS,
            on_event=_show_stage,
        )
    if as_json:
        print_json(result.model_dump(mode="json"))
        return
    stdout_console().print(selftest_view(result))


@app.command()
def history(
    variant: Annotated[str | None, typer.Option(help="Only this variant.")] = None,
    experiment: Annotated[str | None, typer.Option(help="Only this experiment's name.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Only this thread count.")] = None,
    url: UrlOption = None,
    out: RunsOption = Path("runs"),
    as_json: JsonOption = False,
) -> None:
    """Show every variant's figures over time and where its latency changed."""
    from prunebench import history as module
    from prunebench.given_runs import open_history
    from prunebench.history_views import history_view

    with open_history((), url, out) as store:
        points = module.history(store, variant=variant, experiment=experiment, threads=threads)
    series = module.mark_changes(points, "to_sentinel")
    if as_json:
        print_json([one.model_dump(mode="json") for one in series])
        return
    stdout_console().print(history_view(series))


@app.command()
def compare(
    before: Annotated[str, typer.Argument(help="Name or number in the history, or a run folder.")],
    after: Annotated[str, typer.Argument(help="The same, of the later run.")],
    across_hosts: Annotated[
        bool, typer.Option("--across-hosts", help="Compare although the hosts differ.")
    ] = False,
    try_onnxruntime: Annotated[
        bool,
        typer.Option(
            "--try-onnxruntime",
            help="Measure what became slower under both runs' onnxruntime (AFTER: a run folder).",
        ),
    ] = False,
    url: UrlOption = None,
    out: RunsOption = Path("runs"),
    as_json: JsonOption = False,
) -> None:
    """Say what changed from one run to another."""
    from prunebench.given_runs import compare_given
    from prunebench.history_views import comparison_view, suspicions_view
    from prunebench.suspect import suspect_onnxruntime

    if try_onnxruntime:
        existing_run(Path(after))
    across = across_hosts or try_onnxruntime
    comparison = compare_given(before, after, url=url, out=out, across_hosts=across)
    suspicions = None
    if try_onnxruntime:
        with tempfile.TemporaryDirectory(prefix="prunebench-onnxruntime-") as folder:
            suspicions = suspect_onnxruntime(comparison, Path(after), Path(folder), _show_stage)
    if as_json:
        plain = comparison.model_dump(mode="json")
        if suspicions is not None:
            plain["suspicions"] = [suspicion.model_dump(mode="json") for suspicion in suspicions]
        print_json(plain)
        return
    stdout_console().print(comparison_view(comparison))
    if suspicions is not None:
        stdout_console().print(suspicions_view(comparison, suspicions))


@app.command()
def gate(
    candidate: Annotated[
        str, typer.Argument(help="RUNFOLDER:VARIANT, or RUNFOLDER for its best-ranked variant.")
    ],
    baseline: Annotated[str, typer.Argument(help="What it may not be worse than, given alike.")],
    latency_percent: Annotated[float, typer.Option(min=0, help="Slowdown allowed, in percent.")] = (
        3.0
    ),
    map50_loss: Annotated[float, typer.Option(min=0, max=1, help="Loss of mAP50 allowed.")] = 0.02,
    as_json: JsonOption = False,
) -> None:
    """Measure a candidate beside its baseline; exit 4 where it is shown to be worse."""
    from prunebench.gating import run_gate
    from prunebench.history import GateLimits
    from prunebench.history_views import gate_view

    limits = GateLimits(latency_percent=latency_percent, map50_loss=map50_loss)
    with tempfile.TemporaryDirectory(prefix="prunebench-gate-") as folder:
        report = run_gate(candidate, baseline, limits, Path(folder), _show_stage)
    if as_json:
        print_json(report.model_dump(mode="json"))
    else:
        stdout_console().print(gate_view(report))
    if not report.result.passed:
        raise RegressionFound(report.result.sentence)


@app.command()
def promote(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    variant: Annotated[str, typer.Argument(help="Its variant that is in use from now on.")],
    registry: Annotated[Path, typer.Option(help="Folder of the registry.")] = Path("registry"),
) -> None:
    """Put a variant into the registry: what is in it is measured again every night."""
    from prunebench import registry as module

    entry = module.promote(existing_run(run), variant, registry)
    typer.echo(f"{entry.name}: {entry.variant} of {entry.run}, sha256 {entry.onnx_sha256}")


@app.command()
def push(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    store: StoreOption,
) -> None:
    """Copy a run to a store, for other hosts to take it from."""
    from prunebench.transfer import open_store, push_run

    folder = existing_run(run)
    push_run(folder, open_store(store, folder.parent))
    typer.echo(folder.name)


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(help="Name of a run in the store.")],
    store: StoreOption,
    out: RunsOption = Path("runs"),
) -> None:
    """Take a run from a store, to measure it again on this host."""
    from prunebench.transfer import fetch_run, open_store

    home = out.expanduser().resolve()
    typer.echo(fetch_run(name, open_store(store, home), home))


def _show_stage(event: dict[str, Any]) -> None:
    if event["kind"] in ("stage", "waiting"):
        typer.echo(event["text"], err=True)


def print_json(value: Any) -> None:
    """Print plain values on standard output."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def existing_run(run: Path) -> Path:
    """An existing run folder as an absolute path.

    Raises:
        InputError: There is no such folder.
    """
    if not run.is_dir():
        raise InputError("no such run folder", where=run, fix="give the folder of a run")
    return run.resolve()
