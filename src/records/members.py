"""The parts of a parent, a row each: neither message nor parent record contains them."""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

from sqlalchemy import (
    Column,
    Connection,
    Executable,
    Index,
    Integer,
    RowMapping,
    String,
    Table,
    Text,
    and_,
    bindparam,
    case,
    delete,
    exists,
    func,
    insert,
    literal,
    select,
    type_coerce,
    update,
)

from processors.errors import ServiceUnavailable
from processors.interfaces import Member, MemberEnd, Run
from records.columns import Instant, Json, Now, metadata
from records.database import Database
from records.deliveries import DOUBTFUL, END_MAIL, TASK_ENDED, deliveries, newest
from records.prepared import Bound, Given, Prepared
from records.task_records import columns

WAITING = "waiting"
INSERT_ROWS = PAGE_ROWS = 5_000
PRUNED_AT_ONCE = 10_000
PRUNING_SECONDS = 1.0
OTHERS_SECONDS = 0.02
"""Between two transactions of many: SQLite's lock is no queue, and who waits for it looks every few milliseconds."""

SHARED_CHARACTERS = 256
"""A text at least so long that is the first member's, too, is kept with that one only, as the body of a newsletter."""


members = Table(
    "members",
    metadata,
    Column("task_id", String(255), primary_key=True),  # the parent
    Column("position", Integer, primary_key=True),
    Column("arguments", Json, nullable=False),  # without those that are the first member's
    Column("as_first", Json),  # the names of these
    Column("state", String(16), nullable=False),
    Column("outcome", Json),
    Column("closed_at", Instant),
)

# All that is counted is in it: the arguments of a large bulk are gigabytes, which no count reads.
Index("ix_members_task_id", members.c.task_id, members.c.closed_at, members.c.state)

MOST_LOOKED_AT = 20_000
"""Whose arguments are read for a figure that changes by itself soon: a large bulk's are gigabytes."""

LEFT_AS = {"expired": "expired", "deferred": "refused"}
"""What the recipients who still wait become with their member; else they are `cancelled`."""

GIVEN = (members.c.arguments, members.c.as_first)

MAY_REPEAT = type_coerce(members.c.arguments, Text).like('%"duplicate_of"%')
"""In SQL, what is looked at for a key `duplicate_of`: few, where most members are never read."""


LONGEST_PLACE = 9
"""Digits of a position: what has more is no member's, and more than a column takes."""


def place_of(member_id: str) -> tuple[str, int] | None:
    """Return the parent and the position that a member's id names, `<parent>:<position>`; None where it names none."""
    parent_id, mark, place = member_id.rpartition(":")
    named = mark and place.isascii() and place.isdecimal() and len(place) <= LONGEST_PLACE
    return (parent_id, int(place)) if named and str(int(place)) == place else None


def insert_members(
    connection: Connection,
    parent_id: str,
    arguments: Sequence[Mapping[str, Any]],
    first: int = 0,
    last: int | None = None,
) -> None:
    """Insert a parent's members inside a caller's transaction.

    Args:
        connection: of the transaction.
        parent_id: whose.
        arguments: of all its members.
        first: the position of the first one that is inserted.
        last: that of the first one that is not; None: all that follow are.
    """
    some = arguments[first:last]
    for start in range(0, len(some), INSERT_ROWS):
        rows = [
            {"task_id": parent_id, "position": position, "state": WAITING}
            | _kept(one, arguments[0] if position else {})
            for position, one in enumerate(some[start : start + INSERT_ROWS], first + start)
        ]
        connection.execute(insert(members), rows)


