"""Holds: records that wait until a limiter has room, a pause ends or their tenant's turn comes, and who lets them go.

A record that is let go from a limiter, or to the front of its queue, keeps its `hold`, with `held` off, until it
starts: it goes before what comes now, and the room that it will take is promised to nobody else.
"""

import math
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, Integer, String, and_, case, func, or_, select, tuple_, update

from processors.limits import DefaultLimits, Limit
from records.columns import Now, instant
from records.database import Database
from records.leadership import Lead, leads
from records.limited_starts import next_turn, turns
from records.limits import (
    ALL_GIVEN,
    ALL_PAUSED,
    CLOCK,
    LEVELS,
    PAUSE,
    SUBJECT_COLUMNS,
    TURN,
    UNPACED,
    LimitsInForce,
    Subject,
    free_slots,
    running_in,
    subject_of,
)
from records.prepared import Given, Prepared
from records.task_records import WAITING, columns, task_records

LOOK_AHEAD_SECONDS = 0.25
"""Slots that become free within this are given away now."""

LEAD_SECONDS = 0.05
"""How long before its slot becomes free a record is published: the way to a worker takes time as well."""

BATCH = 500
SCOPES_AT_ONCE = 200
MORE = 100
"""Records that are looked at beyond the room of a line: some of them wait for another limiter as well."""

PROMISED_SECONDS = 5
"""How long a record that was published and has not started keeps its room: no worker may serve its queue."""

MOST_WAITING = 1_000
HUNDREDTHS = 100
WAITING_VALUES = [state.value for state in WAITING]


class Place(NamedTuple):
    """Where a tenant's fresh record goes: held at a turn, or published, at the front or the end of its queue."""

    turn: int | None
    first: bool


@dataclass(frozen=True, slots=True)
class LetGo:
    """What one look at the holds did.

    Attributes:
        count: how many records were let go.
        soon: whether something is held that may be let go at any moment, or is on its way to a slot.
    """

    count: int
    soon: bool


def _open_of_tenants(queue: ColumnElement[str]) -> list[ColumnElement[bool]]:
    return [
        columns.queue == queue,
        columns.tenant.is_not(None),
        columns.finished_at.is_(None),
        ~columns.held,
        columns.due_at <= Now(),
    ]


def _place(value: Given) -> object:
    """Return the query of what decides over a tenant's place in a queue."""
    queue, tenant = value("queue", String()), value("tenant", String())
    scope = value("scope", String())
    contended = select(columns.id).where(columns.held, columns.hold == scope).limit(1)
    own = select(columns.state).where(*_open_of_tenants(queue), columns.tenant == tenant).limit(MOST_WAITING).subquery()
    waits = own.c.state.in_(WAITING_VALUES)
    first, last = turns(value, columns.tenant == tenant)
    return select(
        contended.scalar_subquery().is_not(None),
        select(func.count()).select_from(own).where(waits).scalar_subquery(),
        select(func.count()).select_from(own).where(~waits).scalar_subquery(),
        first,
        last,
    )


def _scopes(value: Given) -> object:
    """Return the query of the scopes in which something is held, from one to the next: lines may be long."""
    first = select(func.min(columns.hold).label("hold")).where(columns.held, columns.hold > value("after", String()))
    found = first.cte("scopes", recursive=True)
    record = task_records.alias("following")
    following = select(func.min(record.c.hold)).where(record.c.held, record.c.hold > found.c.hold)
    found = found.union_all(select(following.scalar_subquery()).where(found.c.hold.is_not(None)))
    return select(found.c.hold).where(found.c.hold.is_not(None)).limit(SCOPES_AT_ONCE)


def _line(value: Given) -> object:
    return (
        select(*SUBJECT_COLUMNS)
        .where(columns.held, columns.hold == value("scope", String()), columns.priority == value("priority", String()))
        .order_by(columns.turn, columns.created_at, columns.id)
        .limit(value("most", Integer()))
    )


