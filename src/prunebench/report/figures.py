"""The report's Plotly figures. Each returns ``None`` where the run has nothing to draw."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from prunebench.ranking.records import Pareto, RankedVariant, Ranking
from prunebench.ranking.text import points
from prunebench.records import Interval
from prunebench.report.document import Figure
from prunebench.report.messages import Messages
from prunebench.report.numbers import with_interval
from prunebench.report.per_class import ClassChange
from prunebench.report.stored import StoredRun
from prunebench.report.style import (
    COLOURS,
    LABELLED,
    NEUTRAL,
    by_rows,
    colour,
    new_figure,
    plain,
    rows_height,
    shortened,
    spec_of,
)

MILLISECONDS = 1000
BOX_PERCENTILES = (5, 25, 50, 75, 95)
PARETO_LOOK: dict[Pareto, tuple[str, str]] = {
    "certain": (COLOURS[2], "circle"),
    "possible": (COLOURS[0], "circle-open"),
    "no": (NEUTRAL, "x-thin-open"),
}
FAR = 2.0
"""A deadline further than this factor from every variant needs a logarithmic axis."""

DIVERGING = ("rgba(213,94,0,0.85)", "rgba(0,114,178,0.85)")
SMALLEST_SCALE = 0.05
"""Changes of AP50 below this never get the full colour."""

WRITTEN_CLASSES = 14
"""Most classes whose changes are written into the cells."""

TICK_DIGITS = (1, 1.5, 2, 3, 4, 5, 7)


def accuracy_against_latency(run: StoredRun, ranking: Ranking, m: Messages) -> Figure | None:
    """mAP50 against milliseconds per frame with error bars, the front and the real-time line."""
    if not ranking.rows:
        return None
    figure = new_figure(460)
    frames = {row.name: _frame_ms(row.fps) for row in ranking.rows}
    labelled = len(ranking.rows) <= LABELLED
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
            text=[shortened(row.name) for row in rows],
            textposition=[_position(row, ranking.rows) for row in rows],
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
        line={"color": NEUTRAL, "dash": "dot", "shape": "hv", "width": 1.5},
        hoverinfo="skip",
        name=m("figure.pareto.front"),
    )
    deadline = MILLISECONDS / ranking.realtime_fps
    _scale_time(figure, list(frames.values()), deadline)
    _add_deadline(figure, deadline, m("figure.deadline", fps=f"{ranking.realtime_fps:g}"))
    figure.update_xaxes(title=m("figure.pareto.x"))
    figure.update_yaxes(title="mAP50")
    threads = m.counted("threads", ranking.threads)
    return Figure(
        id=f"figure-accuracy-latency-{ranking.threads}",
        caption=m("figure.pareto.caption", threads=threads),
        description=m(
            "figure.pareto.description",
            front=m.listed([row.name for row in front]),
            count=len(ranking.rows),
        ),
        spec=spec_of(figure),
        height=460,
    )


def latency_distribution(run: StoredRun, threads: int, m: Messages) -> Figure | None:
    """Every frame's time as a box from raw samples, and the median of each round as a point."""
    names = [name for name in run.names if _frames_of(run, name, threads)]
    if not names:
        return None
    height = rows_height(len(names))
    figure = new_figure(height)
    for index, name in enumerate(names):
        rounds = _frames_of(run, name, threads)
        low, first, middle, third, high = np.percentile(np.concatenate(rounds), BOX_PERCENTILES)
        figure.add_box(
            y=[name],
            q1=[first],
            median=[middle],
            q3=[third],
            lowerfence=[low],
            upperfence=[high],
            orientation="h",
            line={"color": colour(index), "width": 1.5},
            fillcolor="rgba(0,0,0,0)",
            name=plain(name),
            showlegend=False,
        )
        figure.add_scatter(
            x=[float(np.median(one)) for one in rounds],
            y=[name] * len(rounds),
            mode="markers",
            marker={"color": colour(index), "size": 5, "opacity": 0.7},
            hovertemplate=f"%{{x:.2f}} ms<extra>{m('figure.distribution.round')}</extra>",
            showlegend=False,
        )
    figure.update_yaxes(**by_rows(names))
    figure.update_xaxes(title=m("figure.distribution.x"))
    return Figure(
        id=f"figure-latency-distribution-{threads}",
        caption=m("figure.distribution.caption", threads=m.counted("threads", threads)),
        description=m("figure.distribution.description", count=len(names)),
        spec=spec_of(figure),
        height=height,
    )


