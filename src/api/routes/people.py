"""Who is known again in pictures, over HTTP; enrolling is a submit."""

from typing import Annotated, Any

from fastapi import APIRouter, Path

from api.answers import Items, Person
from api.guards import GuardedRoute, require
from api.routes.tasks import Changed
from services.access import Caller
from services.audit import record_act
from services.celery_service import celery_service

Operator = Annotated[Caller, require("operate")]

router = APIRouter(prefix="/api/v1/people", tags=["files"], route_class=GuardedRoute)


@router.get("", operation_id="list_people", response_model=Items[Person])
def people(_caller: Operator) -> Any:
    """List who is enrolled, by name, with their consent."""
    return {"items": celery_service.list_people()}


@router.delete("/{name}", operation_id="forget_person")
def forget(name: Annotated[str, Path(max_length=255, description="The person's name.")], caller: Operator) -> Changed:
    """Remove a person's encodings and consent, at once."""
    changed = celery_service.forget_person(name)
    if changed:
        record_act(caller, "person.forget", target=("person", name))
    return Changed(changed=changed)
