"""Mail over HTTP: what became of it after it went out."""

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.exceptions import HTTPException

from api.bodies import body_of
from api.guards import require_key
from services import mail_intake
from services.celery_service import celery_service

MOST_EVENT_BYTES = 5_000_000
MEDIA_TYPE = "message/rfc822"

router = APIRouter(prefix="/api/v1/email")


@router.post("/bounces", dependencies=[Depends(require_key)])
def bounce(request: Request, message: Annotated[bytes, Depends(body_of(mail_intake.MOST_REPORT_BYTES))]) -> Any:
    """Take a mail server's report, as `receive_bounce` does."""
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given != MEDIA_TYPE:
        raise HTTPException(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"A report is sent as {MEDIA_TYPE}; got {given[:80]!r}.")
    return {"events": celery_service.receive_bounce(message)}


@router.post("/events/{provider}")
def events(provider: str, request: Request, body: Annotated[bytes, Depends(body_of(MOST_EVENT_BYTES))]) -> Any:
    """Take what a mail provider tells; its signature is its key."""
    if (why := mail_intake.missing(provider)) is not None:
        raise HTTPException(HTTPStatus.NOT_FOUND, why)
    return {"kept": len(mail_intake.receive_events(provider, dict(request.headers), body))}
