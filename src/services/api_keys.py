"""Keys of the API: made, listed and revoked, by whom it is written down."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from processors.errors import InvalidArgument, UnknownKey
from records.api_keys import ApiKey
from services.access import SCOPES, Caller, digest_of, id_of, new_key, reach
from services.audit import act_of
from services.submit_options import MAX_TENANT_CHARACTERS
from services.task_filters import Moment
from services.wiring import parts

LATEST = datetime(9999, 1, 1, tzinfo=UTC)
"""What is later cannot be told in every time zone."""

KEY_ID = re.compile("[0-9a-f]{16}")

Scope = Literal["read", "submit", "operate", "admin"]


def _printable(text: str) -> str:
    if not text.isprintable() or text != text.strip():
        raise ValueError("must be one line of letters, digits, signs and spaces, none at its ends")
    return text


class NewKey(BaseModel):
    """A key that is wanted."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"name": "billing", "scopes": ["submit"], "expires_at": "2030-01-01T00:00:00Z"}]
        },
    )

    name: Annotated[str, Field(min_length=1, max_length=100), AfterValidator(_printable)] = Field(
        description="What it is for."
    )
    scopes: list[Scope] = Field(
        default=["read"],
        min_length=1,
        max_length=4,
        description="What it may do; each has those before it: read, submit, operate, admin.",
    )
    tenant: Annotated[str, Field(min_length=1, max_length=MAX_TENANT_CHARACTERS), AfterValidator(_printable)] | None = (
        Field(default=None, description="Whose tasks alone it sees and touches; left out: everybody's.")
    )
    expires_at: Moment | None = Field(default=None, description="When it ends; left out: when it is revoked.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.tenant is not None and "admin" in self.scopes:
            raise ValueError("a tenant's key cannot be an admin's: who makes keys makes some without a tenant")
        if self.expires_at is not None and not datetime.now(UTC) < self.expires_at < LATEST:
            raise ValueError("expires_at must be in the future, and before the year 9999")
        return self


def add(caller: Caller, wanted: NewKey, once: str | None = None) -> dict[str, Any]:
    """Make a key; the answer is the only place where it is ever told.

    Args:
        caller: who makes it.
        wanted: the key.
        once: with this word such a key is made once.

    Raises:
        InvalidArgument: it was made with this word before.
    """
    key_id, key = id_of(once, wanted.model_dump_json(exclude={"expires_at"})), new_key()
    scopes = sorted(set(wanted.scopes))
    told = {"name": wanted.name, "scopes": scopes, "tenant": wanted.tenant, "expires_at": _iso(wanted.expires_at)}
    made = parts().api_keys.add(
        key_id,
        wanted.name,
        digest_of(key),
        scopes,
        wanted.tenant,
        wanted.expires_at,
        act=act_of(caller, "key.add", target=("key", key_id), count=1, details=told),
    )
    if made is None:
        raise InvalidArgument(
            f"This form was sent before: it made the key {key_id}, which was shown then and is not kept. "
            "Where nobody has it, revoke it and make another."
        )
    return shown(made) | {"key": key}


def listed() -> Sequence[dict[str, Any]]:
    """Return all keys, those that ended too, the newest first."""
    return [shown(key) for key in parts().api_keys.listed()]


def revoke(caller: Caller, key_id: str) -> dict[str, Any]:
    """End a key; it is refused in every process within 5 s. One that has ended before stays as it is.

    Raises:
        UnknownKey: there is none.
    """
    rows = parts().api_keys
    before = rows.read(key_id) if KEY_ID.fullmatch(key_id) else None
    if before is None:
        raise UnknownKey(f"There is no key with the id {key_id[:100]!r}; `csai keys ls` lists them.")
    rows.revoke(key_id, act_of(caller, "key.revoke", target=("key", key_id), count=1, details={"name": before.name}))
    return shown(rows.read(key_id) or before)


def shown(key: ApiKey) -> dict[str, Any]:
    """Return a key as callers read it, without what it is known by."""
    return {
        "id": key.id,
        "name": key.name,
        "scopes": [scope for scope in SCOPES if scope in reach(key.scopes)],
        "tenant": key.tenant,
        "created_at": key.created_at.isoformat(),
        "expires_at": _iso(key.expires_at),
        "revoked_at": _iso(key.revoked_at),
        "last_used_at": _iso(key.last_used_at),
    }


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
