"""What changed from one run to another, and whether onnxruntime is the reason."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from prunebench.common.text import percent
from prunebench.operating.onnxruntime_check import Suspicion, suspicion_sentence
from prunebench.results.history.compare import RunComparison

VERDICT_STYLES = {"slower": "red", "faster": "green", "no change shown": ""}


def comparison_view(comparison: RunComparison) -> RenderableType:
    """What changed from one run to another, variant by variant."""
    if not comparison.changes:
        return Text(
            f"{comparison.before} and {comparison.after} have no variant in common that was "
            "measured with the same number of threads: there is nothing to compare."
        )
    title = Text(f"{comparison.before} -> {comparison.after}")
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for name in ("variant", "threads", "latency", "verdict", "accuracy", "file"):
        right = name in ("threads", "latency", "accuracy")
        table.add_column(name, justify="right" if right else "left", no_wrap=name == "latency")
    for change in comparison.changes:
        table.add_row(
            Text(change.variant),
            str(change.threads),
            percent(change.latency, signed=True),
            Text(change.verdict, style=VERDICT_STYLES[change.verdict]),
            f"{change.map50:+z.3f}",
            "same" if change.same_file else "another",
        )
    notes = [Text("Latency is compared by the ratio to the reference model of each run.")]
    if several := {change.trainings for change in comparison.changes if max(change.trainings) > 1}:
        counts = ", ".join(f"{before} and {after}" for before, after in sorted(several))
        notes.append(Text(f"Accuracy of retrained variants: means of {counts} trainings."))
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
        styles = {True: "bold red", False: "green"}
        return Group(*(Text(suspicion_sentence(s), style=styles[s.suspect]) for s in suspicions))
    if before == after:
        return Text(f"Both runs were measured with onnxruntime {after}: it is not the reason.")
    return Text("No slowdown of the same file is shown: onnxruntime was not tried.")
