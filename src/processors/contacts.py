"""Contacts: where a person can be reached, when, and by what that person wants to be told."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Protocol, Self
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, ConfigDict, Field, field_validator

from processors.addresses import CONTROLS, check_line, parse
from processors.errors import InvalidArgument
from processors.moments import zone_named
from processors.quiet_hours import QuietHours
from processors.redaction import MASK
from processors.results import Request, of_form

Channel = Literal["email", "inbox", "push", "sms", "chat"]
CHANNELS: tuple[Channel, ...] = ("inbox", "email", "push", "sms", "chat")
"""In the order in which they are submitted."""

MOST_ENDPOINTS = 20
LONGEST_URL = 2_048
CHAT_URL = re.compile(r"[a-z][a-z0-9]{1,31}://\S+")
Phone = Annotated[
    str, of_form(r"\+[1-9][0-9]{1,14}", "must be like +436641234567: a plus, the country's code, at most 15 digits")
]
"""E.164 by shape."""

Language = Annotated[str, of_form(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8}){0,3}", "must be a code like de or pt-BR (BCP 47)")]
"""By shape."""


def _one_name(value: str) -> str:
    if value in {".", ".."}:
        raise ValueError(f"must be neither . nor ..; got {value!r}")
    return check_line(value)  # a type stands in the subject of a digest


UserId = Annotated[str, Field(min_length=1, max_length=255), AfterValidator(_one_name)]
"""A caller's own name for a person; `.` and `..` would lead elsewhere in the URL of a directory."""

NotificationType = Annotated[str, Field(min_length=1, max_length=100), AfterValidator(_one_name)]


class PushKeys(Request):
    """What a browser gives with its subscription, base64url (RFC 8291)."""

    model_config = ConfigDict(extra="ignore")

    p256dh: Annotated[str, of_form(r"[A-Za-z0-9_-]{87}=?", "must be 65 bytes in base64url")] = Field(repr=False)
    auth: Annotated[str, of_form(r"[A-Za-z0-9_-]{22}={0,2}", "must be 16 bytes in base64url")] = Field(repr=False)


class Subscription(Request):
    """A browser that takes web push, as its `PushSubscription.toJSON()` says; what else that says is left out."""

    model_config = ConfigDict(extra="ignore")

    endpoint: str = Field(max_length=LONGEST_URL, repr=False)
    keys: PushKeys

    @field_validator("endpoint")
    @classmethod
    def _check_endpoint(cls, value: str) -> str:
        if CONTROLS.search(value) or not value.startswith("https://") or not _host(value):
            raise ValueError("must be an https:// URL with a host, as the browser gave it")
        return value


class Preferences(Request):
    """What a person wants to be told, and by what; what is not said is wanted.

    Attributes:
        channels: whether a channel is wanted at all.
        types: whether a type is wanted at all.
        type_channels: whether a type is wanted by a channel; decides where the other two say anything else.
    """

    channels: dict[Channel, bool] = {}
    types: dict[NotificationType, bool] = {}
    type_channels: dict[NotificationType, dict[Channel, bool]] = {}

    def want(self, notification_type: str, channel: Channel) -> bool:
        """Tell whether a type is wanted by a channel: as is said for both, else unless one of them is not wanted."""
        own = self.type_channels.get(notification_type, {}).get(channel)
        if own is not None:
            return own
        return self.channels.get(channel, True) and self.types.get(notification_type, True)


class Contact(Request):
    """All that is known of a person; every part may be missing."""

    email: str | None = None
    phone: Phone | None = None
    push: list[Subscription] | None = Field(default=None, max_length=MOST_ENDPOINTS)
    chat: list[str] | None = Field(default=None, max_length=MOST_ENDPOINTS, repr=False)
    time_zone: str | None = None
    language: Language | None = None
    quiet_hours: QuietHours | None = None
    preferences: Preferences | None = None

    @field_validator("email")
    @classmethod
    def _check_email(cls, value: str | None) -> str | None:
        if value is not None:
            parse(value)
        return value

    @field_validator("chat")
    @classmethod
    def _check_chat(cls, value: list[str] | None) -> list[str] | None:
        for url in value or ():
            if not CHAT_URL.fullmatch(url) or len(url) > LONGEST_URL or CONTROLS.search(url):
                raise ValueError(f"must be Apprise URLs such as slack://…, of at most {LONGEST_URL} characters")
        return value

    @field_validator("time_zone")
    @classmethod
    def _check_zone(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                zone_named(value)
            except InvalidArgument as error:
                raise ValueError(str(error).removeprefix("timezone: ").removesuffix(".")) from error
        return value

    def stored(self) -> dict[str, Any]:
        """Return what is known as JSON values; secrets are in it."""
        return self.model_dump(mode="json", exclude_none=True)

    def shown(self) -> dict[str, Any]:
        """Return what is known, with the secrets masked that are in the addresses of browsers and chat services."""
        told: dict[str, Any] = dict.fromkeys(Contact.model_fields) | self.stored()
        if self.push is not None:
            told["push"] = [{"endpoint": f"https://{_host(one.endpoint)}/{MASK}", "keys": MASK} for one in self.push]
        if self.chat is not None:
            told["chat"] = [f"{url.partition('://')[0]}://{MASK}" for url in self.chat]
        return told

    def over(self, other: Self) -> Self:
        """Return this contact, with what it lacks from the other one."""
        return type(self).model_validate(other.stored() | self.stored())

    def endpoints(self, channel: Channel) -> list[dict[str, Any]]:
        """Return where a channel reaches this person, as `processors.carriers.Carrier.send` takes it."""
        if channel == "push":
            return [one.model_dump(mode="json") for one in self.push or []]
        if channel == "chat":
            return [{"url": url} for url in self.chat or []]
        if channel == "sms":
            return [{"phone": self.phone}] if self.phone else []
        return [{"email": self.email}] if self.email else []

    def zone(self) -> ZoneInfo:
        """Return whose clocks count; without a zone, UTC's."""
        return zone_named(self.time_zone or "UTC")


class ContactChange(Request):
    """Whose contact is meant."""

    user_id: UserId


class Contacts(Protocol):
    """Finds people."""

    def find(self, user_id: str) -> Contact | None:
        """Return all that is known of a person, or None.

        Raises:
            TransientError: it cannot be found out now.
            PermanentError: what is known is not acceptable.
        """
        ...

    def drop(self, user_id: str, channel: Channel, endpoint: Mapping[str, Any]) -> None:
        """Forget an endpoint that does not exist any more."""
        ...


class ContactDirectory(Protocol):
    """A directory elsewhere that knows people."""

    def find(self, user_id: str) -> Contact | None:
        """Return what it knows of a person, or None; raises as `Contacts.find`."""
        ...


def without(contact: Mapping[str, Any], channel: Channel, endpoint: Mapping[str, Any]) -> dict[str, Any]:
    """Return a stored contact without an endpoint."""
    left = dict(contact)
    if channel == "push":
        left["push"] = [one for one in left.get("push", ()) if one["endpoint"] != endpoint["endpoint"]]
    elif channel == "chat":
        left["chat"] = [url for url in left.get("chat", ()) if url != endpoint["url"]]
    elif channel == "sms" and left.get("phone") == endpoint["phone"]:
        del left["phone"]
    return {name: value for name, value in left.items() if value != []}


def _host(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None
