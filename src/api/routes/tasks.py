"""Tasks over HTTP: where each stands, waiting for it, what it logged, and steering it."""

import json
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager
from http import HTTPStatus
from time import monotonic
from typing import Annotated, Any, cast

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.exceptions import HTTPException
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from api.answers import TASK, ActiveTask, Delivery, FailedTask, Items, Killed, LogLine, TaskStatus, WholeTask
from api.documents import Accepted, problems
from api.guards import Door, GuardedRoute, require
from api.idempotency import TWICE_IS_ONCE
from processors.emails import DELIVERY_STATES
from processors.interfaces import DeliveryState
from processors.redaction import redact
from records.task_records import LONGEST_ID
from services import acts
from services.access import Caller
from services.celery_service import celery_service
from services.own_tasks import is_ours
from web.downloads import Pieces
from web.event_streams import MEDIA_TYPE, STILL_THERE, EventStream, event
from web.task_answers import is_final, shown_status, whole_task
from web.watching import Watch, Watching

LONGEST_WAIT_SECONDS = 60.0
LOOK_SECONDS = 5.0
"""So often the key of one who waits is looked at again."""

LOOKS_OF_A_QUIET_STREAM = 3
"""After so many looks a stream without a change says that it is there."""

PREFIX = "/api/v1/tasks"
LINES = "application/x-ndjson"
VECTORS = {"schema": {"type": "string"}, "example": '{"index": 0, "vector": [0.5, 1.0]}\n'}
EVENTS = {"example": f'event: status\ndata: {{"task_id": "{TASK}", "status": "PROGRESS"}}\n\n'}
LONGEST_PLACE = 330

TaskId = Annotated[str, Path(min_length=1, max_length=LONGEST_ID, description="The id that a submit returned.")]
Reader = Annotated[Caller, require("read", tenants=True)]
Everything = Annotated[Caller, require("read")]

Operator = Annotated[Caller, require("operate", tenants=True)]

MISSING = problems(HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY)

router = APIRouter(prefix=PREFIX, tags=["tasks"], route_class=GuardedRoute, responses=MISSING)


class Changed(BaseModel):
    """Whether something was changed."""

    changed: bool = Field(description="False where there was nothing left to change.", examples=[True])


class Arguments(BaseModel):
    """What stands in place of a task's own arguments."""

    model_config = ConfigDict(
        extra="forbid", strict=True, json_schema_extra={"examples": [{"arguments": {"subject": "Welcome back!"}}]}
    )

    arguments: dict[str, Any] | None = Field(
        None, description="By name; the others stay, and so does what is given masked, as it is shown."
    )


class Unfinished(BaseModel):
    """What killing all would come to."""

    count: int = Field(description="The tasks that run, wait, or are due later.", examples=[12])


class Confirmed(BaseModel):
    """How many tasks are meant."""

    model_config = ConfigDict(extra="forbid", strict=True)

    count: int = Field(
        ge=0, description="The count that was told; where there are more by then, it is a 409.", examples=[12]
    )


class States(BaseModel):
    """Which mails of a bulk are sent again."""

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra={"examples": [{"states": ["refused"]}]})

    states: list[str] | None = Field(None, description="Of those that nobody got; without it all but those in doubt.")


@router.get("/active", operation_id="get_active_tasks", response_model=Items[ActiveTask])
def active(_caller: Everything) -> Any:
    """List what runs, is reserved or waits in a queue, the oldest first."""
    return {"items": redact(celery_service.get_active_tasks())}


@router.get("/failed", operation_id="get_failed_tasks", response_model=Items[FailedTask])
def failed(
    _caller: Everything,
    task_types: Annotated[list[str] | None, Query(max_length=100, description="Of these categories alone.")] = None,
    max_age_hours: Annotated[float, Query(gt=0, le=880_000, description="Since they failed, at most.")] = 24,
    error_type: Annotated[str | None, Query(max_length=255, description="Of those with this error alone.")] = None,
    search: Annotated[str | None, Query(max_length=1_000, description="In name, error or arguments.")] = None,
    limit: Annotated[int, Query(ge=1, le=1_000, description="At most so many.")] = 100,
    after: Annotated[str | None, Query(max_length=LONGEST_ID, description="The last one of the page before.")] = None,
) -> Any:
    """List the tasks that failed, the newest failure first, each told whole."""
    return {
        "items": redact(celery_service.get_failed_tasks(task_types, max_age_hours, error_type, search, limit, after))
    }


