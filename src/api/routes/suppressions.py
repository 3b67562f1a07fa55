"""Addresses that are not mailed, over HTTP."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from api.answers import Items, Suppressed
from api.guards import GuardedRoute, require
from api.idempotency import TWICE_IS_ONCE
from api.routes.tasks import Changed
from services.access import Caller
from services.audit import record_act
from services.celery_service import celery_service

Address = Annotated[str, Query(max_length=320, description="The address.")]
List = Annotated[str | None, Query(max_length=255, description="Of this list alone; left out, of all mail.")]
NEW_YEAR = "2030-01-01T00:00:00Z"

Operator = Annotated[Caller, require("operate")]

router = APIRouter(prefix="/api/v1/suppressions", tags=["mail"], route_class=GuardedRoute)


class Suppression(BaseModel):
    """An address that is not to be mailed any more."""

    model_config = ConfigDict(extra="forbid", strict=True)

    address: str = Field(description="Whom.", examples=["user@example.com"])
    reason: str = Field(
        "manual", description="`manual`, `unsubscribe`, `complaint` or `hard_bounce`.", examples=["manual"]
    )
    list_name: str | None = Field(None, description="Only mails of this list; left out, all.", examples=["news"])
    until: str | None = Field(None, description="When it ends (ISO 8601); left out, never.", examples=[NEW_YEAR])


@router.get("", operation_id="get_suppressions", response_model=Items[Suppressed])
def suppressions(
    _caller: Operator,
    address: Annotated[str | None, Query(max_length=320, description="Of this address alone.")] = None,
    list_name: List = None,
    reason: Annotated[str | None, Query(max_length=32, description="Of this reason alone.")] = None,
    limit: Annotated[int, Query(ge=1, le=1_000, description="At most so many.")] = 100,
    after: Annotated[int | None, Query(ge=0, description="The `id` of the last one of the page before.")] = None,
) -> Any:
    """List who is not mailed now, the newest first."""
    return {"items": celery_service.get_suppressions(address, limit, list_name=list_name, reason=reason, after=after)}


@router.post("", operation_id="suppress_email", openapi_extra=TWICE_IS_ONCE, response_model=Suppressed)
def add(wanted: Suppression, caller: Operator) -> Any:
    """Mail an address no more, from now on, what was submitted before included."""
    made = celery_service.suppress_email(**wanted.model_dump(exclude_unset=True))
    record_act(caller, "suppression.add", target=("address", wanted.address), details={"reason": wanted.reason})
    return made


@router.delete("", operation_id="unsuppress_email")
def remove(address: Address, caller: Operator, list_name: List = None) -> Changed:
    """Mail an address again, whatever the reason was."""
    changed = celery_service.unsuppress_email(address, list_name)
    if changed:
        record_act(caller, "suppression.remove", target=("address", address))
    return Changed(changed=changed)
