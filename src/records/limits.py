"""Limits and pauses: what was set at run time, what has started under them, and what binds a record.

Starts under a rate are numbered. The start before which `rate` starts lie must be as old as the rate's time before
another one may follow, so that no window of that time ever holds more; a changed rate only looks at another number.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import takewhile
from typing import Any, NamedTuple, TypedDict

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    Integer,
    String,
    Table,
    and_,
    case,
    delete,
    exists,
    func,
    literal,
    or_,
    select,
    union_all,
)

from processors.limits import DefaultLimits, Limit, Rate, every_of
from records.columns import Instant, Now, instant, metadata
from records.database import Database
from records.insertion import insert_into
from records.prepared import Given, Prepared
from records.task_pauses import IN_FORCE, PAUSE_OF_TASK, task_pauses
from records.task_records import RUNNING, TaskRecord, columns

TURN = "turn:"
UNPACED = "unpaced:"
"""Before a scope: the line of those whom its concurrency binds and its rate does not."""

LEVELS = ("high", "normal", "low")
"""Priorities, the one that goes first first."""

KEEP_SECONDS = 3600
"""No rate looks further back."""

MOST_SHOWN = 10_000
"""Places in a line that are counted, to tell when somebody's turn is."""

limits = Table(
    "limits",
    metadata,
    Column("scope", String(255), primary_key=True),
    Column("rate", Integer),  # starts; 0 lifts the limit, NULL leaves it to the default
    Column("seconds", Integer),
    Column("concurrency", Integer),  # the same
    Column("changed_at", Instant, nullable=False),
)

pauses = Table(
    "pauses",
    metadata,
    Column("queue", String(255), primary_key=True),
    Column("paused_at", Instant, nullable=False),
)

limiters = Table(
    "limiters",
    metadata,
    Column("scope", String(255), primary_key=True),
    Column("starts", BigInteger, nullable=False),  # the number of the last one
    Column("granted_at", Instant, nullable=False),
)

limit_starts = Table(
    "limit_starts",
    metadata,
    Column("scope", String(255), primary_key=True),
    Column("number", BigInteger, primary_key=True),
    Column("at", Instant, nullable=False),
)


class Subject(NamedTuple):
    """What limits look at in a record."""

    id: str
    name: str
    category: str
    queue: str
    priority: str
    tenant: str | None
    parent_id: str | None
    limit_keys: Sequence[str]
    hold: str | None
    held: bool
    turn: int | None
    attempt: int
    run: int
    created_at: Any  # as the driver reads it: to be compared with others alone


SUBJECT_COLUMNS = [columns[name] for name in Subject._fields]


def subject_of(row: Sequence[Any]) -> Subject:
    """Return a row of `SUBJECT_COLUMNS` as the driver reads it."""
    found = Subject(*row)
    keys = found.limit_keys
    return found._replace(limit_keys=json.loads(keys) if isinstance(keys, str) else (), held=bool(found.held))


def scopes_of(subject: Subject) -> list[str]:
    """Return the scopes that a record belongs to."""
    own = [f"queue:{subject.queue}", f"category:{subject.category}", f"task:{subject.name}"]
    return [*own, *([] if subject.tenant is None else [f"tenant:{subject.tenant}"]), *subject.limit_keys]


def pauses_of(subject: Subject) -> list[str]:
    """Return the names of the pauses that a record waits for while one of them is in force."""
    return [subject.queue, *([] if subject.parent_id is None else [PAUSE_OF_TASK + subject.parent_id])]


def unlimited() -> ColumnElement[bool]:
    """Tell in SQL whether a record may start without a look at limits: nothing set at run time or paused binds it."""
    own = [
        literal("queue:") + columns.queue,
        literal("category:") + columns.category,
        literal("task:") + columns.name,
        literal("tenant:") + columns.tenant,
        case((columns.tenant.is_not(None), "tenant:*")),
    ]
    in_force = or_(limits.c.rate > 0, limits.c.concurrency > 0)
    # Whether there are any at all is asked once for a whole statement, by the primary key; usually that is the answer.
    free = or_(~exists().where(limits.c.scope > "", in_force), ~exists().where(limits.c.scope.in_(own), in_force))
    open_ = or_(~exists().where(pauses.c.queue > ""), ~exists().where(pauses.c.queue == columns.queue))
    paused = exists().where(task_pauses.c.task_id == columns.parent_id, IN_FORCE)
    alone = or_(columns.parent_id.is_(None), ~paused)
    return and_(columns.hold.is_(None), columns.limit_keys.is_(None), open_, alone, free)


