"""The answer to a confirmed regression: an automation runs it with what the event says."""

from __future__ import annotations

from prefect import flow

from tasks.parameters import confine
from tasks.regression_events import mark_regressed


@flow(name="regression", flow_run_name="regression of {entry}", persist_result=False)
def regression(entry: str, sentence: str, registry: str = "registry") -> None:
    """Mark a variant as regressed in the registry and keep an artifact that says why.

    Args:
        entry: Name of the entry: experiment and variant.
        sentence: What was measured.
        registry: Folder of the registry.
    """
    confine(registry=registry)
    mark_regressed(registry, entry, sentence)
