"""Read a run's own table back: the ranks, ties and advice of that run, no new ones.

The table names for each variant those that are shown to be more efficient, which is what its rank
and its ties rest on; so they hold for the rows that are left, too, where some were taken out.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ValidationError

from prunebench.common.errors import TableError
from prunebench.common.records import Record
from prunebench.results.messages.catalogue import Messages
from prunebench.results.messages.sentences import Fact, tell
from prunebench.results.ranking.frame import COLUMN_OF, columns_of, ends_of
from prunebench.results.ranking.records import LIMIT, OF_THE_RANKING, TOLD, RankedVariant, Ranking
from prunebench.results.ranking.ties import labels_of
from prunebench.results.table.reader import Cells, with_figures

if TYPE_CHECKING:
    import pandas as pd

FIELDS = columns_of(RankedVariant)
NUMBERS = (
    *("size_mb", "map50_per_fps", "rounds", "trainings"),
    *(n for n in OF_THE_RANKING if n != "metric"),
)
NEEDED = (*NUMBERS, *ends_of(*(name for name in FIELDS.intervals if name in FIELDS.needed)))
OPTIONAL = ("params", LIMIT, *(end for end in ends_of(*FIELDS.intervals) if end not in NEEDED))
OTHERS = (*FIELDS.names, *FIELDS.records, *FIELDS.plain)
COLUMNS = {*NEEDED, *(COLUMN_OF.get(n, n) for n in OTHERS), *OF_THE_RANKING, *TOLD, "failure"}

Made = TypeVar("Made", bound=Record)


class RunTable(Record):
    """A run's own table, read back.

    Attributes:
        source: Path of the file, or "the table" for a DataFrame.
        rankings: One per thread count, as the run ranked them, without what only the run knows:
            the differences of pairs, and what rests on them.
    """

    source: str
    rankings: tuple[Ranking, ...]

    @property
    def rows(self) -> tuple[RankedVariant, ...]:
        """Those of the first thread count."""
        return self.rankings[0].rows

    def to_frame(self) -> pd.DataFrame:
        """The table again; see ``Ranking.to_frame``."""
        import pandas as pd

        return pd.concat([one.to_frame() for one in self.rankings], ignore_index=True)


def is_run_table(cells: pd.DataFrame) -> bool:
    """Whether it has every column a run writes, and no row with figures lacks one of them."""
    if not set(cells.columns) >= COLUMNS:
        return False
    return bool((cells.loc[cells["failure"] == "", list(NEEDED)] != "").all(axis=None))


def read_run_table(given: Cells) -> RunTable:
    """Rank as the run did.

    Raises:
        TableError: With the place of a bad value.
    """
    absent = [column for column in OPTIONAL if column not in given.cells]
    cells = given.cells.assign(**dict.fromkeys(absent, ""))
    by_threads = cells.groupby("threads", sort=False)
    rankings = (_ranking(Cells(given.source, group)) for _, group in by_threads)
    return RunTable(source=given.source, rankings=tuple(rankings))


def _ranking(given: Cells) -> Ranking:
    source, cells = given
    found, failures = with_figures(cells, NEEDED, OPTIONAL, source)
    names = dict.fromkeys(found["variant"])
    above = {
        name: [other for other in text.split() if other in names]
        for name, text in zip(names, found["less_efficient_than"], strict=True)
    }
    apart = {name: {name, *others} for name, others in above.items()}
    for name, others in above.items():
        for other in others:
            apart[other].add(name)
    labels = labels_of({name: 1 + len(others) for name, others in above.items()})
    rows = []
    for place, row in zip(found.index, found.to_dict("records"), strict=True):
        where, name = f"{source}, {place}", row["variant"]
        values = _fields(row, where) | {
            "rank": 1 + len(above[name]),
            "label": labels[name],
            "tied_with": [other for other in names if other not in apart[name]],
            "less_efficient_than": above[name],
        }
        rows.append(_made(RankedVariant, values, where))
    first, where = found.iloc[0], f"{source}, {found.index[0]}"
    reasons = {name: reason.partition(": ") for name, reason in failures.items()}
    values = {name: first[name] for name in OF_THE_RANKING}
    values |= {name: _unpacked(first[name], where, name) for name in TOLD}
    values |= {
        LIMIT: None if math.isnan(first[LIMIT]) else first[LIMIT],
        "rows": sorted(rows, key=lambda row: (row.rank, -row.efficiency.estimate)),
        "failures": [{"name": n, "step": r[0], "reason": r[2]} for n, r in reasons.items()],
        "differences": (),
        "effects": (),
    }
    ranking = _made(Ranking, values, where)
    still = {name: tuple(f for f in getattr(ranking, name) if _holds(f, ranking)) for name in TOLD}
    return ranking.model_copy(update=still)


def _fields(row: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The fields of a row by its cells."""
    values: dict[str, Any] = {}
    for name in FIELDS.plain:
        cell = row[COLUMN_OF.get(name, name)]
        values[name] = None if cell == "" or cell != cell else cell  # Not itself: NaN.
    values |= {name: row[name].split() for name in FIELDS.names}
    values |= {name: _unpacked(row[name], where, name) for name in FIELDS.records}
    for name in FIELDS.intervals:
        estimate, low, high = (row[column] for column in ends_of(name))
        if not math.isnan(estimate + low + high):
            ends = {"estimate": estimate, "low": low, "high": high}
            values[name] = {**ends, "level": row["level"]}
    return values


def _unpacked(cell: str, where: str, column: str) -> Any:
    try:
        return json.loads(cell or "[]")
    except ValueError:
        raise _bad(cell, where, column, "give it as the run wrote it") from None


def _made(kind: type[Made], values: Mapping[str, Any], where: str) -> Made:
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        field = str(first["loc"][0])
        fix = f"correct it: {first['msg'][:1].lower()}{first['msg'][1:]}"
        raise _bad(first["input"], where, COLUMN_OF.get(field, field), fix) from None


def _bad(cell: object, where: str, column: str, fix: str) -> TableError:
    what = "the value is empty" if cell is None else f"{cell!r} is none of its values"
    return TableError(what, where=f"{where}, column {column}", fix=fix)


def _holds(fact: Fact, ranking: Ranking) -> bool:
    """Whether it is about variants that are still in the table."""
    try:
        tell(fact, ranking, Messages())
    except KeyError:
        return False
    return True