def running() -> ColumnElement[bool]:
    """Tell in SQL whether a record runs; a parent never does."""
    return and_(columns.state.in_([state.value for state in RUNNING]), columns.is_parent.is_(False))


def _scope(value: Given) -> ColumnElement[str]:
    return value("scope", String())


def _lines(value: Given) -> list[ColumnElement[str]]:
    return [_scope(value), literal(UNPACED) + _scope(value)]


def _running_in(name: ColumnElement[str], column: Column[Any]) -> Any:
    return select(name, select(func.count()).where(running(), column == name).scalar_subquery())


CLOCK = Prepared(lambda _: select(Now()))
GIVEN_FIELDS = (limits.c.scope, limits.c.rate, limits.c.seconds, limits.c.concurrency)
GIVEN = Prepared(lambda value: select(*GIVEN_FIELDS).where(limits.c.scope == _scope(value)), "scope")
ALL_GIVEN = Prepared(lambda _: select(*GIVEN_FIELDS))
PAUSED = Prepared(lambda value: select(pauses.c.queue).where(pauses.c.queue == value("queue", String())), "queue")
ALL_PAUSED = Prepared(
    lambda _: union_all(select(pauses.c.queue), select(literal(PAUSE_OF_TASK) + task_pauses.c.task_id).where(IN_FORCE))
)
STARTS = Prepared(
    lambda value: select(limiters.c.scope, limiters.c.starts).where(limiters.c.scope == _scope(value)), "scope"
)
LOG = Prepared(
    lambda value: select(limit_starts.c.scope, limit_starts.c.at).where(
        limit_starts.c.scope == _scope(value), limit_starts.c.number == value("number", BigInteger())
    ),
    "scope",
)
LOG_BETWEEN = Prepared(
    lambda value: select(limit_starts.c.scope, limit_starts.c.number, limit_starts.c.at).where(
        limit_starts.c.scope == _scope(value),
        limit_starts.c.number.between(value("first", BigInteger()), value("last", BigInteger())),
    ),
    "scope",
)
RUNNING_IN = {
    kind: Prepared(lambda value, column=columns[name]: _running_in(value("name", String()), column), "name")
    for kind, name in (("queue", "queue"), ("category", "category"), ("task", "name"), ("tenant", "tenant"))
}
RUNNING_KEYS = Prepared(lambda _: select(columns.limit_keys).where(running(), columns.limit_keys.is_not(None)))
WAITING_IN = Prepared(
    lambda value: select(func.count()).select_from(
        select(columns.id).where(columns.held, columns.hold.in_(_lines(value))).limit(MOST_SHOWN).subquery()
    ),
    "scope",
)


@dataclass(frozen=True, slots=True)
class GivenLimit:
    """What was set for a scope at run time; 0 lifts, None says nothing."""

    rate: int | None
    seconds: int | None
    concurrency: int | None


class LimitsInForce:
    """What binds whom: what was set for a scope, else for each of its kind, else by settings.

    Args:
        rows: rows of `GIVEN_FIELDS`.
        defaults: the settings' limits.
    """

    def __init__(self, rows: Sequence[Sequence[Any]], defaults: DefaultLimits) -> None:
        self.given = {row[0]: GivenLimit(*row[1:]) for row in rows}
        self._defaults = defaults
        self._found: dict[tuple[str, Rate | None], Limit] = {}

    def of(self, subject: Subject) -> dict[str, Limit]:
        """Return what binds a record, by scope."""
        rates = self._defaults.binding(subject.category, subject.queue, subject.parent_id)
        found = {scope: self._limit(scope, rates.get(scope)) for scope in scopes_of(subject)}
        return {scope: limit for scope, limit in found.items() if limit}

    def limit(self, scope: str) -> Limit:
        """Return what is in force for a scope."""
        return self._limit(scope, self._defaults.of(scope))

    def splits(self, scope: str) -> bool:
        """Tell whether a scope has two lines: its concurrency binds all, and its rate, the settings', only some."""
        given = [self.given.get(name or "") for name in (scope, every_of(scope))]
        limit = self.limit(scope)
        return (
            limit.rate is not None
            and limit.concurrency is not None
            and all(not one or one.rate is None for one in given)
        )

    def line(self, scope: str, limit: Limit) -> str:
        """Return the line in which a record waits for a scope: whom its rate does not bind, does not wait for the rate.

        Args:
            scope: whose limiter it waits for.
            limit: what of it binds the record.
        """
        unpaced = limit.rate is None and self.limit(scope).rate is not None
        return UNPACED + scope if unpaced else scope

    def _limit(self, scope: str, default: Rate | None) -> Limit:
        found = self._found.get((scope, default))
        if found is None:
            found = self._found[scope, default] = self._limit_of(scope, default)
        return found

    def _limit_of(self, scope: str, default: Rate | None) -> Limit:
        said = [given for name in (scope, every_of(scope)) if name and (given := self.given.get(name))]
        rate = next((given for given in said if given.rate is not None), None)
        default_most = self._defaults.concurrency_of(scope)
        most = next((given.concurrency for given in said if given.concurrency is not None), default_most)
        return Limit(default if rate is None else _rate(rate), most or None)