def _kept(arguments: Mapping[str, Any], first: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is kept of a member's arguments: its own, and the names of those that are the first member's."""
    same = [name for name, value in arguments.items() if _is_shared(value, first.get(name))]
    own = {name: value for name, value in arguments.items() if name not in same}
    return {"arguments": own, "as_first": same or None}


def _is_shared(value: Any, first: Any) -> bool:
    return isinstance(value, str) and len(value) >= SHARED_CHARACTERS and value == first


class MemberRecords:
    """Fulfils `processors.interfaces.Members`."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._pruned_to = ""  # the last parent that a pruning has looked at
        self._without_parent: set[str] = set()

    def write_before(self, parent_id: str, arguments: Sequence[Mapping[str, Any]]) -> None:
        """Write the members of a parent that is not there yet, but for the last ones, in bounded transactions.

        Nobody sees them before the parent is written, which adds the rest.
        """
        for first in range(0, len(arguments) - INSERT_ROWS, INSERT_ROWS):
            some = partial(
                insert_members, parent_id=parent_id, arguments=arguments, first=first, last=first + INSERT_ROWS
            )
            self.database.write(some, durable=False)
            time.sleep(OTHERS_SECONDS)

    def prune(self) -> int:
        """Remove members whose parent was not written in the end: a prune finds them, and the next one removes them.

        Some parents are looked at, and those behind them the next time; so are members that take too long to remove.
        Returns how many parents' members were removed.
        """
        c = members.c
        page = select(c.task_id).where(c.position == 0, c.task_id > self._pruned_to).order_by(c.task_id)
        page = page.limit(PRUNED_AT_ONCE).subquery()
        orphan = ~exists().where(columns.id == page.c.task_id)
        query = select(page.c.task_id, orphan).order_by(page.c.task_id)
        rows = self.database.read(lambda connection: connection.execute(query).all())
        self._pruned_to = rows[-1][0] if len(rows) == PRUNED_AT_ONCE else ""
        found = {task_id for task_id, without_parent in rows if without_parent}
        until = time.monotonic() + PRUNING_SECONDS
        removed = {one for one in found & self._without_parent if remove_members(self.database, one, until)}
        self._without_parent -= {task_id for task_id, _ in rows}
        self._without_parent |= found - removed
        return len(removed)

    def waiting(self, parent_id: str, first: int, count: int) -> Sequence[Member]:
        """Return the members at positions first .. first + count - 1 that have no final state yet."""
        c = members.c
        query = (
            select(c.position, *GIVEN)
            .where(c.task_id == parent_id, c.position.between(first, first + count - 1), c.state == WAITING)
            .order_by(c.position)
        )
        return [Member(**row) for row in self._with_arguments(parent_id, query)]

    def waiting_after(self, parent_id: str, after: int, limit: int) -> Sequence[Member]:
        """Return the first members behind a position that have no final state yet."""
        c = members.c
        query = select(c.position, *GIVEN).where(c.task_id == parent_id, c.position > after, c.state == WAITING)
        return [Member(**row) for row in self._with_arguments(parent_id, query.order_by(c.position).limit(limit))]

    def close_all(self, parent_id: str, ends: Sequence[MemberEnd], run: Run | None = None) -> None:
        """Store the final states and outcomes of those that have none, in one transaction.

        Nothing where a run is given that is not its task's newest any more.
        """
        if ends:
            self.database.write(closing_members(parent_id, ends, run))

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

    def ended_in(self, parent_id: str, states: Sequence[str]) -> Iterator[MemberEnd]:
        """Yield all that stand in these states, in their order; a page of them is held in memory."""
        c = members.c
        query = (
            select(c.position, c.state, c.outcome)
            .where(c.task_id == parent_id, c.state.in_(states), c.position > bindparam("last"))
            .order_by(c.position)
            .limit(PAGE_ROWS)
        )
        last = -1
        while page := self.database.read(
            lambda connection, after=last: connection.execute(query, {"last": after}).all()
        ):
            yield from (MemberEnd(*row) for row in page)
            last = page[-1].position

    def tally(self, parent_id: str) -> dict[str, int]:
        """Return how many members stand in each state."""
        query = select(members.c.state, func.count()).where(members.c.task_id == parent_id).group_by(members.c.state)
        return {row[0]: row[1] for row in self.database.read(lambda c: c.execute(query).all())}

    def cancelled_tally(self, parent_id: str) -> dict[str, int]:
        """Return how many members of a cancelled parent stand in each state, and of those left, in the mail's.

        Of these, one that repeats an earlier one is a duplicate, as where its task had come to it. Where more than
        `MOST_LOOKED_AT` are left they are told as cancelled, until the leader has settled them.
        """
        c = members.c
        told = case((c.state == WAITING, func.coalesce(_handed_over(), "cancelled")), else_=c.state).label("told")
        each = select(told).where(c.task_id == parent_id).subquery()
        query = select(each.c.told, func.count()).group_by(each.c.told)
        found = {row[0]: row[1] for row in self.database.read(lambda connection: connection.execute(query).all())}
        accepted, left = found.pop("accepted", 0), found.get("cancelled", 0)
        if 0 < left <= MOST_LOOKED_AT and (repeated := self._count_repeated(parent_id)):
            found["cancelled"] = left - repeated
            found["duplicate"] = found.get("duplicate", 0) + repeated
        return found | {"sent": found.get("sent", 0) + accepted}

    def _count_repeated(self, parent_id: str) -> int:
        """Return how many of those that have no final state repeat an earlier one: nothing is handed over for them."""
        c = members.c
        query = select(c.arguments).where(c.task_id == parent_id, c.state == WAITING, MAY_REPEAT)
        found = self.database.read(lambda connection: connection.execute(query).scalars().all())
        return sum("duplicate_of" in arguments for arguments in found)

    def in_doubt(self, parent_id: str, limit: int) -> list[dict[str, Any]]:
        """Return those of a cancelled parent of whose mail nobody knows whether it arrived, as `outcomes` does."""
        c = members.c
        query = (
            select(c.position, *GIVEN, literal("unknown").label("state"), c.outcome)
            .where(c.task_id == parent_id, c.state == WAITING, _handed_over() == "unknown")
            .order_by(c.position)
            .limit(limit)
        )
        return self._with_arguments(parent_id, query)

    def left(self, parent_id: str, after: int = -1, limit: int | None = None) -> list[tuple[int, str | None]]:
        """Return the positions of those that have no final state, and what is known of the mail of each.

        That is `accepted` or `unknown` where it was handed over for somebody, `duplicate` where it repeats an earlier
        one, else None.

        Args:
            parent_id: whose.
            after: only those behind this position.
            limit: at most so many; None: all.
        """
        c = members.c
        query = select(c.position, _handed_over(), case((MAY_REPEAT, c.arguments)))
        query = query.where(c.task_id == parent_id, c.state == WAITING, c.position > after)
        ordered = query.order_by(c.position).limit(limit)
        rows = self.database.read(lambda connection: connection.execute(ordered).all())
        return [(at, "duplicate" if "duplicate_of" in (arguments or ()) else known) for at, known, arguments in rows]

    def close_left(self, parent_id: str, ends: Sequence[MemberEnd]) -> None:
        """Store the ends of members that follow each other and that no task will end, and close their mails' rows.

        Whoever of their recipients still waits is mailed no more.
        """
        if not ends:
            return
        close = closing_members(parent_id, ends)
        end = END_MAIL.many(
            {
                "task_id": parent_id,
                "position": one.position,
                "state": LEFT_AS.get(one.state, "cancelled"),
                "reason": str((one.outcome or {}).get("text") or TASK_ENDED),
            }
            for one in ends
        )

        def work(connection: Connection) -> None:
            close(connection)
            end(connection)

        self.database.write(work, durable=False)

    def arrived(self, parent_id: str) -> set[int]:
        """Return the positions of those that ended as unknown or deferred, but whose mail somebody has got."""
        c = members.c
        corrected = c.state.in_(["unknown", "deferred"])
        query = select(c.position).where(c.task_id == parent_id, corrected, _handed_over() == "accepted")
        return set(self.database.read(lambda connection: connection.execute(query).scalars().all()))

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

    def page(self, parent_id: str, after: int, limit: int, state: str | None = None) -> list[dict[str, Any]]:
        """Return position, arguments, state and outcome of the first members behind a position, of one state or all."""
        c = members.c
        query = select(c.position, *GIVEN, c.state, c.outcome).where(c.task_id == parent_id, c.position > after)
        if state is not None:
            query = query.where(c.state == state)
        return self._with_arguments(parent_id, query.order_by(c.position).limit(limit))

    def outcomes(self, parent_id: str, states: Sequence[str], limit: int) -> list[dict[str, Any]]:
        """Return position, arguments, state and outcome of members in these states, in order."""
        c = members.c
        query = (
            select(c.position, *GIVEN, c.state, c.outcome)
            .where(c.task_id == parent_id, c.state.in_(states))
            .order_by(c.position)
            .limit(limit)
        )
        return self._with_arguments(parent_id, query)

    def _with_arguments(self, parent_id: str, query: Executable) -> list[dict[str, Any]]:
        """Return the rows of a query for `GIVEN` and more, with all their arguments."""
        c = members.c
        first = select(c.arguments).where(c.task_id == parent_id, c.position == 0)

        def rows(connection: Connection) -> list[dict[str, Any]]:
            found = connection.execute(query).mappings().all()
            if not any(row["as_first"] for row in found):
                return [_whole(row, {}) for row in found]
            shared = connection.execute(first).scalar()
            return [] if shared is None else [_whole(row, shared) for row in found]  # without it all are being removed

        return self.database.read(rows)


def _whole(row: RowMapping, first: Mapping[str, Any]) -> dict[str, Any]:
    values = dict(row)
    values["arguments"] |= {name: first[name] for name in values.pop("as_first") or ()}
    return values


def many_of(connection: Connection, parent_ids: Sequence[str]) -> list[str]:
    """Return those of these parents whose members are too many for one transaction."""
    query = select(members.c.task_id).where(members.c.task_id.in_(parent_ids), members.c.position == INSERT_ROWS)
    return list(connection.execute(query).scalars().all())


def remove_members(database: Database, parent_id: str, until: float = math.inf) -> bool:
    """Remove the members of a parent without a record, and what is known of their mails but for doubts, in pages.

    The last ones go first: what is left where this ends midway is found by a prune.

    Args:
        database: where.
        parent_id: whose.
        until: by `time.monotonic`, when to end midway.

    Returns:
        Whether all are removed.
    """
    c, d = members.c, deliveries.c
    alone = ~exists().where(columns.id == parent_id)

    def page_from(first: int, connection: Connection) -> None:
        connection.execute(delete(deliveries).where(d.task_id == parent_id, d.position >= first, ~DOUBTFUL, alone))
        connection.execute(delete(members).where(c.task_id == parent_id, c.position >= first, alone))

    last = database.read(lambda r: r.execute(select(func.max(c.position)).where(c.task_id == parent_id)).scalar())
    for page in range((-1 if last is None else last) // INSERT_ROWS, -1, -1):
        if time.monotonic() >= until:
            return False
        database.write(partial(page_from, page * INSERT_ROWS), durable=False)
        time.sleep(OTHERS_SECONDS)
    return True


def written(connection: Connection, parent_id: str) -> int:
    """Return how many members of a parent were written before it.

    Raises:
        ServiceUnavailable: some of them were removed again: the submit took too long.
    """
    query = select(func.count(), func.max(members.c.position)).where(members.c.task_id == parent_id)
    ((count, last),) = connection.execute(query).all()
    if count and last != count - 1:
        raise ServiceUnavailable(f"Task {parent_id} was not recorded: it took so long that a part of it was removed.")
    return count


def closing_members(parent_id: str, ends: Sequence[MemberEnd], run: Run | None = None) -> Bound:
    """Return the statement that closes members, in their order: nobody's rows are locked crosswise.

    One of a run that is not its task's newest any more closes nobody.
    """
    fence = {} if run is None else {"run_id": run.task_id, "run": run.number}
    statement = CLOSE if run is None else CLOSE_BY_NEWEST
    return statement.many(
        {"task_id": parent_id, "position": one.position, "state": one.state, "outcome": dict(one.outcome or {})} | fence
        for one in ends
    )


def _handed_over() -> Any:
    """Return in SQL what is known of a member's mail that was handed over; NULL where it was not."""
    c = deliveries.c
    told = case((c.state == "accepted", 2), (c.state.in_(["handing", "unknown"]), 1))
    most = select(func.max(told)).where(c.task_id == members.c.task_id, c.position == members.c.position)
    return case({2: "accepted", 1: "unknown"}, value=most.scalar_subquery())


def _close(value: Given) -> Any:
    c = members.c
    own = and_(c.task_id == value("task_id", String()), c.position == value("position", Integer()), c.state == WAITING)
    new = {"state": value("state", String()), "outcome": value("outcome", Json()), "closed_at": Now()}
    return update(members).where(own).values(new)


def _close_by_newest(value: Given) -> Any:
    return _close(value).where(newest(value))


CLOSE = Prepared(_close, "position")
CLOSE_BY_NEWEST = Prepared(_close_by_newest, "position")
