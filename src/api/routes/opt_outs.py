"""Numbers that are not called any more, over HTTP."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from api.answers import Items, OptedOut
from api.guards import GuardedRoute, require
from api.idempotency import TWICE_IS_ONCE
from api.routes.tasks import Changed
from services.access import Caller
from services.audit import record_act
from services.celery_service import celery_service

Number = Annotated[str, Path(max_length=32, description="In E.164, such as `+491701234567`.")]
Reader = Annotated[Caller, require("operate")]
Operator = Annotated[Caller, require("operate")]

router = APIRouter(prefix="/api/v1/opt-outs", tags=["calls"], route_class=GuardedRoute)


class OptOut(BaseModel):
    """A number that is not to be called any more."""

    model_config = ConfigDict(extra="forbid", strict=True)

    phone_number: str = Field(description="In E.164, such as `+491701234567`.", examples=["+491701234567"])
    reason: str = Field("", description="Why, in a few words.", examples=["asked by mail"])


@router.get("", operation_id="get_opt_outs", response_model=Items[OptedOut])
def opt_outs(
    _caller: Reader,
    limit: Annotated[int, Query(ge=1, le=1_000, description="At most so many.")] = 100,
    after: Annotated[str | None, Query(max_length=32, description="The last number of the page before.")] = None,
) -> Any:
    """List the numbers that are not called any more, in their order, each one whole."""
    return {"items": celery_service.get_opt_outs(limit, after)}


@router.post("", operation_id="add_opt_out", openapi_extra=TWICE_IS_ONCE)
def add(wanted: OptOut, caller: Operator) -> Changed:
    """Call a number no more, from now on, what waits for it in any campaign included."""
    changed = celery_service.add_opt_out(wanted.phone_number, wanted.reason)
    if changed:
        record_act(caller, "opt_out.add", target=("number", wanted.phone_number))
    return Changed(changed=changed)


@router.delete("/{phone_number}", operation_id="remove_opt_out")
def remove(phone_number: Number, caller: Operator) -> Changed:
    """Let a number be called again."""
    changed = celery_service.remove_opt_out(phone_number)
    if changed:
        record_act(caller, "opt_out.remove", target=("number", phone_number))
    return Changed(changed=changed)