def stage_times(run: StoredRun, threads: int, m: Messages) -> Figure | None:
    """Letterbox, inference and NMS of a typical frame, stacked."""
    found = {
        name: summary.frames
        for name in run.names
        if (summary := run.summaries.get((name, threads))) and summary.frames
    }
    if not found:
        return None
    height = rows_height(len(found))
    figure = new_figure(height)
    for index, stage in enumerate(("letterbox", "inference", "nms")):
        figure.add_bar(
            y=list(found),
            x=[getattr(frames, f"{stage}_ms") for frames in found.values()],
            orientation="h",
            marker={"color": COLOURS[(1, 0, 2)[index]]},
            name=m(f"stage.{stage}"),
            hovertemplate="%{x:.2f} ms",
        )
    figure.update_layout(barmode="stack", bargap=0.35)
    figure.update_yaxes(**by_rows(list(found)))
    figure.update_xaxes(title=m("figure.stages.x"))
    return Figure(
        id=f"figure-stage-times-{threads}",
        caption=m("figure.stages.caption", threads=m.counted("threads", threads)),
        description=m("figure.stages.description", count=len(found)),
        spec=spec_of(figure),
        height=height,
    )


def widths(run: StoredRun, m: Messages) -> Figure | None:
    """Output channels of every convolution; variants with equal widths share a line."""
    groups: dict[tuple[tuple[str, int], ...], list[str]] = {}
    for variant in run.variants:
        if variant.audit is not None:
            key = tuple(variant.audit.structure.widths.items())
            groups.setdefault(key, []).append(variant.name)
    if not groups:
        return None
    figure = new_figure(380)
    layers = [layer for layer, _ in next(iter(groups))]
    for index, (key, names) in enumerate(groups.items()):
        figure.add_scatter(
            x=list(range(1, len(key) + 1)),
            y=[width for _, width in key],
            text=[plain(layer) for layer, _ in key],
            mode="lines",
            line={"shape": "hvh", "color": colour(index), "width": 2.5 if index == 0 else 1.8},
            name=shortened(", ".join(names), 60),
            hovertemplate="%{text}: %{y}",
        )
    figure.update_xaxes(title=m("figure.widths.x"))
    figure.update_yaxes(title=m("figure.widths.y"), rangemode="tozero")
    return Figure(
        id="figure-widths",
        caption=m("figure.widths.caption"),
        description=m(
            "figure.widths.description",
            layers=len(layers),
            groups=" | ".join(", ".join(names) for names in groups.values()),
        ),
        spec=spec_of(figure),
        height=380,
    )


def training_curves(run: StoredRun, m: Messages) -> Figure | None:
    """Validation mAP50 by epoch; a later round goes on where its parent stopped."""
    column = "metrics/mAP50(B)"
    drawn = [name for name in run.curves if column in run.curves[name]]
    if not drawn:
        return None
    figure = new_figure(380)
    for index, name in enumerate(drawn):
        before = _epochs_before(run, name)
        values = run.curves[name][column]
        figure.add_scatter(
            x=[before + epoch for epoch in range(1, len(values) + 1)],
            y=list(values),
            mode="lines+markers",
            line={"color": colour(index), "width": 2},
            marker={"size": 5},
            name=shortened(name, 40),
            hovertemplate="%{x}: %{y:.3f}",
        )
    figure.update_xaxes(title=m("figure.training.x"))
    figure.update_yaxes(title=m("figure.training.y"), rangemode="tozero")
    return Figure(
        id="figure-training",
        caption=m("figure.training.caption"),
        description=m("figure.training.description", names=m.listed(drawn)),
        spec=spec_of(figure),
        height=380,
    )


