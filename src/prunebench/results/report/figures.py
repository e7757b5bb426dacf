"""The report's Plotly figures. Each returns ``None`` where the run has nothing to draw."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from prunebench.common.plain import VALIDATION
from prunebench.common.text import points
from prunebench.results.messages.catalogue import Messages
from prunebench.results.report import style
from prunebench.results.report.document import Figure
from prunebench.results.report.per_class import ClassChange
from prunebench.results.report.stored import ReportedRun

if TYPE_CHECKING:
    from prunebench.results.history.change_points import MarkedSeries

BOX_PERCENTILES = (5, 25, 50, 75, 95)
DIVERGING = ("rgba(213,94,0,0.85)", "rgba(0,114,178,0.85)")
SMALLEST_SCALE = 0.05
"""Changes of AP50 below this never get the full colour."""

MARKED_EPOCHS = 12
"""Most epochs that are all marked on the axis."""

WRITTEN_CLASSES = 14
"""Most classes whose changes are written into the cells."""

CLASS_PX = 18
"""Height of a class's row where there are more."""


def latency_distribution(run: ReportedRun, threads: int, m: Messages) -> Figure | None:
    """Every frame's time as a box from raw samples, and the median of each round as a point."""
    by_name: dict[str, list[tuple[float, ...]]] = {name: [] for name in run.names}
    for sample in run.samples:
        if sample.threads == threads and sample.inference_ms and sample.variant in by_name:
            by_name[sample.variant].append(sample.frame_ms)
    drawn = {name: rounds for name, rounds in by_name.items() if rounds}
    if not drawn:
        return None
    figure = style.new_figure(style.rows_height(len(drawn)))
    for index, (name, rounds) in enumerate(drawn.items()):
        low, first, middle, third, high = np.percentile(np.concatenate(rounds), BOX_PERCENTILES)
        figure.add_box(
            y=[name],
            q1=[first],
            median=[middle],
            q3=[third],
            lowerfence=[low],
            upperfence=[high],
            orientation="h",
            line={"color": style.colour(index), "width": 1.5},
            fillcolor="rgba(0,0,0,0)",
            name=style.plain(name),
            showlegend=False,
        )
        figure.add_scatter(
            x=[float(np.median(one)) for one in rounds],
            y=[name] * len(rounds),
            mode="markers",
            marker={"color": style.colour(index), "size": 5, "opacity": 0.7},
            hovertemplate=f"%{{x:.2f}} ms<extra>{m('figure.distribution.round')}</extra>",
            showlegend=False,
        )
    figure.update_yaxes(**style.by_rows(list(drawn)))
    figure.update_xaxes(title=m("figure.distribution.x"))
    counts = {"threads": m.counted("threads", threads), "count": len(drawn)}
    return style.finished(figure, f"latency-distribution-{threads}", "distribution", m, **counts)


def stage_times(run: ReportedRun, threads: int, m: Messages) -> Figure | None:
    """Letterbox, inference, and NMS with the masks of a typical frame, stacked."""
    found = {
        name: summary.frames
        for name in run.names
        if (summary := run.summaries.get((name, threads))) and summary.frames
    }
    if not found:
        return None
    figure = style.new_figure(style.rows_height(len(found)))
    for shade, stage in ((1, "letterbox"), (0, "inference"), (2, "nms")):
        key = "masks" if stage == "nms" and run.ranking.beside_boxes == "mask" else stage
        figure.add_bar(
            y=list(found),
            x=[getattr(frames, f"{stage}_ms") for frames in found.values()],
            orientation="h",
            marker={"color": style.COLOURS[shade]},
            name=m(f"stage.{key}"),
            hovertemplate="%{x:.2f} ms",
        )
    figure.update_layout(barmode="stack", bargap=0.35)
    figure.update_yaxes(**style.by_rows(list(found)))
    figure.update_xaxes(title=m("figure.stages.x"))
    counts = {"threads": m.counted("threads", threads), "count": len(found)}
    return style.finished(figure, f"stage-times-{threads}", "stages", m, **counts)


def widths(run: ReportedRun, m: Messages) -> Figure | None:
    """Output channels of every convolution; variants with equal widths share a line."""
    groups: dict[tuple[tuple[str, int], ...], list[str]] = {}
    for variant in run.variants:
        if variant.audit is not None:
            key = tuple(variant.audit.structure.widths.items())
            groups.setdefault(key, []).append(variant.name)
    if not groups:
        return None
    figure = style.new_figure(380)
    for index, (key, names) in enumerate(groups.items()):
        figure.add_scatter(
            x=list(range(1, len(key) + 1)),
            y=[width for _, width in key],
            text=[style.plain(layer) for layer, _ in key],
            mode="lines",
            line={"shape": "hvh", "color": style.colour(index), "width": 1.8 if index else 2.5},
            name=style.shortened(", ".join(names), 60),
            hovertemplate="%{text}: %{y}",
        )
    figure.update_xaxes(title=m("figure.widths.x"))
    figure.update_yaxes(title=m("figure.widths.y"), rangemode="tozero")
    told = " | ".join(", ".join(names) for names in groups.values())
    layers = len(next(iter(groups)))
    return style.finished(figure, "widths", "widths", m, layers=layers, groups=told)


