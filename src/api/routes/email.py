"""Mail over HTTP: what became of it after it went out."""

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.exceptions import HTTPException

from api.bodies import body_of
from api.guards import GuardedRoute, everybody, require
from services import mail_intake
from services.access import Caller
from services.audit import record_act
from services.celery_service import celery_service

MOST_EVENT_BYTES = 5_000_000
MEDIA_TYPE = "message/rfc822"

router = APIRouter(prefix="/api/v1/email", route_class=GuardedRoute)


@router.post("/bounces")
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


@router.post("/events/{provider}", dependencies=[everybody()])
def events(provider: str, request: Request, body: Annotated[bytes, Depends(body_of(MOST_EVENT_BYTES))]) -> Any:
    """Take what a mail provider tells; its signature is its key."""
    if (why := mail_intake.missing(provider)) is not None:
        raise HTTPException(HTTPStatus.NOT_FOUND, why)
    return {"kept": len(mail_intake.receive_events(provider, dict(request.headers), body))}
