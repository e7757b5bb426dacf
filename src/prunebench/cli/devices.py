"""`prunebench devices`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from prunebench.cli.options import JsonOption, RunArgument, app, existing_run, show, tell
from prunebench.common.errors import InputError, StepError


@app.command()
def devices(
    run: RunArgument,
    add: Annotated[
        Path | None, typer.Option(help="Results file that a kit wrote on a device.")
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Name of its column; default: the device's host name.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Add what a kit measured on a device; without --add, ask the run's devices over ssh again.

    Those that have no figures yet are asked, and go on where they stopped.
    """
    from prunebench.cli.views.ranking import devices_view, run_ranking_view
    from prunebench.measuring.remote.transport import check_ssh
    from prunebench.operating.kit.results import add_results, keep_column
    from prunebench.operating.kit.ssh import measure_there
    from prunebench.results.devices import read_devices
    from prunebench.results.report.build import REPORT_HTML
    from prunebench.results.run_folder import read_run_config

    folder = existing_run(run)
    if add is not None:
        columns = [add_results(folder, add, name)]
    else:
        config = read_run_config(folder)
        if config.over_ssh:
            check_ssh("devices")
        have = {one.name for one in read_devices(folder) if one.ranking is not None}
        asked = {key: at for key, at in config.over_ssh.items() if key not in have}
        if not asked:
            what = "the run has no device over ssh that lacks figures"
            fix = "give --add RESULTS.zip of a kit"
            raise InputError(what, where=folder, fix=fix)
        columns = [
            measure_there(folder, key, at, lambda s, of: tell(f"{of}: {s}"))
            for key, at in asked.items()
        ]
        for column in columns:
            keep_column(folder, column)
    rankings = [run_ranking_view(one.ranking) for one in columns if one.ranking]
    show(columns, devices_view(columns), *rankings, as_json=as_json)
    if not as_json:
        typer.echo(f"Report: {folder / REPORT_HTML}")
    if failed := [one for one in columns if one.failure]:
        raise StepError("devices", f"no figures of {', '.join(one.name for one in failed)}")
