"""Read measurements taken elsewhere: the first bad value of a column is named with its place."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from prunebench.common.errors import TableError
from prunebench.results.ranking.frame import ends_of

if TYPE_CHECKING:
    import pandas as pd

NEEDED_COLUMNS = ("variant", "params", "size_mb", "map50", "fps")
INTERVALS = ("map50", "fps", "efficiency")
OPTIONAL_FIGURES = (
    *("efficiency", "latency_ms", "round"),
    *(name for one in INTERVALS for name in ends_of(one)[1:]),
)
WORDS = ("description", "strategy", "parent", "threads", "failure", "int8")
COUNTS = ("params", "round", "rounds", "trainings")
SHARES = ends_of("map50", "box_map50", "mask_map50", "pose_map50")
MAY_BE_ZERO = ("round", "map50_per_fps", *ends_of("efficiency"))
MAY_BE_NEGATIVE = ends_of("map50_change")

_ROUND_IN_TEXT = re.compile(r"\bround\s*(\d+)\b|\b(\d+)(?:st|nd|rd|th)\s+round\b|(\d+)차", re.I)
_ROUND_IN_NAME = re.compile(r"(.+)-(\d{1,2})")


class Cells(NamedTuple):
    """The cells of a table as text, by column and place; ``source`` is its path, or "the table"."""

    source: str
    cells: pd.DataFrame


class Table(NamedTuple):
    """A table of measurements taken elsewhere, as it was given.

    Attributes:
        rows: Rows with figures, in order: numbers (NaN where an optional one is empty), and text.
            ``strategy`` is empty and ``round`` 0 where none was recognised.
        failures: Variants that have a ``failure`` instead.
        left_out: Thread counts other than the first row's; their rows are not read.
    """

    rows: pd.DataFrame
    failures: dict[str, str]
    left_out: list[str]


def read_cells(given: pd.DataFrame | str | PathLike[str]) -> Cells:
    """Read a DataFrame or a CSV file; its header has ``NEEDED_COLUMNS``.

    Raises:
        TableError: It cannot be read, or its header is bad.
    """
    if isinstance(given, str | PathLike):
        source, cells = str(given), _read_csv(Path(given))
    else:
        source, cells = "the table", _read_frame(given)
    _check_header(list(cells.columns), source)
    return Cells(source, cells)


def checked(given: Cells) -> Table:
    """Check measurements taken elsewhere.

    Needed are ``NEEDED_COLUMNS``, the others are used where they are; of several thread counts
    the first row's is read.

    Strategy and round come from the columns of these names where the table has them. Otherwise
    "round N" (also "2nd round") in the description gives the round, and the words before it, from
    the last ``+``, comma or semicolon on, the strategy: "pruned + train_code round 1". Otherwise
    a variant named ``<strategy>-<N>`` does, as this program names its own.

    Raises:
        TableError: With the line and column of a bad value.
    """
    source = given.source
    columns = dict.fromkeys((*NEEDED_COLUMNS, *OPTIONAL_FIGURES, *WORDS))
    cells = given.cells.reindex(columns=list(columns), fill_value="")
    own_threads = cells["threads"].isin(("", next(iter(cells["threads"]), "")))
    left_out = sorted(set(cells["threads"][~own_threads]))
    cells = cells[own_threads]
    rows, failures = with_figures(cells, NEEDED_COLUMNS[1:], OPTIONAL_FIGURES, source)
    rounds = [_strategy_and_round(row) for row in rows.to_dict("records")]
    rows["strategy"], rows["round"] = zip(*rounds, strict=True)
    return Table(rows, failures, left_out)


def with_figures(
    cells: pd.DataFrame, needed: Sequence[str], optional: Sequence[str], source: str
) -> tuple[pd.DataFrame, dict[str, str]]:
    """The rows with numbers in place of their texts, NaN where an optional one is empty.

    And the variants that have a ``failure`` instead.

    Raises:
        TableError: With the place of a bad value.
    """
    import numpy as np
    import pandas as pd

    _refuse(cells["variant"] == "", cells["variant"], source, "")
    _refuse(cells["variant"].duplicated(), cells["variant"], source, "occurs a second time")
    failed = cells["failure"] != ""
    failures = dict(zip(cells["variant"][failed], cells["failure"][failed], strict=True))
    rows = cells[~failed]
    numbers: dict[str, pd.Series] = {}
    for column in (*needed, *optional):
        texts = rows[column]
        found = numbers[column] = pd.to_numeric(texts, errors="coerce").astype(float)
        asked = (texts != "") | (column in needed)
        _refuse(asked & ~np.isfinite(found), texts, source, "is not a finite number")
        if column in SHARES:
            what = "is outside 0..1 (write 85.2 % as 0.852)"
            _refuse(asked & ~found.between(0, 1), texts, source, what)
        elif column in MAY_BE_ZERO:
            _refuse(asked & (found < 0), texts, source, "is below 0")
        elif column not in MAY_BE_NEGATIVE:
            _refuse(asked & ~(found > 0), texts, source, "is not above 0")
        if column in COUNTS:
            _refuse(asked & (found % 1 != 0), texts, source, "is not a whole number")
    for name in (name for name in numbers if f"{name}_low" in numbers):
        _, low, high = ends_of(name)
        _refuse(numbers[low] > numbers[name], rows[low], source, f"is above {name}")
        _refuse(numbers[high] < numbers[name], rows[high], source, f"is below {name}")
    if rows.empty:
        raise TableError("the table has no rows with figures", where=source, fix="add measurements")
    return rows.assign(**numbers), failures


def _read_csv(path: Path) -> pd.DataFrame:
    """Every cell as text, by line: a number is judged, and shown, as it was written."""
    import pandas as pd

    try:
        text = path.read_text(encoding="utf-8-sig")
        if not text.strip():
            raise TableError("the table is empty", where=path, fix="give a header and rows")
        # Only this engine tells a missing cell (NaN) from an empty one.
        lines = pd.read_csv(
            path,
            header=None,
            dtype=str,
            keep_default_na=False,
            skip_blank_lines=False,
            encoding="utf-8-sig",
            engine="python",
        )
    except FileNotFoundError:
        raise TableError("the table does not exist", where=path, fix="check the path") from None
    except UnicodeDecodeError:
        raise TableError("the file is not UTF-8 text", where=path, fix="give a CSV file") from None
    except OSError as error:
        what = f"the table cannot be read ({error.strerror})"
        fix = "give a CSV file, of a run the ranking.csv in its folder"
        raise TableError(what, where=path, fix=fix) from error
    except pd.errors.ParserError as error:
        raise TableError(
            f"the file is not valid CSV ({error})", where=path, fix="give every column one value"
        ) from error
    breaks = lines.apply(lambda column: column.str.count("\n")).sum(axis=1).cumsum()
    lines.index = [f"line {1 + i + int(more)}" for i, more in enumerate(breaks)]
    lines = lines.map(lambda cell: cell.strip(), na_action="ignore")
    lines = lines[(lines.fillna("") != "").any(axis=1)]
    for place in lines.index[lines.isna().any(axis=1)]:
        what = f"the line has fewer values than the header, which has {lines.shape[1]}"
        raise TableError(what, where=f"{path}, {place}", fix="give every column one value")
    cells = lines.iloc[1:]
    cells.columns = lines.iloc[0].str.lower()
    return cells


def _read_frame(frame: pd.DataFrame) -> pd.DataFrame:
    cells = frame.astype(object).where(frame.notna(), "").map(lambda cell: str(cell).strip())
    cells.columns = [str(name).strip().lower() for name in frame.columns]
    cells.index = [f"row {number}" for number in range(len(frame))]
    return cells


def _check_header(columns: list[str], source: str) -> None:
    missing = [name for name in NEEDED_COLUMNS if name not in columns]
    if missing:
        noun = "column" if len(missing) == 1 else "columns"
        raise TableError(
            f"the {noun} {', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing",
            where=source,
            fix=f"its header has to name {', '.join(NEEDED_COLUMNS)}",
        )
    repeated = sorted({name for name in columns if columns.count(name) > 1})
    if repeated:
        raise TableError(f"the column {repeated[0]} occurs twice", where=source, fix="keep one")


def _refuse(bad: pd.Series, texts: pd.Series, source: str, what: str) -> None:
    """Name the first bad value of a column, where there is one."""
    for place, text in texts[bad].items():
        raise TableError(
            f"{text!r} {what}" if text else "the value is empty",
            where=f"{source}, {place}, column {texts.name}",
            fix="correct the value",
        )


def _strategy_and_round(row: Mapping[str, Any]) -> tuple[str, int]:
    if row["strategy"] and row["round"] > 0:
        return row["strategy"], int(row["round"])
    description = row["description"]
    found = _ROUND_IN_TEXT.search(description)
    if found:
        number = int(next(group for group in found.groups() if group))
        parts = [part.strip(" :-") for part in re.split(r"[+,;]", description[: found.start()])]
        return row["strategy"] or next((part for part in reversed(parts) if part), ""), number
    named = _ROUND_IN_NAME.fullmatch(row["variant"])
    return (named.group(1), int(named.group(2))) if named else ("", 0)
