"""`prunebench compare`."""

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
    show,
    show_stage,
)


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
    from prunebench.cli.views.comparison import comparison_view, suspicions_view
    from prunebench.operating.onnxruntime_check import suspect_onnxruntime
    from prunebench.results.history.lookup import compare_given

    if try_onnxruntime:
        existing_run(Path(after))
    across = across_hosts or try_onnxruntime
    comparison = compare_given(before, after, url=url, out=out, across_hosts=across)
    plain = comparison.model_dump(mode="json")
    views = [comparison_view(comparison)]
    if try_onnxruntime:
        with tempfile.TemporaryDirectory(prefix="prunebench-onnxruntime-") as folder:
            suspicions = suspect_onnxruntime(comparison, Path(after), Path(folder), show_stage)
        plain["suspicions"] = suspicions
        views.append(suspicions_view(comparison, suspicions))
    show(plain, *views, as_json=as_json)
