"""The parts of a parent, a row each: neither message nor parent record contains them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from sqlalchemy import (
    Column,
    Connection,
    Index,
    Integer,
    String,
    Table,
    bindparam,
    case,
    func,
    insert,
    literal,
    select,
    update,
)

from processors.interfaces import Member, MemberEnd
from records.columns import Instant, Json, Now, metadata
from records.database import Database
from records.deliveries import deliveries

WAITING = "waiting"
INSERT_ROWS = PAGE_ROWS = 5_000

members = Table(
    "members",
    metadata,
    Column("task_id", String(255), primary_key=True),  # the parent
    Column("position", Integer, primary_key=True),
    Column("arguments", Json, nullable=False),
    Column("state", String(16), nullable=False),
    Column("outcome", Json),
    Column("closed_at", Instant),
)

# All that is counted is in it: the arguments of a large bulk are gigabytes, which no count reads.
Index("ix_members_task_id", members.c.task_id, members.c.closed_at, members.c.state)


def insert_members(connection: Connection, parent_id: str, arguments: Iterable[Mapping[str, Any]]) -> int:
    """Insert a parent's members inside a caller's transaction; returns how many."""
    positions = enumerate(arguments)
    total = 0
    while rows := [
        {"task_id": parent_id, "position": position, "arguments": dict(one), "state": WAITING}
        for position, one in islice(positions, INSERT_ROWS)
    ]:
        connection.execute(insert(members), rows)
        total += len(rows)
    return total


class MemberRecords:
    """Fulfils `processors.interfaces.Members`."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def waiting(self, parent_id: str, first: int, count: int) -> Sequence[Member]:
        """Return the members at positions first .. first + count - 1 that have no final state yet."""
        c = members.c
        query = (
            select(c.position, c.arguments)
            .where(c.task_id == parent_id, c.position.between(first, first + count - 1), c.state == WAITING)
            .order_by(c.position)
        )
        return [Member(*row) for row in self.database.read(lambda connection: connection.execute(query).all())]

    def close_all(self, parent_id: str, ends: Sequence[MemberEnd]) -> None:
        """Store the final states and outcomes of those that have none, in one transaction."""
        if not ends:
            return
        c = members.c
        statement = (
            update(members)
            .where(c.task_id == parent_id, c.position == bindparam("at"), c.state == WAITING)
            .values(state=bindparam("ended"), outcome=bindparam("told", type_=c.outcome.type), closed_at=Now())
        )
        rows = [
            {"at": one.position, "ended": one.state, "told": dict(one.outcome or {})}
            for one in sorted(ends, key=lambda one: one.position)  # so that nobody else's rows are locked crosswise
        ]
        self.database.write(lambda connection: connection.execute(statement, rows))

    def ends(self, parent_id: str, first: int, count: int) -> Sequence[MemberEnd]:
        """Return what became of the members at positions first .. first + count - 1, in their order."""
        c = members.c
        query = (
            select(c.position, c.state, c.outcome)
            .where(c.task_id == parent_id, c.position.between(first, first + count - 1))
            .order_by(c.position)
        )
        return [MemberEnd(*row) for row in self.database.read(lambda connection: connection.execute(query).all())]

    def all_ends(self, parent_id: str) -> Iterator[MemberEnd]:
        """Yield what became of a parent's members, in their order; a page of them is held in memory."""
        first = 0
        while page := self.ends(parent_id, first, PAGE_ROWS):
            yield from page
            first += PAGE_ROWS

    def tally(self, parent_id: str) -> dict[str, int]:
        """Return how many members stand in each state."""
        query = select(members.c.state, func.count()).where(members.c.task_id == parent_id).group_by(members.c.state)
        return {row[0]: row[1] for row in self.database.read(lambda c: c.execute(query).all())}

    def cancelled_tally(self, parent_id: str) -> dict[str, int]:
        """Return how many members of a cancelled parent stand in each state, and of those left, in the mail's."""
        c = members.c
        told = case((c.state == WAITING, func.coalesce(_handed_over(), "cancelled")), else_=c.state).label("told")
        each = select(told).where(c.task_id == parent_id).subquery()
        query = select(each.c.told, func.count()).group_by(each.c.told)
        found = {row[0]: row[1] for row in self.database.read(lambda connection: connection.execute(query).all())}
        accepted = found.pop("accepted", 0)
        return found | {"sent": found.get("sent", 0) + accepted}

    def in_doubt(self, parent_id: str, limit: int) -> list[dict[str, Any]]:
        """Return those of a cancelled parent of whose mail nobody knows whether it arrived, as `outcomes` does."""
        c = members.c
        query = (
            select(c.position, c.arguments, literal("unknown").label("state"), c.outcome)
            .where(c.task_id == parent_id, c.state == WAITING, _handed_over() == "unknown")
            .order_by(c.position)
            .limit(limit)
        )
        return [dict(row) for row in self.database.read(lambda connection: connection.execute(query).mappings().all())]

    def left(self, parent_id: str) -> list[tuple[int, str | None]]:
        """Return the positions of those that have no final state, and what is known of the mail of each.

        That is `accepted` or `unknown` where it was handed over for somebody, else None.
        """
        c = members.c
        query = select(c.position, _handed_over()).where(c.task_id == parent_id, c.state == WAITING)
        rows = self.database.read(lambda connection: connection.execute(query.order_by(c.position)).all())
        return [(position, known) for position, known in rows]

    def last_states(self, parent_id: str, count: int, since: datetime | None) -> list[str]:
        """Return the states of those that ended last, the last one first; only of those that ended after a moment."""
        c = members.c
        query = select(c.state).where(c.task_id == parent_id, c.closed_at > (since or datetime.min.replace(tzinfo=UTC)))
        query = query.order_by(c.closed_at.desc()).limit(count)
        return list(self.database.read(lambda connection: connection.execute(query).scalars().all()))

    def pace(self, parent_id: str, state: str, seconds: float) -> float:
        """Return how many a second ended in a state, in the last so many seconds."""
        c = members.c
        query = select(func.count(), func.min(c.closed_at), Now()).where(
            c.task_id == parent_id, c.closed_at > Now(-seconds), c.state == state
        )
        [(count, first, now)] = self.database.read(lambda connection: connection.execute(query).all())
        return count / max(1.0, (now - first).total_seconds()) if count else 0.0

    def outcomes(self, parent_id: str, states: Sequence[str], limit: int) -> list[dict[str, Any]]:
        """Return position, arguments, state and outcome of members in these states, in order."""
        c = members.c
        query = (
            select(c.position, c.arguments, c.state, c.outcome)
            .where(c.task_id == parent_id, c.state.in_(states))
            .order_by(c.position)
            .limit(limit)
        )
        return [dict(row) for row in self.database.read(lambda connection: connection.execute(query).mappings().all())]


def _handed_over() -> Any:
    """Return in SQL what is known of a member's mail that was handed over; NULL where it was not."""
    c = deliveries.c
    told = case((c.state == "accepted", 2), (c.state.in_(["handing", "unknown"]), 1))
    most = select(func.max(told)).where(c.task_id == members.c.task_id, c.position == members.c.position)
    return case({2: "accepted", 1: "unknown"}, value=most.scalar_subquery())
