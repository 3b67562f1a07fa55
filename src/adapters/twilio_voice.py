"""Phone calls by Twilio's Programmable Voice, through its SDK: a call is ordered once, whatever becomes of the answer.

There is no key that would make an order repeatable: what is known of a failed one is told by what is raised.
Source: twilio.com/docs/voice/api/call-resource, twilio.com/docs/usage/webhooks/webhooks-security.
"""

import re
import ssl
import time
from base64 import b64encode
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, TypeVar, cast

from twilio.base.exceptions import TwilioException  # pyright: ignore[reportMissingTypeStubs] - it has none
from twilio.request_validator import RequestValidator  # pyright: ignore[reportMissingTypeStubs] - it has none
from twilio.rest import Client  # pyright: ignore[reportMissingTypeStubs] - it has none
from twilio.rest.api.v2010.account.call import CallInstance, CallList  # pyright: ignore[reportMissingTypeStubs] - it has none
from urllib3.exceptions import LocationParseError
from urllib3.util import Url, parse_url

from adapters.network_guard import is_loopback
from adapters.strict_json import UNREADABLE
from adapters.twilio_answers import CALL, Told, seconds, seen, told
from adapters.twilio_http import NotSent, TwilioHttp, Unanswered
from processors.call_errors import BY_CODE, Meaning, meaning
from processors.call_interfaces import (
    CallInDoubt,
    CallNotFound,
    CallNotTaken,
    CallOrder,
    CallRefused,
    CallSeen,
    CallsHalted,
    PlacedCall,
)
from processors.errors import ConfigurationError, TransientError
from processors.phone_numbers import E164, calling_code, masked

BASE_URL = "https://api.twilio.com"
DEADLINE_SECONDS = 10.0
EVENTS = ["initiated", "ringing", "answered", "completed"]
TRIED_AGAIN = "#rc=5&rp=5xx,ct,rt"
"""How often, and after what, Twilio tells it again; else once, and never after an answer of 5xx.

Source: twilio.com/docs/usage/webhooks/webhooks-connection-overrides."""

DETECTIONS = {"hang_up": "Enable", "leave_message": "DetectMessageEnd"}
LONGEST_TWIML = 4_000
LARGEST_PAGE = 1_000
LONGEST_QUEUE_SECONDS = 86_400.0
"""Twilio cancels what has waited in its queue for so long."""

CALL_IS_OVER, NO_SUCH_CALL = 21220, 20404
NORTH_AMERICA = "1"
ACCOUNT = re.compile(r"AC[0-9A-Za-z]{1,64}")
NO_ENVIRONMENT = {"": ""}
"""Where the SDK looks for what it is not given; an empty one would be the process's own."""

Done = TypeVar("Done")


