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
    """Rank measurements taken elsewhere."""
    from prunebench.cli.views.ranking import table_ranking_view
    from prunebench.results.table.ranked import rank as rank_table

    ranking = rank_table(table)
    show(ranking, table_ranking_view(ranking), as_json=as_json)
