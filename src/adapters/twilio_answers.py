"""What Twilio answers about calls, read with the doubt that belongs to it, and without secrets and whole numbers."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from twilio.http.response import Response  # pyright: ignore[reportMissingTypeStubs] - it has none
from twilio.rest.api.v2010.account.call import CallInstance  # pyright: ignore[reportMissingTypeStubs] - it has none

from adapters.retry_after import retry_after
from adapters.strict_json import UNREADABLE, read_json
from processors.call_interfaces import CallSeen
from processors.phone_numbers import masked
from processors.redaction import MASK

LONGEST_WORDS = 300
LONGEST_SEARCHED = 4_000
"""Characters in which numbers are looked for; what lies behind them is never told."""

MOST_DIGITS = 9
"""Of a number in a text: a code, milliseconds."""

CALL = re.compile(r"CA[0-9a-fA-F]{32}")
PRICE = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")
NUMBER = re.compile(r"\+?\d([ ().\-/]{0,3}\d){6,}")


@dataclass(frozen=True, slots=True)
class Told:
    """What an answer says that is no call.

    Attributes:
        status: of HTTP.
        code: Twilio's own, if it gave one.
        words: Twilio's own, without secrets and whole numbers.
        readable: whether it is Twilio's, and no page of somebody between.
        retry_after: seconds that it asks to wait.
    """

    status: int
    code: int | None
    words: str
    readable: bool
    retry_after: float | None

    @property
    def number(self) -> int:
        """The code, or the status where there is none."""
        return self.status if self.code is None else self.code

    @property
    def said(self) -> str:
        """Status, code and words, for people."""
        return f"{self.status}{'' if self.code is None else f', error {self.code}'}: {self.words}".rstrip(": ")


def told(answer: Response | None, secrets: Iterable[str]) -> Told:
    """Return what an answer says.

    Args:
        answer: as it came; None where none did.
        secrets: what its words are never told with.
    """
    if answer is None:
        return Told(0, None, "", readable=False, retry_after=None)
    try:
        fields = read_json(answer.text.encode())
    except UNREADABLE:
        fields = None
    known = cast("Mapping[str, Any]", fields if isinstance(fields, dict) else {})
    words = next((known[key] for key in ("message", "detail", "title") if isinstance(known.get(key), str)), "")
    return Told(
        status=answer.status_code,
        code=_number(known.get("code")),
        words=_shown(words, secrets),
        readable=isinstance(fields, dict),
        retry_after=retry_after(cast("Mapping[str, str]", answer.headers or {})),
    )


def seen(call: CallInstance) -> CallSeen:
    """Return a call as others know it.

    Raises:
        ValueError: it is none.
    """
    if not CALL.fullmatch(str(call.sid)):
        raise ValueError("it names no call")
    return CallSeen(
        sid=str(call.sid),
        status="canceled" if str(call.status) == "cancelled" else str(call.status),  # Twilio writes both
        to_number=str(call.to or ""),
        from_number=str(vars(call)["_from"] or ""),
        direction=str(call.direction or ""),
        created_at=call.date_created,
        started_at=call.start_time,
        ended_at=call.end_time,
        duration_seconds=_number(call.duration),
        answered_by=call.answered_by or None,
        price=_price(call.price),
        price_unit=call.price_unit or None,
    )


def seconds(milliseconds: object) -> float:
    """Return milliseconds in a text as seconds; what cannot be read is none."""
    return max(0, _number(milliseconds) or 0) / 1000


def _shown(words: str, secrets: Iterable[str]) -> str:
    for secret in secrets:
        words = words.replace(secret, MASK)  # before the cut, which might leave a part of one
    words = "".join(one if one.isprintable() else " " for one in words[:LONGEST_SEARCHED])
    return " ".join(NUMBER.sub(lambda found: masked(found[0]), words).split())[:LONGEST_WORDS].rstrip(" .")


def _number(given: object) -> int | None:
    """Return a number that some of Twilio's services write as text."""
    if isinstance(given, str) and given.isascii() and given.isdecimal() and len(given) <= MOST_DIGITS:
        return int(given)
    return given if isinstance(given, int) and not isinstance(given, bool) else None


def _price(given: object) -> str | None:
    """Return what a call cost; Twilio tells what it took from the balance, as a negative number."""
    price = str(given).removeprefix("-")
    return price if PRICE.fullmatch(price) else None
