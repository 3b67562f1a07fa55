"""People over HTTP: how each is reached, and their inboxes."""

from http import HTTPStatus
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query
from fastapi.exceptions import HTTPException
from pydantic import BaseModel, ConfigDict, Field

from api.answers import Inbox, KnownContact, Marked
from api.guards import GuardedRoute, require
from api.idempotency import TWICE_IS_ONCE
from api.routes.tasks import Changed
from services.access import Caller
from services.audit import record_act
from services.celery_service import celery_service

MOST_MARKED = 1_000

UserId = Annotated[str, Path(min_length=1, max_length=255, description="Your name for the person.")]
Reader = Annotated[Caller, require("read")]
Submitter = Annotated[Caller, require("submit")]
Operator = Annotated[Caller, require("operate")]

router = APIRouter(prefix="/api/v1/contacts", tags=["notifications"], route_class=GuardedRoute)


class Contact(BaseModel):
    """What is set of a person; what is left out stays, an empty text, list or object removes it."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={"examples": [{"email": "ann@example.com", "time_zone": "Europe/Berlin"}]},
    )

    email: str | None = Field(None, description="One address.")
    phone: str | None = Field(None, description="E.164, such as `+491701234567`.")
    push: list[dict[str, Any]] | None = Field(None, description="What a browser's `PushSubscription.toJSON()` says.")
    chat: list[str] | None = Field(None, description="Apprise URLs, such as `slack://…`.")
    time_zone: str | None = Field(None, description="An IANA name.")
    language: str | None = Field(None, description="A code of BCP 47.")
    quiet_hours: dict[str, str] | None = Field(None, description='`{"from": "22:00", "to": "07:00"}`.')
    preferences: dict[str, Any] | None = Field(None, description="By `channels`, `types` and `type_channels`.")


class Mark(BaseModel):
    """Which items of an inbox are marked."""

    model_config = ConfigDict(extra="forbid", strict=True)

    ids: list[int] = Field(max_length=MOST_MARKED, description="The items.", examples=[[17]])
    mark: Literal["seen", "read", "archived", "unread"] = Field(description="As what.", examples=["read"])


@router.get("/{user_id}", operation_id="get_contact", response_model=KnownContact)
def contact(user_id: UserId, _caller: Operator) -> Any:
    """Return how a person is reached, with secrets masked."""
    found = celery_service.get_contact(user_id)
    if found is None:
        raise HTTPException(HTTPStatus.NOT_FOUND, f"Nobody knows how {user_id!r} is reached; set a contact.")
    return found


@router.patch("/{user_id}", operation_id="set_contact", response_model=KnownContact)
def change(user_id: UserId, wanted: Contact, caller: Operator) -> Any:
    """Say how a person is reached, at once."""
    given = wanted.model_dump(exclude_unset=True)
    made = celery_service.set_contact(user_id, **given)
    record_act(caller, "contact.set", target=("person", user_id), details={"fields": sorted(given)})
    return made


@router.delete("/{user_id}", operation_id="delete_contact")
def remove(user_id: UserId, caller: Operator) -> Changed:
    """Remove what was set of a person."""
    changed = celery_service.delete_contact(user_id)
    if changed:
        record_act(caller, "contact.delete", target=("person", user_id))
    return Changed(changed=changed)


@router.get("/{user_id}/inbox", operation_id="get_inbox", response_model=Inbox)
def inbox(
    user_id: UserId,
    _caller: Reader,
    unread_only: Annotated[bool, Query(description="Leave out what was read.")] = False,  # noqa: FBT002 - a parameter of the query
    archived: Annotated[bool, Query(description="Those that were archived, instead of the others.")] = False,  # noqa: FBT002 - a parameter of the query
    limit: Annotated[int, Query(ge=1, le=1_000, description="At most so many.")] = 50,
    before: Annotated[int | None, Query(ge=0, description="The id of the last item of the page before.")] = None,
) -> Any:
    """Return a person's inbox, the newest first, and how many are unseen and unread in all."""
    return celery_service.get_inbox(user_id, unread_only, archived, limit, before)


@router.post("/{user_id}/inbox/mark", operation_id="mark_inbox", openapi_extra=TWICE_IS_ONCE, response_model=Marked)
def mark(user_id: UserId, wanted: Mark, caller: Submitter) -> Any:
    """Mark items of a person's inbox; answers with how many of them there are."""
    marked = celery_service.mark_inbox(user_id, wanted.ids, wanted.mark)
    if marked:
        told = {"mark": wanted.mark}
        record_act(caller, "inbox.mark", target=("person", user_id), count=marked, details=told, sure=False)
    return {"marked": marked}