def class_changes(changes: Sequence[ClassChange], m: Messages) -> Figure | None:
    """Change of each class's AP50 against the baseline, variants by classes."""
    if not changes:
        return None
    variants = list(dict.fromkeys(change.variant for change in changes))
    classes = list(dict.fromkeys(change.name for change in changes))
    cells = {(change.variant, change.name): change for change in changes}
    rows = [[cells[variant, name] for name in classes] for variant in variants]
    height = rows_height(len(variants)) + 60
    limit = max(SMALLEST_SCALE, *(abs(change.change.estimate) for change in changes))
    figure = new_figure(height)
    figure.add_heatmap(
        x=[shortened(name, 16) for name in classes],
        y=variants,
        z=[[change.change.estimate for change in row] for row in rows],
        text=[[_class_text(change) for change in row] for row in rows],
        texttemplate="%{text}" if len(classes) <= WRITTEN_CLASSES else None,
        customdata=[[points(change.change, signed=True) for change in row] for row in rows],
        hovertemplate="%{y}, %{x}: %{customdata}<extra></extra>",
        colorscale=[[0, DIVERGING[0]], [0.5, "rgba(128,128,128,0)"], [1, DIVERGING[1]]],
        zmin=-limit,
        zmax=limit,
        xgap=1,
        ygap=1,
        showscale=False,
    )
    figure.update_yaxes(**by_rows(variants), showgrid=False)
    figure.update_xaxes(type="category", showgrid=False)
    return Figure(
        id="figure-class-changes",
        caption=m("figure.classes.caption"),
        description=m(
            "figure.classes.description", variants=len(variants), classes=m.listed(classes)
        ),
        spec=spec_of(figure),
        height=height,
    )


def _class_text(change: ClassChange) -> str:
    text = f"{change.change.estimate:+.2f}"
    return f"<b>{text}*</b>" if change.shown else text


def _frame_ms(fps: Interval) -> Interval:
    return Interval(
        estimate=MILLISECONDS / fps.estimate,
        low=MILLISECONDS / fps.high,
        high=MILLISECONDS / fps.low,
        level=fps.level,
    )


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


def _position(row: RankedVariant, rows: Sequence[RankedVariant]) -> str:
    """Names point inwards, and those of neighbours alternate above and below their points."""
    by_speed = sorted(row.fps.estimate for row in rows)
    inwards = "left" if row.fps.estimate < by_speed[len(rows) // 2] else "right"
    by_accuracy = sorted(rows, key=lambda other: other.map50.estimate)
    return f"{('top', 'bottom')[by_accuracy.index(row) % 2]} {inwards}"


def _hover(row: RankedVariant, frame: Interval, m: Messages) -> str:
    return "<br>".join(
        (
            f"<b>{plain(row.name)}</b>",
            f"mAP50 {with_interval(row.map50, digits=3)}",
            f"{with_interval(frame)} ms",
            f"{with_interval(row.fps)} FPS",
            f"{m('column.rank')} {row.label}",
        )
    )


def _front(rows: Sequence[RankedVariant]) -> list[RankedVariant]:
    """Those on the front of the estimates, from the fastest to the most accurate."""
    front: list[RankedVariant] = []
    for row in sorted(rows, key=lambda row: (-row.fps.estimate, -row.map50.estimate)):
        if not front or row.map50.estimate > front[-1].map50.estimate:
            front.append(row)
    return front


def _scale_time(figure: go.Figure, frames: Sequence[Interval], deadline: float) -> None:
    """A time axis that shows every variant and the deadline, logarithmic where they lie apart."""
    slowest = max(frame.high for frame in frames)
    fastest = min(frame.low for frame in frames)
    if fastest / FAR <= deadline <= FAR * slowest:
        return
    low, high = math.log10(min(fastest, deadline)), math.log10(max(slowest, deadline))
    margin = 0.06 * (high - low)
    ticks = [
        digit * 10.0**power
        for power in range(math.floor(low), math.ceil(high) + 1)
        for digit in TICK_DIGITS
    ]
    figure.update_xaxes(
        type="log",
        range=[low - margin, high + margin],
        tickvals=ticks,
        ticktext=[f"{tick:g}" for tick in ticks],
    )


def _add_deadline(figure: go.Figure, deadline: float, text: str) -> None:
    logarithmic = figure.layout.xaxis.type == "log"
    figure.add_shape(
        type="line",
        x0=deadline,
        x1=deadline,
        y0=0,
        y1=1,
        yref="paper",
        line={"color": COLOURS[1], "dash": "dash", "width": 1.5},
    )
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


def _frames_of(run: StoredRun, name: str, threads: int) -> list[tuple[float, ...]]:
    return [
        sample.frame_ms
        for sample in run.samples
        if sample.variant == name and sample.threads == threads and sample.inference_ms
    ]


def _epochs_before(run: StoredRun, name: str) -> int:
    variant = run.variant(name)
    parent = None if variant is None or variant.parent is None else run.variant(variant.parent)
    total = 0
    while parent is not None and parent.training is not None and parent.training.round > 0:
        total += parent.training.epochs
        parent = None if parent.parent is None else run.variant(parent.parent)
    return total
