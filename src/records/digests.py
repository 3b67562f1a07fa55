"""Digests: notifications that gather in windows of time, and go out as one when theirs closes.

A window is a row. Who adds to it holds that row until the commit, and who closes it writes into it: an entry is either
among those that are read at the close, or goes into the next window.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any
from uuid import NAMESPACE_OID, uuid5

from sqlalchemy import Column, Connection, Index, Integer, String, Table, exists, func, select, update

from processors.digests import Gathered
from records.columns import Instant, Now, PlainText, metadata
from records.database import Database
from records.identity import identity_of
from records.insertion import insert_into
from records.members import insert_members
from records.task_records import FINAL, Draft, insert_drafts, insertion
from records.task_records import columns as task_columns

digests = Table(
    "digests",
    metadata,
    Column("task_id", String(255), primary_key=True),  # the notification that goes out at the close
    Column("created_at", Instant, nullable=False),
    Column("closed_at", Instant),
)

digest_entries = Table(
    "digest_entries",
    metadata,
    Column("key", String(36), primary_key=True),  # of one submit
    Column("task_id", String(255), nullable=False),
    Column("number", Integer, nullable=False),
    Column("title", PlainText, nullable=False),
    Column("message", PlainText, nullable=False),
    Column("url", PlainText),
    Column("created_at", Instant, nullable=False),
)

entries = digest_entries.c

Index("ix_digest_entries_task_id", entries.task_id, entries.number)


@dataclass(frozen=True, slots=True)
class Gathering:
    """What a submit adds to a window.

    Attributes:
        name: of the windows: equal for what goes out together.
        seconds: how long each is; they begin at multiples of it since 1970.
        key: names this submit.
        entry: what is added.
        members: of the notification that goes out at the close.
        tasks_of: makes that one's tasks.
    """

    name: str
    seconds: int
    key: str
    entry: Gathered
    members: Sequence[Mapping[str, Any]]
    tasks_of: Callable[[Draft], Sequence[Draft]]

    def as_json(self) -> dict[str, Any]:
        """Return what an idempotency key is given to, beside the notification's own arguments."""
        return asdict(self.entry)

    def place(self, connection: Connection, parent: Draft) -> Draft:
        """Return the notification of the window that is open now, which stays so until the commit.

        Where the commit of this very submit was done and its answer lost, return the one that it went into.
        """
        known = connection.execute(select(entries.task_id).where(entries.key == self.key)).scalar()
        if known is not None:
            return replace(parent, id=known)
        now = connection.execute(select(Now())).scalar_one()
        window = int(now.timestamp()) // self.seconds
        secret = identity_of(connection)  # a mail's Message-ID is made of the id, and must not be guessed
        while not _is_open(connection, task_id := str(uuid5(NAMESPACE_OID, f"{secret}:{self.name}:{window}"))):
            window += 1
        return replace(parent, id=task_id, due_at=datetime.fromtimestamp((window + 1) * self.seconds, UTC))

    def add(self, connection: Connection, parent: Draft) -> None:
        """Write the entry, and the notification with its tasks where this is its window's first."""
        if insertion(connection.dialect.name, [parent])(connection):
            insert_members(connection, parent.id, self.members)
            insert_drafts(connection, self.tasks_of(parent))
        number = select(func.count()).where(entries.task_id == parent.id).scalar_subquery()
        values = {"title": self.entry.title, "message": self.entry.message, "url": self.entry.url}
        new = insert_into(digest_entries, connection.dialect.name).values(
            key=self.key, task_id=parent.id, number=number, created_at=Now(), **values
        )
        connection.execute(new.on_conflict_do_nothing())


class Digests:
    """Closes windows, and reads what they have gathered."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def close(self, task_id: str) -> list[Gathered]:
        """Close a window and return what it has gathered, in the order in which it came; the same ever after."""
        closing = update(digests).where(digests.c.task_id == task_id, digests.c.closed_at.is_(None))
        query = select(entries.title, entries.message, entries.url).where(entries.task_id == task_id)

        def work(connection: Connection) -> Sequence[Any]:
            connection.execute(closing.values(closed_at=Now()))
            return connection.execute(query.order_by(entries.number)).all()

        return [Gathered(*row) for row in self.database.write(work)]


def _is_open(connection: Connection, task_id: str) -> bool:
    """Tell whether a window takes entries, and keep it so until the commit; one that was cancelled takes none."""
    new = insert_into(digests, connection.dialect.name).values(task_id=task_id, created_at=Now())
    locked = new.on_conflict_do_update(index_elements=["task_id"], set_={"created_at": digests.c.created_at})
    closed_at = connection.execute(locked.returning(digests.c.closed_at)).scalar_one()
    ended = exists().where(task_columns.id == task_id, task_columns.state.in_([state.value for state in FINAL]))
    return closed_at is None and not connection.execute(select(ended)).scalar_one()
