"""Step ``mlflow``: a finished run as one MLflow run with a nested run per variant.

In a child process MLflow's instrumentation stays out of Prefect's, and a server that does not
answer cannot hold the run up for long.
"""

from __future__ import annotations

import math
import re
import shlex
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prunebench.common.errors import StepError
from prunebench.common.records import Interval, Record
from prunebench.common.variant_record import VariantRecord
from prunebench.config.mlflow import MlflowConfig, require_mlflow
from prunebench.results.messages.catalogue import Messages
from prunebench.results.messages.observations import tell_judgement, tell_variant
from prunebench.results.messages.sentences import tell
from prunebench.results.report.stored import ReportedRun, read_stored_run
from prunebench.results.run_folder import DEVICES_FILE
from prunebench.steps.child import run_child
from prunebench.steps.events import Emit, Progress, Stage

if TYPE_CHECKING:
    from mlflow import MlflowClient

STEP = "mlflow"
RUN_TAG = "prunebench.run"
"""Names the run's folder: by it a run that is logged already is found again."""

PARENT_TAG = "mlflow.parentRunId"
NOTE_TAG = "mlflow.note.content"
FINISHED = "FINISHED"
ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "GIT_PYTHON_REFRESH": "quiet",
}
TIMEOUT_S = 600.0
FILES = ("report.html", "report.md", "ranking.csv", "ranking.json", "config.yaml")
BATCH = 100
"""Parameters, tags or metrics in one request; a server takes no more of the first two."""

NOT_IN_NAMES = re.compile(r"[^\w.\- :/]")
"""What a name in MLflow cannot have: Ultralytics' curves are called ``metrics/mAP50(B)``."""

MetricValue = tuple[str, float, int]
"""A metric's name and value, and the epoch it belongs to (0 where it belongs to none)."""


class Request(Record):
    """Input of the step: absolute path of the finished run's folder, and where it goes."""

    folder: str
    settings: MlflowConfig


class Logged(Record):
    """Where a run is in MLflow; ``new`` where it was logged now, not earlier."""

    id: str
    url: str
    new: bool


def log_to_mlflow(folder: Path, settings: MlflowConfig, on_event: Emit | None = None) -> Logged:
    """Log a finished run, once however often it is called.

    Raises:
        InputError: The extra is missing, or the run is not finished.
        StepError: The server did not take it.
    """
    require_mlflow()
    request = Request(folder=str(folder.resolve()), settings=settings)
    with tempfile.TemporaryDirectory(prefix="prunebench-mlflow-") as workdir:
        result = run_child(
            STEP,
            request,
            Path(workdir),
            threads=1,
            on_event=on_event,
            timeout_s=TIMEOUT_S,
            env=ENVIRONMENT,
        )
    return Logged.model_validate(result)


def run(request: Request, workdir: Path, emit: Emit) -> Logged:
    """Log a run; one that an earlier attempt left half is logged anew."""
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException
    from requests.exceptions import RequestException

    stored = read_stored_run(Path(request.folder))
    settings = request.settings
    try:
        emit(Stage(what=f"logging the run to {settings.uri}"))
        return _log(MlflowClient(tracking_uri=settings.uri), stored, settings, emit)
    except (MlflowException, RequestException) as error:
        again = f"`{_command(stored, settings)}` logs the run later"
        raise StepError("logging", f"{settings.uri} {reason_of(error)}; {again}") from error


def _command(stored: ReportedRun, settings: MlflowConfig) -> str:
    """The command that logs the run, with what its own configuration does not say."""
    command, own = ["prunebench", "mlflow", str(stored.folder)], stored.config.mlflow
    if own is None or settings.uri != own.uri:
        command += ["--uri", settings.uri]
    if settings.experiment != (own or MlflowConfig(uri=settings.uri)).experiment:
        command += ["--experiment", settings.experiment]
    if settings.models != (own is not None and own.models):
        command.append("--models" if settings.models else "--no-models")
    return shlex.join(command)


def reason_of(error: BaseException, refused: str = "did not take the run") -> str:
    """What became of a request: no answer, or ``refused`` and what the server says."""
    from requests.exceptions import ConnectionError, Timeout

    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ConnectionError | Timeout):
            return "does not answer"
        cause = cause.__context__
    return f"{refused} ({str(error).splitlines()[0].rstrip('.')})"


def _log(client: MlflowClient, stored: ReportedRun, settings: MlflowConfig, emit: Emit) -> Logged:
    known = client.get_experiment_by_name(settings.experiment)
    number = known.experiment_id if known else client.create_experiment(settings.experiment)
    page = f"{settings.uri}/#/experiments/{number}/runs"
    name = stored.folder.name
    earlier = client.search_runs([number], f"tags.`{RUN_TAG}` = '{name}'")
    for one in earlier:
        if PARENT_TAG not in one.data.tags and one.info.status == FINISHED:
            return Logged(id=one.info.run_id, url=f"{page}/{one.info.run_id}", new=False)
    for half in earlier:
        client.delete_run(half.info.run_id)
    parent = client.create_run(number, tags={RUN_TAG: name}, run_name=name).info.run_id
    _write(client, parent, _settings_of(stored), (), _answer_of(stored))
    there = [file for file in FILES if (stored.folder / file).is_file()]
    # Devices are asked once the run is logged.
    if missing := {*FILES, *stored.missing} - {*there, DEVICES_FILE}:
        emit(Stage(what=f"logged without what is missing: {', '.join(sorted(missing))}"))
    for file in there:
        client.log_artifact(parent, str(stored.folder / file))
    for done, variant in enumerate(stored.variants, start=1):
        tags = {RUN_TAG: name, PARENT_TAG: parent}
        nested = client.create_run(number, tags=tags, run_name=variant.name).info.run_id
        points = [*_figures_of(stored, variant), *_curves_of(stored, variant)]
        _write(client, nested, _parameters_of(variant), points, _fate_of(variant))
        if settings.models and variant.exported is not None:
            client.log_artifact(nested, str(stored.folder / variant.exported.onnx.path))
        client.set_terminated(nested, FINISHED if variant.failure is None else "FAILED")
        emit(Progress(done=done, total=len(stored.variants), unit="logged variant"))
    client.set_terminated(parent, FINISHED)
    return Logged(id=parent, url=f"{page}/{parent}", new=True)


