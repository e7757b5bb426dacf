"""The figure that decides: accuracy against time per frame."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

import plotly.graph_objects as go

from prunebench.common.records import Interval
from prunebench.results.messages.catalogue import Messages
from prunebench.results.ranking.records import Pareto, RankedVariant, Ranking
from prunebench.results.report import style
from prunebench.results.report.document import Figure
from prunebench.results.report.numbers import with_interval

MILLISECONDS = 1000
PARETO_LOOK: dict[Pareto, tuple[str, str]] = {
    "certain": (style.COLOURS[2], "circle"),
    "possible": (style.COLOURS[0], "circle-open"),
    "no": (style.NEUTRAL, "x-thin-open"),
}
FAR = 2.0
"""A deadline further than this factor from every variant needs a logarithmic axis."""

TICK_DIGITS = (1, 1.5, 2, 3, 4, 5, 7)


def accuracy_against_latency(ranking: Ranking, m: Messages) -> Figure | None:
    """mAP50 against milliseconds per frame with error bars, the front and the real-time line."""
    if not ranking.rows:
        return None
    figure = style.new_figure(460)
    frames = {row.name: _frame_ms(row.fps) for row in ranking.rows}
    labelled = len(ranking.rows) <= style.LABELLED
    deadline = MILLISECONDS / ranking.realtime_fps
    for status, (shade, symbol) in PARETO_LOOK.items():
        rows = [row for row in ranking.rows if row.pareto == status]
        if not rows:
            continue
        figure.add_scatter(
            x=[frames[row.name].estimate for row in rows],
            y=[row.map50.estimate for row in rows],
            error_x=_bars([frames[row.name] for row in rows], shade),
            error_y=_bars([row.map50 for row in rows], shade),
            mode="markers+text" if labelled else "markers",
            text=[style.shortened(row.name) for row in rows],
            textposition=[_position(row, frames, deadline, ranking.rows) for row in rows],
            customdata=[_hover(row, frames[row.name], m) for row in rows],
            hovertemplate="%{customdata}<extra></extra>",
            marker={"color": shade, "symbol": symbol, "size": 11, "line": {"width": 2}},
            name=m(f"pareto.{status}"),
            cliponaxis=False,
        )
    front = _front([row for row in ranking.rows if row.pareto != "no"])
    figure.add_scatter(
        x=[frames[row.name].estimate for row in front],
        y=[row.map50.estimate for row in front],
        mode="lines",
        line={"color": style.NEUTRAL, "dash": "dot", "shape": "hv", "width": 1.5},
        hoverinfo="skip",
        name=m("figure.pareto.front"),
    )
    _scale_time(figure, frames.values(), deadline)
    _add_deadline(figure, deadline, m("figure.deadline", fps=f"{ranking.realtime_fps:g}"))
    figure.update_xaxes(title=m("figure.pareto.x"))
    figure.update_yaxes(title="mAP50")
    return style.finished(
        figure,
        f"accuracy-latency-{ranking.threads}",
        "pareto",
        m,
        threads=m.counted("threads", ranking.threads),
        front=m.listed([row.name for row in front]),
        count=len(ranking.rows),
    )


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


def _position(
    row: RankedVariant,
    frames: Mapping[str, Interval],
    deadline: float,
    rows: Sequence[RankedVariant],
) -> str:
    """Names point to where the axis has room, and alternate above and below their points."""
    drawn = [frame.estimate for frame in frames.values()]
    far = _far(frames.values(), deadline)
    ends = (*drawn, deadline) if far else drawn
    low, high = min(ends), max(ends)
    at = frames[row.name].estimate
    if far:
        low, high, at = math.log(low), math.log(high), math.log(at)
    side = "left" if high > low and (at - low) / (high - low) > 0.5 else "right"
    by_accuracy = sorted(rows, key=lambda other: other.map50.estimate)
    return f"{('top', 'bottom')[by_accuracy.index(row) % 2]} {side}"


def _hover(row: RankedVariant, frame: Interval, m: Messages) -> str:
    lines = (
        f"<b>{style.plain(row.name)}</b>",
        f"mAP50 {with_interval(row.map50, digits=3)}",
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


def _scale_time(figure: go.Figure, frames: Collection[Interval], deadline: float) -> None:
    """A time axis that shows every variant and the deadline, logarithmic where they lie apart."""
    if not _far(frames, deadline):
        return
    low = math.log10(min(deadline, *(frame.low for frame in frames)))
    high = math.log10(max(deadline, *(frame.high for frame in frames)))
    margin = 0.06 * (high - low)
    powers = range(math.floor(low), math.ceil(high) + 1)
    ticks = [digit * 10.0**power for power in powers for digit in TICK_DIGITS]
    figure.update_xaxes(
        type="log",
        range=[low - margin, high + margin],
        tickvals=ticks,
        ticktext=[f"{tick:g}" for tick in ticks],
    )


def _far(frames: Collection[Interval], deadline: float) -> bool:
    """Whether the deadline lies so far from every variant that a linear axis would hide them."""
    slowest = max(frame.high for frame in frames)
    fastest = min(frame.low for frame in frames)
    return not fastest / FAR <= deadline <= FAR * slowest


def _add_deadline(figure: go.Figure, deadline: float, text: str) -> None:
    logarithmic = figure.layout.xaxis.type == "log"
    ends = {"x0": deadline, "x1": deadline, "y0": 0, "y1": 1, "yref": "paper"}
    look = {"color": style.COLOURS[1], "dash": "dash", "width": 1.5}
    figure.add_shape(type="line", line=look, **ends)
    # A shape takes a logarithmic axis's value, an annotation its logarithm.
    figure.add_annotation(
        x=math.log10(deadline) if logarithmic else deadline,
        y=0,
        yref="paper",
        text=text,
        textangle=-90,
        xanchor="right",
        yanchor="bottom",
        showarrow=False,
    )
