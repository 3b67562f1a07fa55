"""The room of an AI account: what counts of its calls, and when the next one may begin.

A call counts from its planned start until a minute after its answer. The next may begin a minute after the call that
must be forgotten first: the one that is as old as the limit has requests, or the one with which the tokens are too
many. While a call has no answer it counts as if that came after the usual time, or now if that is over. Nobody is let
in by such a guess: what is under way counts for a minute from now at least, and who waits longer asks again.
"""

import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import count
from typing import Any, Literal, NamedTuple

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Connection,
    Float,
    Index,
    Integer,
    String,
    Table,
    and_,
    delete,
    exists,
    func,
    literal,
    or_,
    select,
    update,
)

from records.columns import Instant, Now, PlainText, instant, metadata
from records.prepared import Given, GivenRows, Prepared

WINDOW = timedelta(seconds=60)
KEPT_FOR = timedelta(seconds=60)
"""How long after its time a place waits for its task."""

PAGE = 50
"""Calls that are read at once to find those whose tokens must be forgotten."""

CallState = Literal["kept", "reserved", "settled", "share", "lost"]
"""A place in line; about to be made, or under way; answered; what another task took of one; given up with its worker.

Only the first three count in the window.
"""

NO_PLACE = 2**63 - 1
"""Stands for the id of the place of who has none."""

