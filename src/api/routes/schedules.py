"""Schedules over HTTP: what runs again and again."""

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Path, Response
from pydantic import BaseModel, ConfigDict, Field

from api.answers import Items, Schedule
from api.documents import Accepted
from api.guards import GuardedRoute, require
from api.idempotency import TWICE_IS_ONCE, OnceWith
from services import acts
from services.access import Caller
from services.celery_app import PRIORITIES, QUEUES
from services.celery_service import celery_service

TASKS = "/api/v1/tasks"
NIGHTLY: dict[str, Any] = {
    "name": "nightly report",
    "task": "reports.build",
    "crontab": "0 3 * * *",
    "timezone": "Europe/Berlin",
    "kwargs": {"month": "2026-11"},
}

Name = Annotated[str, Path(max_length=200, description="The schedule's name.")]
Reader = Annotated[Caller, require("read")]
Operator = Annotated[Caller, require("operate")]

router = APIRouter(prefix="/api/v1/schedules", tags=["schedules"], route_class=GuardedRoute)


class ScheduleFields(BaseModel):
    """What a schedule has; what is left out is its default, or stays as it is."""

    model_config = ConfigDict(extra="forbid", strict=True)

    crontab: str | None = Field(None, description="Minute, hour, day of month, month, day of week.")
    every: float | None = Field(None, description="Seconds, 1 or more, instead of a crontab.")
    timezone: str = Field("UTC", description="The IANA name of the crontab's zone.")
    kwargs: dict[str, Any] | None = Field(None, description="The task's arguments by name.")
    args: list[Any] | None = Field(None, description="The task's positional arguments.")
    queue: str | None = Field(None, description=f"By default the task's own; one of {', '.join(QUEUES)}.")
    priority: str = Field("normal", description=f"One of {', '.join(PRIORITIES)}.")
    catch_up: str = Field("latest", description="Of fire times that were missed: `latest`, `all` or `none`.")
    tenant: str | None = Field(None, description="Whose tasks they are.")

    def given(self) -> dict[str, Any]:
        """Return what was said."""
        return self.model_dump(exclude_unset=True)


class NewSchedule(ScheduleFields):
    """A schedule to be made."""

    model_config = ConfigDict(json_schema_extra={"examples": [NIGHTLY]})

    name: str = Field(description="What it is called, up to 200 characters.")
    task: str = Field(description="The name of the task, such as `cleanup.cleanup_old_files`.")


class ChangedSchedule(ScheduleFields):
    """What is changed of a schedule."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"crontab": "30 4 * * *"}]})

    task: str | None = Field(None, description="The name of the task.")


@router.get("", operation_id="list_schedules", response_model=Items[Schedule])
def schedules(_caller: Reader) -> Any:
    """List the schedules by name; one that is paused has no `next_at`."""
    return {"items": celery_service.list_schedules()}


@router.post("", operation_id="add_schedule", response_model=Schedule, status_code=HTTPStatus.CREATED)
def add(wanted: NewSchedule, caller: Operator) -> Any:
    """Run a task again and again, from now on."""
    return acts.add_schedule(caller, wanted.given())


@router.patch("/{name}", operation_id="change_schedule", response_model=Schedule)
def change(name: Name, wanted: ChangedSchedule, caller: Operator) -> Any:
    """Change a schedule; it goes on from now on, and misses nothing anew."""
    return acts.change_schedule(caller, name, wanted.given())


@router.delete("/{name}", operation_id="remove_schedule", status_code=HTTPStatus.NO_CONTENT)
def remove(name: Name, caller: Operator) -> None:
    """Remove a schedule; its tasks that wait or run stay."""
    acts.remove_schedule(caller, name)


@router.post("/{name}/pause", operation_id="pause_schedule", openapi_extra=TWICE_IS_ONCE, response_model=Schedule)
def pause(name: Name, caller: Operator) -> Any:
    """Fire a schedule no more until it is resumed."""
    return acts.pause_schedule(caller, name)


@router.post("/{name}/resume", operation_id="resume_schedule", openapi_extra=TWICE_IS_ONCE, response_model=Schedule)
def resume(name: Name, caller: Operator) -> Any:
    """Let a paused schedule go on with its next fire time."""
    return acts.resume_schedule(caller, name)


@router.post("/{name}/run", operation_id="run_schedule_now", status_code=HTTPStatus.ACCEPTED)
def run(name: Name, caller: Operator, response: Response, idempotency_key: OnceWith = None) -> Accepted:
    """Submit the task of a schedule at once, beside its fire times, paused or not."""
    task_id = acts.run_schedule_now(caller, name, idempotency_key)
    response.headers["Location"] = f"{TASKS}/{task_id}"
    return Accepted(task_id=task_id)
