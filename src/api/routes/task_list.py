"""The list of tasks over HTTP: filters in the query, a page at a time."""

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Query

from api.answers import ListedTask, Page
from api.documents import problems
from api.guards import GuardedRoute, require
from records.task_records import TaskState
from services.access import Caller
from services.task_filters import LONGEST_NAME, LONGEST_TEXT, MOST_TAGS, filter_of
from services.task_queries import MOST, find_tasks

STATES = [state.value for state in TaskState]
LONGEST_CURSOR = 2_000

Name = Annotated[str | None, Query(min_length=1, max_length=LONGEST_NAME)]
Moment = Annotated[str | None, Query(max_length=40, description="ISO 8601 with an offset.")]
Text = Annotated[str | None, Query(min_length=1, max_length=LONGEST_TEXT)]

router = APIRouter(
    prefix="/api/v1/tasks",
    tags=["tasks"],
    route_class=GuardedRoute,
    responses=problems(HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.UNPROCESSABLE_ENTITY),
)


@router.get("", operation_id="list_tasks", response_model=Page[ListedTask], response_model_exclude_unset=True)
def tasks(  # noqa: PLR0913, PLR0917 - one per filter
    caller: Annotated[Caller, require("read", tenants=True)],
    state: Annotated[
        list[str] | None, Query(max_length=len(STATES), description=f"One of these: {', '.join(STATES)}.")
    ] = None,
    category: Annotated[Name, Query(description="Of this category.")] = None,
    name: Annotated[Name, Query(description="Of this name.")] = None,
    queue: Annotated[Name, Query(description="In this queue.")] = None,
    tenant: Annotated[Name, Query(description="On this one's behalf.")] = None,
    tag: Annotated[list[str] | None, Query(max_length=MOST_TAGS, description="All of these.")] = None,
    worker: Annotated[Name, Query(description="That this one runs, or ran last.")] = None,
    parent: Annotated[Name, Query(description="Members of this task.")] = None,
    created_from: Moment = None,
    created_before: Moment = None,
    finished_from: Moment = None,
    finished_before: Moment = None,
    error_type: Annotated[Name, Query(description="With an error of this class.")] = None,
    fingerprint: Annotated[Name, Query(description="With an error like that.")] = None,
    text: Annotated[Text, Query(description="Words, all of which are in name, arguments, result or error.")] = None,
    part: Annotated[Text, Query(description="A text in one of those; of the newest 100 000 tasks alone.")] = None,
    cursor: Annotated[
        str | None, Query(max_length=LONGEST_CURSOR, description="`next_cursor` of the page before.")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=MOST, description="At most so many.")] = 50,
    whole: Annotated[bool, Query(description="With arguments, result and traceback.")] = False,  # noqa: FBT002 - the query's
) -> Any:
    """List tasks, the newest first; `next_cursor` leads to the next page, and is null on the last one."""
    asked = filter_of(
        state=state,
        category=category,
        name=name,
        queue=queue,
        tenant=tenant,
        tag=tag,
        worker=worker,
        parent=parent,
        created_from=created_from,
        created_before=created_before,
        finished_from=finished_from,
        finished_before=finished_before,
        error_type=error_type,
        fingerprint=fingerprint,
        text=text,
        part=part,
    )
    return find_tasks(asked, cursor, limit, wall=caller.tenant, whole=whole)