def _promised(value: Given) -> object:
    """Return the query of a page of what was let go and has not started."""
    lately = or_(columns.relay_at.is_not(None), columns.published_at > Now(-PROMISED_SECONDS))
    place = tuple_(columns.hold, columns.id)
    beyond = place > tuple_(value("after_hold", String()), value("after_id", String()))
    query = select(*SUBJECT_COLUMNS).where(columns.hold.is_not(None), ~columns.held, lately, beyond)
    return query.order_by(columns.hold, columns.id).limit(MOST_WAITING)


def _held_for(scope: str, ids: Sequence[str]) -> ColumnElement[bool]:
    """Tell in SQL whether a record is one of these and held for a scope.

    Expressions and not the columns, or PostgreSQL reads all that is held where it believes that nothing is.
    """
    return and_(columns.id.in_(ids), case((columns.held, 1), else_=0) == 1, columns.hold + "" == scope)


PLACE = Prepared(_place, "queue")
SCOPES = Prepared(_scopes, "after")
LINE = Prepared(_line, "scope")
PROMISED = Prepared(_promised, "after_id")
TENANTS_WAITING = Prepared(
    lambda value: (
        select(columns.tenant)
        .where(*_open_of_tenants(value("queue", String())), (columns.state + "").in_(WAITING_VALUES))
        .limit(MOST_WAITING)
    ),
    "queue",
)


@dataclass
class _Plan:
    """What a look at the holds found to do, by what is the same for many records.

    Attributes:
        let_go: by the scope, whether its room stays promised, and in how many hundredths of a second it is published.
        moves: by the scope, the one that it waits for from now on, and its turn there.
        soon: see `LetGo`.
    """

    let_go: dict[tuple[str, bool, int], list[str]] = field(default_factory=dict[tuple[str, bool, int], list[str]])
    moves: dict[tuple[str, str, int], list[str]] = field(default_factory=dict[tuple[str, str, int], list[str]])
    soon: bool = False

    def release(self, subject: Subject, *, promised: bool, seconds: float = 0.0) -> None:
        """Let a record go, to be published in so many seconds."""
        key = subject.hold or "", promised, math.floor(seconds * HUNDREDTHS)
        self.let_go.setdefault(key, []).append(subject.id)

    def move(self, subject: Subject, other: str, turn: int) -> None:
        """Let a record wait for another limiter."""
        self.moves.setdefault((subject.hold or "", other, turn), []).append(subject.id)

    def carry_out(self, connection: Connection, lead: Lead) -> int:
        """Do it, if this lead is held; returns how many were let go."""
        count = 0
        for (scope, promised, hundredths), ids in self.let_go.items():
            values = {"held": False, "relay_at": Now(hundredths / HUNDREDTHS)} | ({} if promised else {"hold": None})
            statement = update(task_records).where(_held_for(scope, ids), leads(*lead)).values(values)
            count += len(connection.execute(statement.returning(columns.id)).all())
        for (scope, other, turn), ids in self.moves.items():
            moved = update(task_records).where(_held_for(scope, ids), leads(*lead)).values(hold=other, turn=turn)
            connection.execute(moved)
        return count


