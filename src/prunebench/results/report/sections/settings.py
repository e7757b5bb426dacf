"""Settings and environment: enough to repeat the run, and what may have disturbed it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from prunebench.results.messages.catalogue import Messages
from prunebench.results.messages.observations import tell_noise
from prunebench.results.report.document import (
    Block,
    Column,
    Heading,
    Item,
    Items,
    Paragraph,
    Section,
    Table,
    cells,
)
from prunebench.results.report.numbers import BLANK
from prunebench.results.report.stored import StoredRun


def settings(run: StoredRun, m: Messages) -> Section:
    """Protocol, host, versions, inputs and the whole configuration."""
    columns = (Column(m("column.setting")), Column(m("column.value")))
    latency = run.latency
    protocol = m(
        "settings.protocol",
        rounds=m.counted("rounds", latency.rounds),
        stopped=m(f"stopped.{latency.stopped}"),
        seconds=f"{latency.settings.seconds:g}",
        warmup=latency.settings.warmup,
        minutes=f"{latency.wall_s / 60:.1f}",
        difference=f"{latency.settings.smallest_difference_percent:g}",
    )
    noise: Block = Paragraph(m("settings.quiet"))
    if latency.noise:
        noise = Items(tuple(Item(tell_noise(seen, m)) for seen in latency.noise))
    blocks: list[Block] = [
        Paragraph(protocol),
        Heading(m("settings.noise")),
        noise,
        Heading(m("settings.host")),
        Table(
            m("settings.host.caption", digest=latency.fingerprint.digest()),
            columns,
            _rows(latency.fingerprint.model_dump(mode="json")),
        ),
        Heading(m("settings.versions")),
        Table(m("settings.versions.caption"), columns, _rows(run.environment)),
        Heading(m("settings.files")),
        _files(run, m),
        Heading(m("settings.config")),
        Table(
            m("settings.config.caption", digest=run.config.digest()),
            columns,
            _rows(run.config.model_dump(mode="json")),
        ),
    ]
    return Section("settings", m("settings.title"), tuple(blocks))


def _files(run: StoredRun, m: Messages) -> Table:
    columns = (
        Column(m("column.variant")),
        Column(m("column.steps")),
        Column(m("column.checkpoint_sha")),
        Column(m("column.onnx_sha")),
    )
    rows = tuple(
        cells(
            v.name,
            " → ".join(v.steps),
            BLANK if v.checkpoint is None else v.checkpoint.sha256[:16],
            BLANK if v.exported is None else v.exported.onnx.sha256[:16],
        )
        for v in run.variants
    )
    return Table(m("settings.files.caption"), columns, rows)


def _rows(values: Mapping[str, Any]) -> tuple[tuple[Any, ...], ...]:
    return tuple(cells(key, _text(value)) for key, value in _flat(values))


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested keys as dotted paths."""
    for key, value in values.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{path}.")
        else:
            yield path, value


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(str(one) for one in value) or BLANK
    return BLANK if value is None else str(value)
