"""Text messages by Twilio's Programmable Messaging: one POST, which has no key that would make it repeatable.

Only 429 is documented as not processed; a server's fault (5xx) and a lost answer leave the message in doubt.
Source: twilio.com/docs/messaging/api/message-resource, twilio.com/docs/api/errors.
"""

import base64
import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, cast
from urllib.parse import urlencode

from adapters.guarded_https import Answer, GuardedHttps
from adapters.retry_after import retry_after
from processors.carriers import AnswerLost, Notice, Receipt
from processors.errors import PermanentError, TransientError, TransportFault
from processors.phone_numbers import E164
from processors.shortening import shortened

BASE_URL = "https://api.twilio.com"
DEADLINE_SECONDS = 30.0
LONGEST_BODY = 1600
"""UTF-16 units: what Twilio counts as characters where an emoji makes it encode the message as UCS-2."""

LONGEST_VALIDITY_SECONDS = 36_000
"""The longest that Twilio keeps a message in its queue, and how long it does where nothing is said (error 90007)."""

OUR_NUMBER = frozenset({21212, 21603, 21606, 21659, 21660})
"""The number that sends is missing, none of this account, or cannot send: whoever is written to is not at fault."""

TOO_FAST = frozenset({20429, 21611, 63038})
"""Too many requests at once, a full queue of the sending number, the day's limit: nothing was taken."""

REFUSED = frozenset({21211, 21408, 21610, 21612, 21614})
"""The recipient, whatever the status: no such number, its country is not allowed, it said STOP, not reachable from this
number, no mobile phone."""

OUR_LOGIN = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND})
"""Of the account in the URL: its token is wrong, it is closed, there is none."""


class TwilioSms:
    """Fulfils `processors.carriers.Carrier` for `{"phone": "+49…"}`.

    No refusal is an `EndpointGone`: the same number may still be called, and who said STOP may say START.

    Args:
        account_sid: `AC…`.
        auth_token: the account's.
        sender: the number that sends, or a messaging service `MG…`.
        https: what requests go through.
        base_url: where the API is.
        deadline: seconds that one call may take in all.
    """

    name = "twilio_sms"

    def __init__(
        self,
        account_sid: str,
        auth_token: str,
        sender: str,
        *,
        https: GuardedHttps | None = None,
        base_url: str = BASE_URL,
        deadline: float = DEADLINE_SECONDS,
    ) -> None:
        self._url = f"{base_url}/2010-04-01/Accounts/{account_sid}/Messages.json"
        self._login = base64.b64encode(f"{account_sid}:{auth_token}".encode()).decode()
        self._token = auth_token
        self._sender = {"MessagingServiceSid" if sender.startswith("MG") else "From": sender}
        self._https = https or GuardedHttps()
        self.deadline = deadline

    def check(self, endpoint: Mapping[str, Any]) -> None:
        """Let a phone number in E.164 form pass."""
        phone = endpoint.get("phone")
        if not isinstance(phone, str) or not E164.fullmatch(phone):
            raise ValueError("phone must be a number as +491701234567: a plus, the country's code, no spaces")

    def send(self, notice: Notice, endpoint: Mapping[str, Any]) -> Receipt:
        """Send the title and the message as one text."""
        until = time.monotonic() + self.deadline
        try:
            self.check(endpoint)
        except ValueError as error:
            raise PermanentError(f"Nothing was sent: {error}.") from None
        form = {"To": endpoint["phone"], **self._sender, "Body": _body(notice), **_validity(notice)}
        headers = {"Authorization": f"Basic {self._login}", "Content-Type": "application/x-www-form-urlencoded"}
        answer = self._https.ask("POST", self._url, headers=headers, body=urlencode(form).encode(), until=until)
        return self._receipt(answer, endpoint["phone"])

    def _receipt(self, answer: Answer, phone: str) -> Receipt:
        """Read an answer.

        Raises:
            TransportFault: this service's login or number is not taken.
            TransientError: later.
            PermanentError: never.
            AnswerLost: nobody knows.
        """
        told = _told(answer)
        status, code = answer.status, told.get("code")
        if status in {HTTPStatus.OK, HTTPStatus.CREATED}:
            sid = told.get("sid")
            return Receipt(sid if isinstance(sid, str) else None, status, str(told.get("status", "")))
        number = f" (error {code})" if isinstance(code, int) else ""
        said = f"Twilio answers {answer.words([self._token, self._login, phone])}{number}"
        if code in REFUSED:
            raise PermanentError(f"{said}.")
        if code in TOO_FAST or status == HTTPStatus.TOO_MANY_REQUESTS:
            raise TransientError(f"{said}.", retry_after(answer.headers))
        if status in OUR_LOGIN or code in OUR_NUMBER:
            raise TransportFault(f"{said}: check the settings TWILIO_….")
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise AnswerLost(f"{said}: it may have been sent.")
        raise PermanentError(f"{said}.")


def _told(answer: Answer) -> Mapping[str, Any]:
    """Return the fields of an answer; its status counts where there are none."""
    try:
        told = json.loads(answer.body)
    except (ValueError, RecursionError):
        return {}
    return cast("Mapping[str, Any]", told) if isinstance(told, dict) else {}


def _body(notice: Notice) -> str:
    text = "\n".join(filter(str.strip, (notice.title, notice.message))).encode("utf-8", "replace").decode()
    body = shortened(text, lambda some: len(some.encode("utf-16-le")) // 2 <= LONGEST_BODY)
    if not body:
        raise PermanentError("Nothing was sent: the notification has neither a title nor a message.")
    return body


def _validity(notice: Notice) -> dict[str, str]:
    """Return how many seconds Twilio may keep it in its queue, where it does not stay wanted for longer than that."""
    if notice.expires_at is None:
        return {}
    left = int((notice.expires_at - datetime.now(UTC)).total_seconds())
    return {"ValidityPeriod": str(max(1, left))} if left < LONGEST_VALIDITY_SECONDS else {}
