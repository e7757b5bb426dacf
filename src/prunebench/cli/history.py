"""`prunebench history`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from prunebench.cli.options import JsonOption, RunsOption, UrlOption, app, show


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
    from prunebench.results.history.change_points import mark_changes
    from prunebench.results.history.lookup import open_history
    from prunebench.results.history.reading import history as read_history

    with open_history((), url, out) as store:
        points = read_history(store, variant=variant, experiment=experiment, threads=threads)
    series = mark_changes(points)
    show(series, history_view(series), as_json=as_json)
