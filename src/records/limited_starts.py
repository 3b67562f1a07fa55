"""The slow way of the guarded start: where a limit or a pause may bind a record, one transaction decides.

Every limiter that binds it is locked, in the order of their scopes; all of them have room and count the start, or none
does and the record is held for the one that keeps it longest.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Integer,
    String,
    and_,
    func,
    insert,
    literal,
    select,
    true,
    update,
)

from processors.limits import DefaultLimits, Limit, Rate, every_of
from records.columns import Instant, Now, instant
from records.insertion import insert_into
from records.limits import (
    CLOCK,
    GIVEN,
    LEVELS,
    LOG,
    PAUSED,
    TURN,
    UNPACED,
    LimitsInForce,
    Subject,
    limit_starts,
    limiters,
    running_in,
    scopes_of,
    until,
)
from records.prepared import Given, GivenRows, Prepared
from records.task_pauses import PAUSE, PAUSE_OF_TASK, TASK_PAUSED
from records.task_records import WAITING, columns, task_records

WAITING_VALUES = [state.value for state in WAITING]


@dataclass(frozen=True, slots=True)
class Grant:
    """The leave to start: `numbers` are what the start is for each rate that counts it."""

    at: datetime
    numbers: Mapping[str, tuple[int, Rate]]


@dataclass(frozen=True, slots=True)
class Held:
    """A record that may not start now, and waits for that: `scope` tells for what.

    Attributes:
        scope: a limit's scope, `unpaced:` and one whose concurrency alone binds it, `pause:<queue>`,
            `pause:task:<id>` of its parent, or `turn:<queue>`.
        until: when its limiter has room again, where that is known.
    """

    scope: str
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Soon:
    """A limiter has room in so few seconds that the start may wait for it; nothing was written."""

    seconds: float


def turns(value: Given, of_tenant: ColumnElement[bool]) -> tuple[Any, Any]:
    """Return the queries of a line's first turn, and of the last one that a tenant has in it."""
    line = and_(
        columns.held,
        columns.hold == value("scope", String()),
        columns.priority == value("priority", String()),
    )
    first = select(func.min(columns.turn)).where(line)
    last = select(func.max(columns.turn)).where(line, of_tenant)
    return first.scalar_subquery(), last.scalar_subquery()


TURNS_OF_TENANT = Prepared(lambda value: select(*turns(value, columns.tenant == value("tenant", String()))), "scope")
TURNS_OF_NOBODY = Prepared(lambda value: select(*turns(value, columns.tenant.is_(None))), "scope")


def next_turn(connection: Connection, scope: str, priority: str, tenant: str | None) -> tuple[int, int]:
    """Return the first turn in a line, and the one that a tenant's next record gets: tenants take turns."""
    given = {"scope": scope, "priority": priority}
    found = TURNS_OF_NOBODY(**given) if tenant is None else TURNS_OF_TENANT(**given, tenant=tenant)
    first, last = found(connection)[0]
    return first or 0, max(first or 0, 0 if last is None else last + 1)


def _ahead(value: Given) -> Any:
    """Return the scope where somebody of this priority is held: who comes now does not go first."""
    scope = value("scope", String())
    line = columns.held, columns.hold == scope, columns.priority == value("priority", String())
    # The first of each line and not whether there is one: for that PostgreSQL may read all that is held.
    return select(scope).where(select(columns.id).where(*line).limit(1).scalar_subquery().is_not(None))


def _locked(value: Given) -> Any:
    return (
        select(limiters.c.scope, limiters.c.starts)
        .where(limiters.c.scope == value("scope", String()))
        .order_by(limiters.c.scope)
        .with_for_update(of=limiters)
    )


def _hold(value: Given) -> Any:
    return (
        update(task_records)
        .where(
            columns.id == value("task_id", String()),
            columns.attempt == value("of_attempt", Integer()),
            columns.run == value("of_run", Integer()),
            (columns.state + "").in_(WAITING_VALUES),
        )
        .values(
            hold=value("scope", String()),
            held=True,
            holds=columns.holds + 1,
            turn=value("turn", Integer()),
            relay_at=None,
            limit_keys=func.coalesce(columns.limit_keys, value("limit_keys", columns.limit_keys.type)),
        )
        .returning(columns.id)
    )


def _recycle(value: Given) -> Any:
    """Return what writes a start over the one that is too old to count: a rate keeps no more than it looks at."""
    return (
        update(limit_starts)
        .where(
            limit_starts.c.scope == value("scope", String()), limit_starts.c.number == value("too_old", BigInteger())
        )
        .values(number=value("number", BigInteger()), at=value("at", Instant()))
        .returning(limit_starts.c.scope)
    )


