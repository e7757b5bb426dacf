"""What `prunebench deploy` reads: the files of a deployments folder, validated."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar
from zoneinfo import ZoneInfo

import yaml
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule
from prefect.events.schemas.automations import EventTrigger
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from prunebench.common.errors import ConfigError

PREFECT_FILE = "prefect.yaml"
OPERATIONS_FILE = "operations.yaml"


class Part(BaseModel):
    """Base of every part of the files: unknown keys are an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _unique(parts: list[Any]) -> list[Any]:
    names = [getattr(part, "slug", None) or part.name for part in parts]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"{twice} is listed twice")
    return parts


P = TypeVar("P", bound=Part)
Unique = Annotated[list[P], AfterValidator(_unique)]
"""Parts of different names."""


class ScheduleSpec(Part):
    """When a deployment runs: by ``cron``, or every ``interval`` from ``anchor_date`` on.

    The slug names the schedule, so that it can be changed without becoming a second one.
    """

    slug: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    timezone: ZoneInfo
    cron: str | None = None
    interval: timedelta | None = Field(None, gt=timedelta(0))
    anchor_date: datetime | None = None
    parameters: dict[str, Any] = {}

    @model_validator(mode="after")
    def _one_kind(self) -> ScheduleSpec:
        if (self.cron is None) == (self.interval is None):
            raise ValueError(f"the schedule {self.slug} needs either cron or interval")
        if (self.interval is None) != (self.anchor_date is None):
            # Without a fixed anchor every `deploy` would move the schedule.
            raise ValueError(f"the schedule {self.slug} needs interval and anchor_date together")
        self.schedule()
        return self

    def schedule(self) -> CronSchedule | IntervalSchedule:
        """The schedule as Prefect takes it."""
        zone = self.timezone.key
        if self.cron is not None:
            return CronSchedule(cron=self.cron, timezone=zone)
        return IntervalSchedule(interval=self.interval, anchor_date=self.anchor_date, timezone=zone)


class ConcurrencySpec(Part):
    """How many runs of a deployment there may be, and what happens to one more."""

    limit: int = Field(1, ge=1)
    collision_strategy: Literal["ENQUEUE", "CANCEL_NEW"] = "ENQUEUE"


class PoolOf(Part):
    """The work pool, and where it has several queues the queue, of a deployment."""

    name: str
    work_queue_name: str | None = None


class DeploymentSpec(Part):
    """A deployment, in the format of Prefect's own ``prefect.yaml``."""

    name: str
    entrypoint: str = Field(pattern=r"^[\w/]+\.py:\w+$")
    description: str
    tags: list[str] = []
    concurrency_limit: ConcurrencySpec
    parameters: dict[str, Any] = {}
    schedules: Unique[ScheduleSpec] = []
    work_pool: PoolOf

    @model_validator(mode="after")
    def _overlaps_are_refused(self) -> DeploymentSpec:
        if self.schedules and self.concurrency_limit.collision_strategy == "ENQUEUE":
            raise ValueError(
                f"{self.name} has a schedule, so collision_strategy must be CANCEL_NEW: "
                "missed and overlapping runs would pile up"
            )
        return self


class PrefectFile(Part):
    """``prefect.yaml``, as far as it is used here; ``prefect deploy`` reads it too."""

    name: str
    prefect_version: str = Field(alias="prefect-version")
    deployments: Unique[DeploymentSpec]


class WorkPoolSpec(Part):
    """A work pool; ``base_job_template`` says what a run may choose for itself."""

    name: str
    type: str
    description: str
    base_job_template: dict[str, Any]


class LimitSpec(Part):
    """A global concurrency limit."""

    name: str
    limit: int = Field(ge=1)


class RunDeploymentSpec(Part):
    """The action that runs a deployment, which is named ``flow/deployment``."""

    type: Literal["run-deployment"]
    deployment: str = Field(pattern=r"^[^/]+/[^/]+$")
    parameters: dict[str, Any] = {}


class ChangeStateSpec(Part):
    """The action that puts the flow run of the event into another state."""

    type: Literal["change-flow-run-state"]
    state: StateType
    message: str


class AutomationSpec(Part):
    """What is done when an event is seen, or is not seen in time."""

    name: str
    description: str
    trigger: EventTrigger
    actions: list[Annotated[RunDeploymentSpec | ChangeStateSpec, Field(discriminator="type")]] = (
        Field(min_length=1)
    )


class OperationsFile(Part):
    """``operations.yaml``."""

    work_pools: Unique[WorkPoolSpec]
    global_concurrency_limits: Unique[LimitSpec]
    automations: Unique[AutomationSpec]


class Operations(OperationsFile):
    """Everything a deployments folder asks for; entrypoints are relative to ``root``."""

    root: Path
    deployments: list[DeploymentSpec]


def read_operations(folder: Path) -> Operations:
    """Read the files of a deployments folder; ``ConfigError`` where a key or value is wrong."""
    prefect = _read(folder / PREFECT_FILE, PrefectFile)
    operations = _read(folder / OPERATIONS_FILE, OperationsFile)
    pools = {pool.name for pool in operations.work_pools}
    for deployment in prefect.deployments:
        if deployment.work_pool.name not in pools:
            raise ConfigError(
                f"{deployment.name} runs in the work pool {deployment.work_pool.name}, "
                f"which {OPERATIONS_FILE} does not list",
                where=folder / PREFECT_FILE,
                fix=f"add it, or choose among {', '.join(sorted(pools))}",
            )
    root = folder.resolve().parent
    return Operations(root=root, deployments=prefect.deployments, **dict(operations))


def _read(path: Path, model: type[P]) -> P:
    try:
        return model.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        fix = "run it where deployments/ lies"
        raise ConfigError("there is no such file", where=path, fix=fix) from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        first_line = str(error).splitlines()[0]
        raise ConfigError(f"it cannot be read as YAML ({first_line})", where=path) from error
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "the file"
        message = first["msg"].removeprefix("Value error, ")
        raise ConfigError(f"{key}: {message}", where=path, fix="correct the value") from error
