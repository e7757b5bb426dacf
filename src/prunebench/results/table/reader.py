"""Read a CSV of measurements taken elsewhere: every bad value is named with its line and column."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Mapping
from pathlib import Path

from prunebench.common.errors import TableError
from prunebench.common.records import Record

NEEDED_COLUMNS = ("variant", "params", "size_mb", "map50", "fps")

_ROUND_IN_TEXT = re.compile(r"\bround\s*(\d+)\b|\b(\d+)(?:st|nd|rd|th)\s+round\b|(\d+)차", re.I)
_ROUND_IN_NAME = re.compile(r"(.+)-(\d{1,2})")
_PRUNED = re.compile(r"\bprun", re.I)


class TableEntry(Record):
    """One row as it was given.

    Attributes:
        line: Its line in the file, 1 for the header.
        variant: Name.
        parameters: Parameter count as given, in whichever state it was counted.
        size_mb: Size in 10^6 bytes.
        map50: mAP50, 0..1.
        fps: Frames per second.
        efficiency: Efficiency as printed in the table, where it is.
        description: Free text.
        strategy: Retraining strategy, where one was recognised.
        round: Retraining round, 0 where none was recognised.
        parent: Variant it was made from, where given.
    """

    line: int
    variant: str
    parameters: int
    size_mb: float
    map50: float
    fps: float
    efficiency: float | None = None
    description: str = ""
    strategy: str | None = None
    round: int = 0
    parent: str | None = None

    @property
    def is_called_pruned(self) -> bool:
        """Whether its name or description says that it was pruned."""
        return bool(_PRUNED.search(f"{self.variant} {self.description}"))


class Table(Record):
    """A table as it was given.

    Attributes:
        entries: Rows with figures, in order.
        failures: Variants that have a ``failure`` instead.
        left_out: Thread counts other than the first row's; their rows are not read.
    """

    entries: tuple[TableEntry, ...]
    failures: dict[str, str]
    left_out: tuple[str, ...]


def read_table(path: Path) -> Table:
    """Read and check a table.

    Needed are ``NEEDED_COLUMNS``; used where they are: efficiency, latency_ms, description,
    strategy, round, parent, threads (the first row's count is read) and failure.

    Strategy and round come from the columns of these names where the table has them. Otherwise
    "round N" (also "2nd round") in the description gives the round, and the words before it, from
    the last ``+``, comma or semicolon on, the strategy: "pruned + train_code round 1". Otherwise
    a variant named ``<strategy>-<N>`` does, as this program names its own.

    Raises:
        TableError: With the line and column of the first bad value.
    """
    reader = csv.reader(io.StringIO(_read_text(path), newline=""), strict=True)
    entries: list[TableEntry] = []
    failures: dict[str, str] = {}
    threads: list[str] = []
    try:
        columns = [name.strip().lower() for name in next(reader)]
        _check_header(columns, path)
        for cells in reader:
            if not any(cells):
                continue
            values = _values(columns, cells, path, reader.line_num)
            threads.append(values.get("threads", ""))
            if threads[-1] != threads[0]:
                continue
            name = values["variant"]
            if name in failures or any(name == entry.variant for entry in entries):
                raise _bad(path, reader.line_num, "variant", f"{name!r} occurs a second time")
            if values.get("failure"):
                failures[name] = values["failure"]
            else:
                entries.append(_entry(values, path, reader.line_num))
    except csv.Error as error:
        raise TableError(
            f"the line is no valid CSV ({error})", where=f"{path}, line {reader.line_num}"
        ) from error
    if not entries:
        raise TableError("the table has no rows with figures", where=path, fix="add measurements")
    left_out = sorted(set(threads) - {threads[0]})
    return Table(entries=tuple(entries), failures=failures, left_out=tuple(left_out))


def _values(columns: list[str], cells: list[str], path: Path, line: int) -> dict[str, str]:
    if len(cells) != len(columns):
        raise TableError(
            f"the line has {len(cells)} values, the header has {len(columns)}",
            where=f"{path}, line {line}",
            fix="give every column one value",
        )
    return {column: cell.strip() for column, cell in zip(columns, cells, strict=True)}


def _read_text(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise TableError("the table does not exist", where=path, fix="check the path") from None
    except UnicodeDecodeError:
        raise TableError(
            "the file is no text in UTF-8", where=path, fix="give a CSV file"
        ) from None
    except OSError as error:
        raise TableError(f"the table cannot be read ({error.strerror})", where=path) from error
    if not text.strip():
        raise TableError("the table is empty", where=path, fix="give a header and rows")
    return text


def _check_header(columns: list[str], path: Path) -> None:
    missing = [name for name in NEEDED_COLUMNS if name not in columns]
    if missing:
        noun = "column" if len(missing) == 1 else "columns"
        raise TableError(
            f"the {noun} {', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing",
            where=f"{path}, line 1",
            fix=f"the first line has to name {', '.join(NEEDED_COLUMNS)}",
        )
    repeated = sorted({name for name in columns if columns.count(name) > 1})
    if repeated:
        raise TableError(
            f"the column {repeated[0]} occurs twice", where=f"{path}, line 1", fix="keep one"
        )


def _entry(values: Mapping[str, str], path: Path, line: int) -> TableEntry:
    if not values["variant"]:
        raise _bad(path, line, "variant", "the name is empty")
    figures = {column: _positive(values, column, path, line) for column in ("size_mb", "fps")}
    optional = {
        column: _positive(values, column, path, line)
        for column in ("efficiency", "latency_ms")
        if values.get(column)
    }
    map50 = _number(values, "map50", path, line)
    if not 0 <= map50 <= 1:
        raise _bad(path, line, "map50", f"{map50:g} is outside 0..1", fix="give a share, 0.852")
    strategy, number = _strategy_and_round(values, path, line)
    return TableEntry(
        line=line,
        variant=values["variant"],
        parameters=_count(values, "params", path, line),
        size_mb=figures["size_mb"],
        map50=map50,
        fps=figures["fps"],
        efficiency=optional.get("efficiency"),
        description=values.get("description", ""),
        strategy=strategy,
        round=number,
        parent=values.get("parent") or None,
    )


def _strategy_and_round(values: Mapping[str, str], path: Path, line: int) -> tuple[str | None, int]:
    if values.get("strategy") and values.get("round"):
        return values["strategy"], _count(values, "round", path, line)
    description = values.get("description", "")
    found = _ROUND_IN_TEXT.search(description)
    if found:
        number = int(next(group for group in found.groups() if group))
        parts = [part.strip(" :-") for part in re.split(r"[+,;]", description[: found.start()])]
        named_before = [part for part in parts if part]
        return values.get("strategy") or (named_before[-1] if named_before else None), number
    named = _ROUND_IN_NAME.fullmatch(values["variant"])
    if named:
        return named.group(1), int(named.group(2))
    return None, 0


def _number(values: Mapping[str, str], column: str, path: Path, line: int) -> float:
    text = values[column]
    try:
        number = float(text)
    except ValueError:
        what = "the value is empty" if not text else f"{text!r} is no number"
        raise _bad(path, line, column, what) from None
    if not math.isfinite(number):
        raise _bad(path, line, column, f"{text!r} is no finite number")
    return number


def _positive(values: Mapping[str, str], column: str, path: Path, line: int) -> float:
    number = _number(values, column, path, line)
    if number <= 0:
        raise _bad(path, line, column, f"{number:g} is not above 0")
    return number


def _count(values: Mapping[str, str], column: str, path: Path, line: int) -> int:
    number = _positive(values, column, path, line)
    if number != int(number):
        raise _bad(path, line, column, f"{values[column]!r} is no whole number")
    return int(number)


def _bad(
    path: Path, line: int, column: str, what: str, *, fix: str = "correct the value"
) -> TableError:
    return TableError(what, where=f"{path}, line {line}, column {column}", fix=fix)