def _note(value: Given) -> dict[str, Any]:
    return {
        "scope": value("scope", String()),
        "number": value("number", BigInteger()),
        "at": value("at", Instant()),
    }


def _note_many(rows: GivenRows) -> Any:
    values = _note(rows)
    return insert(limit_starts).from_select(list(values), select(*values.values()).select_from(rows.source))


def _count(value: Given) -> Any:
    return (
        update(limiters)
        .where(limiters.c.scope == value("scope", String()))
        .values(starts=value("number", BigInteger()), granted_at=value("at", Instant()))
        .returning(limiters.c.scope)
    )


AHEAD = Prepared(_ahead, "scope")
LOCKED = Prepared(_locked, "scope")
HOLD = Prepared(_hold)
RECYCLE = Prepared(_recycle, "scope")
NOTE = Prepared(lambda value: insert(limit_starts).values(_note(value)), "scope", _note_many)
COUNT = Prepared(_count, "scope")


@cache
def _opening(kind: str) -> Prepared:
    """Return what makes the rows of limiters that have none."""

    def values(value: Given) -> dict[str, Any]:
        return {"scope": value("scope", String()), "starts": 0, "granted_at": Now()}

    def one(value: Given) -> Any:
        return insert_into(limiters, kind).values(values(value)).on_conflict_do_nothing()

    def many(rows: GivenRows) -> Any:
        row = {"scope": rows("scope", String()), "starts": literal(0), "granted_at": Now()}
        query = select(*row.values()).select_from(rows.source).where(true())  # SQLite reads `… ON` as a join's
        return insert_into(limiters, kind).from_select(list(row), query).on_conflict_do_nothing()

    return Prepared(one, "scope", many, kind)


