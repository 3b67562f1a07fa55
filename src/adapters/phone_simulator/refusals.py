"""How Twilio refuses a request: twilio.com/docs/api/errors, twilio.com/docs/usage/twilios-response.

Twilio's pages do not give the HTTP status of every code; where they do not, it is 400.
"""

from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

REFUSALS: dict[int, tuple[int, str]] = {
    10001: (403, "Account is not active"),
    10004: (400, "Call concurrency limit exceeded"),
    13224: (400, "Dial: Twilio does not support calling this number or the number is invalid"),
    13226: (400, "Dial: Invalid country code"),
    20003: (401, "Authenticate"),
    20004: (405, "Method not allowed"),
    20005: (403, "Account not active"),
    20008: (403, "Resource not accessible with Test Account Credentials"),
    20403: (403, "403 Forbidden"),
    20404: (404, "The requested resource was not found"),
    20429: (429, "Too Many Requests"),
    20500: (500, "An internal server error has occurred"),
    20503: (503, "Service Unavailable"),
    21201: (400, "No 'To' number is specified"),
    21202: (400, "The called phone number is a premium number"),
    21203: (400, "International calling not enabled"),
    21205: (400, "Url is not a valid URL"),
    21208: (400, "Invalid Timeout"),
    21210: (400, "The source phone number provided is not yet verified for your account"),
    21211: (400, "The phone number you are attempting to call is not valid"),
    21212: (400, "Invalid 'From' Phone Number"),
    21213: (400, "Caller phone number is required"),
    21214: (400, "The 'To' phone number cannot be reached"),
    21215: (
        400,
        "Account not authorized to call this number. Perhaps you need to enable some international permissions",
    ),
    21216: (400, "Account not allowed to call this number"),
    21217: (400, "The phone number you are attempting to call does not appear to be valid"),
    21219: (400, "The number is unverified. Trial accounts may only make calls to verified numbers"),
    21220: (400, "Call is not in-progress. Cannot redirect"),
    21609: (400, "The StatusCallback URL is not a valid URL"),
    20001: (400, "Invalid parameter"),
    21626: (400, "StatusCallbackEvent is invalid"),
    32224: (400, "Call forwarding blocked by regulation"),
    70005: (400, "Too many failing requests"),
    70051: (401, "Authorization failed"),
    86008: (400, "Concurrent call limit reached"),
    573005: (400, "Trial accounts may only call verified numbers"),
}


@dataclass
class Refusal(Exception):
    """A request that is refused.

    Attributes:
        status: the HTTP status.
        code: Twilio's code.
        message: Twilio's words.
        headers: further headers of the answer.
    """

    status: int
    code: int
    message: str
    headers: dict[str, str] = field(default_factory=dict[str, str])

    def body(self, *, problem: bool) -> dict[str, Any]:
        """Return the body: Twilio's own, or a problem (RFC 9457)."""
        more = f"https://www.twilio.com/docs/errors/{self.code}"
        if problem:
            title = HTTPStatus(self.status).phrase
            return {"type": more, "title": title, "status": self.status, "code": self.code, "detail": self.message}
        return {"code": self.code, "message": self.message, "more_info": more, "status": self.status}


def refusal(code: int, message: str = "") -> Refusal:
    """Return the refusal with one of Twilio's codes, in its words unless others are given."""
    status, words = REFUSALS[code]
    return Refusal(status, code, message or words)


def invalid(name: str, why: str) -> Refusal:
    """Return the refusal of a parameter that has no code of its own."""
    return Refusal(400, 20001, f"Invalid Parameter {name}: {why}")
