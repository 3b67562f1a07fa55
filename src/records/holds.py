"""Holds: records that wait until a limiter has room, a pause ends or their tenant's turn comes, and who lets them go.

A record that is let go from a limiter, or to the front of its queue, keeps its `hold`, with `held` off, until it
starts: it goes before what comes now, and the room that it will take is promised to nobody else.
"""

import math
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    Float,
    FromClause,
    Integer,
    String,
    case,
    false,
    func,
    or_,
    select,
    true,
    tuple_,
    update,
)

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
    SUBJECT_COLUMNS,
    TURN,
    UNPACED,
    LimitsInForce,
    Subject,
    Wanted,
    free_slots,
    pauses_of,
    running_in,
    subject_of,
)
from records.prepared import Given, GivenRows, Prepared
from records.task_moves import Mark, as_marked, mark_values
from records.task_pauses import PAUSE
from records.task_records import WAITING, TaskRecord, columns, task_records

LOOK_AHEAD_SECONDS = 0.25
"""Slots that become free within this are given away now."""

LEAD_SECONDS = 0.05
"""How long before its slot becomes free a record is published: the way to a worker takes time as well."""

BATCH = 500
SCOPES_AT_ONCE = 200
MOST_LET_GO = 1_000
LOOK_SECONDS = 0.2
"""A look ends after so long, or so many records, and the next one goes on there: the leader has other duties."""

MORE, LEAST_MORE = 1_000, 5
MOST_MORE = 100
"""Records that are looked at beyond the room of the lines: some of them wait for another limiter as well."""

SIZES = (16, 128, BATCH)
"""So many of each line are read at once: a limit is a constant in a statement for many rows."""

PROMISED_SECONDS = 5
"""How long a record that was published and has not started keeps its room: no worker may serve its queue."""

MOST_WAITING = 1_000
HUNDREDTHS = 100
WAITING_VALUES = [state.value for state in WAITING]


class Place(NamedTuple):
    """Where a tenant's fresh record goes: held at a turn, or published, at the front or the end of its queue."""

    turn: int | None
    first: bool


class Line(NamedTuple):
    """What takes one turn after the other: a tenant's records of a priority in a queue."""

    queue: str
    priority: str
    tenant: str


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
        columns.is_parent.is_(False),
        ~columns.held,
        columns.due_at <= Now(),
        # What is due and was not given a place yet is not there.
        or_(columns.relay_at.is_(None), columns.relay_at > Now(), columns.turn.is_not(None), columns.hold.is_not(None)),
    ]


def _place(value: Given, rows: FromClause | None = None) -> Any:
    """Return the query of what decides over a tenant's place in a queue, or over those of many, each with its line."""
    queue, tenant = value("queue", String()), value("tenant", String())
    scope = value("scope", String())
    contended = select(columns.id).where(columns.held, columns.hold == scope).limit(1)
    there = select(columns.state).where(*_open_of_tenants(queue), columns.tenant == tenant).limit(MOST_WAITING)
    own = (there if rows is None else there.correlate(rows)).subquery()
    waits = own.c.state.in_(WAITING_VALUES)
    first, last = turns(value, columns.tenant == tenant)
    return select(
        value("line", String()),
        contended.scalar_subquery().is_not(None),
        select(func.count()).select_from(own).where(waits).scalar_subquery(),
        select(func.count()).select_from(own).where(~waits).scalar_subquery(),
        first,
        last,
    )


def _line_values(line: Line, number: str = "") -> dict[str, str]:
    """Return the values of `PLACE` for a line."""
    return line._asdict() | {"line": number, "scope": TURN + line.queue}