class Holds:
    """Gives tenants' records their place, and lets held ones go.

    Args:
        database: the record database.
        defaults: the settings' limits.
        room: records of tenants that lie published in a queue and have not started, and how many of one tenant may.
    """

    def __init__(self, database: Database, defaults: DefaultLimits, room: int) -> None:
        self.database = database
        self._defaults = defaults
        self._room = room
        self._after = ""
        self._last: dict[str, str] = {}

    def places(self, queue: str, priority: str, tenant: str, count: int) -> list[Place]:
        """Return the places of so many fresh records of a tenant, in their order.

        A tenant's first goes to the front of its queue; what exceeds its room waits for turns, and as long as others do
        whatever it has beside what runs.
        """
        given = {"queue": queue, "scope": TURN + queue, "priority": priority, "tenant": tenant}
        contended, waiting, running, first, last = self.database.read(PLACE(**given))[0]
        idle = not waiting and not running and last is None
        free = int(idle) if contended else max(0, self._room - waiting)
        turn = max(first or 0, 0 if last is None else last + 1)
        published = [Place(None, first=idle and number == 0) for number in range(min(free, count))]
        return published + [Place(turn + number, first=False) for number in range(count - len(published))]

    def let_go(self, lead: Lead) -> LetGo:
        """Let go what has room now or in a moment, if this lead is held."""
        scopes = [scope for (scope,) in self.database.read(SCOPES(after=self._after))]
        self._after = scopes[-1] if len(scopes) == SCOPES_AT_ONCE else ""
        if not scopes:
            return LetGo(0, soon=False)
        plan = self.database.read(
            lambda connection: _Planner(connection, self._defaults, self._room, self._last).plan(scopes)
        )
        if not plan.let_go and not plan.moves:
            return LetGo(0, soon=plan.soon)
        count = self.database.write(lambda connection: plan.carry_out(connection, lead), durable=False)
        return LetGo(count, soon=plan.soon)


@dataclass
class _Room:
    """What a limiter has room for that nobody was promised.

    Attributes:
        slots: in how many seconds each of the next starts under its rate may be.
        left: so many more may run at once.
    """

    slots: list[float]
    left: int

    def has(self, limit: Limit) -> bool:
        """Tell whether there is room for one whom this limit binds."""
        return self.left > 0 and (limit.rate is None or bool(self.slots))

    def take(self, limit: Limit) -> float:
        """Give room to one whom this limit binds; returns in how many seconds it may start."""
        self.left -= 1
        return 0.0 if limit.rate is None else self.slots.pop(0)


