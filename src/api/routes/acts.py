"""Acts on many tasks over HTTP: counted, confirmed by the count, and undone within 10 s."""

from http import HTTPStatus
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Response
from pydantic import BaseModel, ConfigDict, Field

from api.answers import LATER, TASK
from api.documents import problems
from api.guards import GuardedRoute, require
from api.idempotency import TWICE_IS_ONCE, OnceWith
from api.routes.tasks import PREFIX, Changed
from records.task_records import LONGEST_ID
from services import task_acts
from services.access import Caller
from services.task_filters import filter_of

Operator = Annotated[Caller, require("operate", tenants=True)]

router = APIRouter(prefix="/api/v1/acts", tags=["tasks"], route_class=GuardedRoute)


class Meant(BaseModel):
    """What is to be done to which tasks."""

    model_config = ConfigDict(extra="forbid", strict=True)

    act: Literal["cancel", "replay"] = Field(
        description="`replay` submits failed tasks again, as new ones.", examples=["replay"]
    )
    filter: dict[str, Any] = Field(
        description="What the list of tasks takes, by the same names.",
        examples=[{"category": "email", "state": ["FAILURE"], "error_type": "ConnectionError"}],
    )


class ConfirmedAct(Meant):
    """The same, with the number of tasks that was told and is meant."""

    count: int = Field(ge=0, description="The count that was told; more than that are not touched.", examples=[37])


class Counted(BaseModel):
    """How many tasks an act would change."""

    count: int = Field(description=f"At most {task_acts.MOST + 1}.", examples=[37])
    too_many: bool = Field(description=f"More than {task_acts.MOST}: narrow the filter.", examples=[False])


class Begun(BaseModel):
    """An act that begins soon."""

    task_id: str = Field(
        description="The task that does it; its result lists what was changed and what was not.", examples=[TASK]
    )
    count: int = Field(description="How many tasks are like that now.", examples=[37])
    undo_until: str = Field(description="Until then nothing has begun, and it can be undone.", examples=[LATER])


@router.post("/count", operation_id="count_act", openapi_extra=TWICE_IS_ONCE)
def count(meant: Meant, caller: Operator) -> Counted:
    """Count the tasks that an act would change now."""
    found = task_acts.count_of(meant.act, filter_of(**meant.filter), caller.tenant)
    return Counted(count=found, too_many=found > task_acts.MOST)


@router.post("", operation_id="begin_act", status_code=HTTPStatus.ACCEPTED, responses=problems(HTTPStatus.CONFLICT))
def begin(meant: ConfirmedAct, caller: Operator, response: Response, idempotency_key: OnceWith = None) -> Begun:
    """Cancel all these tasks, or submit them again, 10 s from now; a 409 where there are more than were confirmed."""
    begun = Begun(**task_acts.begin(caller, meant.act, filter_of(**meant.filter), meant.count, idempotency_key))
    response.headers["Location"] = f"{PREFIX}/{begun.task_id}"
    return begun


@router.post("/{task_id}/undo", operation_id="undo_act", openapi_extra=TWICE_IS_ONCE)
def undo(
    task_id: Annotated[str, Path(min_length=1, max_length=LONGEST_ID, description="The act's task.")], caller: Operator
) -> Changed:
    """Take an act back that has not begun."""
    return Changed(changed=task_acts.undo(caller, task_id))