def _scopes(value: Given) -> object:
    """Return the query of the scopes in which something is held, from one to the next: lines may be long."""
    first = select(func.min(columns.hold).label("hold")).where(columns.held, columns.hold > value("after", String()))
    found = first.cte("scopes", recursive=True)
    record = task_records.alias("following")
    following = select(func.min(record.c.hold)).where(record.c.held, record.c.hold > found.c.hold)
    found = found.union_all(select(following.scalar_subquery()).where(found.c.hold.is_not(None)))
    return select(found.c.hold).where(found.c.hold.is_not(None)).limit(SCOPES_AT_ONCE)


def _in_line(table: Any, chosen: Sequence[Any], value: Given) -> Any:
    """Return the query of a line, the first one first."""
    held = table.c.held, table.c.hold == value("scope", String()), table.c.priority == value("priority", String())
    return select(*chosen).where(*held).order_by(table.c.turn, table.c.created_at, table.c.id)


def _line(value: Given) -> object:
    return _in_line(task_records, SUBJECT_COLUMNS, value).limit(value("most", Integer()))


@cache
def _first_of(kind: str, most: int) -> Prepared:
    """Return what reads so many of the first of a line, or of each of many."""

    def first(table: Any, chosen: Sequence[Any], value: Given) -> Any:
        return _in_line(table, chosen, value).limit(most)

    def many(rows: GivenRows) -> Any:
        if kind == "postgresql":
            line = first(task_records, SUBJECT_COLUMNS, rows).lateral("line")
            return select(*line.c).select_from(rows.source.join(line, true()))
        inner = task_records.alias("first")
        ids = first(inner, [inner.c.id], rows).correlate(rows.source)
        return select(*SUBJECT_COLUMNS).select_from(rows.source.join(task_records, columns.id.in_(ids)))

    return Prepared(lambda value: first(task_records, SUBJECT_COLUMNS, value), "scope", many, kind)


def _promised(value: Given) -> object:
    """Return the query of a page of what was let go and has not started."""
    lately = or_(columns.relay_at.is_not(None), columns.published_at > Now(-PROMISED_SECONDS))
    place = tuple_(columns.hold, columns.id)
    beyond = place > tuple_(value("after_hold", String()), value("after_id", String()))
    query = select(*SUBJECT_COLUMNS).where(columns.hold.is_not(None), ~columns.held, lately, beyond)
    return query.order_by(columns.hold, columns.id).limit(MOST_WAITING)


def _held_for(value: Given) -> list[ColumnElement[bool]]:
    """Tell in SQL whether a record is this one and held for a scope, and whether this lead is held.

    Expressions and not the columns, or PostgreSQL reads all that is held where it believes that nothing is; a truth and
    not a number, or it believes that one record in two hundred is held and compares each row with all of them.
    """
    return [
        columns.id == value("task_id", String()),
        case((columns.held, true()), else_=false()),
        columns.hold + "" == value("scope", String()),
        leads(value("holder", String()), value("term", Integer())),
    ]


def _release(value: Given) -> object:
    values = {
        "held": False,
        "relay_at": Now(value("seconds", Float())),
        "hold": case((value("promised", Integer()) == 1, columns.hold)),
    }
    return update(task_records).where(*_held_for(value)).values(values).returning(columns.id)


def _move(value: Given) -> object:
    values = {"hold": value("other", String()), "turn": value("turn", Integer())}
    return update(task_records).where(*_held_for(value)).values(values)


def _wait(value: Given) -> object:
    """Return what lets a record that was claimed to be published wait for its turn instead."""
    scope, turn = value("scope", String()), value("turn", Integer())
    values = {"hold": scope, "held": True, "holds": columns.holds + 1, "turn": turn, "relay_at": None}
    return update(task_records).where(as_marked(value), columns.relay_at.is_not(None)).values(values)


