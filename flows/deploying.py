"""Bring a Prefect server to what a deployments folder asks for. Applying it twice adds nothing.

Names are identities. Only what differs is written: what was paused in the UI stays so.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal, NamedTuple, TypeVar
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import (
    DeploymentCreate,
    DeploymentScheduleCreate,
    WorkPoolCreate,
    WorkPoolUpdate,
)
from prefect.client.schemas.objects import ConcurrencyLimitStrategy, ConcurrencyOptions
from prefect.client.schemas.responses import DeploymentResponse
from prefect.events.actions import ChangeFlowRunState, RunDeployment
from prefect.events.schemas.automations import Automation, AutomationCore
from prefect.exceptions import ObjectNotFound
from prefect.flows import Flow, load_flow_from_entrypoint
from prefect.settings import PREFECT_API_URL
from prefect.utilities.callables import parameter_schema

from flows.deployment_files import (
    AutomationSpec,
    ChangeStateSpec,
    DeploymentSpec,
    LimitSpec,
    Operations,
    RunDeploymentSpec,
    WorkPoolSpec,
)
from prunebench.common.errors import ConfigError, InputError
from tasks.measuring_limit import host_label

Action = Literal["create", "update", "keep"]
T = TypeVar("T")

COMPARED = (
    "description",
    "tags",
    "parameters",
    "parameter_openapi_schema",
    "entrypoint",
    "work_pool_name",
    "pull_steps",
    "enforce_parameter_schema",
)
"""Fields of a deployment that are compared as they are; limit and schedules need more."""

NOT_YET = UUID(int=0)
"""Stands for a deployment that `--check` would create."""


class ServerChange(NamedTuple):
    """What was done, or would be, with one object of the server, and what of it differed."""

    kind: str
    name: str
    action: Action
    differs: tuple[str, ...] = ()

    def __str__(self) -> str:
        differs = f" ({', '.join(self.differs)})" if self.differs else ""
        return f"{self.action:<6}  {self.kind} {self.name}{differs}"


def deploy(operations: Operations, *, check: bool) -> list[ServerChange]:
    """Create and update what the server lacks; with ``check``, only say what would be.

    Raises:
        InputError: No server is configured, or it does not answer.
        ConfigError: A flow cannot be loaded, or an automation names an unknown deployment.
    """
    flows = {one.name: _load(operations, one) for one in operations.deployments}
    root = str(operations.root)
    with _connected() as client:
        apply = _Apply(client, check)
        return [
            *(apply.work_pool(one) for one in operations.work_pools),
            *(apply.limit(one) for one in operations.global_concurrency_limits),
            *(apply.deployment(one, flows[one.name], root) for one in operations.deployments),
            *(apply.automation(one) for one in operations.automations),
        ]


@contextlib.contextmanager
def _connected() -> Iterator[SyncPrefectClient]:
    url = PREFECT_API_URL.value()
    if not url:
        fix = "start one with `make serve`, or set the address of yours"
        raise InputError("no Prefect server is configured", where="PREFECT_API_URL", fix=fix)
    try:
        with get_client(sync_client=True) as client:
            yield client
    except httpx.TransportError as error:
        fix = "start it, or correct PREFECT_API_URL"
        raise InputError("the Prefect server does not answer", where=url, fix=fix) from error


def _load(operations: Operations, spec: DeploymentSpec) -> Flow[..., Any]:
    try:
        # An entrypoint is a path that Prefect takes as relative to the working directory.
        with contextlib.chdir(operations.root):
            return load_flow_from_entrypoint(spec.entrypoint)
    except Exception as error:  # whatever importing the file raises
        raise ConfigError(
            f"the flow {spec.entrypoint} of the deployment {spec.name} cannot be loaded "
            f"({type(error).__name__})",
            where=operations.root,
            fix="correct its entrypoint",
        ) from error


class _Apply:
    """The comparison of each kind of object, and the call that makes it alike."""

    def __init__(self, client: SyncPrefectClient, check: bool) -> None:
        self._client = client
        self._check = check
        self._deployments: dict[str, UUID] = {}

    def work_pool(self, spec: WorkPoolSpec) -> ServerChange:
        found = _found(self._client.read_work_pool, spec.name)
        if found is not None and found.type != spec.type:
            what = f"the work pool {spec.name} exists with the type {found.type}, not {spec.type}"
            raise ConfigError(what, fix="delete it, or choose another name")
        wanted = spec.model_dump(include={"description", "base_job_template"})
        differs = [key for key, value in wanted.items() if getattr(found, key, None) != value]
        change = _change("work pool", spec.name, found, differs)
        if not self._check and found is None:
            self._client.create_work_pool(WorkPoolCreate(**spec.model_dump()))
        elif not self._check and differs:
            self._client.update_work_pool(spec.name, WorkPoolUpdate(**wanted))
        return change

    def limit(self, spec: LimitSpec) -> ServerChange:
        name = spec.name.replace("{host}", host_label())
        found = _found(self._client.read_global_concurrency_limit_by_name, name)
        differs = [] if found is None or found.limit == spec.limit else ["limit"]
        change = _change("limit", name, found, differs)
        if not self._check and change.action != "keep":
            self._client.upsert_global_concurrency_limit_by_name(name, spec.limit)
        return change

    def deployment(self, spec: DeploymentSpec, flow: Flow[..., Any], root: str) -> ServerChange:
        full_name = f"{flow.name}/{spec.name}"
        found = _found(self._client.read_deployment_by_name, full_name)
        wanted = _deployment(spec, flow, root, found)
        differs = [] if found is None else _differences(found, wanted)
        change = _change("deployment", full_name, found, differs)
        self._deployments[full_name] = NOT_YET if found is None else found.id
        if not self._check and change.action != "keep":
            fields = {key: getattr(wanted, key) for key in wanted.model_fields_set}
            fields["flow_id"] = self._client.create_flow_from_name(flow.name)
            self._deployments[full_name] = self._client.create_deployment(**fields)
        return change

    def automation(self, spec: AutomationSpec) -> ServerChange:
        found = next(iter(self._client.read_automations_by_name(spec.name)), None)
        wanted = AutomationCore(
            name=spec.name,
            description=spec.description,
            enabled=True if found is None else found.enabled,
            trigger=spec.trigger,
            actions=[self._action(spec, action) for action in spec.actions],
        )
        compared = [] if found is None else ["description", "trigger", "actions"]
        differs = [key for key in compared if _plain(found, key) != _plain(wanted, key)]
        change = _change("automation", spec.name, found, differs)
        if not self._check and found is None:
            self._client.create_automation(wanted)
        elif not self._check and found is not None and differs:
            self._client.update_automation(found.id, wanted)
        return change

    def _action(
        self, spec: AutomationSpec, action: RunDeploymentSpec | ChangeStateSpec
    ) -> RunDeployment | ChangeFlowRunState:
        if isinstance(action, ChangeStateSpec):
            return ChangeFlowRunState(state=action.state, message=action.message)
        if action.deployment not in self._deployments:
            what = f"the automation {spec.name} runs the unknown deployment {action.deployment}"
            raise ConfigError(what, fix=f"choose among {', '.join(self._deployments)}")
        deployment_id = self._deployments[action.deployment]
        return RunDeployment(deployment_id=deployment_id, parameters=action.parameters)


def _found(read: Callable[[str], T], name: str) -> T | None:
    try:
        return read(name)
    except ObjectNotFound:
        return None


def _change(kind: str, name: str, found: object, differs: Iterable[str]) -> ServerChange:
    if found is None:
        return ServerChange(kind, name, "create")
    differs = tuple(differs)
    return ServerChange(kind, name, "update" if differs else "keep", differs)


def _deployment(
    spec: DeploymentSpec, flow: Flow[..., Any], root: str, found: DeploymentResponse | None
) -> DeploymentCreate:
    # A schedule that was switched off in the UI stays off.
    active = {one.slug: one.active for one in found.schedules} if found is not None else {}
    limit = spec.concurrency_limit
    return DeploymentCreate(
        name=spec.name,
        flow_id=NOT_YET,
        description=spec.description,
        tags=spec.tags,
        parameters=spec.parameters,
        parameter_openapi_schema=parameter_schema(flow).model_dump(exclude_unset=True),
        enforce_parameter_schema=True,
        entrypoint=spec.entrypoint,
        pull_steps=[{"prefect.deployments.steps.set_working_directory": {"directory": root}}],
        work_pool_name=spec.work_pool.name,
        work_queue_name=spec.work_pool.work_queue_name,
        concurrency_limit=limit.limit,
        concurrency_options=ConcurrencyOptions(
            collision_strategy=ConcurrencyLimitStrategy(limit.collision_strategy)
        ),
        schedules=[
            DeploymentScheduleCreate(
                schedule=schedule.schedule(),
                slug=schedule.slug,
                parameters=schedule.parameters,
                active=active.get(schedule.slug, True),
            )
            for schedule in spec.schedules
        ],
    )


def _differences(found: DeploymentResponse, wanted: DeploymentCreate) -> Iterator[str]:
    now, then = wanted.model_dump(mode="json"), found.model_dump(mode="json")
    yield from (key for key in COMPARED if now[key] != then[key])
    if wanted.work_queue_name and wanted.work_queue_name != found.work_queue_name:
        yield "work_queue_name"
    limit = found.global_concurrency_limit
    allowed = None if limit is None else limit.limit
    strategies = [
        one.concurrency_options and one.concurrency_options.collision_strategy
        for one in (found, wanted)
    ]
    if allowed != wanted.concurrency_limit or strategies[0] != strategies[1]:
        yield "concurrency_limit"
    schedules = [
        {one.slug: (one.schedule.model_dump(mode="json"), one.parameters) for one in owner}
        for owner in (found.schedules, wanted.schedules)
    ]
    if schedules[0] != schedules[1]:
        yield "schedules"


def _plain(automation: Automation | AutomationCore | None, key: str) -> Any:
    """A field without the identities the server adds, and sets in one order."""
    value = getattr(automation, key)
    parts = value if isinstance(value, list) else [value]
    return [one.model_dump(exclude={"id"}) if hasattr(one, "model_dump") else one for one in parts]
