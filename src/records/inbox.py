"""The inbox that an application shows its users: a row per notification, and what its reader did with it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Index,
    Integer,
    String,
    Table,
    delete,
    func,
    select,
    update,
)

from records.columns import SECONDS_PER_DAY, Instant, Now, PlainText, metadata
from records.database import Database
from records.insertion import insert_into

PRUNED_AT_ONCE = 5_000

inbox = Table(
    "inbox",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("user_id", String(255), nullable=False),
    Column("type", PlainText, nullable=False),
    Column("title", PlainText, nullable=False),
    Column("body", PlainText, nullable=False),
    Column("url", PlainText),
    Column("dedupe_key", String(255), nullable=False, unique=True),  # the notification's id
    Column("created_at", Instant, nullable=False),
    Column("seen_at", Instant),
    Column("read_at", Instant),
    Column("archived_at", Instant),
)

columns = inbox.c

Index("ix_inbox_user_id", columns.user_id, columns.id)
Index("ix_inbox_created_at", columns.created_at)

MARKS: dict[str, dict[str, Any]] = {
    "seen": {"seen_at": func.coalesce(columns.seen_at, Now())},
    "read": {"seen_at": func.coalesce(columns.seen_at, Now()), "read_at": func.coalesce(columns.read_at, Now())},
    "archived": {
        "seen_at": func.coalesce(columns.seen_at, Now()),
        "archived_at": func.coalesce(columns.archived_at, Now()),
    },
    "unread": {"read_at": None},
}
"""What each mark writes; the first moment stays."""


@dataclass(frozen=True, slots=True)
class InboxItem:
    """A notification as its reader finds it."""

    id: int
    type: str
    title: str
    body: str
    url: str | None
    created_at: datetime
    seen_at: datetime | None
    read_at: datetime | None
    archived_at: datetime | None


SHOWN = [columns[name] for name in InboxItem.__slots__]


class InboxRecords:
    """Fulfils `processors.notifications.Inbox`, and keeps what readers do."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def write(self, key: str, user_id: str, notification_type: str, title: str, body: str, url: str | None) -> int:
        """Write a notification, unless one with this key was written before; returns its id."""
        values = {"user_id": user_id, "type": notification_type, "title": title, "body": body, "url": url}
        new = insert_into(inbox, self.database.kind).values(**values, dedupe_key=key, created_at=Now())
        statement = new.on_conflict_do_nothing(index_elements=["dedupe_key"])
        written = select(columns.id).where(columns.dedupe_key == key)

        def work(connection: Connection) -> int:
            connection.execute(statement)
            return connection.execute(written).scalar_one()

        return self.database.write(work)

    def items(
        self, user_id: str, limit: int, before: int | None = None, *, unread_only: bool = False, archived: bool = False
    ) -> list[InboxItem]:
        """Return a person's notifications, the newest first.

        Args:
            user_id: whose.
            limit: at most so many.
            before: only those that came before the one with this id.
            unread_only: only those that were not read.
            archived: those that were archived, instead of the others.
        """
        conditions = [columns.user_id == user_id, columns.archived_at.is_not(None) == archived]
        if before is not None:
            conditions.append(columns.id < before)
        if unread_only:
            conditions.append(columns.read_at.is_(None))
        query = select(*SHOWN).where(*conditions).order_by(columns.id.desc()).limit(limit)
        return [InboxItem(*row) for row in self.database.read(lambda c: c.execute(query).all())]

    def counts(self, user_id: str) -> tuple[int, int]:
        """Return how many of a person's notifications were not seen and not read, archived ones aside."""
        unseen, unread = (func.count().filter(moment.is_(None)) for moment in (columns.seen_at, columns.read_at))
        query = select(unseen, unread).where(columns.user_id == user_id, columns.archived_at.is_(None))
        row = self.database.read(lambda c: c.execute(query).one())
        return row[0], row[1]

    def mark(self, user_id: str, ids: Sequence[int], mark: str) -> int:
        """Mark some of a person's notifications as `MARKS` says; returns how many there are of them."""
        own = columns.user_id == user_id, columns.id.in_(list(ids))
        statement = update(inbox).where(*own).values(MARKS[mark]).returning(columns.id)
        return len(self.database.write(lambda c: c.execute(statement).all()))

    def prune(self, days: float) -> int:
        """Remove notifications that were written so many days ago; returns how many."""
        old = select(columns.id).where(columns.created_at < Now(-days * SECONDS_PER_DAY)).limit(PRUNED_AT_ONCE)
        statement = delete(inbox).where(columns.id.in_(old)).returning(columns.id)
        removed = 0
        while found := self.database.write(lambda c: len(c.execute(statement).all()), durable=False):
            removed += found
        return removed