PLACE = Prepared(_place, "line", lambda rows: _place(rows, rows.source).select_from(rows.source))
WAIT = Prepared(_wait)
SCOPES = Prepared(_scopes, "after")
LINE = Prepared(_line, "scope")
RELEASE = Prepared(_release)
MOVE = Prepared(_move)
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
    """What a look at the holds found to do.

    Attributes:
        let_go: values of `RELEASE` for each record that goes.
        moves: values of `MOVE` for each that waits for something else from now on.
        soon: see `LetGo`.
    """

    let_go: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    moves: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    soon: bool = False

    def release(self, subject: Subject, *, promised: bool, seconds: float = 0.0) -> None:
        """Let a record go, to be published in so many seconds, and say whether its room stays promised."""
        seconds = math.floor(seconds * HUNDREDTHS) / HUNDREDTHS  # SQLite's clock takes no exponent
        row = {"task_id": subject.id, "scope": subject.hold, "promised": int(promised), "seconds": seconds}
        self.let_go.append(row)

    def move(self, subject: Subject, other: str, turn: int) -> None:
        """Let a record wait for another limiter."""
        self.moves.append({"task_id": subject.id, "scope": subject.hold, "other": other, "turn": turn})

    def carry_out(self, connection: Connection, lead: Lead) -> int:
        """Do it, if this lead is held; returns how many were let go."""
        fence = {"holder": lead.holder, "term": lead.term}
        MOVE.many(row | fence for row in self.moves)(connection)
        return len(RELEASE.many(row | fence for row in self.let_go)(connection))


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
        line = Line(queue, priority, tenant)
        return self._places(self.database.read(PLACE(**_line_values(line)))[0][1:], count)

    def places_of_due(self, counts: Mapping[Line, int]) -> dict[Line, list[Place]]:
        """Return the places, as `places` does, of so many records of each line, which are due and were claimed.

        In one look: a leader that asked for each of hundreds of tenants by itself would outlast its lease.
        """
        numbers = {str(number): line for number, line in enumerate(counts)}
        rows = self.database.read(PLACE.many(_line_values(line, number) for number, line in numbers.items()))
        decides = {number: figures for number, *figures in rows}
        found: dict[Line, list[Place]] = {}
        contended = set[str]()  # what comes later in this look sees that what came before it waits
        for number, line in numbers.items():
            decides[number][0] = decides[number][0] or line.queue in contended
            found[line] = self._places(decides[number], counts[line], counted=counts[line])
            if found[line][-1].turn is not None:
                contended.add(line.queue)
        return found

    def _places(self, decides: Sequence[Any], count: int, counted: int = 0) -> list[Place]:
        """Return the places that figures of `PLACE` give; so many are `counted` among what the tenant has there."""
        contended, waiting, running, first, last = decides
        waiting = max(0, waiting - counted)
        idle = not waiting and not running and last is None
        free = int(idle) if contended else max(0, self._room - waiting)
        turn = max(first or 0, 0 if last is None else last + 1)
        published = [Place(None, first=idle and number == 0) for number in range(min(free, count))]
        return published + [Place(turn + number, first=False) for number in range(count - len(published))]

    def wait(self, turns: Iterable[tuple[TaskRecord, int]]) -> None:
        """Let these, which were claimed to be published, wait for their turns in their queues."""
        rows = [
            mark_values(Mark(record.id, record.attempt, record.run, record.holds))
            | {"scope": TURN + record.queue, "turn": turn}
            for record, turn in turns
        ]
        self.database.write(WAIT.many(rows), durable=False)

    def let_go(self, lead: Lead) -> LetGo:
        """Let go what has room now or in a moment, if this lead is held."""
        plan = self.database.read(self._look)
        if not plan.let_go and not plan.moves:
            return LetGo(0, soon=plan.soon)
        count = self.database.write(lambda connection: plan.carry_out(connection, lead), durable=False)
        return LetGo(count, soon=plan.soon)

    def _look(self, connection: Connection) -> _Plan:
        """Return what may be done, from the scope on where the last look ended."""
        ends, plan, planner = time.monotonic() + LOOK_SECONDS, _Plan(), None
        if self._after and not SCOPES(after=self._after)(connection):
            self._after = ""
        while scopes := [scope for (scope,) in SCOPES(after=self._after)(connection)]:
            planner = planner or _Planner(connection, self.database.kind, self._defaults, self._room, self._last)
            plan = planner.plan(scopes)
            if len(scopes) < SCOPES_AT_ONCE:
                break
            self._after = scopes[-1]
            if len(plan.let_go) >= MOST_LET_GO or time.monotonic() >= ends:
                plan.soon = True
                return plan
        self._after = ""
        return plan


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


