"""What `prunebench deploy` reads: the files of a deployments folder, validated."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar
from zoneinfo import ZoneInfo

import yaml
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule
from prefect.events.schemas.automations import EventTrigger
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from prunebench.common.errors import ConfigError

PREFECT_FILE = "prefect.yaml"
OPERATIONS_FILE = "operations.yaml"


class Part(BaseModel):
    """Base of every part of the files: unknown keys are an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ScheduleSpec(Part):
    """When a deployment runs: by ``cron``, or every ``interval`` from ``anchor_date`` on.

    The slug names the schedule, so that it can be changed without becoming a second one.
    """

    slug: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    timezone: str
    cron: str | None = None
    interval: timedelta | None = Field(None, gt=timedelta(0))
    anchor_date: datetime | None = None
    parameters: dict[str, Any] = {}

    @field_validator("timezone")
    @classmethod
    def _known_timezone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (KeyError, ValueError, OSError):
            raise ValueError(f"there is no time zone {value}") from None
        return value

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
        if self.cron is not None:
            return CronSchedule(cron=self.cron, timezone=self.timezone)
        return IntervalSchedule(
            interval=self.interval, anchor_date=self.anchor_date, timezone=self.timezone
        )


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
    schedules: list[ScheduleSpec] = []
    work_pool: PoolOf

    @model_validator(mode="after")
    def _overlaps_are_refused(self) -> DeploymentSpec:
        _check_unique("schedule", self.schedules)
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
    deployments: list[DeploymentSpec]

    @model_validator(mode="after")
    def _unique(self) -> PrefectFile:
        _check_unique("deployment", self.deployments)
        return self


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

    work_pools: list[WorkPoolSpec]
    global_concurrency_limits: list[LimitSpec]
    automations: list[AutomationSpec]

    @model_validator(mode="after")
    def _unique(self) -> OperationsFile:
        _check_unique("work pool", self.work_pools)
        _check_unique("limit", self.global_concurrency_limits)
        _check_unique("automation", self.automations)
        return self


class Operations(OperationsFile):
    """Everything a deployments folder asks for.

    Attributes:
        root: Folder the entrypoints are relative to, and that a flow runs in.
        deployments: What ``prefect.yaml`` holds.
    """

    root: Path
    deployments: list[DeploymentSpec]


Model = TypeVar("Model", bound=Part)


def read_operations(folder: Path) -> Operations:
    """Read the files of a deployments folder; its parent is what entrypoints are relative to.

    Raises:
        ConfigError: A file cannot be read, or a key or value is wrong.
    """
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
    return Operations(
        root=folder.resolve().parent,
        deployments=prefect.deployments,
        **dict(operations),
    )


def _read(path: Path, model: type[Model]) -> Model:
    try:
        return model.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise ConfigError(
            "there is no such file", where=path, fix="run it where deployments/ lies"
        ) from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(
            f"it cannot be read as YAML ({str(error).splitlines()[0]})", where=path
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "the file"
        message = first["msg"].removeprefix("Value error, ")
        raise ConfigError(f"{key}: {message}", where=path, fix="correct the value") from error


def _check_unique(what: str, parts: Sequence[Any]) -> None:
    names = [getattr(part, "slug", None) or part.name for part in parts]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"the {what} {twice} is listed twice")
