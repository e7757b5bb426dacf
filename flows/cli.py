"""The console script: the core's commands plus those that run a flow."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import RenderableType
from rich.text import Text

from flows.console import shown_progress, stderr_console
from flows.running import check_other_hosts, result_of, run_shown, set_up_prefect
from prunebench.cli import app
from prunebench.cli.options import (
    ConfigOption,
    DataOption,
    JsonOption,
    ModelOption,
    OutOption,
    OverridesArgument,
    RunArgument,
    StrictOption,
    config_from,
    existing_run,
    run_app,
    show,
)
from prunebench.common.errors import EXIT_DONE, EXIT_GATE, EXIT_SOME_VARIANTS_FAILED
from prunebench.config.loading import Config
from prunebench.steps.events import stage

QuietOption = Annotated[
    bool, typer.Option("--quiet", "-q", help="No progress, only what finished or failed.")
]
DeploymentsArgument = Annotated[
    Path, typer.Argument(help="Folder with prefect.yaml and operations.yaml.")
]


@app.command()
def run(
    overrides: OverridesArgument = None,
    config: ConfigOption = None,
    model: ModelOption = None,
    data: DataOption = None,
    out: OutOption = None,
    strict: StrictOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything and estimate the time; run nothing.")
    ] = False,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Prune, retrain, export and measure every variant, and rank them."""
    flags = {"model": model, "data": data, "out": out, "latency.strict": strict}
    resolved = config_from(config, flags, overrides)
    (_estimate if dry_run else _run)(resolved, quiet=quiet, as_json=as_json)


@app.command()
def demo(out: OutOption = None, quiet: QuietOption = False, as_json: JsonOption = False) -> None:
    """Compare eight variants of the shipped model on built-in data (about 6 minutes)."""
    from prunebench.config.demo import demo_config

    _run(demo_config(out), quiet=quiet, as_json=as_json)


@app.command()
def rebenchmark(run: RunArgument, quiet: QuietOption = False, as_json: JsonOption = False) -> None:
    """Measure the exported variants of a run again, train nothing, and compare."""
    folder = existing_run(run)
    from prunebench.cli.views.comparison import comparison_view
    from prunebench.operating.rebenchmark import read_source
    from prunebench.results.history.compare import RunComparison

    read_source(folder)  # What cannot be measured is told before Prefect starts.
    set_up_prefect()
    with shown_progress(stderr_console(), quiet=quiet):
        stage("starting Prefect")
        from flows.rebenchmark import rebenchmark as flow
        from flows.temporary_server import prefect_server

        with prefect_server():
            state = flow(str(folder), return_state=True)
    found = result_of(state)
    measured, regressions = found["runs"][0], found["regressions"]
    comparison = comparison_view(RunComparison.model_validate(measured["comparison"]))
    told = [Text(one["sentence"], style="bold red") for one in regressions]
    _finish(measured | {"regressions": regressions}, comparison, *told, as_json=as_json)


@app.command()
def deploy(
    folder: DeploymentsArgument = Path("deployments"),
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing, say what would change.")
    ] = False,
) -> None:
    """Bring the Prefect server to what a deployments folder asks for; twice is once."""
    set_up_prefect()
    from flows.deploying import deploy as apply
    from flows.deployment_files import read_operations

    for change in apply(read_operations(folder), check=check):
        typer.echo(change)


@app.command()
def serve(
    folder: DeploymentsArgument = Path("deployments"),
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port on this host.")] = 4200,
) -> None:
    """Run a Prefect server, the deployments and a worker until Ctrl-C."""
    set_up_prefect()
    from flows.deployment_files import read_operations
    from flows.serving import ending_on_signals, serving

    operations = read_operations(folder)
    typer.echo("Starting the Prefect server", err=True)
    with ending_on_signals(), serving(operations, port) as running:
        for change in running.changes:
            typer.echo(change, err=True)
        logs = ", ".join(str(program.log) for program in running.programs)
        typer.echo(f"Logs: {logs}. Ctrl-C ends everything.", err=True)
        typer.echo(f"Prefect UI: {running.address}")
        running.watch()


def _run(config: Config, *, quiet: bool, as_json: bool) -> None:
    set_up_prefect()
    _finish(result_of(run_shown(config, stderr_console(), quiet=quiet)), as_json=as_json)


def _estimate(config: Config, *, quiet: bool, as_json: bool) -> None:
    """Check the inputs, try how fast this host is, and print the plan with its time."""
    from prunebench.cli.views.plan import estimate_view, plan_view
    from prunebench.experiment.dry_run import dry_run
    from prunebench.experiment.given_model import trained_on
    from prunebench.experiment.prepare import check

    with shown_progress(stderr_console(), quiet=quiet):
        with trained_on(check_other_hosts(config)):
            checked = check(config)
        found = dry_run(checked)
    plain = found.model_dump(mode="json") | {"low_s": found.low_s, "high_s": found.high_s}
    show(plain, plan_view(config, checked.variants), estimate_view(found), as_json=as_json)


def _finish(outcome: dict[str, Any], *more: RenderableType, as_json: bool) -> None:
    """Print a run's outcome, and ``more`` below it, and leave with its exit code."""
    from prunebench.cli.views.ranking import devices_view, run_ranking_view
    from prunebench.results.devices import read_devices
    from prunebench.results.outcome import RunRanking

    folder = Path(outcome["folder"])
    ranking = run_ranking_view(RunRanking.model_validate(outcome["ranking"]))
    show(outcome, ranking, devices_view(read_devices(folder)), *more, as_json=as_json)
    if not as_json:
        typer.echo(f"Report: {folder / 'report.html'}")
    if outcome.get("regressions"):
        sys.exit(EXIT_GATE)
    sys.exit(EXIT_SOME_VARIANTS_FAILED if outcome["failed"] else EXIT_DONE)


def main() -> None:
    """Entry point of the console script."""
    run_app(app)


if __name__ == "__main__":
    main()
