"""What an answer means that is no call: the number, something of ours, the moment, or nobody knows.

Twilio's code tells more than the status of HTTP, and counts first. Sources: twilio.com/docs/api/errors/CODE for each
code below; of the statuses, twilio.com/docs/api/errors/20429 says of 429 alone that such a request was not processed,
and twilio.com/docs/api/errors/20500 of a server's fault that the call may have been made.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Literal

Kind = Literal["refused", "halted", "not_taken", "in_doubt"]
"""No call to this number, ever; none to anybody until something is mended; none now; nobody knows."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """What an answer means.

    Attributes:
        kind: what follows from it.
        why: the reason, as the end of a sentence.
        retry_once: whether one later attempt may go through, where it is refused.
        country: whether it holds for the numbers of one country only, where it is halted.
        too_many_live: whether the account has as many live calls as it may, where it is not taken.
    """

    kind: Kind
    why: str
    retry_once: bool = False
    country: bool = False
    too_many_live: bool = False


_LOGIN = Meaning("halted", "the account's login is refused, or may not make calls")
_ACCOUNT = Meaning("halted", "the account is suspended or closed, or its balance is used up")
_TRIAL = Meaning("halted", "a trial account calls verified numbers only")
_FULL = Meaning("not_taken", "the account has as many live calls as it may", too_many_live=True)
_BUSY = Meaning("not_taken", "it has too many requests of this account at once")
_SERVER = Meaning("in_doubt", "it has a fault of its own")

BY_CODE: Mapping[int, Meaning] = {
    # the number
    21211: Meaning("refused", "there is no such number"),
    21217: Meaning("refused", "there is no such number"),
    21214: Meaning("refused", "the number cannot be reached", retry_once=True),
    13224: Meaning("refused", "there is no such number, or no carrier reaches it now", retry_once=True),
    13226: Meaning("refused", "no country has such a number"),
    21201: Meaning("refused", "there is no number to be called"),
    21202: Meaning("refused", "it is a premium number"),
    21216: Meaning("refused", "it blocks the number"),
    32224: Meaning("refused", "a regulation forbids the call"),
    # something of ours
    21215: Meaning("halted", "the account may not call this country (geographic permissions)", country=True),
    21203: Meaning("halted", "the account may not call other countries"),
    21210: Meaning("halted", "the number that calls is not verified"),
    21212: Meaning("halted", "the number that calls is none"),
    21213: Meaning("halted", "the number that calls is missing"),
    21219: _TRIAL,
    573005: _TRIAL,
    21205: Meaning("halted", "an address that it is to ask is none"),
    21208: Meaning("halted", "the seconds to ring are none"),
    21626: Meaning("halted", "the events to be told are none"),
    403: _LOGIN,
    20003: _LOGIN,
    70051: _LOGIN,
    10001: _ACCOUNT,
    20005: _ACCOUNT,
    20403: _ACCOUNT,
    20008: Meaning("halted", "the login is one for tests"),
    20404: Meaning("halted", "there is no such account"),
    # the moment
    10004: _FULL,
    86008: _FULL,
    20429: _BUSY,
    70005: Meaning("not_taken", "too many requests of this account failed"),
    # nobody knows
    20500: _SERVER,
    20503: _SERVER,
}

_NOT_DESCRIBED = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT})
_OF_THE_ACCOUNT = frozenset({HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND})
"""They are about the account in the address, where no code says that they are about the call."""


def meaning(status: int, code: int | None, *, readable: bool = True) -> Meaning:
    """Return what an answer to an order means.

    Args:
        status: of HTTP, of an answer that has no call in it.
        code: the provider's own; None where it gave none.
        readable: whether the provider itself has answered, and not a page of somebody between.
    """
    if code is not None and code in BY_CODE:
        return BY_CODE[code]
    if status == HTTPStatus.UNAUTHORIZED or (status in _OF_THE_ACCOUNT and code is None):
        return _LOGIN
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return _BUSY
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return _SERVER
    if status < HTTPStatus.BAD_REQUEST or status in _NOT_DESCRIBED or not readable:
        return Meaning("in_doubt", "its answer says neither yes nor no")
    return Meaning("refused", "it takes no such order")
