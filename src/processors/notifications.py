"""Notifications: what a person is told, over several channels, and what became of each of them."""

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, cast
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from processors.addresses import check_line
from processors.contacts import CHANNELS, Channel, NotificationType, UserId
from processors.interfaces import MemberEnd
from processors.results import Request, Result, storable

LONGEST_TITLE = 1_000
DELIVERED_WHOLE = frozenset({"stored", "sent"})
DELIVERED = DELIVERED_WHOLE | {"partial"}
UNWANTED = frozenset({"preference", "quiet_hours", "cancelled", "suppressed", "not_let_out"})
"""Reasons for which a channel is left out as was wished."""

UNREACHABLE = ("no_endpoint", "not_configured")
WAITING = "waiting"
SHORTEST_DIGEST, LONGEST_DIGEST = 60, 7 * 24 * 3600

Reason = Literal["preference", "quiet_hours", "no_endpoint", "not_configured", "cancelled", "suppressed", "not_let_out"]
Outcome = dict[str, Any]


class SendNotification(Request):
    """What one person is told, and over which channels."""

    user_id: UserId
    notification_type: NotificationType
    title: str = Field(min_length=1, max_length=LONGEST_TITLE)
    message: str
    channels: Annotated[list[str], Field(strict=False)] | None = None
    critical: bool = False
    url: str | None = Field(default=None, min_length=1, max_length=2_048)
    digest: Annotated[int, Field(ge=SHORTEST_DIGEST, le=LONGEST_DIGEST)] | None = None

    @field_validator("title")
    @classmethod
    def _check_title(cls, value: str) -> str:
        return check_line(value)

    @field_validator("message")
    @classmethod
    def _check_message(cls, value: str) -> str:
        return storable(value)

    @field_validator("channels")
    @classmethod
    def _check_channels(cls, value: list[str] | None) -> list[str] | None:
        if value is None:
            return ["email"]
        unknown = [name for name in value if name not in CHANNELS]
        if unknown or not value:
            got = repr(unknown[0])[:100] if unknown else "an empty list"
            raise ValueError(f"must be of {', '.join(CHANNELS)}; got {got}")
        return [name for name in CHANNELS if name in value]

    @field_validator("url")
    @classmethod
    def _check_url(cls, value: str | None) -> str | None:
        if value is not None:
            check_line(value)
            leads = value.startswith("/") and not value.startswith("//")
            if not leads and urlsplit(value).scheme not in {"http", "https"}:
                raise ValueError(f"must be an http(s):// URL, or a path that begins with one /; got {value[:80]!r}")
        return value


class ReadInbox(Request):
    """A page of a person's inbox."""

    user_id: UserId
    unread_only: bool = False
    archived: bool = False
    limit: int = Field(default=50, ge=1, le=1_000)
    before: int | None = Field(default=None, ge=1, le=2**63 - 1)


class MarkInbox(Request):
    """What a reader did with some items of an inbox."""

    user_id: UserId
    ids: Annotated[list[Annotated[int, Field(ge=1, le=2**63 - 1)]], Field(max_length=1_000)]
    mark: Literal["seen", "read", "archived", "unread"]


class SendChannel(Request):
    """One channel of a notification.

    Attributes:
        notification_id: the notification, whose member at `position` this is.
        gathered: whether it is a digest, whose title and message are what its window has gathered.
        first_id: where it retries another one by hand, the first of those: to its reader it is that one.
    """

    notification_id: str
    position: int
    channel: Channel
    user_id: str
    notification_type: str
    title: str
    message: str
    url: str | None
    critical: bool
    gathered: bool
    expires_at: str | None
    first_id: str | None = None

    @property
    def known_as(self) -> str:
        """The id by which an inbox and a browser know the notification, however often it is retried."""
        return self.first_id or self.notification_id


