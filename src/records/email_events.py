"""What was told of mails after they had gone out: bounces, complaints, deliveries.

A hard bounce, a complaint or an unsubscription suppresses its address in the transaction that keeps the event. What is
told changes no delivery's state: that our server took a mail stays true.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Index,
    Integer,
    String,
    Table,
    UniqueConstraint,
    delete,
    select,
)

from processors.errors import NotAuthentic
from processors.mail_events.event import Kind, MailEvent, known_as
from processors.messages import message_id
from processors.suppression import EVERYWHERE, normalised
from records.columns import SECONDS_PER_DAY, Instant, Now, PlainText, metadata, now_once
from records.database import Database
from records.deliveries import deliveries
from records.insertion import insert_into
from records.suppressions import note_bounce, put, suppress_bounced

OF_REPORT = "report"
"""The provider of what a mail server's own report tells: anybody can write one, so it must be about a mail of ours."""

NO_KIND = ""
"""The kind of a row that holds the token of what does not count here, such as an open: it is used up, too."""

MAILS_LOOKED_AT = 1_000
"""Of one address, the newest: a report comes within days of its mail."""

email_events = Table(
    "email_events",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("provider", String(32), nullable=False),
    Column("event_id", String(255), nullable=False),  # the provider's own
    Column("address", String(320), nullable=False),  # normalised
    Column("kind", String(16), nullable=False),
    Column("hard", Boolean, nullable=False),
    Column("code", Integer),
    Column("enhanced", String(16)),
    Column("text", PlainText, nullable=False),
    Column("message_id", String(998)),  # that the mail was sent with
    Column("task_id", String(255)),  # whose mail it was, where that is known
    Column("at", Instant, nullable=False),  # as it was told, else when it was told
    Column("token", String(255)),  # of a signature that is good for one event
    Column("received_at", Instant, nullable=False),
    UniqueConstraint("provider", "event_id", "address", name="uq_email_events_event"),
    UniqueConstraint("provider", "token", name="uq_email_events_token"),
)

columns = email_events.c

Index("ix_email_events_address", columns.address)
Index("ix_email_events_message_id", columns.message_id)
Index("ix_email_events_received_at", columns.received_at)


@dataclass(frozen=True, slots=True)
class KeptEvent:
    """An event as it was read; `task_id` is None where nobody knows whose mail it was."""

    id: int
    provider: str
    kind: Kind
    address: str
    hard: bool
    code: int | None
    enhanced: str | None
    text: str
    message_id: str | None
    task_id: str | None
    at: datetime


SHOWN = [columns[name] for name in KeptEvent.__slots__]


class EmailEvents:
    """Keeps events and does what they ask for."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def receive(self, provider: str, events: Sequence[MailEvent], token: str | None = None) -> list[KeptEvent]:
        """Keep those of these events that are new, and suppress whom they say is not to be mailed.

        Args:
            provider: who tells them.
            events: those whose address is none are passed over.
            token: of the signature, where it is good for one event alone.

        Returns:
            The new ones.

        Raises:
            NotAuthentic: the token was used for another event.
        """
        given = [(address, event) for event in events if (address := _address(event)) is not None]
        once = {(address, event.event_id): (address, event) for address, event in reversed(given)}  # the first counts
        # two who write the same addresses lock them in the same order
        addressed = sorted(once.values(), key=lambda pair: pair[0])

        def work(connection: Connection) -> list[KeptEvent]:
            if token is not None:
                used_by = {event.event_id for _, event in addressed} or {known_as(token)}
                _check_token(connection, provider, token, used_by)
                if not addressed:
                    _use_up(connection, provider, token)
            kept = [_keep(connection, provider, address, event, token) for address, event in addressed]
            return [one for one in kept if one is not None]

        return self.database.write(work)

    def listed(
        self, message_id: str | None = None, address: str | None = None, limit: int = 100, after: int | None = None
    ) -> list[KeptEvent]:
        """Return events, the newest first; `after` is the id of the last one of the page before."""
        query = select(*SHOWN).where(columns.kind != NO_KIND).order_by(columns.id.desc()).limit(limit)
        for column, value in ((columns.message_id, message_id), (columns.address, address)):
            if value is not None:
                query = query.where(column == value)
        if after is not None:
            query = query.where(columns.id < after)
        return [KeptEvent(**row) for row in self.database.read(lambda c: c.execute(query).mappings().all())]

    def prune(self, days: float) -> int:
        """Remove events that were told more than so many days ago; returns how many."""
        old = delete(email_events).where(columns.received_at < now_once(-days * SECONDS_PER_DAY))
        return self.database.write(lambda c: c.execute(old).rowcount, durable=False)


def _address(event: MailEvent) -> str | None:
    try:
        return normalised(event.address)
    except ValueError:
        return None


def _check_token(connection: Connection, provider: str, token: str, event_ids: set[str]) -> None:
    query = select(columns.event_id).where(columns.provider == provider, columns.token == token)
    if any(event_id not in event_ids for (event_id,) in connection.execute(query).all()):
        raise NotAuthentic(f"This event has the signature of another one of {provider}.")


def _use_up(connection: Connection, provider: str, token: str) -> None:
    """Keep the token of what does not count here, or it would sign something else."""
    values = {"provider": provider, "event_id": known_as(token), "address": "", "kind": NO_KIND, "hard": False}
    values |= {"text": "", "token": token, "at": Now(), "received_at": Now()}
    connection.execute(insert_into(email_events, connection.dialect.name).values(values).on_conflict_do_nothing())


def _keep(connection: Connection, provider: str, address: str, event: MailEvent, token: str | None) -> KeptEvent | None:
    task_id = _task_of(connection, address, event)
    values: dict[str, Any] = {
        name: getattr(event, name) for name in ("kind", "hard", "code", "enhanced", "text", "message_id", "event_id")
    }
    values |= {"provider": provider, "address": address, "task_id": task_id, "token": token}
    values |= {"at": Now() if event.at is None else event.at, "received_at": Now()}
    # whichever is there already, the event or its token: nothing is new
    insert = insert_into(email_events, connection.dialect.name).values(values).on_conflict_do_nothing()
    row = connection.execute(insert.returning(*SHOWN)).mappings().one_or_none()
    if row is None:
        return None
    if provider != OF_REPORT or task_id is not None:
        _follow(connection, provider, address, event)
    return KeptEvent(**row)


def _follow(connection: Connection, provider: str, address: str, event: MailEvent) -> None:
    """Suppress the address where the event says so."""
    if event.kind == "complained":
        put(connection, address, EVERYWHERE, "complaint", None, source=provider, text=event.text)
    elif event.kind == "unsubscribed":
        put(connection, address, EVERYWHERE, "unsubscribe", None, source=provider, text=event.text)
    elif event.hard and provider == OF_REPORT:
        note_bounce(connection, address, event.message_id or event.event_id, provider, event.text)
    elif event.hard:  # a provider has weighed it already, and mails the address no more itself
        suppress_bounced(connection, address, provider, event.text)


def _task_of(connection: Connection, address: str, event: MailEvent) -> str | None:
    """Return the task whose mail to this address has the event's Message-ID; that one is a digest of its mail's id."""
    if event.message_id is None:
        return None
    sender, c = event.message_id.strip("<>"), deliveries.c
    query = select(c.task_id, c.position).where(c.address.in_({address, event.address.strip()}))
    query = query.order_by(c.created_at.desc()).limit(MAILS_LOOKED_AT)
    rows = connection.execute(query).all()
    ours = (task_id for task_id, position in rows if message_id(f"{task_id}-{position}", sender) == event.message_id)
    return next(ours, None)
