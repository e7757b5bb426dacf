"""What ``history``, ``compare`` and ``gate`` print, as rich renderables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from prunebench.common.records import Interval
from prunebench.common.text import counted, percent
from prunebench.results.history.changes import MarkedSeries
from prunebench.results.history.compare import RunComparison

if TYPE_CHECKING:
    from prunebench.operating.gate.run import GateReport
    from prunebench.operating.onnxruntime_check import Suspicion

RUN_WIDTH = 28
"""Characters of a run's name, as ``runs.open_run`` makes it."""

VERDICT_STYLES = {"slower": "red", "faster": "green", "no change shown": ""}
STANDING_STYLES = {"holds": "green", "suspected": "red", "not shown": "yellow"}


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
    table.add_column("model ms", justify="right", no_wrap=True)
    # The reference model of the same rounds takes out how fast the host was that day.
    table.add_column("x reference", justify="right", no_wrap=True)
    for name in ("FPS", "mAP50", "efficiency"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("")
    changed = {change.index for change in series.changes}
    for index, point in enumerate(series.points):
        remarks = ["changed"] if index in changed else []
        if point.noisy:
            remarks.append("noisy")
        table.add_row(
            Text(point.run),
            _with_ends(point.latency_ms),
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
    note = series.note
    if note is None and not lines:
        note = "no change of the latency is shown"
    if note is not None:
        lines.append(Text(note, style="dim"))
    return Group(table, *lines, Text())


def comparison_view(comparison: RunComparison) -> RenderableType:
    """What changed from one run to another, variant by variant."""
    table = Table(
        title=Text(f"{comparison.before} -> {comparison.after}"),
        title_justify="left",
        box=None,
        pad_edge=False,
    )
    for name in ("variant", "threads", "latency", "verdict", "mAP50", "file"):
        right = name in ("threads", "latency", "mAP50")
        table.add_column(name, justify="right" if right else "left", no_wrap=name == "latency")
    for change in comparison.changes:
        table.add_row(
            Text(change.variant),
            str(change.threads),
            percent(change.latency, signed=True),
            Text(change.verdict, style=VERDICT_STYLES[change.verdict]),
            f"{change.map50:+.3f}",
            "same" if change.same_file else "another",
        )
    notes = [Text("Latency is compared by the ratio to the reference model of each run.")]
    if comparison.host_differences:
        differences = "; ".join(comparison.host_differences)
        notes.append(Text(f"Measured on different hosts: {differences}.", style="bold yellow"))
    if comparison.missing:
        missing = ", ".join(comparison.missing)
        notes.append(Text(f"In one of the two runs only: {missing}."))
    return Group(table, *notes)


def suspicions_view(comparison: RunComparison, suspicions: Sequence[Suspicion]) -> RenderableType:
    """Whether a changed onnxruntime is the reason of what became slower."""
    before, after = comparison.onnxruntime
    if suspicions:
        return Group(
            *(Text(s.sentence, style="bold red" if s.suspect else "green") for s in suspicions)
        )
    if before == after:
        return Text(f"Both runs were measured with onnxruntime {after}: it is no suspect.")
    return Text("No slowdown of the same file is shown: onnxruntime was not tried.")


def gate_view(report: GateReport) -> RenderableType:
    """What a gate compared, found and decided."""
    how = "measured side by side"
    if report.method == "stored run":
        how = "its file is gone, so compared with its stored rounds by the reference model"
    result = report.result
    lines = [
        Text(f"Candidate: {report.candidate}"),
        Text(f"Baseline: {report.baseline} ({how})"),
        *(Text(f"  {f.sentence}", style=STANDING_STYLES[f.standing]) for f in result.findings),
    ]
    if result.confirmation:
        lines.append(Text("Measured again:"))
        lines += [
            Text(f"  {f.sentence}", style=STANDING_STYLES[f.standing]) for f in result.confirmation
        ]
    lines += [Text(note, style="yellow") for note in report.notes]
    style = "bold green" if result.passed else "bold red"
    lines.append(Text(f"{'Passed' if result.passed else 'Failed'}: {result.sentence}", style=style))
    return Group(*lines)


def _with_ends(interval: Interval) -> str:
    return f"{interval.estimate:.2f} [{interval.low:.2f}, {interval.high:.2f}]"