class ChannelSent(Result):
    """What became of one channel."""

    channel: Channel
    outcome: Outcome

    def failure(self) -> str | None:
        """It was tried and nobody got it."""
        if self.outcome["status"] in DELIVERED | {"skipped"}:
            return None
        return f"{self.channel}: {_why(self.outcome)}"


class NotificationSent(Result):
    """What became of a notification, channel by channel.

    Attributes:
        status: `sent` where every channel that was wanted delivered, `partial` where some did, `skipped` where none was
            wanted, else `failed`.
        replayed: False: a submit that is repeated gets the first one's id, whose result this is.
        gathered: how many a digest has in it.
        code: why no channel could deliver: `no_endpoint` or `not_configured`.
    """

    status: Literal["sent", "partial", "skipped", "failed"]
    id: str
    replayed: bool = False
    channels: dict[str, Outcome]
    gathered: int | None = None
    code: str | None = None
    why: str | None = Field(default=None, exclude=True)

    def failure(self) -> str | None:
        """No channel delivered, although one was wanted."""
        return self.why

    def as_json(self) -> dict[str, Any]:
        """Return the JSON form, without what does not apply."""
        told = super().as_json()
        return {name: value for name, value in told.items() if value is not None}


def conclude_notification(
    notification_id: str,
    user_id: str,
    ends: Iterable[tuple[str, MemberEnd]],
    why_not: Callable[[int], Outcome],
    gathered: int | None = None,
) -> NotificationSent:
    """Add up the channels of a notification.

    Args:
        notification_id: which.
        user_id: whom it is for.
        ends: each channel with what became of it.
        why_not: tells what became of the channel at a position whose task ended without an outcome.
        gathered: how many a digest has in it.
    """
    channels = {
        channel: why_not(end.position) if end.state == WAITING else dict(end.outcome or {}) for channel, end in ends
    }
    told = {"id": notification_id, "channels": channels, "gathered": gathered}
    wanted = [outcome for outcome in channels.values() if outcome.get("reason") not in UNWANTED]
    statuses = [outcome["status"] for outcome in wanted]
    if any(status in DELIVERED for status in statuses):
        whole = all(status in DELIVERED_WHOLE for status in statuses)
        return NotificationSent.model_validate(told | {"status": "sent" if whole else "partial"})
    if not wanted:
        return NotificationSent.model_validate(told | {"status": "skipped"})
    reasons = [outcome.get("reason") for outcome in wanted]
    if all(reason in UNREACHABLE for reason in reasons):
        code = next(reason for reason in UNREACHABLE if reason in reasons)
        return NotificationSent.model_validate(
            told | {"status": "failed", "code": code, "why": _unreached(user_id, channels)}
        )
    why = "; ".join(f"{name}: {_why(outcome)}" for name, outcome in channels.items())
    return NotificationSent.model_validate(told | {"status": "failed", "why": f"No channel delivered: {why}"})


def skipped(reason: Reason) -> Outcome:
    """Return the outcome of a channel that was left out."""
    return {"status": "skipped", "reason": reason}


def _why(outcome: Mapping[str, Any]) -> str:
    """Tell in a few words why a channel did not deliver."""
    if "reason" in outcome:
        return str(outcome["reason"])
    refused = cast("dict[str, Any]", {**outcome.get("refused", {}), **outcome.get("deferred", {})})
    first = next((f"{address}: {one['text']}" for address, one in refused.items()), "")
    return str(outcome.get("text") or outcome.get("error") or first or outcome["status"])


def _unreached(user_id: str, channels: Mapping[str, Outcome]) -> str:
    listed = ", ".join(f"{name}: {_why(outcome)}" for name, outcome in channels.items())
    return (
        f"No channel could reach user {user_id!r} ({listed}): give the person an address with set_contact, or let "
        "CONTACT_DIRECTORY_URL name the directory that has it; what is not_configured needs its settings, as "
        "docs/notifications.md says."
    )


def utc_now() -> datetime:
    """Return the time."""
    return datetime.now(UTC)
