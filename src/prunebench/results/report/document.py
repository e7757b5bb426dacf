"""What a report consists of, before it is HTML or Markdown.

Texts are plain: every renderer escapes them, so that a name chosen by a user is never markup.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from prunebench.results.messages.catalogue import Messages
from prunebench.results.report.numbers import BLANK

Tone = Literal["good", "bad", "open", "plain"]
"""How a statement is marked: shown to hold, shown not to hold, not shown, or nothing special."""

NUMERIC = "#"
"""Ends the key of a column of numbers."""


@dataclass(frozen=True)
class Paragraph:
    """Running text; the ``lead`` is the verdict."""

    kind: ClassVar[str] = "paragraph"
    text: str
    lead: bool = False


@dataclass(frozen=True)
class Heading:
    """A heading below the section's own."""

    kind: ClassVar[str] = "heading"
    text: str


@dataclass(frozen=True)
class Item:
    """An entry of a list; ``lead`` is what or who it is about."""

    text: str
    lead: str | None = None


@dataclass(frozen=True)
class Notice:
    """What the reader must know before trusting the rest."""

    kind: ClassVar[str] = "notice"
    title: str
    items: tuple[Item, ...]


@dataclass(frozen=True)
class Items:
    """A list."""

    kind: ClassVar[str] = "items"
    items: tuple[Item, ...]


@dataclass(frozen=True)
class Card:
    """The answer for some uses: the ``choice`` to ship, or that none was ``found``.

    ``facts`` say what it gives and costs, and ``against`` what else speaks against it.
    """

    title: str
    choice: str
    found: bool
    facts: tuple[str, ...]
    against: Item | None


@dataclass(frozen=True)
class Cards:
    """The answers side by side."""

    kind: ClassVar[str] = "cards"
    cards: tuple[Card, ...]


@dataclass(frozen=True)
class Cell:
    """A table's cell; ``span`` is how many columns it takes."""

    text: str
    tone: Tone = "plain"
    span: int = 1


@dataclass(frozen=True)
class Column:
    """A table's column."""

    title: str
    numeric: bool = False


@dataclass(frozen=True)
class Table:
    """A table whose first column names each row."""

    kind: ClassVar[str] = "table"
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True)
class Figure:
    """A Plotly figure.

    Attributes:
        id: Unique in the report, usable as an HTML id.
        description: What is drawn in words, for those who do not see it.
        spec: Plotly's JSON: data and layout; maybe ``sizes``, what of the layout depends on the
            width, the narrowest first.
        height: Pixels.
    """

    kind: ClassVar[str] = "figure"
    id: str
    caption: str
    description: str
    spec: Mapping[str, Any]
    height: int


@dataclass(frozen=True)
class Dot:
    """A keypoint on a picture, in pixels, and its ``place`` among all, from 0."""

    place: int
    x: float
    y: float
    colour: str


@dataclass(frozen=True)
class Limb:
    """A line between two keypoints, in pixels."""

    x1: float
    y1: float
    x2: float
    y2: float
    colour: str


@dataclass(frozen=True)
class Mark:
    """A box on a picture, in pixels; ``look`` is ``truth``, ``hit`` or ``false``.

    An ``outline`` is drawn in its place, and ``limbs`` and ``dots`` with it.
    """

    look: str
    text: str
    x: float
    y: float
    width: float
    height: float
    outline: tuple[tuple[float, float], ...] = ()
    limbs: tuple[Limb, ...] = ()
    dots: tuple[Dot, ...] = ()


@dataclass(frozen=True)
class Shot:
    """A picture with its boxes, and the same in words, a line each."""

    captions: tuple[str, ...]
    marks: tuple[Mark, ...] = ()


@dataclass(frozen=True)
class Pictures:
    """One image, shown once per set of boxes.

    The ``jpeg`` is base64, its width and height are pixels; ``id`` is usable as an HTML id.
    """

    kind: ClassVar[str] = "pictures"
    id: str
    title: str
    jpeg: str
    width: int
    height: int
    shots: tuple[Shot, ...]


Block = Paragraph | Notice | Heading | Items | Cards | Table | Figure | Pictures


@dataclass(frozen=True)
class Section:
    """A section with its own heading; ``id`` is usable as an HTML id."""

    id: str
    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Document:
    """A whole report, the answer first, in one language."""

    lang: str
    title: str
    subtitle: str
    sections: tuple[Section, ...]


def section(id: str, m: Messages, *blocks: Block | str | None) -> Section:
    """A section of blocks and of texts, which are paragraphs; ``None`` has nothing to say."""
    told = (Paragraph(block) if isinstance(block, str) else block for block in blocks)
    return Section(id, m(f"{id}.title"), tuple(block for block in told if block is not None))


def items(texts: Iterable[str | Item]) -> Items | None:
    """A list, ``None`` where it would be empty."""
    found = tuple(text if isinstance(text, Item) else Item(text) for text in texts)
    return Items(found) if found else None


def table(caption: str, titles: Iterable[str], rows: Iterable[tuple[Cell, ...]]) -> Table:
    """A table; the titles of its columns of numbers end in ``NUMERIC``."""
    columns = (Column(t.removesuffix(NUMERIC), t.endswith(NUMERIC)) for t in titles)
    return Table(caption, tuple(columns), tuple(rows))


def titles(m: Messages, *keys: str, **values: object) -> tuple[str, ...]:
    """Titles of columns by their keys in the catalogue, below ``column.``."""
    return tuple(
        m(f"column.{key.removesuffix(NUMERIC)}", **values) + NUMERIC * key.endswith(NUMERIC)
        for key in keys
    )


def cells(*texts: str | Cell | None) -> tuple[Cell, ...]:
    """A row of cells; ``None`` is a blank one."""
    return tuple(text if isinstance(text, Cell) else Cell(text or BLANK) for text in texts)