ai_calls = Table(
    "ai_calls",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("account", String(255), nullable=False),
    Column("provider", PlainText, nullable=False),
    Column("model", PlainText, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("task_id", String(255), nullable=False),
    Column("run", Integer, nullable=False),
    Column("tenant", PlainText),
    Column("state", String(16), nullable=False),
    Column("at", Instant, nullable=False),  # the planned start; once it is settled, the answer
    Column("gone_at", Instant),  # until then it counts where nothing is heard of it; sooner once its process is gone
    Column("tokens", Integer, nullable=False),  # that the window counts
    Column("input_tokens", Integer, nullable=False),
    Column("output_tokens", Integer, nullable=False),
    Column("cached_tokens", Integer, nullable=False),
    Column("reasoning_tokens", Integer, nullable=False),
    Column("estimated", Boolean, nullable=False),
    Column("cost", Float, nullable=False),
    Column("currency", String(3), nullable=False, server_default="USD"),
)

columns = ai_calls.c

OPEN = columns.state.in_(["kept", "reserved"])

Index("ix_ai_calls_window", columns.account, columns.at, columns.state, columns.tokens)
Index("ix_ai_calls_state", columns.account, columns.state, columns.at)
Index("ix_ai_calls_task_id", columns.task_id)
Index("ix_ai_calls_at", columns.at)


Moment = tuple[datetime, int]
"""When a call counts, and its tokens."""

_Counted = Mapping[str, Any]


class Rates(NamedTuple):
    """The most that may begin in a minute; None: as many as there are."""

    requests: int | None
    tokens: int | None


@dataclass(frozen=True, slots=True)
class Begun:
    """A call whose planned start has passed, and that has no answer; or a place whose time has come.

    Attributes:
        counts_at: when it is answered, as far as is known; never before now, unless it must have ended.
        at: its planned start.
    """

    id: int
    state: CallState
    at: datetime
    counts_at: datetime
    tokens: int


@dataclass(frozen=True, slots=True)
class Line:
    """Where a call stands among the places that are kept.

    Attributes:
        first: it begins at this moment at the earliest.
        place: the time of its place; what is kept for later stands behind it.
        own: the id of its place, or `NO_PLACE`.
    """

    first: datetime
    place: datetime
    own: int = NO_PLACE


def _account(value: Given) -> ColumnElement[bool]:
    return columns.account == value("account", String())


def _begun(value: Given) -> Any:
    found = (columns.id, columns.state, columns.at, columns.gone_at, columns.tokens)
    return select(*found).where(_account(value), OPEN, columns.at <= value("now", Instant()))


def _counted(value: Given) -> ColumnElement[bool]:
    """Tell in SQL what counts of which the moment is known; what has begun and has no answer is not among it."""
    ahead = and_(columns.at <= value("place", Instant()), columns.id != value("own", BigInteger()))
    to_come = and_(
        columns.at > value("now", Instant()),
        or_(columns.state == "reserved", and_(columns.state == "kept", ahead)),
    )
    return and_(_account(value), columns.at > value("since", Instant()), or_(columns.state == "settled", to_come))


def _newest(value: Given) -> Any:
    some = select(columns.at).where(_counted(value)).order_by(columns.at.desc())
    return some.limit(value("count", Integer())).offset(value("offset", Integer()))


def _oldest(value: Given) -> Any:
    some = select(columns.at, columns.tokens).where(_counted(value)).order_by(columns.at, columns.id)
    return some.limit(literal(PAGE)).offset(value("offset", Integer()))


KEPT = columns.state + "" == "kept"
"""By an expression, or all places of an account may be read for those of one task."""


def _own_place(value: Given) -> Any:
    """Return the query of a task's place; see `KEPT`."""
    kept = and_(columns.account + "" == value("account", String()), KEPT)
    return select(columns.id, columns.at).where(columns.task_id == value("task_id", String()), kept)


def _forget(value: Given) -> Any:
    return delete(ai_calls).where(columns.id == value("id", BigInteger()), OPEN)


def _forget_many(rows: GivenRows) -> Any:
    ids = select(rows("id", BigInteger())).select_from(rows.source)
    return delete(ai_calls).where(columns.id.in_(ids), OPEN)


def _cut_off(value: Given) -> Any:
    soonest = Now(WINDOW.total_seconds())
    of_run = and_(columns.task_id == value("task_id", String()), columns.run == value("run", Integer()))
    under_way = and_(columns.state + "" == "reserved", columns.gone_at > soonest)
    return update(ai_calls).where(of_run, under_way).values(gone_at=soonest)


def _leave_lines(value: Given) -> Any:
    until = columns.run <= value("run", Integer())
    return delete(ai_calls).where(columns.task_id == value("task_id", String()), until, KEPT)


def _leave_lines_of_many(rows: GivenRows) -> Any:
    task_id, run = rows("task_id", String()), rows("run", Integer())
    tasks = select(task_id).select_from(rows.source)
    until = exists(select(task_id).select_from(rows.source).where(task_id == columns.task_id, run >= columns.run))
    return delete(ai_calls).where(columns.task_id.in_(tasks), until, KEPT)


BEGUN = Prepared(_begun, "account")
NEWEST = Prepared(_newest, "account")
TOKENS = Prepared(lambda value: select(func.coalesce(func.sum(columns.tokens), 0)).where(_counted(value)), "account")
OLDEST = Prepared(_oldest, "account")
OWN_PLACE = Prepared(_own_place)
LAST_PLACE = Prepared(
    lambda value: select(func.max(columns.at)).where(_account(value), columns.state == "kept"), "account"
)
FORGET = Prepared(_forget, "id", _forget_many)
CUT_OFF = Prepared(_cut_off, "task_id")
"""Lets the calls of a run whose process is gone count as if they had ended now: their connections have."""

LEAVE_LINES = Prepared(_leave_lines, build_for_rows=_leave_lines_of_many)
"""Gives up the places of tasks that were answered, but for those of a later run than that."""

LOSE = Prepared(
    lambda value: (
        update(ai_calls)
        .where(columns.id == value("id", BigInteger()))
        .values(state="lost")
        .returning(columns.id, columns.cost)
    ),
    "id",
)


class Window:
    """The window of an account that this transaction has locked.

    Args:
        connection: reads, and closes what does not count any more.
        account: whose it is.
        now: the database's clock.
        usual_seconds: how long its calls take; places are planned with that, and nothing begins by it.
    """

    def __init__(self, connection: Connection, account: str, now: datetime, usual_seconds: float) -> None:
        self._connection = connection
        self._account = account
        self._now = now
        self._usual = timedelta(seconds=usual_seconds)
        self.lost_cost = 0.0
        """What calls may have cost whose workers died, as was found just now."""
        self._begun = [begun for row in BEGUN(account=account, now=now)(connection) if (begun := self._open(*row))]

    def line(self, task_id: str) -> Line:
        """Return where a task stands: at the place that is kept for it, else behind all others."""
        for own, at in OWN_PLACE(task_id=task_id, account=self._account)(self._connection):
            place = instant(at)
            return Line(max(self._now, place), place, own)
        last = LAST_PLACE(account=self._account)(self._connection)[0][0]
        first = self._now if last is None else max(self._now, instant(last))
        return Line(first, first)

    def next_start(self, rates: Rates, tokens: int, line: Line) -> datetime:
        """Return when a call may begin.

        Args:
            rates: the account's limits.
            tokens: of the call; not more than the limit.
            line: where it stands.
        """
        since = line.first - WINDOW
        running = [
            (one.counts_at, one.tokens)
            for one in self._begun
            if one.counts_at > since and (one.state == "reserved" or (one.at, one.id) < (line.place, line.own))
        ]
        counted = {
            "account": self._account,
            "since": since - self._usual,
            "now": self._now,
            "place": line.place,
            "own": line.own,
        }
        oldest = [
            None if rates.requests is None else self._oldest_request(counted, running, rates.requests),
            None if rates.tokens is None else self._oldest_tokens(counted, running, rates.tokens - tokens),
        ]
        return max([line.first, *(at + WINDOW for at in oldest if at is not None)])

    def _open(self, call_id: int, state: CallState, at: Any, gone_at: Any, tokens: int) -> Begun | None:
        """Return what has begun and counts; what does not any more is closed."""
        begun, gone = instant(at), instant(gone_at)
        if gone > self._now:
            answer = max(self._now, begun + self._usual)
            # Whoever a place is kept for may come late: it counts as if that were now, so that nobody takes its room.
            return Begun(call_id, state, begun, answer if state == "kept" else min(answer, gone - WINDOW), tokens)
        if state == "kept":
            FORGET(id=call_id)(self._connection)
        else:
            self.lost_cost += sum(cost for _, cost in LOSE(id=call_id)(self._connection))
        return None

    def _counts_at(self, at: Any) -> datetime:
        """Return the moment of a call that is settled, or of the answer of one that is to begin."""
        moment = instant(at)
        return moment + self._usual if moment > self._now else moment

    def _oldest_request(self, counted: _Counted, running: Sequence[Moment], limit: int) -> datetime | None:
        """Return the moment of the call that is one too many beside another one, or None where there is room."""
        newer = max(0, limit - 1 - len(running))  # so many of the others are newer than it, whatever runs
        rows = NEWEST(**counted, count=limit - newer, offset=newer)(self._connection)
        moments = sorted([*(self._counts_at(at) for (at,) in rows), *(at for at, _ in running)], reverse=True)
        return moments[limit - newer - 1] if len(moments) >= limit - newer else None

    def _oldest_tokens(self, counted: _Counted, running: Sequence[Moment], room: int) -> datetime | None:
        """Return the moment of the newest call that does not fit in so many tokens together with those after it."""
        taken = TOKENS(**counted)(self._connection)[0][0] + sum(tokens for _, tokens in running)
        if taken <= room:
            return None  # nothing was read for it
        oldest = None
        for at, tokens in heapq.merge(self._oldest_first(counted), sorted(running)):
            if taken <= room:
                break
            taken -= tokens
            oldest = at
        return oldest

    def _oldest_first(self, counted: _Counted) -> Iterator[Moment]:
        """Yield what counts, page by page; usually the first few decide."""
        for offset in count(0, PAGE):
            rows = OLDEST(**counted, offset=offset)(self._connection)
            yield from ((self._counts_at(at), tokens) for at, tokens in rows)
            if len(rows) < PAGE:
                return
