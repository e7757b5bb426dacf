"""Read measurements taken elsewhere: the first bad value of a column is named with its place."""

from __future__ import annotations

import re
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from prunebench.common.errors import TableError

if TYPE_CHECKING:
    import pandas as pd

NEEDED_COLUMNS = ("variant", "params", "size_mb", "map50", "fps")
OPTIONAL_FIGURES = ("efficiency", "latency_ms", "round")
OPTIONAL_COLUMNS = (*OPTIONAL_FIGURES, "description", "strategy", "parent", "threads", "failure")
COUNTS = ("params", "round")

_ROUND_IN_TEXT = re.compile(r"\bround\s*(\d+)\b|\b(\d+)(?:st|nd|rd|th)\s+round\b|(\d+)차", re.I)
_ROUND_IN_NAME = re.compile(r"(.+)-(\d{1,2})")


class Table(NamedTuple):
    """A table as it was given.

    Attributes:
        source: Path of the file, or "the table" for a DataFrame.
        rows: Rows with figures, in order: numbers (NaN where an optional one is empty), and text.
            ``strategy`` is empty and ``round`` 0 where none was recognised.
        failures: Variants that have a ``failure`` instead.
        left_out: Thread counts other than the first row's; their rows are not read.
    """

    source: str
    rows: pd.DataFrame
    failures: dict[str, str]
    left_out: list[str]


def read_table(given: pd.DataFrame | str | PathLike[str]) -> Table:
    """Read and check a DataFrame or a CSV file.

    Needed are ``NEEDED_COLUMNS``, the others are used where they are; of several thread counts
    the first row's is read.

    Strategy and round come from the columns of these names where the table has them. Otherwise
    "round N" (also "2nd round") in the description gives the round, and the words before it, from
    the last ``+``, comma or semicolon on, the strategy: "pruned + train_code round 1". Otherwise
    a variant named ``<strategy>-<N>`` does, as this program names its own.

    Raises:
        TableError: With the line and column of a bad value.
    """
    if isinstance(given, str | PathLike):
        source, cells = str(given), _read_csv(Path(given))
    else:
        source, cells = "the table", _read_frame(given)
    _check_header(list(cells.columns), source)
    cells = cells.reindex(columns=[*NEEDED_COLUMNS, *OPTIONAL_COLUMNS], fill_value="")
    own_threads = cells["threads"] == next(iter(cells["threads"]), "")
    left_out = sorted(set(cells["threads"][~own_threads]))
    cells = cells[own_threads]
    _refuse(cells["variant"] == "", cells["variant"], source, "")
    _refuse(cells["variant"].duplicated(), cells["variant"], source, "occurs a second time")
    failed = cells[cells["failure"] != ""]
    rows = _with_figures(cells[cells["failure"] == ""], source)
    if rows.empty:
        raise TableError("the table has no rows with figures", where=source, fix="add measurements")
    rounds = [_strategy_and_round(row) for row in rows.to_dict("records")]
    rows["strategy"], rows["round"] = zip(*rounds, strict=True)
    failures = dict(zip(failed["variant"], failed["failure"], strict=True))
    return Table(source, rows, failures, left_out)


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
        raise TableError(f"the table cannot be read ({error.strerror})", where=path) from error
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


def _with_figures(rows: pd.DataFrame, source: str) -> pd.DataFrame:
    """The rows with numbers in place of their texts, NaN where an optional one is empty."""
    import numpy as np
    import pandas as pd

    numbers = {}
    for column in (*NEEDED_COLUMNS[1:], *OPTIONAL_FIGURES):
        texts = rows[column]
        found = numbers[column] = pd.to_numeric(texts, errors="coerce").astype(float)
        asked = (texts != "") | (column in NEEDED_COLUMNS)
        _refuse(asked & ~np.isfinite(found), texts, source, "is not a finite number")
        if column == "map50":
            what = "is outside 0..1 (write 85.2 % as 0.852)"
            _refuse(asked & ~found.between(0, 1), texts, source, what)
        elif column != "round":
            _refuse(asked & ~(found > 0), texts, source, "is not above 0")
        if column in COUNTS:
            _refuse(asked & (found % 1 != 0), texts, source, "is not a whole number")
    return rows.assign(**numbers)


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