def training_curves(run: ReportedRun, m: Messages) -> Figure | None:
    """Validation mAP50 by epoch; a later round goes on where its parent stopped."""
    column = VALIDATION[run.config.ranking.metric]
    drawn = {name: curves[column] for name, curves in run.curves.items() if column in curves}
    if not drawn:
        return None
    figure = style.new_figure(380)
    last = 0
    for index, (name, values) in enumerate(drawn.items()):
        # A training before pruning counts for itself alone.
        before = sum(one.epochs for one in list(run.retrainings(name))[1:])
        last = max(last, before + len(values))
        figure.add_scatter(
            x=[before + epoch for epoch in range(1, len(values) + 1)],
            y=list(values),
            mode="lines+markers",
            line={"color": style.colour(index), "width": 2},
            marker={"size": 5},
            name=style.shortened(name, 40),
            hovertemplate="%{x}: %{y:.3f}",
        )
    # Plotly would mark halves of an epoch.
    figure.update_xaxes(title=m("figure.training.x"), dtick=1 if last <= MARKED_EPOCHS else None)
    figure.update_yaxes(title=m("figure.training.y"), rangemode="tozero")
    return style.finished(figure, "training", "training", m, names=m.listed(list(drawn)))


def over_time(series: Sequence[MarkedSeries], m: Messages) -> Figure | None:
    """Model latency of each run on this host, divided by the reference model's of that run."""
    if not series:
        return None
    figure = style.new_figure(380)
    for index, one in enumerate(series):
        figure.add_scatter(
            x=[point.started_at.isoformat() for point in one.points],
            y=[point.to_sentinel for point in one.points],
            text=[style.plain(point.run) for point in one.points],
            mode="lines+markers",
            line={"color": style.colour(index), "width": 2},
            # An open marker: the host was noisy in that run.
            marker={
                "size": 8,
                "symbol": ["circle-open" if p.noisy else "circle" for p in one.points],
            },
            name=style.shortened(one.variant, 40),
            hovertemplate="%{text}: %{y:.3f}",
        )
    figure.update_xaxes(title=m("figure.history.x"), type="date")
    figure.update_yaxes(title=m("figure.history.y"), rangemode="tozero")
    names, count = m.listed([s.variant for s in series]), max(len(s.points) for s in series)
    return style.finished(figure, "history", "history", m, names=names, count=count)


def class_changes(changes: Sequence[ClassChange], m: Messages) -> Figure | None:
    """Change of each class's AP50 against the baseline, variants by classes."""
    if not changes:
        return None
    variants = list(dict.fromkeys(change.variant for change in changes))
    classes = {change.id: change.name for change in changes}
    cells = {(change.variant, change.id): change for change in changes}
    rows = [[cells[variant, index] for index in classes] for variant in variants]
    names, columns = variants, [style.shortened(name, 16) for name in classes.values()]
    if written := len(classes) <= WRITTEN_CLASSES:
        figure = style.new_figure(style.rows_height(len(variants)) + 60)
    else:
        # A row for each class has room for its name and its star, also on a phone.
        rows = [list(column) for column in zip(*rows, strict=True)]
        names, columns = list(classes.values()), [style.shortened(name, 16) for name in variants]
        figure = style.new_figure(130 + CLASS_PX * len(classes))
    places = [list(map(str, range(len(one)))) for one in (columns, names)]
    limit = max(SMALLEST_SCALE, *(abs(change.change.estimate) for change in changes))
    figure.add_heatmap(
        x=places[0],
        y=places[1],
        z=[[change.change.estimate for change in row] for row in rows],
        text=[[_class_text(change, written) for change in row] for row in rows],
        texttemplate="%{text}",
        customdata=[[_class_hover(change) for change in row] for row in rows],
        hovertemplate="%{customdata}<extra></extra>",
        colorscale=[[0, DIVERGING[0]], [0.5, "rgba(128,128,128,0)"], [1, DIVERGING[1]]],
        zmin=-limit,
        zmax=limit,
        xgap=1,
        ygap=1,
        showscale=False,
    )
    shown = [style.shortened(name) for name in names]
    figure.update_yaxes(
        type="category",
        autorange="reversed",
        tickvals=places[1],
        ticktext=shown,
        showgrid=False,
    )
    figure.update_xaxes(type="category", tickvals=places[0], ticktext=columns, showgrid=False)
    told = {"variants": len(variants), "classes": m.some(list(classes.values()), WRITTEN_CLASSES)}
    return style.finished(figure, "class-changes", "classes", m, **told)


def _class_text(change: ClassChange, written: bool) -> str:
    """What a cell says: its change where there is room, and always a star where it is shown."""
    text = f"{change.change.estimate:+.2f}" if written else ""
    return f"<b>{text}*</b>" if change.shown else text


def _class_hover(change: ClassChange) -> str:
    names = f"{style.plain(change.variant)}, {style.plain(change.name)}"
    return f"{names}: {points(change.change, signed=True)}"
