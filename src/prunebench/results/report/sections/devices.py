"""The run's files on the other hosts it asked, each ranked there by its own measurement."""

from __future__ import annotations

from prunebench.results.messages.catalogue import Messages
from prunebench.results.messages.observations import tell_device
from prunebench.results.report import document as doc
from prunebench.results.report.sections.tables import FIGURES, beside
from prunebench.results.report.stored import ReportedRun

MOST_WHOLE = 3


def devices(run: ReportedRun, m: Messages) -> doc.Section | None:
    """Rank, FPS and model milliseconds by device, ``None`` where no other host was asked."""
    # Devices are read from outcomes, which import the report to write it.
    from prunebench.results.devices import read_devices

    asked = read_devices(run.folder)
    if not asked:
        return None
    rankings = {m("devices.here"): run.ranking}
    rankings |= {d.name: d.ranking.rankings[0] for d in asked if d.ranking is not None}
    names = [row.name for row in run.ranking.rows]
    # More columns than three hosts have do not fit side by side on a desk's screen.
    narrow = len(rankings) > MOST_WHOLE
    parts = (FIGURES[:2], FIGURES[2:]) if narrow else (FIGURES,)
    captions = ("devices.caption", "devices.caption.times")
    tables = [
        beside(m(caption), "on", names, rankings, m, figures)
        for caption, figures in zip(captions, parts, strict=False)
    ]
    return doc.section(
        "devices",
        m,
        m("devices.how"),
        doc.items(doc.Item(tell_device(device, m), device.name) for device in asked),
        *(tables if len(rankings) > 1 else ()),
    )
