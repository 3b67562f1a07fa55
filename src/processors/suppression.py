"""Who is not mailed any more, and why: what is asked before a mail goes out, and what is learned from its answer."""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, Protocol, get_args

from pydantic import AfterValidator, Field

from processors.addresses import check_line, parse
from processors.results import Request

Reason = Literal["complaint", "hard_bounce", "unsubscribe", "manual"]

REASONS: tuple[Reason, ...] = get_args(Reason)
"""The strongest first: of several that an address has, it is the one that is told."""

ALWAYS_BINDING: frozenset[Reason] = frozenset({"complaint", "hard_bounce"})
"""These keep even a critical mail back: it would cost the sender its name, or reach nobody."""

EVERYWHERE = "all"
"""The scope of what counts for every mail; any other scope is a list's name."""

LONGEST_LIST_NAME = 300
"""Bytes: the address where one leaves the list holds it, and is one line of a mail (RFC 5322 2.1.1)."""

BOUNCED_CODES = frozenset({550, 551, 553, 556})
"""Replies that may be about the mailbox (RFC 5321 4.2.3), or its domain (RFC 7504)."""

BOUNCED_STATUS = re.compile(r"5\.1\.(0|1|2|3|4|6|10)")
"""The recipient's address is none that takes mail (RFC 3463 3.2, RFC 7505); 5.1.7 and 5.1.8 are about the sender's."""

SPARED_CODES = frozenset({552, 554})
SPARED_STATUS = re.compile(r"5\.(?!1\.)\d{1,3}\.\d{1,3}|5\.1\.[78]|[24]\..*")


def is_hard_bounce(code: int | None, enhanced: str | None) -> bool:
    """Tell whether a server's refusal says that the recipient's address takes no mail.

    Policy and spam (5.7.x), a full mailbox (552, 5.2.x), 554 and refusals without an enhanced code do not say so.

    Args:
        code: of the reply, where it is known.
        enhanced: its enhanced status code (RFC 3463); without one nothing is concluded.
    """
    return (code is None or code in BOUNCED_CODES) and BOUNCED_STATUS.fullmatch(enhanced or "") is not None


def is_spared(code: int | None, enhanced: str | None) -> bool:
    """Tell whether a refusal that a provider calls permanent is about something else than the address."""
    return code in SPARED_CODES or SPARED_STATUS.fullmatch(enhanced or "") is not None


def normalised(text: str) -> str:
    """Return an address as addresses are compared: without a name, in lower case, its domain in ASCII (IDNA).

    Servers may tell local parts apart by case (RFC 5321 2.4); none is known to, and people type them as they like.

    Raises:
        ValueError: it is not one valid address; the message says why.
    """
    return parse(text).addr_spec.lower()


def _list_name(value: str) -> str:
    if value == EVERYWHERE:
        raise ValueError(f"must not be {EVERYWHERE!r}, which means every mail")
    if (size := len(value.encode())) > LONGEST_LIST_NAME:
        raise ValueError(f"must have at most {LONGEST_LIST_NAME} bytes in UTF-8; got {size}")
    return check_line(value)


def _addressed(value: str) -> str:
    return normalised(value)


ListName = Annotated[str, Field(min_length=1, max_length=200, pattern=r"\S"), AfterValidator(_list_name)]
"""The name of a list of recipients, as the mails to it tell it."""

SomeAddress = Annotated[str, AfterValidator(_addressed)]


class SuppressEmail(Request):
    """Mail an address no more."""

    address: SomeAddress
    reason: Reason = "manual"
    list_name: ListName | None = None


class UnsuppressEmail(Request):
    """Mail an address again."""

    address: SomeAddress
    list_name: ListName | None = None


class ListSuppressions(Request):
    """Show who is not mailed."""

    address: SomeAddress | None = None
    list_name: ListName | None = None
    reason: Reason | None = None
    limit: int = Field(default=100, ge=1, le=1_000)
    after: int | None = Field(default=None, ge=1, le=2**63 - 1)


class ListEmailEvents(Request):
    """Show what was told of mails after they had gone out."""

    message_id: str | None = Field(default=None, min_length=1, max_length=998)
    address: SomeAddress | None = None
    limit: int = Field(default=100, ge=1, le=1_000)
    after: int | None = Field(default=None, ge=1, le=2**63 - 1)


class Suppressions(Protocol):
    """Knows who is not mailed; asked when a mail goes out, not when it was submitted."""

    def reasons(self, addresses: Sequence[str], list_name: str | None) -> Mapping[str, Reason]:
        """Return, of those of these addresses that are suppressed now, the strongest reason of each.

        Args:
            addresses: as they go into the envelope; so they are keys of what is returned.
            list_name: the list that the mail belongs to, whose suppressions count beside those of every mail.
        """
        ...

    def refused(self, address: str, code: int | None, enhanced: str | None, text: str, *, mail_id: str) -> None:
        """Note that a server refused a recipient; the second hard bounce within 24 hours suppresses the address.

        Args:
            address: as it went into the envelope.
            code: of the reply.
            enhanced: its enhanced status code.
            text: what else the server said.
            mail_id: which mail it was: the same one told again is no second bounce.
        """
        ...

    def accepted(self, addresses: Sequence[str]) -> None:
        """Forget the hard bounces that servers told of these before: now they take mail."""
        ...


class NobodySuppressed:
    """Fulfils `Suppressions` where no list is kept."""

    def reasons(self, addresses: Sequence[str], list_name: str | None) -> Mapping[str, Reason]:  # noqa: ARG002 - nobody
        """Return none."""
        return {}

    def refused(self, address: str, code: int | None, enhanced: str | None, text: str, *, mail_id: str) -> None:
        """Note nothing."""

    def accepted(self, addresses: Sequence[str]) -> None:
        """Note nothing."""
