"""What a create asks for, checked as Twilio checks it: twilio.com/docs/voice/api/call-resource."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from adapters.phone_simulator.refusals import invalid, refusal
from processors.phone_numbers import E164

Form = Sequence[tuple[str, str]]
"""The fields of a form as they came: a name may be there several times."""

HOST = re.compile(r"[A-Za-z0-9.-]+|[0-9a-fA-F:]+")
KEYS = re.compile(r"[0-9A-Da-d#*wW]{0,32}")
EVENTS = ("initiated", "ringing", "answered", "completed")
LONGEST_TWIML = 4000
LONGEST_RING = 600
LONGEST_CALL = 4 * 3600
ATTEMPT_KEY = "attempt"


@dataclass(frozen=True, slots=True)
class Webhook:
    """Where something is told or asked, and how; the URL may have overrides in its fragment."""

    url: str
    method: str


@dataclass(frozen=True, slots=True)
class CallPlan:
    """What is done in a call.

    Attributes:
        answer: where is asked what to say; None where `twiml` says it.
        fallback: where is asked when `answer` fails.
        status: where the steps in `events` are told.
        detection: `Enable`, `DetectMessageEnd`, or empty: a machine is not told from a person.
        detected: where that is told while the call goes on; None: before anything is said.
    """

    to: str
    from_: str
    answer: Webhook | None = None
    twiml: str = ""
    fallback: Webhook | None = None
    status: Webhook | None = None
    events: tuple[str, ...] = ("completed",)
    ring_seconds: int = 60
    limit_seconds: int = LONGEST_CALL
    send_digits: str = ""
    detection: str = ""
    detection_seconds: int = 30
    detected: Webhook | None = None
    record: bool = False
    recording: Webhook | None = None

    @property
    def attempt(self) -> str:
        """Return the caller's own name for the call, from the query of the URLs it gave; empty where there is none."""
        return next(filter(None, (_attempt(one.url) for one in (self.answer, self.status) if one)), "")


def attempt_of(form: Form) -> str:
    """Return the caller's own name for a call, whatever else the form says; empty where there is none."""
    given = dict(form)
    return next(filter(None, (_attempt(given.get(name, "")) for name in ("Url", "StatusCallback"))), "")


def read_order(form: Form, ours: Collection[str]) -> CallPlan:
    """Return what a form asks for.

    Args:
        form: its fields.
        ours: the numbers that may call.

    Raises:
        Refusal: as Twilio refuses it.
    """
    given = dict(form)
    twiml = "" if "Url" in given else given.get("Twiml", "")
    if len(twiml) > LONGEST_TWIML:
        raise invalid("Twiml", f"{LONGEST_TWIML} characters at most")
    if not twiml and not given.get("Url"):
        raise refusal(21205)
    send_digits = given.get("SendDigits", "")
    if not KEYS.fullmatch(send_digits):
        raise invalid("SendDigits", "32 of 0-9 A-D # * w W at most")
    detection = given.get("MachineDetection", "")
    if detection not in {"", "Enable", "DetectMessageEnd"}:
        raise invalid("MachineDetection", "Enable or DetectMessageEnd")
    return CallPlan(
        to=_to(given),
        from_=_from(given, ours),
        answer=None if twiml else read_webhook(given, "Url", "Method", 21205),
        twiml=twiml,
        fallback=read_webhook(given, "FallbackUrl", "FallbackMethod", 21205),
        status=read_webhook(given, "StatusCallback", "StatusCallbackMethod", 21609),
        events=_events(form),
        ring_seconds=_number(given, "Timeout", 60, LONGEST_RING, 21208),
        limit_seconds=_number(given, "TimeLimit", LONGEST_CALL, LONGEST_CALL, 20001),
        send_digits=send_digits,
        detection="" if send_digits else detection,
        detection_seconds=_number(given, "MachineDetectionTimeout", 30, 120, 20001),
        detected=read_webhook(given, "AsyncAmdStatusCallback", "AsyncAmdStatusCallbackMethod", 21609)
        if given.get("AsyncAmd") == "true"
        else None,
        record=given.get("Record") == "true",
        recording=read_webhook(given, "RecordingStatusCallback", "RecordingStatusCallbackMethod", 21609),
    )


def _to(given: dict[str, str]) -> str:
    if not given.get("To"):
        raise refusal(21201)
    if not E164.fullmatch(given["To"]):
        raise refusal(21211)
    return given["To"]


def _from(given: dict[str, str], ours: Collection[str]) -> str:
    if not given.get("From"):
        raise refusal(21213)
    if not E164.fullmatch(given["From"]):
        raise refusal(21212)
    if given["From"] not in ours:
        raise refusal(21210)
    return given["From"]


def read_webhook(given: dict[str, str], name: str, method_name: str, code: int) -> Webhook | None:
    """Read a URL: absolute, with a host that may be one (no underscores); None where it is not given.

    Raises:
        Refusal: it is no such URL (with `code`), or its method is neither GET nor POST.
    """
    url = given.get(name)
    if not url:
        return None
    try:
        parts = urlsplit(url)
        _ = parts.port  # it may be none
    except ValueError:
        raise refusal(code) from None
    if parts.scheme not in {"http", "https"} or not HOST.fullmatch(parts.hostname or ""):
        raise refusal(code)
    method = given.get(method_name) or "POST"
    if method not in {"GET", "POST"}:
        raise invalid(method_name, "GET or POST")
    return Webhook(url, method)


def _events(form: Form) -> tuple[str, ...]:
    events = tuple(value for name, value in form if name == "StatusCallbackEvent")
    if not set(events) <= set(EVENTS):
        raise refusal(21626)
    return events or ("completed",)


def _number(given: dict[str, str], name: str, otherwise: int, most: int, code: int) -> int:
    text = given.get(name, "")
    if not text:
        return otherwise
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text) <= most):  # noqa: PLR2004 - enough for any
        raise invalid(name, f"0 to {most}") if code == 20001 else refusal(code)  # noqa: PLR2004 - the code of all others
    return int(text)


def _attempt(url: str) -> str:
    try:
        return parse_qs(urlsplit(url).query).get(ATTEMPT_KEY, [""])[0]
    except ValueError:
        return ""
