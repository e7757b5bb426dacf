"""`prunebench rank`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from prunebench.cli.options import JsonOption, app, show


@app.command()
def rank(
    table: Annotated[Path, typer.Argument(help="CSV: variant, params, size_mb, map50, fps.")],
    as_json: JsonOption = False,
) -> None:
    """Rank measurements taken elsewhere, or show a run's ranking.csv as that run ranked it."""
    from prunebench.cli.views.ranking import run_table_view, table_ranking_view
    from prunebench.results.table.ranked import rank as rank_table
    from prunebench.results.table.run_table import RunTable

    ranked = rank_table(table)
    if isinstance(ranked, RunTable):
        show(ranked, run_table_view(ranked), as_json=as_json)
    else:
        show(ranked, table_ranking_view(ranked), as_json=as_json)
