"""Settings and environment: enough to repeat the run, and what may have disturbed it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from prunebench.results.messages.catalogue import Messages
from prunebench.results.messages.observations import tell_noise
from prunebench.results.report.document import (
    Heading,
    Paragraph,
    Section,
    Table,
    cells,
    items,
    section,
    table,
    titles,
)
from prunebench.results.report.numbers import BLANK
from prunebench.results.report.stored import ReportedRun


def settings(run: ReportedRun, m: Messages) -> Section:
    """Protocol, host, versions, inputs and the whole configuration."""
    latency, heads = run.latency, titles(m, "setting", "value")
    protocol = m(
        "settings.protocol",
        rounds=m.counted("rounds", latency.rounds),
        stopped=m(f"stopped.{latency.stopped}"),
        seconds=f"{latency.settings.seconds:g}",
        warmup=latency.settings.warmup,
        minutes=f"{latency.wall_s / 60:.1f}",
        difference=f"{latency.settings.smallest_difference_percent:g}",
    )
    tables: dict[str, tuple[str, Mapping[str, Any]]] = {
        "host": (latency.fingerprint.digest(), latency.fingerprint.model_dump(mode="json")),
        "versions": ("", run.environment),
        "config": (run.config.digest(), run.config.model_dump(mode="json")),
    }
    host, versions, config = (
        table(m(f"settings.{key}.caption", digest=digest), heads, _rows(values))
        for key, (digest, values) in tables.items()
    )
    return section(
        "settings",
        m,
        Paragraph(protocol),
        Heading(m("settings.noise")),
        items(tell_noise(seen, m) for seen in latency.noise) or Paragraph(m("settings.quiet")),
        Heading(m("settings.host")),
        host,
        Heading(m("settings.versions")),
        versions,
        Heading(m("settings.files")),
        _files(run, m),
        Heading(m("settings.config")),
        config,
    )


def _files(run: ReportedRun, m: Messages) -> Table:
    rows = (
        cells(
            v.name,
            " → ".join(v.steps),
            BLANK if v.checkpoint is None else v.checkpoint.sha256[:16],
            BLANK if v.exported is None else v.exported.onnx.sha256[:16],
        )
        for v in run.variants
    )
    heads = titles(m, "variant", "steps", "checkpoint_sha", "onnx_sha")
    return table(m("settings.files.caption"), heads, rows)


def _rows(values: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
    return (cells(key, _text(value)) for key, value in _flat(values))


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