@router.post("/kill-all/count", operation_id="count_all_tasks", openapi_extra=TWICE_IS_ONCE)
def count_all(_caller: Annotated[Caller, require("admin")]) -> Unfinished:
    """Count the tasks that killing all would cancel now."""
    return Unfinished(count=acts.count_all())


@router.post("/kill-all", operation_id="kill_all_tasks", response_model=Killed, responses=problems(HTTPStatus.CONFLICT))
def kill_all(caller: Annotated[Caller, require("admin")], body: Confirmed) -> Any:
    """Cancel all that runs and waits; schedules stay. A 409 where there are more than were confirmed."""
    return acts.kill_all(caller, body.count)


@router.get("/{task_id}", operation_id="get_task_status", response_model=TaskStatus)
async def task(
    task_id: TaskId,
    caller: Reader,
    request: Request,
    wait: Annotated[float, Query(ge=0, le=LONGEST_WAIT_SECONDS, description="Seconds to wait for its end.")] = 0,
) -> Any:
    """Return where a task stands, at once or, with `wait`, as soon as it has ended."""
    status = await run_in_threadpool(shown_status, task_id, caller)
    if not wait or is_final(status):
        return status
    until = monotonic() + wait
    async with _watching(request, task_id, caller) as watch:
        while not is_final(status) and (left := until - monotonic()) > 0:
            changed = await watch.change(min(left, LOOK_SECONDS))
            await _check_still(request, caller)
            if changed:
                status = await run_in_threadpool(shown_status, task_id, caller)
    return status if is_final(status) else await run_in_threadpool(shown_status, task_id, caller)


@router.get("/{task_id}/whole", operation_id="get_task", response_model=WholeTask)
def whole(task_id: TaskId, caller: Reader) -> Any:
    """Return where a task stands, what it was given and how its attempts went; `replay` takes what it was given."""
    return whole_task(task_id, caller)


@router.get(
    "/{task_id}/events",
    operation_id="watch_task",
    response_class=Response,
    responses={200: {"content": {MEDIA_TYPE: EVENTS}, "description": "Events until its end."}},
)
async def events(task_id: TaskId, caller: Reader, request: Request) -> Response:
    """Stream where a task stands, at once and at each change, as server-sent events named `status`, until its end."""
    await run_in_threadpool(shown_status, task_id, caller)
    return EventStream(_statuses(request, task_id, caller))


@router.get("/{task_id}/logs", operation_id="get_task_logs", response_model=Items[LogLine])
def logs(
    task_id: TaskId,
    caller: Reader,
    search: Annotated[str | None, Query(max_length=1_000, description="Of those lines alone that have this.")] = None,
    level: Annotated[str | None, Query(max_length=10, description="Of this level alone or a higher one.")] = None,
    limit: Annotated[int, Query(ge=1, le=20_000, description="At most so many, the last ones.")] = 1_000,
) -> Any:
    """Return the last lines that a task logged, in their order."""
    shown_status(task_id, caller)
    return {"items": celery_service.get_task_logs(task_id, search, level, limit)}


@router.get("/{task_id}/deliveries", operation_id="get_deliveries", response_model=Items[Delivery])
def deliveries(
    task_id: TaskId,
    caller: Reader,
    states: Annotated[
        list[DeliveryState] | None, Query(max_length=len(DELIVERY_STATES), description="In these states alone.")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=1_000, description="At most so many.")] = 100,
    after: Annotated[
        str | None, Query(max_length=LONGEST_PLACE, description="The `id` of the last one of the page before.")
    ] = None,
) -> Any:
    """List what became of a task's mails, recipient by recipient."""
    shown_status(task_id, caller)
    return {"items": celery_service.get_deliveries(task_id, cast("list[str] | None", states), limit, after)}


