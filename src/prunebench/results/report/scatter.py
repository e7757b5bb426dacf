"""The figure that decides: accuracy against time per frame."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import plotly.graph_objects as go

from prunebench.common.records import Interval
from prunebench.results.messages.catalogue import Messages
from prunebench.results.ranking.records import Pareto, RankedVariant, Ranking
from prunebench.results.report import labels, style
from prunebench.results.report.document import Figure
from prunebench.results.report.numbers import with_interval

MILLISECONDS = 1000
PARETO_LOOK: dict[Pareto, tuple[str, str]] = {
    "certain": (style.COLOURS[2], "circle"),
    "possible": (style.COLOURS[0], "circle-open"),
    "no": (style.NEUTRAL, "x-thin-open"),
}
LABELLED = 20
"""Most points that get their names; of more, only those that nothing is shown to beat."""

ROOMY = 12
HEIGHT = 460
LABEL_PX = 22
"""Pixels of height, and more for each name beyond the first ``ROOMY``."""

LEGEND_PX = ((900, 58), (480, 72), (0, 112))
"""Widths from which on, and the room that the legend takes there."""

TITLE = {"size": 13}
FAR = 2.0
"""A deadline further than this factor from every variant needs a logarithmic axis."""

TICK_DIGITS = (1, 1.5, 2, 3, 4, 5, 7)


def accuracy_against_latency(ranking: Ranking, m: Messages) -> Figure | None:
    """mAP50 against milliseconds per frame with error bars, the front and the real-time line."""
    rows = ranking.rows
    if not rows:
        return None
    figure = style.new_figure(HEIGHT + LABEL_PX * max(0, min(len(rows), LABELLED) - ROOMY))
    frames = {row.name: _frame_ms(row.fps) for row in rows}
    deadline = MILLISECONDS / ranking.realtime_fps
    name = m(f"map50.{ranking.metric}")
    for status, (shade, symbol) in PARETO_LOOK.items():
        drawn = [row for row in rows if row.pareto == status]
        if not drawn:
            continue
        figure.add_scatter(
            x=[frames[row.name].estimate for row in drawn],
            y=[row.map50.estimate for row in drawn],
            error_x=_bars([frames[row.name] for row in drawn], shade),
            error_y=_bars([row.map50 for row in drawn], shade),
            mode="markers",
            customdata=[_hover(row, frames[row.name], name, m) for row in drawn],
            hovertemplate="%{customdata}<extra></extra>",
            marker={"color": shade, "symbol": symbol, "size": 11, "line": {"width": 2}},
            name=m(f"pareto.{status}"),
            cliponaxis=False,
        )
    front = _front([row for row in rows if row.pareto != "no"])
    figure.add_scatter(
        x=[frames[row.name].estimate for row in front],
        y=[row.map50.estimate for row in front],
        mode="lines",
        line={"color": style.NEUTRAL, "dash": "dot", "shape": "hv", "width": 1.5},
        hoverinfo="skip",
        name=m("figure.pareto.front"),
    )
    _scale(figure, frames.values(), rows, deadline)
    limit = m("figure.deadline", fps=f"{ranking.realtime_fps:g}")
    _add_deadline(figure, deadline)
    figure.update_xaxes(
        title={"text": m("figure.pareto.x"), "standoff": 8, "font": TITLE}, automargin=False
    )
    figure.update_yaxes(title={"text": name, "standoff": 8, "font": TITLE}, automargin=False)
    sizes = [_sized(figure, width, rows, frames, deadline, limit) for width in style.WIDTHS]
    told = style.finished(
        figure,
        f"accuracy-latency-{ranking.threads}",
        "pareto",
        m,
        threads=m.counted("threads", ranking.threads),
        front=m.listed([row.name for row in front]),
        count=len(rows),
    )
    return replace(told, spec={**told.spec, "sizes": sizes})


def _frame_ms(fps: Interval) -> Interval:
    estimate, low, high = (MILLISECONDS / end for end in (fps.estimate, fps.high, fps.low))
    return Interval(estimate=estimate, low=low, high=high, level=fps.level)


def _bars(intervals: Sequence[Interval], shade: str) -> dict[str, object]:
    return {
        "type": "data",
        "symmetric": False,
        "array": [one.high - one.estimate for one in intervals],
        "arrayminus": [one.estimate - one.low for one in intervals],
        "color": shade,
        "thickness": 1.2,
        "width": 3,
    }


def _hover(row: RankedVariant, frame: Interval, metric: str, m: Messages) -> str:
    lines = (
        f"<b>{style.plain(row.name)}</b>",
        f"{metric} {with_interval(row.map50, digits=3)}",
        f"{with_interval(frame)} ms",
        f"{with_interval(row.fps)} FPS",
        f"{m('column.rank')} {row.label}",
    )
    return "<br>".join(lines)


def _front(rows: Sequence[RankedVariant]) -> list[RankedVariant]:
    """Those on the front of the estimates, from the fastest to the most accurate."""
    front: list[RankedVariant] = []
    for row in sorted(rows, key=lambda row: (-row.fps.estimate, -row.map50.estimate)):
        if not front or row.map50.estimate > front[-1].map50.estimate:
            front.append(row)
    return front


def _scale(
    figure: go.Figure, frames: Collection[Interval], rows: Sequence[RankedVariant], deadline: float
) -> None:
    """Axes that show every interval and the deadline; time is logarithmic where they lie apart."""
    low = min(deadline, *(frame.low for frame in frames))
    high = max(deadline, *(frame.high for frame in frames))
    if _far(frames, deadline):
        powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        ticks = [digit * 10.0**power for power in powers for digit in TICK_DIGITS]
        names = [f"{tick:g}" for tick in ticks]
        figure.update_xaxes(type="log", tickvals=ticks, ticktext=names)
        low, high = math.log10(low), math.log10(high)
    figure.update_xaxes(range=_padded(low, high, 0.06))
    ends = [end for row in rows for end in (row.map50.low, row.map50.high)]
    figure.update_yaxes(range=_padded(min(ends), max(ends), 0.08))


def _padded(low: float, high: float, share: float) -> list[float]:
    margin = share * (high - low) or 0.05
    return [low - margin, high + margin]


def _far(frames: Collection[Interval], deadline: float) -> bool:
    """Whether the deadline lies so far from every variant that a linear axis would hide them."""
    slowest = max(frame.high for frame in frames)
    fastest = min(frame.low for frame in frames)
    return not fastest / FAR <= deadline <= FAR * slowest


def _on_axis(figure: go.Figure, ms: float) -> float:
    """A time as annotations and ranges of the axis take it."""
    return math.log10(ms) if figure.layout.xaxis.type == "log" else ms


def _add_deadline(figure: go.Figure, deadline: float) -> None:
    # Unlike an annotation, a shape takes a logarithmic axis's value itself.
    ends = {"x0": deadline, "x1": deadline, "y0": 0, "y1": 1, "yref": "paper"}
    look = {"color": style.COLOURS[1], "dash": "dash", "width": 1.5}
    figure.add_shape(type="line", line=look, **ends)


def _sized(
    figure: go.Figure,
    width: int,
    rows: Sequence[RankedVariant],
    frames: Mapping[str, Interval],
    deadline: float,
    limit: str,
) -> dict[str, Any]:
    """What of the layout depends on the width: room for the legend, and where names stand."""
    above = next(px for least, px in LEGEND_PX if width >= least)
    margin = {"l": 64, "r": 16, "t": above, "b": 56}
    size = (width - 80, figure.layout.height - above - 56)
    spans = (figure.layout.xaxis.range, figure.layout.yaxis.range)

    def pixels(ms: float, map50: float) -> tuple[float, float]:
        shares = (
            (value - low) / (high - low)
            for value, (low, high) in zip((_on_axis(figure, ms), map50), spans, strict=True)
        )
        across, up = shares
        return size[0] * across, size[1] * (1 - up)

    # Where there are too many to name, those are named that nothing is shown to beat.
    named = [row for row in rows if len(rows) <= LABELLED or row.pareto != "no"][:LABELLED]
    ordered = sorted(rows, key=lambda row: row not in named)
    points = [pixels(frames[row.name].estimate, row.map50.estimate) for row in ordered]
    bars = []
    for row, (x, y) in zip(ordered, points, strict=True):
        left, top = pixels(frames[row.name].low, row.map50.high)
        right, bottom = pixels(frames[row.name].high, row.map50.low)
        bars += [(left, y - 1, right, y + 1), (x - 1, top, x + 1, bottom)]
    at, _ = pixels(deadline, 0)
    length = labels.text_width(limit)
    placed = labels.place(
        [style.shortened(row.name) for row in named],
        np.array(points),
        size,
        avoid=np.array([(at - labels.LINE_PX, size[1] - length, at, size[1])]),
        rather_not=np.array([*bars, (at - 1, 0, at + 1, size[1])]),
    )
    said = [
        _annotation(_on_axis(figure, frames[row.name].estimate), row.map50.estimate, label)
        for row, label in zip(named, placed, strict=True)
        if label is not None
    ]
    foot = {"x": _on_axis(figure, deadline), "y": 0, "yref": "paper", "text": limit}
    look = {"textangle": -90, "xanchor": "right", "yanchor": "bottom", "showarrow": False}
    return {"width": width, "margin": margin, "annotations": [foot | look, *said]}


def _annotation(x: float, y: float, label: labels.Label) -> dict[str, Any]:
    """A name beside its point, joined by a line where it stands apart."""
    own: dict[str, Any] = {"x": x, "y": y, "text": label.text, "font": {"size": labels.FONT_PX}}
    own |= {"xanchor": "center", "yanchor": "middle", "borderpad": 0}
    if not label.is_apart:
        return own | {"showarrow": False, "xshift": label.dx, "yshift": -label.dy}
    line = {"arrowhead": 0, "arrowwidth": 1, "arrowcolor": style.NEUTRAL, "standoff": 6}
    return own | {"showarrow": True, "ax": label.dx, "ay": label.dy, **line}
