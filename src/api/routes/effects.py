"""Effects of which nobody knows whether they happened, over HTTP."""

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Path
from pydantic import BaseModel, ConfigDict, Field

from api.answers import Doubt, Items
from api.guards import GuardedRoute, require
from services.access import Caller
from services.audit import record_act
from services.celery_service import celery_service

Key = Annotated[str, Path(max_length=1_000, description="The effect's key, as the list names it.")]
Reader = Annotated[Caller, require("read")]
Operator = Annotated[Caller, require("operate")]

router = APIRouter(prefix="/api/v1/effects", tags=["effects"], route_class=GuardedRoute)


class Settlement(BaseModel):
    """What was found out."""

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra={"examples": [{"absent": True}]})

    absent: bool = Field(default=False, description="It did not happen.")
    outcome: Any = Field(None, description="What came of it, where it happened.")


@router.get("", operation_id="get_effects_in_doubt", response_model=Items[Doubt])
def effects(_caller: Reader) -> Any:
    """List the effects and mails of which it is not known whether they happened."""
    return {"items": celery_service.get_effects_in_doubt()}


@router.post("/{key:path}/settle", operation_id="settle_effect", status_code=HTTPStatus.NO_CONTENT)
def settle(key: Key, wanted: Settlement, caller: Operator) -> None:
    """Say what became of an effect in doubt: that it did not happen, or what came of it."""
    outcome = {"outcome": wanted.outcome} if "outcome" in wanted.model_fields_set else {}
    celery_service.settle_effect(key, absent=wanted.absent, **outcome)
    record_act(caller, "effect.settle", target=("effect", key), details=wanted.model_dump(include={"absent"}))