class _Planner:
    """Looks at some lines, as they are now, for what may go.

    Args:
        connection: reads.
        defaults: the settings' limits.
        room: records of tenants that lie in a queue.
        last: by the scope of two lines, the one of which the last was let go; noted here from look to look.
    """

    def __init__(self, connection: Connection, defaults: DefaultLimits, room: int, last: dict[str, str]) -> None:
        self._connection = connection
        self._room = room
        self._last = last
        self._now: datetime = instant(CLOCK()(connection)[0][0])
        self._paused = {queue for (queue,) in ALL_PAUSED()(connection)}
        self._limits = LimitsInForce(ALL_GIVEN()(connection), defaults)
        self._promised, self._promised_starts = Counter[str](), Counter[str]()
        for subject in self._let_go():
            limits = self._limits.of(subject)
            self._promised.update(limits.keys())
            self._promised_starts.update(scope for scope, limit in limits.items() if limit.rate)
        self._rooms: dict[str, _Room] = {}
        self._plan = _Plan(soon=bool(self._promised))

    def plan(self, scopes: Sequence[str]) -> _Plan:
        """Return what may be done for these scopes."""
        unpaced = {scope.removeprefix(UNPACED) for scope in scopes if scope.startswith(UNPACED)}
        for scope in dict.fromkeys(scope.removeprefix(UNPACED) for scope in scopes):
            if scope.startswith(PAUSE):
                self._end_pause(scope)
            elif scope.startswith(TURN):
                self._give_turns(scope)
            else:
                self._fill(scope, unpaced=scope in unpaced)
        return self._plan

    def _let_go(self) -> Iterator[Subject]:
        """Return all that was let go and has not started: one that is left out would lose its room."""
        hold, task_id = "", ""
        while rows := PROMISED(after_hold=hold, after_id=task_id)(self._connection):
            subjects = [subject_of(row) for row in rows]
            yield from subjects
            if len(rows) < MOST_WAITING:
                return
            hold, task_id = subjects[-1].hold or "", subjects[-1].id

    def _end_pause(self, scope: str) -> None:
        if scope.removeprefix(PAUSE) in self._paused:
            return
        self._plan.soon = True
        for subject in self._line(scope, BATCH):
            self._plan.release(subject, promised=False)

    def _give_turns(self, scope: str) -> None:
        """Keep a queue's room full; who has nothing there goes to its front."""
        queue = scope.removeprefix(TURN)
        if queue in self._paused:
            return
        self._plan.soon = True
        there = [tenant for (tenant,) in TENANTS_WAITING(queue=queue)(self._connection)]
        for subject in self._line(scope, self._room - len(there)):
            self._plan.release(subject, promised=subject.tenant not in there)

    def _fill(self, scope: str, *, unpaced: bool) -> None:
        """Let as many go as a limiter has room for.

        Whom its rate binds and whom it does not have a line each; they share what may run at once, one by one.
        """
        limit = self._limits.limit(scope)
        if limit.concurrency is not None:
            self._plan.soon = True
        room = self._room_of(scope)
        starts = room.left if limit.rate is None else min(room.left, len(room.slots))
        lines = {scope: self._rightly_in(scope, scope, starts + MORE)}
        if unpaced or (limit.rate is not None and limit.concurrency is not None):
            lines[UNPACED + scope] = self._rightly_in(UNPACED + scope, scope, room.left + MORE)
        while waiting := [line for line, held in lines.items() if held]:
            line = min(waiting, key=lambda line: (LEVELS.index(lines[line][0].priority), line == self._last.get(scope)))
            went = self._try(scope, lines[line].popleft())
            if went is None:
                del lines[line]
            elif went and len(waiting) > 1:
                self._last[scope] = line

    def _rightly_in(self, line: str, scope: str, most: int) -> deque[Subject]:
        """Return the first of a line; for whom the limit was changed meanwhile, waits in the other one from now on."""
        found = deque[Subject]()
        for subject in self._line(line, most):
            limit = self._limits.of(subject).get(scope)
            if limit is not None and (now := self._limits.line(scope, limit)) != line:
                self._move(subject, now)
            else:
                found.append(subject)
        return found

    def _try(self, scope: str, subject: Subject) -> bool | None:
        """Let the first of a line go where all its limiters have room; who waits for another one, waits there on.

        Returns:
            Whether it was let go; None where its line's own limiter is full, for all who come after it.
        """
        limits = self._limits.of(subject)
        if subject.queue in self._paused:
            self._move(subject, PAUSE + subject.queue)
            return False
        full = [one for one in sorted(limits) if not self._room_of(one).has(limits[one])]
        if scope in full:
            return None
        if full:
            self._move(subject, self._limits.line(full[0], limits[full[0]]))
            return False
        self._plan.soon = True
        seconds = max((self._room_of(one).take(limit) for one, limit in limits.items()), default=0.0)
        self._plan.release(subject, promised=bool(limits), seconds=seconds - LEAD_SECONDS)
        return True

    def _move(self, subject: Subject, other: str) -> None:
        turn, _ = next_turn(self._connection, other, subject.priority, subject.tenant)
        self._plan.move(subject, other, turn)

    def _room_of(self, scope: str) -> _Room:
        found = self._rooms.get(scope)
        if found is None:
            found = self._rooms[scope] = self._room_now(scope, self._limits.limit(scope))
        return found

    def _room_now(self, scope: str, limit: Limit) -> _Room:
        left = BATCH
        if limit.concurrency is not None:
            free = limit.concurrency - running_in(self._connection, scope) - self._promised[scope]
            left = max(0, min(left, free))
        if limit.rate is None:
            return _Room([], left)
        slots = free_slots(
            self._connection,
            scope,
            limit.rate,
            self._now,
            taken=self._promised_starts[scope],
            within=LOOK_AHEAD_SECONDS,
            most=left,
        )
        return _Room(slots, left)

    def _line(self, scope: str, most: int) -> Iterator[Subject]:
        """Return the first of a line: by priority, then tenants in turn, then the oldest."""
        left = min(most, BATCH)
        for priority in LEVELS:
            if left <= 0:
                return
            rows = LINE(scope=scope, priority=priority, most=left)(self._connection)
            left -= len(rows)
            yield from map(subject_of, rows)
