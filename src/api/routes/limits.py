"""Limits over HTTP: how many tasks may start and run."""

from typing import Annotated, Any

from fastapi import APIRouter, Path
from pydantic import BaseModel, ConfigDict, Field

from api.answers import Items, Limit
from api.guards import GuardedRoute, require
from services.access import Caller
from services.audit import record_act
from services.celery_service import celery_service

Scope = Annotated[str, Path(max_length=300, description="Such as `queue:email`, `category:email` or `tenant:acme`.")]
Reader = Annotated[Caller, require("read")]
Operator = Annotated[Caller, require("operate")]

router = APIRouter(prefix="/api/v1/limits", tags=["limits"], route_class=GuardedRoute)


class NewLimit(BaseModel):
    """What is changed of a limit."""

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra={"examples": [{"rate": "50/m"}]})

    rate: str | None = Field(None, description="Starts per second, minute or hour, such as `50/m`, or `none`.")
    concurrency: int | str | None = Field(None, description="How many may run at once, or `none`.")


@router.get("", operation_id="get_limits", response_model=Items[Limit])
def limits(_caller: Reader) -> Any:
    """List the limits in force, with what started, runs and waits under each."""
    return {"items": celery_service.get_limits()}


@router.put("/{scope}", operation_id="set_limit", response_model=Limit)
def change(scope: Scope, wanted: NewLimit, caller: Operator) -> Any:
    """Limit starts over all workers, from the next one on; what is left out stays as it is."""
    in_force = celery_service.set_limit(scope, wanted.rate, wanted.concurrency)
    record_act(caller, "limit.set", target=("limit", scope), details=wanted.model_dump())
    return in_force


@router.delete("/{scope}", operation_id="clear_limit", response_model=Limit)
def clear(scope: Scope, caller: Operator) -> Any:
    """Forget what was set for a scope; answers with what is in force then, its default."""
    in_force = celery_service.clear_limit(scope)
    record_act(caller, "limit.clear", target=("limit", scope))
    return in_force