class _Waiting(NamedTuple):
    """A held record, and what binds it."""

    subject: Subject
    limits: dict[str, Limit]


class _Planner:
    """Looks at some lines, as they are now, for what may go.

    Args:
        connection: reads.
        kind: the kind of database.
        defaults: the settings' limits.
        room: records of tenants that lie in a queue.
        last: by the scope of two lines, the one of which the last was let go; noted here from look to look.
    """

    def __init__(
        self, connection: Connection, kind: str, defaults: DefaultLimits, room: int, last: dict[str, str]
    ) -> None:
        self._connection = connection
        self._kind = kind
        self._room = room
        self._last = last
        self._now: datetime = instant(CLOCK()(connection)[0][0])
        self._paused = {name for (name,) in ALL_PAUSED()(connection)}
        self._limits = LimitsInForce(ALL_GIVEN()(connection), defaults)
        self._promised, self._promised_starts = Counter[str](), Counter[str]()
        for subject in self._let_go():
            limits = self._limits.of(subject)
            self._promised.update(limits.keys())
            self._promised_starts.update(scope for scope, limit in limits.items() if limit.rate)
        self._rooms: dict[str, _Room] = {}
        self._seen: set[str] = set()
        self._heads: dict[tuple[str, str], int] = {}
        self._plan = _Plan(soon=bool(self._promised))

    def plan(self, scopes: Sequence[str]) -> _Plan:
        """Return what may be done for these scopes and those before."""
        limited: dict[str, None] = {}
        for scope in scopes:
            if scope.startswith(PAUSE):
                self._end_pause(scope)
            elif scope.startswith(TURN):
                self._give_turns(scope)
            else:
                limited[scope.removeprefix(UNPACED)] = None
        self._open(limited)
        held = self._read(self._sizes(limited, scopes))
        for scope in limited:
            lines = {line: held[line] for line in (scope, UNPACED + scope) if line in held}
            self._fill(scope, {line: self._rightly_in(line, scope, waiting) for line, waiting in lines.items()})
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

    def _sizes(self, scopes: Iterable[str], lines: Sequence[str]) -> dict[str, int]:
        """Return the lines of these scopes of which somebody may go, and of how many at most."""
        found: dict[str, int] = {}
        for scope in scopes:
            limit, room = self._limits.limit(scope), self._rooms[scope]
            both = self._limits.splits(scope)
            if room.left and (both or room.slots or limit.rate is None):
                found[scope] = room.left if limit.rate is None else len(room.slots)
            if room.left and (both or UNPACED + scope in lines):
                found[UNPACED + scope] = room.left
        more = min(MOST_MORE, max(LEAST_MORE, MORE // max(1, len(found))))
        return {line: min(most + more, BATCH) for line, most in found.items() if line not in self._seen}

    def _read(self, sizes: Mapping[str, int]) -> dict[str, list[_Waiting]]:
        """Return the first of these lines; once in a look, and with a look at the room in all their limiters."""
        self._seen |= sizes.keys()
        found: dict[str, list[Subject]] = {line: [] for line in sizes}
        by_size: dict[int, list[dict[str, str]]] = {}
        for line, most in sizes.items():
            rows = by_size.setdefault(next(size for size in SIZES if most <= size), [])
            rows += [{"scope": line, "priority": priority} for priority in LEVELS]
        for size, rows in by_size.items():
            for subject in map(subject_of, _first_of(self._kind, size).many(rows)(self._connection)):
                found[subject.hold or ""].append(subject)
        lines: dict[str, list[_Waiting]] = {}
        for line, held in found.items():
            held.sort(key=lambda one: (LEVELS.index(one.priority), one.turn, one.created_at, one.id))
            lines[line] = [_Waiting(one, self._limits.of(one)) for one in held[: sizes[line]]]
        self._open({scope for held in lines.values() for one in held for scope in one.limits})
        return lines

    def _fill(self, scope: str, lines: dict[str, deque[_Waiting]]) -> None:
        """Let as many of its lines go as a limiter has room for.

        Whom its rate binds and whom it does not have a line each; they share what may run at once, one by one.
        """
        if self._limits.limit(scope).concurrency is not None:
            self._plan.soon = True
        while waiting := [line for line, held in lines.items() if held]:
            line = min(
                waiting, key=lambda line: (LEVELS.index(lines[line][0].subject.priority), line == self._last.get(scope))
            )
            went = self._try(scope, *lines[line].popleft())
            if went is None:
                del lines[line]
            elif went and len(waiting) > 1:
                self._last[scope] = line

    def _rightly_in(self, line: str, scope: str, held: Sequence[_Waiting]) -> deque[_Waiting]:
        """Return these of a line; for whom the limit was changed meanwhile, waits in the other one from now on."""
        found = deque[_Waiting]()
        for one in held:
            limit = one.limits.get(scope)
            if limit is not None and (now := self._limits.line(scope, limit)) != line:
                self._move(one.subject, now)
            else:
                found.append(one)
        return found

    def _try(self, scope: str, subject: Subject, limits: dict[str, Limit]) -> bool | None:
        """Let the first of a line go where all its limiters have room; who waits for another one, waits there on.

        Returns:
            Whether it was let go; None where its line's own limiter is full, for all who come after it.
        """
        if paused := next((name for name in pauses_of(subject) if name in self._paused), None):
            self._move(subject, PAUSE + paused)
            return False
        full = [one for one in sorted(limits) if not self._rooms[one].has(limits[one])]
        if scope in full:
            return None
        if full:
            self._move(subject, self._limits.line(full[0], limits[full[0]]))
            return False
        self._plan.soon = True
        seconds = max((self._rooms[one].take(limit) for one, limit in limits.items()), default=0.0)
        self._plan.release(subject, promised=bool(limits), seconds=seconds - LEAD_SECONDS)
        return True

    def _move(self, subject: Subject, other: str) -> None:
        line = other, subject.priority
        if line not in self._heads:
            self._heads[line], _ = next_turn(self._connection, other, subject.priority, subject.tenant)
        self._plan.move(subject, other, self._heads[line])

    def _open(self, scopes: Iterable[str]) -> None:
        """Look what room these scopes have that nobody was promised, where that is not known."""
        limits = {scope: self._limits.limit(scope) for scope in scopes if scope not in self._rooms}
        most = {scope: limit.concurrency for scope, limit in limits.items() if limit.concurrency is not None}
        run = running_in(self._connection, most)
        free = {scope: max(0, number - run[scope] - self._promised[scope]) for scope, number in most.items()}
        left = {scope: min(BATCH, free.get(scope, BATCH)) for scope in limits}
        wanted = {
            scope: Wanted(limit.rate, self._promised_starts[scope], left[scope])
            for scope, limit in limits.items()
            if limit.rate is not None
        }
        slots = free_slots(self._connection, wanted, self._now, LOOK_AHEAD_SECONDS)
        self._rooms |= {scope: _Room(slots.get(scope, []), left[scope]) for scope in limits}

    def _line(self, scope: str, most: int) -> Iterator[Subject]:
        """Return the first of a line: by priority, then tenants in turn, then the oldest."""
        left = min(most, BATCH)
        for priority in LEVELS:
            if left <= 0:
                return
            rows = LINE(scope=scope, priority=priority, most=left)(self._connection)
            left -= len(rows)
            yield from map(subject_of, rows)