class TwilioVoiceService:
    """Fulfils `processors.call_interfaces.VoiceProvider`.

    Neither the environment nor its proxies are used. Each method makes a client of its own, so that nothing is shared
    by threads, or by processes after a fork.

    Args:
        account_sid: `AC…`.
        auth_token: the account's primary one, with which Twilio signs, too.
        former_tokens: others whose signatures are taken, while the token is changed.
        base_url: where the API is: an `https://` address, or an `http://` one of this machine.
        deadline: seconds that one method may take in all.
        context: of TLS; by default with the system's certificate authorities.

    Raises:
        ConfigurationError: an account, a token or an address is none.
    """

    def __init__(
        self,
        account_sid: str,
        auth_token: str,
        *,
        former_tokens: Sequence[str] = (),
        base_url: str = BASE_URL,
        deadline: float = DEADLINE_SECONDS,
        context: ssl.SSLContext | None = None,
    ) -> None:
        if not ACCOUNT.fullmatch(account_sid):
            raise ConfigurationError("TWILIO_ACCOUNT_SID is no account: it begins with AC, and stands in the console.")
        if not auth_token:
            raise ConfigurationError("TWILIO_AUTH_TOKEN is empty: give the account's token, as the console shows it.")
        self.account, self.deadline = account_sid, deadline
        self._token = auth_token
        self._tokens = [auth_token, *filter(None, former_tokens)]
        self._secrets = [*self._tokens, b64encode(f"{account_sid}:{auth_token}".encode()).decode()]
        self._base = _checked_base(base_url)
        self._context = context or ssl.create_default_context()

    def create_call(self, order: CallOrder) -> PlacedCall:
        """Make one call, by one request at most; see `VoiceProvider`."""
        _check(order)
        about, http = f"the call to {masked(order.to_number)}", self._http()
        try:
            call = self._calls(http).create(**_ordered(order))
        except NotSent as error:
            raise CallNotTaken(f"Twilio was not asked for {about}: {error}.") from error
        except Unanswered as error:
            raise CallInDoubt(
                f"Nobody knows whether Twilio makes {about}: its answer did not come: {error}."
            ) from error
        except TwilioException:
            raise self._not_placed(self._told(http), order, about) from None  # its text may hold whole numbers
        except UNREADABLE as error:
            raise _unread(http, about, error) from None
        if not CALL.fullmatch(str(call.sid)):
            raise CallInDoubt(f"Nobody knows whether Twilio makes {about}: its answer names no call.")
        return PlacedCall(str(call.sid), str(call.status), min(LONGEST_QUEUE_SECONDS, seconds(call.queue_time)))

    def fetch_call(self, sid: str) -> CallSeen:
        """Return what Twilio knows of a call; see `VoiceProvider`."""
        return self._of_one(sid, lambda calls, _http: calls(sid).fetch())

    def end_call(self, sid: str) -> CallSeen:
        """End a call; see `VoiceProvider`. `completed` ends one that rings or waits, too."""

        def ended(calls: CallList, http: TwilioHttp) -> CallInstance:
            try:
                return calls(sid).update(status="completed")
            except TwilioException:
                if self._told(http).code != CALL_IS_OVER:
                    raise
                return calls(sid).fetch()

        return self._of_one(sid, ended)

    def list_calls(self, *, to_number: str, from_number: str, limit: int = 100) -> Sequence[CallSeen]:
        """Return the calls between two numbers; see `VoiceProvider`. A time is never asked for: what waits has none."""
        if limit < 1:
            return []

        def listed(calls: CallList, _http: TwilioHttp) -> list[CallSeen]:
            page = min(limit, LARGEST_PAGE)
            found = map(seen, calls.list(to=to_number, from_=from_number, limit=limit, page_size=page))
            return sorted(found, key=lambda one: one.created_at or datetime.min.replace(tzinfo=UTC), reverse=True)

        return self._read(f"the calls to {masked(to_number)}", listed, no_such=False)

    def is_authentic(self, url: str, form: Sequence[tuple[str, str]] | bytes, signature: str) -> bool:
        """Tell whether Twilio signed a message; see `VoiceProvider`.

        A form's fields are signed by name, those of the same name by value; of a body that is no form its hash, which
        the URL has as `bodySHA256`.
        """
        try:
            signed: Any = form.decode() if isinstance(form, bytes) else _Form(form)
            return any(_validator(token).validate(url, signed, signature) for token in self._tokens)
        except UNREADABLE:
            return False

    def _http(self) -> TwilioHttp:
        return TwilioHttp(self._base, time.monotonic() + self.deadline, self._context)

    def _calls(self, http: TwilioHttp) -> CallList:
        return Client(self.account, self._token, http_client=http, environment=NO_ENVIRONMENT).calls

    def _of_one(self, sid: str, work: Callable[[CallList, TwilioHttp], CallInstance]) -> CallSeen:
        if not CALL.fullmatch(sid):
            raise CallNotFound(f"Twilio knows no call {sid!r:.50}: a call's name is CA and 32 hexadecimal digits.")
        return self._read(f"call {sid}", lambda calls, http: seen(work(calls, http)), no_such=True)

    def _read(self, about: str, work: Callable[[CallList, TwilioHttp], Done], *, no_such: bool) -> Done:
        """Return what work returns that asks for what is known; it may be asked again."""
        http = self._http()
        try:
            return work(self._calls(http), http)
        except (NotSent, Unanswered) as error:
            raise TransientError(f"Twilio does not tell {about} now: {error}.") from error
        except (TwilioException, *UNREADABLE):
            raise self._untold(self._told(http), about, no_such=no_such) from None

    def _told(self, http: TwilioHttp) -> Told:
        return told(http.answer, self._secrets)

    def _not_placed(self, answer: Told, order: CallOrder, about: str) -> Exception:
        found = meaning(answer.status, answer.code, readable=answer.readable)
        said = f"{found.why} ({answer.said})."
        match found.kind:
            case "refused":
                words, known = f"Twilio refuses {about}: {said}", answer.code in BY_CODE
                return CallRefused(words, answer.number, retry_once=found.retry_once, known=known)
            case "halted":
                return _halted(f"Twilio refuses {about}", answer, found, order.to_number)
            case "not_taken":
                words = f"Twilio does not take {about} now: {said}"
                return CallNotTaken(words, answer.retry_after, too_many_live=found.too_many_live)
            case "in_doubt":
                return CallInDoubt(f"Nobody knows whether Twilio makes {about}: {said}")

    def _untold(self, answer: Told, about: str, *, no_such: bool) -> Exception:
        if no_such and (answer.status == HTTPStatus.NOT_FOUND or answer.code == NO_SUCH_CALL):
            return CallNotFound(f"Twilio knows no {about}, or not yet.")
        found = meaning(answer.status, answer.code, readable=answer.readable)
        if found.kind == "halted":
            return _halted(f"Twilio does not tell {about}", answer, found)
        return TransientError(f"Twilio does not tell {about} now: {answer.said}.", answer.retry_after)