def _write(
    client: MlflowClient,
    run_id: str,
    parameters: Mapping[str, Any],
    points: Sequence[MetricValue],
    tags: Mapping[str, str],
) -> None:
    from mlflow.entities import Metric, Param, RunTag

    now = int(time.time() * 1000)
    params = [Param(key, str(value)) for key, value in parameters.items() if value is not None]
    metrics = [Metric(n, value, now, step) for n, value, step in points if math.isfinite(value)]
    notes = [RunTag(key, value) for key, value in tags.items()]
    for start in range(0, max(len(params), len(metrics), len(notes)), BATCH):
        part = slice(start, start + BATCH)
        client.log_batch(run_id, metrics[part], params[part], notes[part])


def _settings_of(stored: ReportedRun) -> dict[str, Any]:
    """Every key of the configuration, and the versions the run was made with."""
    environment = dict(stored.environment)
    versions = environment.pop("versions", {})
    host = stored.latency.fingerprint
    return {
        **dict(_flat(stored.config.model_dump(mode="json"))),
        **{f"environment.{key}": value for key, value in environment.items()},
        **{f"version.{name}": value for name, value in versions.items()},
        "host.cpu": host.cpu,
        "host.logical_cores": host.logical_cores,
    }


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _answer_of(stored: ReportedRun) -> dict[str, str]:
    """What to ship, as the run's description and as tags one can search by."""
    advice, m = stored.ranking.advice, Messages(metric=stored.ranking.metric)
    return {NOTE_TAG: "\n\n".join(tell(one, stored.ranking, m) for one in advice)} | {
        f"ship.{one.use}": one.recommended or "none" for one in advice
    }


def _parameters_of(variant: VariantRecord) -> dict[str, Any]:
    found: dict[str, Any] = {"parent": variant.parent, "steps": ", ".join(variant.steps)}
    if variant.audit is not None:
        structure = variant.audit.structure
        found |= {
            "verdict": variant.audit.verdict,
            "parameters": structure.parameters,
            "parameters_fused": structure.parameters_fused,
            "macs": structure.macs,
        }
    if variant.training is not None:
        found |= {"strategy": variant.training.strategy, "round": variant.training.round}
    if variant.trainings:
        found |= {"trainings": len(variant.trainings), "shipped_seed": variant.shipped}
    if variant.exported is not None:
        found |= {
            "imgsz": "x".join(map(str, variant.exported.imgsz)),
            "onnx_sha256": variant.exported.onnx.sha256,
        }
    return found


def _figures_of(stored: ReportedRun, variant: VariantRecord) -> Iterator[MetricValue]:
    """Accuracy and size once, what depends on the number of threads for each of them."""
    if variant.accuracy is not None:
        yield "map50_95", variant.accuracy.map50_95, 0
    if variant.training is not None:
        yield "training_minutes", variant.training.minutes, 0
    for index, ranking in enumerate(stored.outcome.rankings):
        for row in ranking.rows:
            if row.name != variant.name:
                continue
            if index == 0:
                yield "size_mb", row.size_mb, 0
                yield from _with_interval("map50", row.map50)
            by_threads = f"threads_{ranking.threads}"
            yield f"{by_threads}/rank", row.rank, 0
            yield f"{by_threads}/rounds", row.rounds, 0
            for name in ("latency_ms", "fps", "cpu_ms", "efficiency", "times_baseline"):
                if (interval := getattr(row, name)) is not None:
                    yield from _with_interval(f"{by_threads}/{name}", interval)


def _with_interval(name: str, interval: Interval) -> list[MetricValue]:
    low, high = (f"{name}_low", interval.low, 0), (f"{name}_high", interval.high, 0)
    return [(name, interval.estimate, 0), low, high]


def _curves_of(stored: ReportedRun, variant: VariantRecord) -> Iterator[MetricValue]:
    for column, values in stored.curves.get(variant.name, {}).items():
        if column not in ("epoch", "time"):
            name = NOT_IN_NAMES.sub("", column)
            yield from ((name, value, epoch) for epoch, value in enumerate(values, start=1))


def _fate_of(variant: VariantRecord) -> dict[str, str]:
    if variant.failure is not None:
        return {NOTE_TAG: f"Failed at {variant.failure.step}: {variant.failure.reason}"}
    if variant.not_trained is not None:
        return {NOTE_TAG: f"Not trained: {tell_judgement(variant.not_trained, Messages())}"}
    return {} if variant.audit is None else {NOTE_TAG: tell_variant(variant, Messages())}
