"""What Twilio sends to our webhooks: forms, signed by its own library."""

from typing import Any
from urllib.parse import urlencode

from fastapi.testclient import TestClient
from twilio.request_validator import RequestValidator

ACCOUNT, TOKEN = "AC" + "0" * 32, "tk7Qz93TokenThatIsSecret"
BASE = "https://calls.example.com"
OURS, THEIRS = "+14155550100", "+491701234567"
FORM = "application/x-www-form-urlencoded; charset=UTF-8"
PREFIX = "/api/v1/twilio"


def sid(number: int) -> str:
    """Return Twilio's name for a call."""
    return f"CA{number:032x}"


def signed(path: str, fields: dict[str, str], *, token: str = TOKEN, base: str = BASE) -> str:
    """Return the signature of a form for a path with its query."""
    signature: str = RequestValidator(token).compute_signature(f"{base}{path}", fields)
    return signature


def form(call_sid: str, **more: str) -> dict[str, str]:
    """Return the fields that every message has; there may be others that nobody knows, and blank ones."""
    usual = {
        "CallSid": call_sid,
        "AccountSid": ACCOUNT,
        "From": OURS,
        "To": THEIRS,
        "Direction": "outbound-api",
        "ApiVersion": "2010-04-01",
        "CallerName": "",
        "StirVerstat": "TN-Validation-Passed-A",
    }
    return usual | more


def post(client: TestClient, path: str, fields: dict[str, str], *, message: str | None = None, **headers: str) -> Any:
    """Send a form as Twilio does.

    Args:
        client: whom to.
        path: behind the prefix, with its query.
        fields: of the form.
        message: Twilio's own name for it.
        headers: further ones; a signature given here is sent in place of the right one.
    """
    sent: dict[str, Any] = {"Content-Type": FORM, "X-Twilio-Signature": signed(PREFIX + path, fields)}
    if message is not None:
        sent["I-Twilio-Idempotency-Token"] = message
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    return client.post(PREFIX + path, content=urlencode(fields), headers=sent)
