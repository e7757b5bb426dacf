"""`prunebench report`."""

from __future__ import annotations

from typing import Annotated

import typer

from prunebench.cli.options import RunArgument, app


@app.command()
def report(
    run: RunArgument,
    lang: Annotated[str, typer.Option("--lang", help="Language of the report: en or ko.")] = "en",
    figures: Annotated[
        bool, typer.Option("--figures", help="Also draw each figure as SVG and PNG (Chromium).")
    ] = False,
) -> None:
    """Make a run's report again from what it measured."""
    from prunebench.results.report.build import build_report

    typer.echo(build_report(run, lang=lang, figures=figures))
