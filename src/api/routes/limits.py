"""Limits over HTTP: how many tasks may start and run."""

from typing import Annotated, Any

from fastapi import APIRouter, Path
from pydantic import BaseModel, ConfigDict, Field

from api.answers import Items, Limit
from api.guards import GuardedRoute, require
from services import acts
from services.access import Caller
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
    return acts.set_limit(caller, scope, wanted.rate, wanted.concurrency)


@router.delete("/{scope}", operation_id="clear_limit", response_model=Limit)
def clear(scope: Scope, caller: Operator) -> Any:
    """Forget what was set for a scope; answers with what is in force then, its default."""
    return acts.clear_limit(caller, scope)
