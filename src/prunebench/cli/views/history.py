"""Figures over time, and where the latency changed."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from prunebench.common.text import counted
from prunebench.results.history.change_points import FEWEST_POINTS, MarkedSeries

RUN_WIDTH = 28  # Characters of a run's name, as ``run_folder.open_run`` makes it.


def history_view(series: Sequence[MarkedSeries]) -> RenderableType:
    """A table per series, its changes marked in the row of the first run after each."""
    if not series:
        return Text("The history holds no such results.")
    return Group(*(_series_view(one) for one in series))


def _series_view(series: MarkedSeries) -> RenderableType:
    title = (
        f"{series.experiment}: {series.variant}, {counted(series.threads, 'thread')}, "
        f"host {series.fingerprint}"
    )
    table = Table(title=Text(title), title_justify="left", box=None, pad_edge=False)
    table.add_column("run", overflow="fold", min_width=RUN_WIDTH)
    # The reference model of the same rounds takes out how fast the host was that day.
    for name in ("model ms", "x reference", "FPS", "accuracy", "efficiency"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("")
    changed = {change.index for change in series.changes}
    for index, point in enumerate(series.points):
        ms, remarks = point.latency_ms, ["changed"] if index in changed else []
        if point.noisy:
            remarks.append("noisy")
        table.add_row(
            Text(point.run),
            f"{ms.estimate:.2f} [{ms.low:.2f}, {ms.high:.2f}]",
            "" if point.to_sentinel is None else f"{point.to_sentinel:.3f}",
            f"{point.fps.estimate:.1f}",
            f"{point.map50.estimate:.3f}",
            f"{point.efficiency.estimate:.2f}",
            Text(", ".join(remarks), style="bold yellow"),
        )
    lines = [
        Text(
            f"Changed with {series.points[change.index].run}: {change.before:.3f} -> "
            f"{change.after:.3f} times the reference model, "
            f"{100 * (change.after / change.before - 1):+.1f} %",
            style="bold yellow",
        )
        for change in series.changes
    ]
    if series.too_short:
        points = counted(len(series.points), "point")
        few = f"{points} of this host; changes are marked from {FEWEST_POINTS} on"
        lines.append(Text(few, style="dim"))
    elif not lines:
        lines.append(Text("no change of the latency is shown", style="dim"))
    return Group(table, *lines, Text())
