"""Measures the exported variants of earlier runs again, trains nothing, and compares."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.states import Completed, Failed, State

from flows.run_log import log_ranking, progress_logged
from prunebench.common.errors import PrunebenchError
from prunebench.common.sole_user import sole_user
from prunebench.config.sections import DeviceName
from prunebench.operating.destinations import check_destinations
from prunebench.operating.rebenchmark import Source, find_sources
from prunebench.operating.regressions import (
    Regression,
    confirmed,
    regression_sentence,
    summary,
    suspected,
)
from prunebench.results.history.compare import RunComparison
from prunebench.results.history.lookup import history_url
from prunebench.steps.child import ending_children
from tasks.crashed_runs import settle_last_run
from tasks.devices import answer_as
from tasks.parameters import confine
from tasks.publishing import publish, publish_comparison, publish_latency
from tasks.regression_events import raise_regressions
from tasks.runs import (
    compare_with_earlier,
    diagnose,
    fetch,
    measure,
    push,
    rank_variants,
    record,
    reopen,
)


@flow(name="rebenchmark", flow_run_name="rebenchmark", persist_result=False)
def rebenchmark(
    run: str | None = None,
    out: str = "runs",
    registry: str | None = None,
    store: str | None = None,
    store_cache_gb: float = 5.0,
    device: DeviceName | None = None,
) -> State[Any]:
    """Measure finished variants again on this host; what is slower is measured a second time.

    Args:
        run: Folder of a run, all of whose variants are measured; its name where it is taken from
            ``store``.
        out: Folder of all runs; its newest finished one is taken where nothing else is named.
        registry: Folder of the registry; what is promoted in it is measured where no run is named.
        store: fsspec URL that ``run`` is taken from, and that the new run is copied to.
        store_cache_gb: What of the store is kept below ``out``, in 10^9 bytes at most.
        device: This host's name in its answer to the run that asked it to measure.

    Returns:
        A state whose data holds each new run's folder, ranking and comparison, and the regressions
        that a second measurement confirmed; failed where a promoted variant could not be measured.
    """
    confine(run=None if store else run, out=out, registry=registry, store=store)
    check_destinations(store, None, Path(out))
    asked = run
    if store is not None and run is not None:
        run = fetch(run, store, out, store_cache_gb)
    sources, problems = find_sources(run, Path(out), None if registry is None else Path(registry))
    runs: list[dict[str, Any]] = []
    comparisons: list[RunComparison] = []
    regressions: list[Regression] = []
    failures = list(problems)
    for source in sources:
        try:
            measured, comparison, found = _source(source, device)
        except PrunebenchError as error:
            if registry is None:
                raise
            failures.append(str(error))
        else:
            runs.append(measured)
            comparisons.append(comparison)
            regressions += found
    data = {
        "runs": runs,
        "regressions": [
            {"sentence": regression_sentence(one), **one.model_dump(mode="json")}
            for one in regressions
        ],
    }
    if store is not None:
        for one in runs:
            push(one["folder"], store, store_cache_gb)
            if device is not None and asked is not None:
                answer_as(device, asked, one["folder"], store, store_cache_gb)
    message = summary(comparisons, regressions)
    if failures:
        return Failed(message=f"{message}; not measured: {' '.join(failures)}", data=data)
    return Completed(message=message, data=data)


def _source(
    source: Source, device: str | None
) -> tuple[dict[str, Any], RunComparison, tuple[Regression, ...]]:
    """Measure a run's variants, and once more those that are slower; confirmed is raised."""
    folder = Path(source.folder)
    with progress_logged(), sole_user(folder.parent), ending_children():
        settle_last_run(folder.parent)
        data, first = _measure(folder, source.variants, device)
        suspects = suspected(first)
        if not suspects:
            return data, first, ()
        _, second = _measure(folder, suspects, device)
        regressions = confirmed(first, second)
    raise_regressions(data["ranking"]["name"], regressions)
    return data, first, regressions


def _measure(
    source: Path, names: Sequence[str] | None, device: str | None
) -> tuple[dict[str, Any], RunComparison]:
    """Measure variants of a run again: what the flow says of the new run, and the comparison."""
    # Before anything is made, so that a history out of reach costs nothing.
    earlier = record(history_url(source), str(source))
    experiment, variants = reopen(str(source), names)
    latency = measure(experiment, variants)
    diagnoses = diagnose(experiment, variants, latency)
    ranking = rank_variants(experiment, variants, latency, diagnoses)
    now = record(experiment.history_url, experiment.folder)
    comparison = compare_with_earlier(experiment, earlier, now)
    log_ranking(ranking)
    publish(experiment.folder, variants, ranking, device)
    publish_latency(ranking, device)
    publish_comparison(ranking.name, comparison)
    data = {
        "folder": experiment.folder,
        "failed": [v.name for v in variants if v.failure is not None],
        "ranking": ranking.model_dump(mode="json"),
        "comparison": comparison.model_dump(mode="json"),
    }
    return data, comparison