def _rate(given: GivenLimit) -> Rate | None:
    return Rate(given.rate, given.seconds) if given.rate and given.seconds else None


def running_in(connection: Connection, scopes: Iterable[str]) -> dict[str, int]:
    """Return how many records of each of these scopes run."""
    by_kind: dict[str, list[str]] = {}
    for scope in scopes:
        kind, _, name = scope.partition(":")
        by_kind.setdefault(kind if kind in RUNNING_IN else "", []).append(name if kind in RUNNING_IN else scope)
    found: dict[str, int] = {}
    if keys := by_kind.pop("", []):
        counts = Counter(key for (given,) in RUNNING_KEYS()(connection) for key in json.loads(given))
        found = {key: counts[key] for key in keys}
    for kind, names in by_kind.items():
        rows = RUNNING_IN[kind].many({"name": name} for name in names)(connection)
        found |= {f"{kind}:{name}": count for name, count in rows}
    return found


class Wanted(NamedTuple):
    """What is asked of a rate: its next starts after those that are promised already, at most so many."""

    rate: Rate
    taken: int
    most: int


def free_slots(
    connection: Connection, wanted: Mapping[str, Wanted], now: datetime, within: float
) -> dict[str, list[float]]:
    """Return in how many seconds each of the next starts under these scopes' rates may be.

    Args:
        connection: reads.
        wanted: the rates, by their scopes.
        now: the database's clock.
        within: seconds from now; what is later is left out.
    """
    starts = dict(STARTS.many({"scope": scope} for scope in wanted)(connection))
    numbers: dict[str, range] = {}
    for scope, (rate, taken, most) in wanted.items():
        last = starts.get(scope, 0)
        first = last + 1 + taken - rate.starts
        numbers[scope] = range(first, min(last, first + most - 1) + 1)
    rows = [{"scope": scope, "first": some[0], "last": some[-1]} for scope, some in numbers.items() if some]
    known = {(scope, number): at for scope, number, at in LOG_BETWEEN.many(rows)(connection)}
    free: dict[str, list[float]] = {}
    for scope, some in numbers.items():
        seconds = (until(known.get((scope, number)), wanted[scope].rate, now) for number in some)
        free[scope] = list(takewhile(lambda one: one <= within, seconds))
    return free


def _starts(connection: Connection, scope: str) -> int:
    rows = STARTS(scope=scope)(connection)
    return rows[0][1] if rows else 0


def until(at: Any, rate: Rate, now: datetime) -> float:
    """Return the seconds until a start as old as the rate's time; one that is not remembered is older."""
    return 0.0 if at is None else max(0.0, (instant(at) + timedelta(seconds=rate.seconds) - now).total_seconds())


class LimitChanges(TypedDict, total=False):
    """What is to be changed of a scope's limit."""

    rate: Rate | None
    concurrency: int | None


