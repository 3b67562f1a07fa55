"""Mail over HTTP: what became of it after it went out."""

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.exceptions import HTTPException
from pydantic import BaseModel, Field

from api.answers import Items, KeptEvents, MailEvent, MailEvents
from api.bodies import body_of
from api.documents import SIGNED_PROBLEMS, problems
from api.guards import GuardedRoute, everybody, require
from api.idempotency import TWICE_IS_ONCE
from services import mail_intake
from services.access import Caller
from services.audit import record_act
from services.celery_service import celery_service

MOST_EVENT_BYTES = 5_000_000
MEDIA_TYPE = "message/rfc822"
TOLD = {
    "schema": {"anyOf": [{"type": "object"}, {"type": "array"}], "description": "As the provider sends it."},
    "example": {"RecordType": "Bounce", "Type": "HardBounce", "Email": "user@example.com"},
}
REPORT = "Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n--b\r\n…"

Provider = Annotated[str, Path(description=f"One of {', '.join(mail_intake.PROVIDERS)}.")]
Operator = Annotated[Caller, require("operate")]

router = APIRouter(prefix="/api/v1/email", tags=["mail"], route_class=GuardedRoute)


class UnsubscribeUrl(BaseModel):
    """Where somebody unsubscribes."""

    url: str = Field(description="An address of the web (RFC 8058).", examples=["https://jobs.example.com/u/…"])


@router.post(
    "/bounces",
    operation_id="receive_bounce",
    response_model=MailEvents,
    openapi_extra={
        **TWICE_IS_ONCE,
        "requestBody": {
            "required": True,
            "content": {MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}, "example": REPORT}},
        },
    },
    responses=problems(HTTPStatus.UNSUPPORTED_MEDIA_TYPE),
)
def bounce(
    request: Request,
    message: Annotated[bytes, Depends(body_of(mail_intake.MOST_REPORT_BYTES))],
    caller: Annotated[Caller, require("submit")],
) -> Any:
    """Take a mail server's report, as `receive_bounce` does."""
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given != MEDIA_TYPE:
        raise HTTPException(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"A report is sent as {MEDIA_TYPE}; got {given[:80]!r}.")
    found = celery_service.receive_bounce(message)
    record_act(caller, "bounce.receive", count=len(found))
    return {"events": found}


@router.get("/events", operation_id="get_email_events", response_model=Items[MailEvent])
def told(
    _caller: Operator,
    message_id: Annotated[str | None, Query(max_length=1_000, description="Of this mail alone.")] = None,
    address: Annotated[str | None, Query(max_length=320, description="Of this recipient alone.")] = None,
    limit: Annotated[int, Query(ge=1, le=1_000, description="At most so many.")] = 100,
    after: Annotated[int | None, Query(ge=0, description="The `id` of the last one of the page before.")] = None,
) -> Any:
    """List what was told of mails after they had gone out, the newest first."""
    return {"items": celery_service.get_email_events(message_id, address, limit, after=after)}


@router.get("/unsubscribe-url", operation_id="unsubscribe_url")
def unsubscribe_url(
    _caller: Operator,
    address: Annotated[str, Query(max_length=320, description="Whose.")],
    list_name: Annotated[str | None, Query(max_length=300, description="Of this list; left out, of all mail.")] = None,
) -> UnsubscribeUrl:
    """Return the address of the web where somebody leaves a list, or all mail, with one click."""
    return UnsubscribeUrl(url=celery_service.unsubscribe_url(address, list_name))


@router.post(
    "/events/{provider}",
    operation_id="receive_mail_events",
    response_model=KeptEvents,
    dependencies=[everybody()],
    openapi_extra={"requestBody": {"required": True, "content": {"application/json": TOLD}}},
    responses=problems(*SIGNED_PROBLEMS),
)
def events(provider: Provider, request: Request, body: Annotated[bytes, Depends(body_of(MOST_EVENT_BYTES))]) -> Any:
    """Take what a mail provider tells; its signature is its key."""
    if (why := mail_intake.missing(provider)) is not None:
        raise HTTPException(HTTPStatus.NOT_FOUND, why)
    return {"kept": len(mail_intake.receive_events(provider, dict(request.headers), body))}
