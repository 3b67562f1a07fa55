"""Twilio's webhooks: what is said in calls, and how each call stands. They are open; their signature is their key."""

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response

from api.bodies import body_of
from api.documents import SIGNED_PROBLEMS, problems
from api.guards import GuardedRoute, everybody
from services import call_webhooks
from services.call_webhooks import Told

MOST_BYTES = 64_000
TWIML = "text/xml"
FORM: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/x-www-form-urlencoded": {
                "schema": {"type": "object", "additionalProperties": {"type": "string"}},
                "example": {"AccountSid": "AC123", "CallSid": "CA1234567890abcdef", "CallStatus": "ringing"},
            }
        },
    }
}
HELLO = "<Response><Say>Hello from the service.</Say></Response>"
SAID: dict[int | str, dict[str, Any]] = {
    200: {"content": {TWIML: {"schema": {"type": "string"}, "example": HELLO}}, "description": "TwiML."}
}

Body = Annotated[bytes, Depends(body_of(MOST_BYTES))]

router = APIRouter(
    prefix="/api/v1/twilio",
    tags=["calls"],
    route_class=GuardedRoute,
    dependencies=[everybody()],
    responses=problems(*SIGNED_PROBLEMS),
)


@router.post("/incoming-call", operation_id="answer_call", response_class=Response, responses=SAID, openapi_extra=FORM)
def incoming_call(request: Request, body: Body) -> Response:
    """Say what is done in a call that was answered, or that comes in."""
    return _twiml(call_webhooks.twiml_of(lambda: call_webhooks.answer(_opened(request, body))))


@router.post("/heard", operation_id="hear_caller", response_class=Response, responses=SAID, openapi_extra=FORM)
def heard(request: Request, body: Body) -> Response:
    """Take keys and speech, and say how the call goes on."""
    return _twiml(call_webhooks.twiml_of(lambda: call_webhooks.heard(_opened(request, body))))


@router.post("/call-status", operation_id="receive_call_status", status_code=HTTPStatus.NO_CONTENT, openapi_extra=FORM)
def call_status(request: Request, body: Body) -> Response:
    """Take how a call stands."""
    call_webhooks.status(_opened(request, body))
    return Response(status_code=HTTPStatus.NO_CONTENT)


@router.post("/answered-by", operation_id="receive_answered_by", status_code=HTTPStatus.NO_CONTENT, openapi_extra=FORM)
def answered_by(request: Request, body: Body) -> Response:
    """Take whether a person or a machine answered."""
    call_webhooks.machine(_opened(request, body))
    return Response(status_code=HTTPStatus.NO_CONTENT)


@router.post("/recording", operation_id="receive_recording", status_code=HTTPStatus.NO_CONTENT, openapi_extra=FORM)
def recording(request: Request, body: Body) -> Response:
    """Take where a recording is."""
    call_webhooks.recording(_opened(request, body))
    return Response(status_code=HTTPStatus.NO_CONTENT)


def _opened(request: Request, body: bytes) -> Told:
    """Return what was signed; path and query are taken as they came, because they were signed like that."""
    path, query = request.scope["raw_path"].decode("latin-1"), request.scope["query_string"].decode("latin-1")
    signature = request.headers.get("x-twilio-signature", "")
    return call_webhooks.opened(path, query, body, signature, request.headers.get("i-twilio-idempotency-token"))


def _twiml(text: str) -> Response:
    return Response(text, media_type=TWIML)