class Limits:
    """Sets, clears and shows limits and pauses.

    Args:
        database: the record database.
        defaults: the settings' limits.
    """

    def __init__(self, database: Database, defaults: DefaultLimits) -> None:
        self.database = database
        self.defaults = defaults

    def change(self, scope: str, changes: LimitChanges) -> None:
        """Set what is given of a scope's limit, None to lift it; the rest stays as it is."""
        values: dict[str, Any] = {"changed_at": Now()}
        if "rate" in changes:
            rate = changes["rate"]
            values |= {"rate": rate.starts if rate else 0, "seconds": rate.seconds if rate else 0}
        if "concurrency" in changes:
            values["concurrency"] = changes["concurrency"] or 0
        fresh = insert_into(limits, self.database.kind).values(scope=scope, **values)
        self.database.write(lambda c: c.execute(fresh.on_conflict_do_update(index_elements=["scope"], set_=values)))

    def clear(self, scope: str) -> None:
        """Forget what was set for a scope: its default is in force again."""
        self.database.write(lambda c: c.execute(delete(limits).where(limits.c.scope == scope)))

    def in_force(self) -> LimitsInForce:
        """Return all limits."""
        return LimitsInForce(self.database.read(ALL_GIVEN()), self.defaults)

    def used(self, scope: str, rate: Rate | None) -> tuple[int, int, int]:
        """Return how many of a scope have started within its rate's time, how many run, and how many wait for it."""

        def query(connection: Connection) -> tuple[int, int, int]:
            started = 0
            if rate is not None:
                recent = and_(limit_starts.c.scope == scope, limit_starts.c.at > Now(-rate.seconds))
                started = connection.execute(select(func.count()).where(recent)).scalar_one()
            return started, running_in(connection, [scope])[scope], WAITING_IN(scope=scope)(connection)[0][0]

        return self.database.read(query)

    def pause(self, queue: str) -> bool:
        """Let nothing of a queue start any more; False where it was paused before."""
        fresh = insert_into(pauses, self.database.kind).values(queue=queue, paused_at=Now())
        statement = fresh.on_conflict_do_nothing().returning(pauses.c.queue)
        return self.database.write(lambda c: c.execute(statement).first() is not None)

    def resume(self, queue: str) -> bool:
        """End a pause; the leader lets go what it held. False where there was none."""
        statement = delete(pauses).where(pauses.c.queue == queue).returning(pauses.c.queue)
        return self.database.write(lambda c: c.execute(statement).first() is not None)

    def paused(self) -> set[str]:
        """Return the queues that are paused."""
        return {queue for (queue,) in self.database.read(lambda c: c.execute(select(pauses.c.queue)).all())}

    def running(self, scope: str) -> int:
        """Return how many tasks of a scope run."""
        return self.database.read(lambda c: running_in(c, [scope])[scope])

    def expected(self, record: TaskRecord) -> datetime | None:
        """Return when a record that a rate holds may start if those before it do; None where nobody knows."""
        scope = record.hold or ""
        limit = self.in_force().limit(scope)
        if not record.held or limit.rate is None or limit.concurrency is not None:
            return None
        rate = limit.rate

        def query(connection: Connection) -> datetime | None:
            before = _before(connection, record)
            if before >= MOST_SHOWN:
                return None
            now, starts = instant(CLOCK()(connection)[0][0]), _starts(connection, scope)
            number, rounds = starts + 1 + before - rate.starts, 1
            while number > starts:
                number, rounds = number - rate.starts, rounds + 1
            rows = LOG(scope=scope, number=number)(connection)
            first = until(rows[0][1] if rows else None, rate, now)
            return now + timedelta(seconds=first + (rounds - 1) * rate.seconds)

        return self.database.read(query)

    def prune(self) -> int:
        """Forget starts that no rate looks at any more, and who had them; returns how many starts."""
        old = delete(limit_starts).where(limit_starts.c.at < Now(-KEEP_SECONDS - 1)).returning(limit_starts.c.scope)
        idle = delete(limiters).where(limiters.c.granted_at < Now(-2 * KEEP_SECONDS))

        def work(connection: Connection) -> int:
            gone = len(connection.execute(old).all())
            connection.execute(idle)
            return gone

        return self.database.write(work, durable=False)


def _before(connection: Connection, record: TaskRecord) -> int:
    """Return how many are held in the same line before a record, as far as that is counted."""
    sooner = [level for level in LEVELS if LEVELS.index(level) < LEVELS.index(record.priority)]
    turn = record.turn or 0
    same = and_(
        columns.priority == record.priority,
        or_(columns.turn < turn, and_(columns.turn == turn, columns.created_at < record.created_at)),
    )
    line = select(columns.id).where(columns.held, columns.hold == record.hold)
    count = 0
    for condition in (columns.priority.in_(sooner), same):
        few = line.where(condition).limit(MOST_SHOWN).subquery()
        count += connection.execute(select(func.count()).select_from(few)).scalar_one()
    return count
