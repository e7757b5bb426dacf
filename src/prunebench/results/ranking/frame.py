"""A ranking as a table: the columns follow from the fields of its rows, so none is forgotten.

An interval is three columns, names are one cell with spaces between them, records are JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

from pydantic_core import to_jsonable_python

from prunebench.common.records import Interval, Record

if TYPE_CHECKING:
    import pandas as pd

COLUMN_OF = {"name": "variant", "label": "rank", "parameters": "params"}
FROM_OTHERS = ("rank", "tied_with")
"""Fields that other columns tell."""


class Columns(NamedTuple):
    """Fields of a row by how a table holds them; those in ``needed`` are never empty."""

    intervals: tuple[str, ...]
    names: tuple[str, ...]
    records: tuple[str, ...]
    plain: tuple[str, ...]
    needed: tuple[str, ...]


def columns_of(row: type[Record]) -> Columns:
    """The fields of a kind of row."""
    kinds = {name: field.annotation for name, field in row.model_fields.items()}
    for name in FROM_OTHERS:
        del kinds[name]
    intervals = tuple(n for n, kind in kinds.items() if Interval in (kind, *get_args(kind)))
    several = [n for n, kind in kinds.items() if Ellipsis in get_args(kind)]
    names = tuple(n for n in several if str in get_args(kinds[n]))
    return Columns(
        intervals=intervals,
        names=names,
        records=tuple(n for n in several if n not in names),
        plain=tuple(n for n in kinds if n not in (*intervals, *several)),
        needed=tuple(n for n, kind in kinds.items() if type(None) not in get_args(kind)),
    )


def ends_of(*names: str) -> list[str]:
    """Columns of intervals: the estimate, then its ends."""
    return [f"{name}{end}" for name in names for end in ("", "_low", "_high")]


def frame_of(
    kind: type[Record],
    rows: Sequence[Record],
    failures: Mapping[str, str],
    of_all: Mapping[str, Any],
) -> pd.DataFrame:
    """The rows, then variants without figures and their ``failure``; ``of_all`` is in every row.

    Optional intervals that no row has get no columns.
    """
    # Only what makes a table needs pandas, and a command must start without it.
    import pandas as pd

    columns = columns_of(kind)
    order = ["variant", "rank"]
    for name in kind.model_fields:
        if name in columns.intervals:
            known = any(getattr(row, name) is not None for row in rows)
            order += ends_of(name) if known else ()
        elif name not in FROM_OTHERS:
            order.append(COLUMN_OF.get(name, name))
    cells = [_cells(row, columns) for row in rows]
    cells += [{"variant": name, "failure": why} for name, why in failures.items()]
    frame = pd.DataFrame(cells, columns=[*dict.fromkeys(order), "failure"])
    return frame.assign(**of_all).astype(dict.fromkeys(("params", "rounds", "trainings"), "Int64"))


def as_json(records: Sequence[Record]) -> str:
    """Records as one cell, empty where there is none."""
    return json.dumps(to_jsonable_python(records), separators=(",", ":")) if records else ""


def _cells(row: Record, columns: Columns) -> dict[str, Any]:
    cells = {COLUMN_OF.get(name, name): getattr(row, name) for name in columns.plain}
    cells |= {name: " ".join(getattr(row, name)) for name in columns.names}
    cells |= {name: as_json(getattr(row, name)) for name in columns.records}
    for name in columns.intervals:
        if (found := getattr(row, name)) is not None:
            ends = (found.estimate, found.low, found.high)
            cells |= dict(zip(ends_of(name), ends, strict=True))
    return cells
