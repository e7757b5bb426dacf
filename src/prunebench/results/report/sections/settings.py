"""Settings and environment: enough to repeat the run, and what may have disturbed it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from prunebench.results.messages.catalogue import Messages
from prunebench.results.messages.observations import tell_noise, tell_passes, tell_places
from prunebench.results.messages.steps import tell_step
from prunebench.results.report import document as doc
from prunebench.results.report.stored import ReportedRun


def settings(run: ReportedRun, m: Messages) -> doc.Section:
    """Protocol, host, versions, inputs and the whole configuration."""
    latency, heads = run.latency, doc.titles(m, "setting", "value")
    protocol = m(
        "settings.protocol",
        rounds=m.counted("rounds", latency.rounds),
        stopped=m(f"stopped.{latency.stopped}"),
        seconds=f"{latency.settings.seconds:g}",
        warmup=m.counted("inferences", latency.settings.warmup),
        minutes=f"{latency.wall_s / 60:.1f}",
        difference=f"{latency.settings.smallest_difference_percent:g}",
    )
    tables: dict[str, tuple[str, Mapping[str, Any]]] = {
        "host": (latency.fingerprint.digest(), latency.fingerprint.fields()),
        "versions": ("", run.environment),
        "config": (run.config.digest(), run.config.model_dump(mode="json")),
    }
    host, versions, config = (
        doc.table(m(f"settings.{key}.caption", digest=digest), heads, _flat(values))
        for key, (digest, values) in tables.items()
    )
    return doc.section(
        "settings",
        m,
        protocol,
        doc.Heading(m("settings.noise")),
        doc.items(tell_noise(seen, m) for seen in latency.noise) or m("settings.quiet"),
        doc.Heading(m("settings.host")),
        host,
        doc.Heading(m("settings.versions")),
        versions,
        doc.Heading(m("settings.files")),
        *_rewritten(run, m),
        _files(run, m),
        doc.Heading(m("settings.config")),
        config,
    )


def _rewritten(run: ReportedRun, m: Messages) -> Iterator[str]:
    """What rewriting did to the graphs, told of the first: it is the same to all of them."""
    first = next((v for v in run.variants if v.exported), None)
    rewriting = first.exported.rewriting if first and first.exported else None
    if first and rewriting and (places := tell_places(rewriting.done, m)):
        yield m("settings.rewriting", name=first.name, places=places)
    if run.outcome.passes is not None:
        yield from tell_passes(run.outcome.passes, m)


def _files(run: ReportedRun, m: Messages) -> doc.Table:
    rows = (
        doc.cells(
            v.name,
            " → ".join(tell_step(step, m) for step in v.steps),
            v.checkpoint.sha256[:16] if v.checkpoint else None,
            v.exported.onnx.sha256[:16] if v.exported else None,
        )
        for v in run.variants
    )
    heads = doc.titles(m, "variant", "steps", "checkpoint_sha", "onnx_sha")
    return doc.table(m("settings.files.caption"), heads, rows)


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[doc.Cell, ...]]:
    """A row for each setting, nested keys as dotted paths."""
    for key, value in values.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{path}.")
        else:
            text = ", ".join(map(str, value)) if isinstance(value, list) else value
            yield doc.cells(path, None if text is None else str(text))
