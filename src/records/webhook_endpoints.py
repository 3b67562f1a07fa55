"""Endpoints of webhooks, a row each: where, which ends, how far they were looked for, and whether it takes them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    String,
    Table,
    and_,
    case,
    delete,
    func,
    null,
    select,
    update,
)

from processors.webhooks import Wanted
from records import audit
from records.audit import Act
from records.columns import SECONDS_PER_DAY, Instant, Json, Now, PlainText, metadata
from records.database import Database
from records.insertion import insert_into

MOST = 100
FAILING_DAYS = 5
"""An endpoint that took nothing for so long is told nothing more."""

FAILED_WHY = f"Nothing that was sent to it was taken for {FAILING_DAYS} days."

webhook_endpoints = Table(
    "webhook_endpoints",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("url", PlainText, nullable=False),
    Column("secret", PlainText, nullable=False),  # as it is: whoever signs needs it
    Column("states", Json, nullable=False),
    Column("category", PlainText),
    Column("name", PlainText),
    Column("tenant", PlainText),
    Column("created_at", Instant, nullable=False),
    Column("disabled_at", Instant),
    Column("disabled_why", PlainText),
    Column("seen_to", Instant, nullable=False),  # what ended before was looked at; what ended then or later may not be
    Column("failing_since", Instant),  # the first failure after which nothing was taken
    Column("old_secret", PlainText),  # the one before, which signs too until then
    Column("old_until", Instant),
)

columns = webhook_endpoints.c
ENABLED = columns.disabled_at.is_(None)
FORGOTTEN = {"old_secret": null(), "old_until": null()}


@dataclass(frozen=True, slots=True)
class WebhookEndpoint:
    """An endpoint as it was read."""

    id: str
    url: str
    secret: str = field(repr=False)
    states: list[str]
    category: str | None
    name: str | None
    tenant: str | None
    created_at: datetime
    disabled_at: datetime | None
    disabled_why: str | None
    seen_to: datetime
    failing_since: datetime | None
    old_secret: str | None = field(repr=False)
    old_until: datetime | None

    @property
    def wanted(self) -> Wanted:
        """Which ends it is told of."""
        return Wanted(frozenset(self.states), self.category, self.name, self.tenant)


class WebhookEndpoints:
    """Keeps endpoints."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def add(self, values: Mapping[str, Any], act: Act) -> WebhookEndpoint | None:
        """Keep a new endpoint, which is told of what ends from now on, and who made it.

        None where there are 100, or one with its id.

        Args:
            values: its id, url, secret, states, category, name and tenant.
            act: who made it.
        """
        fresh = insert_into(webhook_endpoints, self.database.kind).values(**values, created_at=Now(), seen_to=Now())

        def work(connection: Connection) -> WebhookEndpoint | None:
            if connection.execute(select(func.count()).select_from(webhook_endpoints)).scalar_one() >= MOST:
                return None
            made = _one(connection, fresh.on_conflict_do_nothing(index_elements=["id"]).returning(*columns))
            if made is not None:
                audit.note(connection, act)
            return made

        return self.database.write(work)

    def listed(self) -> list[WebhookEndpoint]:
        """Return all endpoints, the newest first."""
        query = select(webhook_endpoints).order_by(columns.created_at.desc(), columns.id)
        return self.database.read(lambda c: endpoints_of(c, query))

    def read(self, endpoint_id: str) -> WebhookEndpoint | None:
        """Return an endpoint, or None where there is none."""
        return self.database.read(lambda c: _one(c, select(webhook_endpoints).where(columns.id == endpoint_id)))

    def change(
        self, endpoint_id: str, values: Mapping[str, Any], act: Act, *, enabled: bool | None = None
    ) -> WebhookEndpoint | None:
        """Change an endpoint, and write down who did; None where there is none.

        Args:
            endpoint_id: which.
            values: of url, states, category, name and tenant those that change.
            act: who did it.
            enabled: False tells it nothing more; True what ends from now on, where it was disabled.
        """
        return self._changed(endpoint_id, {**values, **_switched(enabled=enabled)}, act)

    def renew_secret(self, endpoint_id: str, secret: str, keep_hours: float, act: Act) -> WebhookEndpoint | None:
        """Give an endpoint another secret, and write down who did; the one before signs for so long, too.

        Returns None where there is none.
        """
        kept = {"old_secret": columns.secret, "old_until": Now(keep_hours * 3600)} if keep_hours else FORGOTTEN
        return self._changed(endpoint_id, {"secret": secret} | kept, act)

    def remove(self, endpoint_id: str, act: Act) -> bool:
        """Remove an endpoint, and write down who did; False where there is none."""
        gone = delete(webhook_endpoints).where(columns.id == endpoint_id).returning(columns.id)

        def work(connection: Connection) -> bool:
            done = connection.execute(gone).first() is not None
            if done:
                audit.note(connection, act)
            return done

        return self.database.write(work)

    def disable(self, endpoint_id: str, why: str) -> bool:
        """Tell an endpoint nothing more; False where that was so before."""
        return self._moved(and_(columns.id == endpoint_id, ENABLED), {"disabled_at": Now(), "disabled_why": why})

    def took(self, endpoint_id: str) -> None:
        """Note that an endpoint took something."""
        self._moved(and_(columns.id == endpoint_id, columns.failing_since.is_not(None)), {"failing_since": null()})

    def failed(self, endpoint_id: str) -> bool:
        """Note that an endpoint did not take something; tells whether it is disabled by that."""
        failing = and_(columns.id == endpoint_id, ENABLED)
        self._moved(and_(failing, columns.failing_since.is_(None)), {"failing_since": Now()})
        long_ago = columns.failing_since < Now(-FAILING_DAYS * SECONDS_PER_DAY)
        return self._moved(and_(failing, long_ago), {"disabled_at": Now(), "disabled_why": FAILED_WHY})

    def _changed(self, endpoint_id: str, changes: Mapping[str, Any], act: Act) -> WebhookEndpoint | None:
        statement = update(webhook_endpoints).where(columns.id == endpoint_id).values(dict(changes)).returning(*columns)

        def work(connection: Connection) -> WebhookEndpoint | None:
            changed = _one(connection, statement)
            if changed is not None:
                audit.note(connection, act)
            return changed

        return self.database.write(work)

    def _moved(self, which: ColumnElement[bool], values: Mapping[str, Any]) -> bool:
        statement = update(webhook_endpoints).where(which).values(dict(values)).returning(columns.id)
        return self.database.write(lambda c: c.execute(statement).first() is not None, durable=False)


def endpoints_of(connection: Connection, query: Any) -> list[WebhookEndpoint]:
    """Return the endpoints that a query finds."""
    return [WebhookEndpoint(**row) for row in connection.execute(query).mappings()]


def _one(connection: Connection, statement: Any) -> WebhookEndpoint | None:
    found = endpoints_of(connection, statement)
    return found[0] if found else None


def _switched(*, enabled: bool | None) -> dict[str, Any]:
    """Return the values by which an endpoint is enabled or disabled; where it is so already they change nothing."""
    if enabled is None:
        return {}
    if enabled:
        seen_to = case((columns.disabled_at.is_not(None), Now()), else_=columns.seen_to)
        return {"disabled_at": null(), "disabled_why": null(), "failing_since": null(), "seen_to": seen_to}
    return {
        "disabled_at": func.coalesce(columns.disabled_at, Now()),
        "disabled_why": func.coalesce(columns.disabled_why, "An admin disabled it."),
    }