class LimitedStarts:
    """Decides over starts that limits or a pause may bind.

    Args:
        kind: the kind of database.
        defaults: the settings' limits.
    """

    def __init__(self, kind: str, defaults: DefaultLimits) -> None:
        self._opening = _opening(kind)
        self.defaults = defaults

    def decide(self, connection: Connection, subject: Subject, patience: float) -> Grant | Held | Soon | None:
        """Return the leave to start a record that waits, or hold it; None where it waits no more.

        Args:
            connection: the transaction in which a granted start is to be written.
            subject: the record.
            patience: seconds that the start may wait for a limiter by itself, instead of being held.
        """
        if subject.held:
            return Held(subject.hold or "")
        in_force, starts = self._in_force(connection, subject), dict[str, int]()
        while True:
            limits = in_force.of(subject)
            # Before the limiters are locked, so that a crowd that has to wait in any case does not keep them from those
            # who may start; and after: whoever had them locked may have taken long.
            if barrier := self._barrier(connection, subject, in_force):
                return self._hold(connection, subject, barrier, None)
            if limits.keys() <= starts.keys():
                break
            starts |= self._lock(connection, sorted(limits.keys() - starts.keys()))
            in_force = self._in_force(connection, subject)
        now = _now(connection)
        waits = self._waits(connection, subject, in_force, starts, now)
        if waits:
            scope = max(waits, key=lambda scope: (waits[scope] is None, waits[scope] or 0.0))
            seconds = waits[scope]
            if seconds is not None and seconds <= patience:
                return Soon(seconds)
            until = None if seconds is None else now + timedelta(seconds=seconds)
            return self._hold(connection, subject, in_force.line(scope, limits[scope]), until)
        numbers = {scope: (starts[scope] + 1, rate) for scope, limit in limits.items() if (rate := limit.rate)}
        return Grant(now, numbers)

    def count(self, connection: Connection, grant: Grant) -> None:
        """Count a start that was written, for every rate that granted it."""
        rows = [
            {"scope": scope, "number": number, "too_old": number - rate.starts, "at": grant.at}
            for scope, (number, rate) in grant.numbers.items()
        ]
        kept = {scope for (scope,) in RECYCLE.many(rows)(connection)}
        NOTE.many([row for row in rows if row["scope"] not in kept])(connection)
        COUNT.many(rows)(connection)

    def pace(self, connection: Connection, scope: str, rate: Rate) -> float:
        """Count a start of what is no task, by a rate of its own; returns 0, or the seconds until it may be."""
        number = self._lock(connection, [scope])[scope] + 1
        now = _now(connection)
        before = LOG(scope=scope, number=number - rate.starts)(connection)
        wait = until(before[0][1] if before else None, rate, now)
        if not wait:
            self.count(connection, Grant(now, {scope: (number, rate)}))
        return wait

    def _in_force(self, connection: Connection, subject: Subject) -> LimitsInForce:
        scopes = scopes_of(subject)
        asked = dict.fromkeys([*scopes, *filter(None, map(every_of, scopes))])
        given = GIVEN.many({"scope": scope} for scope in asked)(connection)
        return LimitsInForce(given, self.defaults)

    def _lock(self, connection: Connection, scopes: Sequence[str]) -> dict[str, int]:
        """Lock the limiters of these scopes; returns the number of each one's last start."""
        rows = [{"scope": scope} for scope in scopes]
        found: dict[str, int] = {}
        while len(found) < len(scopes):  # one may be pruned between the two
            self._opening.many(rows)(connection)
            found = dict(LOCKED.many(rows)(connection))
        return found

    def _waits(
        self,
        connection: Connection,
        subject: Subject,
        in_force: LimitsInForce,
        starts: Mapping[str, int],
        now: datetime,
    ) -> dict[str, float | None]:
        """Return the limiters without room, and in how many seconds they have it, where that is known."""
        limits, waits = in_force.of(subject), dict[str, float | None]()
        rates = {scope: rate for scope in limits if (rate := in_force.limit(scope).rate)}
        rows = [{"scope": scope, "number": starts[scope] + 1 - rate.starts} for scope, rate in rates.items()]
        full: dict[str, float] = {}
        for scope, at in LOG.many(rows)(connection):
            until = instant(at) + timedelta(seconds=rates[scope].seconds)
            if until > now:
                full[scope] = (until - now).total_seconds()
        run = running_in(connection, [scope for scope, limit in limits.items() if limit.concurrency is not None])
        for scope, limit in limits.items():
            if limit.rate is not None and scope in full:
                waits[scope] = full[scope]
            if limit.concurrency is not None and run[scope] >= limit.concurrency:
                waits[scope] = None
        # Those whom a rate binds wait for a slot, as this record does, as soon as the rate has room.
        lines = {scope: scope for scope in rates if limits[scope].rate is None and scope not in full}
        return waits | dict.fromkeys(_ahead_of(connection, subject, lines))

    def _barrier(self, connection: Connection, subject: Subject, in_force: LimitsInForce) -> str | None:
        """Return what keeps a record whatever room there is: a pause, or a line where others come before it."""
        if PAUSED(queue=subject.queue)(connection):
            return PAUSE + subject.queue
        if subject.parent_id is not None and TASK_PAUSED(task_id=subject.parent_id)(connection):
            return PAUSE + PAUSE_OF_TASK + subject.parent_id
        limits = in_force.of(subject)
        scope = min(_ahead_of(connection, subject, _lines_before(in_force, limits)), default=None)
        return None if scope is None else in_force.line(scope, limits[scope])

    def _hold(self, connection: Connection, subject: Subject, scope: str, until: datetime | None) -> Held | None:
        hold = HOLD(
            task_id=subject.id,
            of_attempt=subject.attempt,
            of_run=subject.run,
            scope=scope,
            turn=self._turn(connection, subject, scope),
            limit_keys=list(subject.limit_keys) or None,
        )
        return Held(scope, until) if hold(connection) else None

    def _turn(self, connection: Connection, subject: Subject, scope: str) -> int:
        """Return a record's place: its old one, the first where another limiter has let it go, else its tenant's."""
        if subject.hold == scope and subject.turn is not None:
            return subject.turn
        first, fair = next_turn(connection, scope, subject.priority, subject.tenant)
        return first if _was_let_go(subject) else fair


def _lines_before(in_force: LimitsInForce, limits: Mapping[str, Limit]) -> dict[str, str]:
    """Return the lines that a record may not overtake whatever has room, and their scopes.

    Who is free of a rate waits for a slot of the concurrency only, which a record that the rate binds would take.
    """
    own = {in_force.line(scope, limit): scope for scope, limit in limits.items()}
    return own | {UNPACED + scope: scope for scope in limits if in_force.splits(scope)}


def _ahead_of(connection: Connection, subject: Subject, lines: Mapping[str, str]) -> set[str]:
    """Return the scopes where somebody is held who comes before a record that no limiter has let go.

    Args:
        connection: reads.
        subject: the record.
        lines: the scopes of the lines in which such a one may be held.
    """
    if _was_let_go(subject):
        return set()
    place = LEVELS.index(subject.priority) if subject.priority in LEVELS else len(LEVELS) - 1
    before = [{"scope": line, "priority": level} for level in LEVELS[: place + 1] for line in lines]
    return {lines[line] for (line,) in AHEAD.many(before)(connection)}


def _was_let_go(subject: Subject) -> bool:
    """Tell whether a limiter has let a record go; one that only had its turn in its queue comes like a fresh one."""
    return subject.hold is not None and not subject.hold.startswith(TURN)


def _now(connection: Connection) -> datetime:
    """Return the database's clock, asked for after the limiters were locked."""
    return instant(CLOCK()(connection)[0][0])
