"""The commands that compare runs: over time, with each other, and as a gate."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from prunebench.cli.options import (
    JsonOption,
    RunsOption,
    UrlOption,
    app,
    existing_run,
    print_json,
    show_stage,
    stdout_console,
)
from prunebench.common.errors import RegressionFound


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
    from prunebench.cli.views.history import history_view
    from prunebench.results.history.changes import mark_changes
    from prunebench.results.history.lookup import open_history
    from prunebench.results.history.reading import history as read_history

    with open_history((), url, out) as store:
        points = read_history(store, variant=variant, experiment=experiment, threads=threads)
    series = mark_changes(points, "to_sentinel")
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
    from prunebench.cli.views.history import comparison_view, suspicions_view
    from prunebench.operating.onnxruntime_check import suspect_onnxruntime
    from prunebench.results.history.lookup import compare_given

    if try_onnxruntime:
        existing_run(Path(after))
    across = across_hosts or try_onnxruntime
    comparison = compare_given(before, after, url=url, out=out, across_hosts=across)
    suspicions = None
    if try_onnxruntime:
        with tempfile.TemporaryDirectory(prefix="prunebench-onnxruntime-") as folder:
            suspicions = suspect_onnxruntime(comparison, Path(after), Path(folder), show_stage)
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
    from prunebench.cli.views.history import gate_view
    from prunebench.operating.gate.decision import GateLimits
    from prunebench.operating.gate.run import run_gate

    limits = GateLimits(latency_percent=latency_percent, map50_loss=map50_loss)
    with tempfile.TemporaryDirectory(prefix="prunebench-gate-") as folder:
        report = run_gate(candidate, baseline, limits, Path(folder), show_stage)
    if as_json:
        print_json(report.model_dump(mode="json"))
    else:
        stdout_console().print(gate_view(report))
    if not report.result.passed:
        raise RegressionFound(report.result.sentence)
