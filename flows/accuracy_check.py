"""Evaluates every promoted ONNX file again and compares with what was recorded of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import flow
from prefect.states import Completed, Failed, State

from flows.run_log import progress_logged
from prunebench.operating.accuracy_check import accuracy_sentence
from prunebench.operating.registry import read_registry
from prunebench.steps.child import ending_children
from tasks.accuracy_check import evaluate_entry, publish_accuracy
from tasks.parameters import confine
from tasks.regression_events import mark_regressed


@flow(name="accuracy-check", flow_run_name="accuracy-check", persist_result=False)
def accuracy_check(registry: str = "registry") -> State[Any]:
    """Evaluate what is promoted again, on the images it was evaluated on.

    Args:
        registry: Folder of the registry.

    Returns:
        A state whose data holds the evaluations; failed where one does not agree with what was
        recorded, which marks its entry, or could not be made.
    """
    confine(registry=registry)
    checks, failures = [], []
    with progress_logged(), ending_children():
        for entry in read_registry(Path(registry)):
            state = evaluate_entry(entry, registry, return_state=True)
            if not state.is_completed():
                failures.append(str(state.result(raise_on_failure=False)))
                continue
            check = state.result()
            checks.append(check)
            if not check.holds:
                failures.append(accuracy_sentence(check))
                mark_regressed(registry, entry.name, failures[-1])
    publish_accuracy(checks, failures)
    data = [check.model_dump(mode="json") for check in checks]
    if failures:
        return Failed(message=" ".join(failures), data=data)
    return Completed(message=f"{len(checks)} promoted files are as accurate as recorded", data=data)
