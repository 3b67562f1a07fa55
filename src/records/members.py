"""The parts of a parent, a row each: neither message nor parent record contains them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from sqlalchemy import Column, Connection, Integer, String, Table, bindparam, func, insert, select, update

from processors.interfaces import Member, MemberEnd
from records.columns import Instant, Json, Now, metadata
from records.database import Database

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