@router.get(
    "/{task_id}/vectors",
    operation_id="get_vectors",
    response_class=Pieces,
    responses={
        200: {"content": {LINES: VECTORS}, "description": "A vector on each line."},
        **problems(HTTPStatus.CONFLICT),
    },
)
def vectors(task_id: TaskId, caller: Reader) -> Pieces:
    """Return the vectors that a task made, a line of JSON each: `index` of its text, and `vector`."""
    shown_status(task_id, caller)
    found = celery_service.get_vectors(task_id)
    return Pieces(
        (json.dumps({"index": index, "vector": vector.tolist()}) + "\n" for index, vector in found), media_type=LINES
    )


@router.post("/{task_id}/cancel", operation_id="cancel_task", openapi_extra=TWICE_IS_ONCE)
def cancel(task_id: TaskId, caller: Operator) -> Changed:
    """Cancel a task, and all tasks of it, for good."""
    return Changed(changed=acts.cancel_task(caller, task_id))


@router.post("/{task_id}/pause", operation_id="pause_task", openapi_extra=TWICE_IS_ONCE)
def pause(task_id: TaskId, caller: Operator) -> Changed:
    """Pause a bulk: none of its parts starts."""
    return Changed(changed=acts.pause_task(caller, task_id))


@router.post("/{task_id}/resume", operation_id="resume_task", openapi_extra=TWICE_IS_ONCE)
def resume(task_id: TaskId, caller: Operator) -> Changed:
    """Let a paused bulk go on."""
    return Changed(changed=acts.resume_task(caller, task_id))


@router.post("/{task_id}/replay", operation_id="replay_task", openapi_extra=TWICE_IS_ONCE, status_code=202)
def replay(task_id: TaskId, caller: Operator, response: Response, body: Arguments | None = None) -> Accepted:
    """Submit a failed task again, as a new one, with other arguments where they are given; twice is once."""
    arguments = body.arguments if body else None
    if arguments and caller.tenant is not None and is_ours(shown_status(task_id, caller)["name"]):
        # they could name what is another tenant's, which the methods' own routes refuse
        raise HTTPException(
            HTTPStatus.FORBIDDEN,
            "With a tenant's key, tasks of the service are replayed with their own arguments alone; see /submit/….",
        )
    return _accepted(acts.replay_task(caller, task_id, arguments), response)


@router.post("/{task_id}/resend", operation_id="resend_failed", openapi_extra=TWICE_IS_ONCE, status_code=202)
def resend(task_id: TaskId, caller: Operator, response: Response, body: States | None = None) -> Accepted:
    """Send the mails of an ended bulk again that nobody got, as a new bulk; twice is once."""
    return _accepted(acts.resend_failed(caller, task_id, body.states if body else None), response)


async def _statuses(request: Request, task_id: str, caller: Caller) -> AsyncGenerator[bytes]:
    """Return an event for each change; none any more to one whose key is good no more."""
    quiet = 0
    async with _watching(request, task_id, caller) as watch:
        told = await run_in_threadpool(shown_status, task_id, caller)
        yield event("status", told)
        while not is_final(told):
            changed = await watch.change(LOOK_SECONDS)
            try:
                await _check_still(request, caller)
            except HTTPException:
                return
            if not changed:
                quiet += 1
                if quiet % LOOKS_OF_A_QUIET_STREAM == 0:
                    yield STILL_THERE
            elif (status := await run_in_threadpool(shown_status, task_id, caller)) != told:
                told = status
                yield event("status", told)


def _watching(request: Request, task_id: str, caller: Caller) -> AbstractAsyncContextManager[Watch]:
    watching: Watching = request.app.state.watching
    return watching.watch(task_id, caller.counted_as)


async def _check_still(request: Request, caller: Caller) -> None:
    door: Door = request.app.state.door
    await door.check_still(request, caller)


def _accepted(task_id: str, response: Response) -> Accepted:
    response.headers["Location"] = f"{PREFIX}/{task_id}"
    return Accepted(task_id=task_id)
