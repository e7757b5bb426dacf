"""How figures look: colours that hold on light and dark ground, and one common layout.

The page's script sets the colours of texts and grids, because they follow the reader's scheme.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from prunebench.results.messages.catalogue import Messages
from prunebench.results.report.document import Figure

COLOURS = (
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#b65fa0",
    "#8a7400",
    "#3f8fc4",
    "#a3502b",
    "#5a8f29",
    "#7a6fc0",
    "#6f7a83",
)
"""Okabe and Ito's palette for colour-blind readers, extended, and without the colours whose
contrast on white or on dark grey is below 3 to 1."""

NEUTRAL = "#7b838a"
PAPER, INK, GRID, RULE = "#ffffff", "#1c2126", "#d5dbe1", "#56606a"
"""Ground, texts, grids and axes of a figure in a file of its own."""

WIDTHS = (290, 330, 360, 480, 660, 820, 1000, 1220)
"""Widths that a figure with ``sizes`` is drawn at, in pixels: it gets the widest that fits."""

ROW_PX = 30


def colour(index: int) -> str:
    """Colour of the variant at this place of the run."""
    return COLOURS[index % len(COLOURS)]


def new_figure(height: int) -> go.Figure:
    """An empty figure in the common layout, its height in pixels."""
    figure = go.Figure()
    figure.update_layout(
        template="none",
        height=height,
        margin={"l": 60, "r": 16, "t": 36, "b": 60},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "traceorder": "normal"},
        hoverlabel={"namelength": -1},
    )
    figure.update_xaxes(automargin=True, zeroline=False)
    figure.update_yaxes(automargin=True, zeroline=False)
    return figure


def by_rows(names: Sequence[str]) -> dict[str, Any]:
    """A y axis with one variant per row, the first on top."""
    return {
        "type": "category",
        "categoryorder": "array",
        "categoryarray": list(reversed(names)),
        "tickmode": "array",
        "tickvals": list(names),
        "ticktext": [shortened(name) for name in names],
    }


def rows_height(rows: int) -> int:
    """Height in pixels of a figure with one variant per row."""
    return 130 + ROW_PX * rows


def shortened(name: str, length: int = 22) -> str:
    """A name that fits beside an axis; Plotly would read "<b>" as markup."""
    text = plain(name)
    return text if len(name) <= length else f"{plain(name[: length - 1])}…"


def plain(text: str) -> str:
    """Text for Plotly's labels, which understand a few HTML tags."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def finished(figure: go.Figure, id: str, texts: str, m: Messages, **values: object) -> Figure:
    """A figure with its caption and description.

    ``texts`` is their key below ``figure.``, and ``values`` fill their places.
    """
    spec: dict[str, Any] = json.loads(figure.to_json(engine="json"))
    spec["layout"].pop("template", None)
    return Figure(
        id=f"figure-{id}",
        caption=m(f"figure.{texts}.caption", **values),
        description=m(f"figure.{texts}.description", **values),
        spec=spec,
        height=figure.layout.height,
    )


def on_paper(spec: Mapping[str, Any], width: int) -> dict[str, Any]:
    """A figure for a file of its own: the colours that the page's script gives it in light."""
    font = {"family": "sans-serif", "size": 13, "color": INK}
    sized = [size for size in spec.get("sizes", ()) if size["width"] <= width]
    layout = {
        **spec["layout"],
        **(sized[-1] if sized else {}),
        "font": font,
        "paper_bgcolor": PAPER,
        "plot_bgcolor": PAPER,
    }
    for name in layout:
        if name.startswith(("xaxis", "yaxis")):
            layout[name] = {**layout[name], "gridcolor": GRID, "linecolor": RULE}
    data = [
        {**trace, "textfont": {"color": INK}} if trace.get("texttemplate") else trace
        for trace in spec["data"]
    ]
    return {"data": data, "layout": layout}
