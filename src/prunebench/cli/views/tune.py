"""What tuning a variant's session found."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from prunebench.common.records import Interval
from prunebench.common.text import counted
from prunebench.results.messages.catalogue import Messages
from prunebench.results.messages.observations import tell_noise
from prunebench.results.report.numbers import with_interval
from prunebench.results.tuned import Setting, Tuned, session_code


def tune_view(tuned: Tuned) -> RenderableType:
    """Both measurements, the setting taken, and the code that opens such a session."""
    threads = counted(tuned.threads, "thread")
    titles = (
        f"{tuned.variant}, {threads}: each change alone, {tuned.rounds[0]} rounds",
        f"combinations of what looked better, {tuned.rounds[-1]} rounds of their own",
    )
    parts: list[RenderableType] = [
        _table(title, settings, tuned.name)
        for title, settings in zip(titles, (tuned.screened, tuned.confirmed), strict=True)
        if settings
    ]
    return Group(*parts, *(Text(line) for line in _lines(tuned)), _code(tuned))


def _table(title: str, settings: Sequence[Setting], taken: str | None) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("setting")
    for column in ("ms a frame", "by the run's", "session, MB", "by the run's", "shown to be"):
        table.add_column(Text(column), justify="right")
    for one in settings:
        shown = [
            word for word, is_so in (("faster", one.faster), ("smaller", one.smaller)) if is_so
        ]
        table.add_row(
            Text(one.name, style="bold" if one.name == taken else ""),
            f"{one.ms:.2f}",
            _ratio(one.time),
            f"{one.memory_mb:.1f}",
            _ratio(one.memory),
            ", ".join(shown),
        )
    return table


def _ratio(found: Interval | None) -> Text:
    return Text("" if found is None else with_interval(found, digits=3))


def _lines(tuned: Tuned) -> list[str]:
    lines = []
    if tuned.name is None:
        lines.append("Nothing is shown to be better than the run's own settings: they stay.")
    else:
        lines.append(f"Taken: {tuned.name}.")
    if tuned.map50 is not None and tuned.lost is not None:
        lost = with_interval(tuned.lost, factor=100, digits=2)
        lines.append(f"Accuracy with it: {tuned.map50:.3f}, {lost} points lost.")
    if tuned.refused:
        lines.append(f"Not taken, as accuracy is shown to be lost: {'; '.join(tuned.refused)}.")
    if tuned.left_out:
        lines.append(
            "Not tried, as the images that accuracy is of are gone or have changed: "
            f"{', '.join(tuned.left_out)}."
        )
    lines += [f"Seen while measuring: {tell_noise(seen, Messages())}." for seen in tuned.noise[:1]]
    return lines


def _code(tuned: Tuned) -> Text:
    return Text(f"\n{session_code(tuned, 'model.onnx')}")
