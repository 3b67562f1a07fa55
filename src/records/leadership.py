"""Who leads: one row, a lease by the database's clock, and a term that rises with every change of leader.

A leader that does not reach the broker yields: it leads on, but another one that reaches it may take over at once.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import (
    Boolean,
    Column,
    ColumnElement,
    Connection,
    Integer,
    String,
    Table,
    and_,
    exists,
    or_,
    select,
    true,
    update,
)

from records.columns import Instant, Now, instant, metadata
from records.database import Database
from records.insertion import insert_into
from records.prepared import Prepared

LEASE_SECONDS = 5
SURE_SECONDS = 3.0
"""So long after it began to renew, a leader knows without asking that its lease lasts longer than a publish takes."""

QUIET_SECONDS = 2.0
"""A leader that was not heard for so long, although it renews every second, may be gone: another one gets ready."""

leadership = Table(
    "leadership",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("holder", String(64), nullable=False),
    Column("host", String(255), nullable=False),
    Column("pid", Integer, nullable=False),
    Column("term", Integer, nullable=False),
    Column("renewed_at", Instant, nullable=False),
    Column("yields", Boolean, nullable=False),
)

ROW = leadership.c.id == 1


def _lasts() -> ColumnElement[bool]:
    return leadership.c.renewed_at > Now(-LEASE_SECONDS)


class Lead(NamedTuple):
    """The lead as its holder has it: the fence of every write that decides something."""

    holder: str
    term: int


def leads(holder: str | ColumnElement[str], term: int | ColumnElement[int]) -> ColumnElement[bool]:
    """Tell in SQL whether this one leads, still in this term.

    A leader that was frozen or cut off finds out in the same statement; so does one that leads again since.
    """
    return exists().where(ROW, leadership.c.holder == holder, leadership.c.term == term, _lasts())


def fenced(lead: Lead | None) -> ColumnElement[bool]:
    """Tell in SQL whether a write may go on: with a lead only while it is held, without one always."""
    return true() if lead is None else leads(*lead)


@dataclass(frozen=True, slots=True)
class Leader:
    """The leader as it was read."""

    holder: str
    host: str
    pid: int
    term: int
    renewed_at: datetime
    yields: bool


def _heard(since: float) -> Prepared:
    """Return what reads the leader that was heard within so many seconds."""
    heard = leadership.c.renewed_at > Now(-since)
    return Prepared(lambda _: select(*(leadership.c[name] for name in Leader.__slots__)).where(ROW, heard))


CURRENT = _heard(LEASE_SECONDS)
HEARD = _heard(QUIET_SECONDS)


class Leadership:
    """Takes, renews and gives up the lead."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def take(self, holder: str, host: str, pid: int, *, reaches_broker: bool = True) -> int | None:
        """Take or renew the lead; returns its term, or None while another one holds it.

        A lease that ran out is a new term even for its old holder: what it did not see meanwhile nobody saw.

        Args:
            holder: an id of the one that wants to lead.
            host: its machine.
            pid: its process.
            reaches_broker: False makes it yield; True lets it take over from one that does.
        """
        first = insert_into(leadership, self.database.kind).values(
            id=1, holder="", host="", pid=0, term=0, renewed_at=Now(-LEASE_SECONDS), yields=False
        )
        same = leadership.c.holder == holder
        continued = and_(same, _lasts())
        free = [leadership.c.renewed_at <= Now(-LEASE_SECONDS), *([leadership.c.yields] if reaches_broker else [])]
        statement = (
            update(leadership)
            .where(ROW, or_(same, *free))
            .values(
                holder=holder,
                host=host,
                pid=pid,
                renewed_at=Now(),
                yields=not reaches_broker,
                term=leadership.c.term + 1 - continued.cast(Integer),
            )
            .returning(leadership.c.term)
        )

        def work(connection: Connection) -> int | None:
            connection.execute(first.on_conflict_do_nothing())
            return connection.execute(statement).scalar()

        return self.database.write(work, durable=False)

    def give_up(self, holder: str) -> None:
        """Let the next one lead at once."""
        statement = update(leadership).where(ROW, leadership.c.holder == holder)
        self.database.write(lambda c: c.execute(statement.values(renewed_at=Now(-LEASE_SECONDS))), durable=False)

    def current(self) -> Leader | None:
        """Return the leader whose lease lasts, or None."""
        return self._read(CURRENT)

    def heard(self) -> Leader | None:
        """Return the leader if it renewed its lease as lately as a living one does, or None."""
        return self._read(HEARD)

    def _read(self, query: Prepared) -> Leader | None:
        rows = self.database.read(query())
        if not rows:
            return None
        holder, host, pid, term, renewed_at, yields = rows[0]
        return Leader(holder, host, pid, term, instant(renewed_at), bool(yields))
