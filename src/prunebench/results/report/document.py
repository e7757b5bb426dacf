"""What a report consists of, before it is HTML or Markdown.

Texts are plain: every renderer escapes them, so that a name chosen by a user is never markup.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

Tone = Literal["good", "bad", "open", "plain"]
"""How a statement is marked: shown to hold, shown not to hold, not shown, or nothing special."""


@dataclass(frozen=True)
class Paragraph:
    """Running text."""

    kind: ClassVar[str] = "paragraph"
    text: str


@dataclass(frozen=True)
class Heading:
    """A heading below the section's own."""

    kind: ClassVar[str] = "heading"
    text: str


@dataclass(frozen=True)
class Item:
    """An entry of a list.

    Attributes:
        text: What it says.
        lead: What or who it is about, where that is written in front of it.
        lang: Language of the text where it is not the report's own.
    """

    text: str
    lead: str | None = None
    lang: str | None = None


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
    """The answer for one use.

    Attributes:
        title: The use.
        choice: The variant to ship, or that there is none.
        found: Whether there is one.
        sentence: The advice.
        points: Why, and how sure, one (heading, sentences) each.
    """

    title: str
    choice: str
    found: bool
    sentence: str
    points: tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True)
class Cards:
    """The answers side by side."""

    kind: ClassVar[str] = "cards"
    cards: tuple[Card, ...]


@dataclass(frozen=True)
class Cell:
    """A table's cell.

    Attributes:
        text: What it says.
        tone: How that is marked.
        span: Columns it takes.
    """

    text: str
    tone: Tone = "plain"
    span: int = 1


@dataclass(frozen=True)
class Column:
    """A table's column.

    Attributes:
        title: Its heading.
        numeric: Whether its cells are numbers.
    """

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
        caption: What is drawn.
        description: The same in words, for those who do not see it.
        spec: Plotly's JSON: data and layout.
        height: Height in pixels.
    """

    kind: ClassVar[str] = "figure"
    id: str
    caption: str
    description: str
    spec: Mapping[str, Any]
    height: int


@dataclass(frozen=True)
class Mark:
    """A box on a picture.

    Attributes:
        look: ``truth``, ``hit`` or ``false``.
        text: What it says.
        x: Left edge in pixels; top, width and height follow.
    """

    look: str
    text: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Shot:
    """A picture with its boxes, and the same in words."""

    caption: str
    marks: tuple[Mark, ...]


@dataclass(frozen=True)
class Pictures:
    """One image shown several times.

    Attributes:
        id: Unique in the report, usable as an HTML id.
        title: The image's name.
        jpeg: The image, base64.
        width: Pixels; the height follows.
        shots: Once per set of boxes.
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
    """A section with its own heading.

    Attributes:
        id: Its HTML id.
        title: Its heading.
        blocks: What it holds, in order.
    """

    id: str
    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Document:
    """A whole report.

    Attributes:
        lang: Language of the texts ("en").
        title: The report's title.
        subtitle: Which run it is about.
        sections: Its sections, the answer first.
    """

    lang: str
    title: str
    subtitle: str
    sections: tuple[Section, ...]


def cells(*texts: str | Cell) -> tuple[Cell, ...]:
    """A row of cells."""
    return tuple(text if isinstance(text, Cell) else Cell(text) for text in texts)