class _Form(dict[str, list[str]]):
    """A form, as the SDK reads one whose fields may have several values."""

    def __init__(self, fields: Iterable[tuple[str, str]]) -> None:
        super().__init__()
        for name, value in fields:
            self.setdefault(name, []).append(value)

    def getall(self, name: str) -> list[str]:
        return self[name]


def _validator(token: str) -> Any:
    return cast("Any", RequestValidator)(token)


def _checked_base(base_url: str) -> Url:
    try:
        url = parse_url(base_url)
    except LocationParseError:
        url = Url()
    plain = url.host and url.auth is None and (url.path or "/") == "/" and not (url.query or url.fragment)
    if plain and (url.scheme == "https" or (url.scheme == "http" and is_loopback((url.host or "").strip("[]")))):
        return url
    raise ConfigurationError("TWILIO_BASE_URL cannot be asked: it is https://HOST, or http://127.0.0.1:PORT here.")


def _check(order: CallOrder) -> None:
    """Let an order pass that Twilio can take; nothing was asked where it cannot."""
    if not E164.fullmatch(order.to_number):
        raise CallRefused(f"Nothing is called: {masked(order.to_number)} is no number as +491701234567.", 21211)
    if not E164.fullmatch(order.from_number):
        raise CallsHalted("Nothing is called: the number that calls is none as +491701234567.", 21212)
    if (order.answer_url is None) == (order.twiml is None):
        raise CallRefused("Nothing is called: it needs either answer_url or twiml.", HTTPStatus.BAD_REQUEST)
    if len(order.twiml or "") > LONGEST_TWIML:
        raise CallRefused(
            f"Nothing is called: twiml is longer than {LONGEST_TWIML} characters.", HTTPStatus.BAD_REQUEST
        )


def _ordered(order: CallOrder) -> dict[str, Any]:
    """Return an order in the SDK's words."""
    detection = DETECTIONS.get(order.detection)
    aside = order.detection_url if detection else None
    given = {
        "to": order.to_number,
        "from_": order.from_number,
        "url": order.answer_url,
        "twiml": order.twiml,
        "timeout": order.ring_seconds,
        "time_limit": order.limit_seconds,
        "status_callback": _told_again(order.status_url),
        "status_callback_event": EVENTS if order.status_url else None,
        "machine_detection": detection,
        "async_amd": "true" if aside else None,
        "async_amd_status_callback": _told_again(aside),
        "record": order.record or None,
        "recording_status_callback": _told_again(order.recording_url) if order.record else None,
        "send_digits": order.send_digits,
    }
    return {name: value for name, value in given.items() if value is not None}


def _told_again(url: str | None) -> str | None:
    return url if url is None or "#" in url else url + TRIED_AGAIN


def _unread(http: TwilioHttp, about: str, error: Exception) -> Exception:
    if not http.asked:  # the order itself cannot be written
        return CallRefused(f"Twilio was not asked for {about}: {type(error).__name__}.", HTTPStatus.BAD_REQUEST)
    return CallInDoubt(f"Nobody knows whether Twilio makes {about}: its answer cannot be read.")


def _halted(what: str, answer: Told, found: Meaning, number: str = "") -> CallsHalted:
    words = f"{what}: {found.why} ({answer.said}): check the settings TWILIO_… and the account."
    return CallsHalted(words, answer.number, country=_country(number) if found.country and number else None)


def _country(number: str) -> str:
    """Return the digits with which the numbers of a country begin; +1 is that of several, told by their area codes."""
    code = calling_code(number)
    return number[1:5] if code == NORTH_AMERICA else code
