"""Fills what lists and searches read, behind the records: what was created or ended is found by their own indexes.

Every turn is one transaction of a bounded number of rows with the mark of how far it came, so that it may end, or be
done by two at once, at any statement.
"""

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from typing import Any
from zlib import crc32

from sqlalchemy import (
    ColumnElement,
    Connection,
    Table,
    and_,
    delete,
    exists,
    func,
    literal,
    or_,
    select,
    text,
    true,
    update,
)

from processors.errors import ServiceUnavailable
from records.columns import Now
from records.database import Database
from records.insertion import insert_into
from records.leadership import Lead, fenced
from records.prepared import Given, GivenRows, Prepared
from records.task_list_rows import (
    OPEN,
    TIE_BITS,
    TIES,
    first_number,
    forget,
    key,
    list_state,
    milliseconds,
    moment_of,
    rows,
    task_list_marks,
    task_list_tags,
    task_lists,
    task_words_due,
)
from records.task_records import columns, task_records
from records.task_words import Shown, keep_words, text_of

SETTLED_SECONDS = {"sqlite": 0.05, "postgresql": 1.0}
"""What is so old is settled: on SQLite the clock tells milliseconds; PostgreSQL may tell the moment a while before the
transaction has its number, by which one that goes on is known."""

LONGEST_TRANSACTION_SECONDS = 70
"""None of ours is longer (`records.postgresql.STATEMENT_TIMEOUT_SECONDS`); others must not hold up the lists."""

SETTLED_ON_POSTGRESQL = text(
    "SELECT greatest(clock_timestamp() - make_interval(secs => :longest),"
    " least(clock_timestamp() - make_interval(secs => :settled), min(xact_start))) FROM pg_stat_activity"
    " WHERE backend_xid IS NOT NULL AND datname = current_database() AND pid <> pg_backend_pid()"
)
PASS_SECONDS = 2.0
TEXT_AT_ONCE = 200_000
WORDS_READ_AT_ONCE = 25
"""Of so many, and not much more text, words are kept in one transaction: SQLite lets nobody else write meanwhile."""

TICK = timedelta(microseconds=1)
marks = task_list_marks.c

LISTED = (
    columns.id,
    columns.state,
    columns.created_at,
    columns.finished_at,
    columns.name,
    columns.category,
    columns.queue,
    columns.tenant,
    columns.parent_id,
    columns.worker,
    columns.error_type,
    columns.error_fingerprint,
    columns.tags,
    rows.number,
)
SAID = (columns.name, columns.args, columns.kwargs, columns.result, columns.error_type, columns.error)
WITH_ROW = task_records.outerjoin(task_lists, rows.id == columns.id)
UNLISTED = rows.id.is_(None)
OLD_STATE = or_(UNLISTED, rows.state == OPEN)
MARKED = task_list_marks.c.id == 1


class LeadLost(ServiceUnavailable):
    """Another one leads: what was about to be written was not."""


@dataclass(frozen=True, slots=True)
class Marks:
    """How far the lists go.

    Attributes:
        listed_to: what was created until then is listed, if it was created after `filled_from`.
        ended_to: what ended until then is listed as it ended.
        filled_from: of what was created until then, nothing may be listed yet; None where all is.
    """

    listed_to: datetime
    ended_to: datetime
    filled_from: datetime | None


READ_MARKS = select(marks.listed_to, marks.ended_to, marks.filled_from).where(MARKED)


def read_marks(connection: Connection) -> Marks | None:
    """Return how far the lists go; None where nothing was listed ever."""
    row = connection.execute(READ_MARKS).first()
    return None if row is None else Marks(*row)


@dataclass(frozen=True, slots=True)
class _Pass:
    """Looks that go on where the one before ended, instead of reading again what it listed.

    Attributes:
        seen: what changed until then was seen.
        settled: the mark may move to there; what changed later may have been passed by.
        until: when this pass ends, by this process's clock, and the next one begins at the mark.
    """

    seen: datetime
    settled: datetime
    until: float


@dataclass(frozen=True, slots=True)
class _Late:
    """What was committed since the look that a mark is moved by; attributes are as `TaskFollowing._follow` has them."""

    mark: str
    moment: Any
    unseen: ColumnElement[bool]
    since: datetime

    def hold_back(self, connection: Connection, moved: Mapping[str, datetime]) -> Mapping[str, datetime]:
        """Return where the mark may move to: on SQLite, nobody else writes now, and all that was written is seen."""
        if connection.dialect.name != "sqlite":
            return moved
        after, until = literal(self.since, self.moment.type), literal(moved[self.mark], self.moment.type)
        passed_by = select(func.min(self.moment)).select_from(WITH_ROW)
        first = connection.execute(passed_by.where(self.moment > after, self.moment <= until, self.unseen)).scalar()
        return moved if first is None else {self.mark: max(self.since, first - TICK)}


class TaskFollowing:
    """Lists what was created and what ended, and keeps its words.

    Attributes:
        used_elsewhere: the seconds of a processor that its writes took in another thread, which writes on SQLite.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self.used_elsewhere = 0.0
        self._passes: dict[str, _Pass] = {}

    def created(self, limit: int, lead: Lead | None = None) -> int:
        """List what was created since the last look, at most so many; returns how many there were."""
        return self._follow("listed_to", columns.created_at, UNLISTED, limit, lead)

    def ended(self, limit: int, lead: Lead | None = None) -> int:
        """List what ended since the last look as it ended, at most so many; returns how many there were."""
        return self._follow("ended_to", columns.finished_at, OLD_STATE, limit, lead)

    def fill(self, limit: int, lead: Lead | None = None) -> int:
        """List some of what was there before anything was listed, the newest first; returns how many there were."""
        found = self.database.read(read_marks)
        if found is None or found.filled_from is None:
            return 0
        until = found.filled_from
        order = columns.created_at.desc(), columns.id.desc()
        query = select(*LISTED).select_from(WITH_ROW).order_by(*order).limit(limit)
        older = self.database.read(lambda c: c.execute(query.where(columns.created_at <= until)).all())
        unlisted = [row for row in older if row.number is None]
        filled_from: datetime | None = older[-1].created_at if len(older) == limit else None
        if filled_from == until:  # more of one moment than one look takes
            filled_from = until - TICK
            same = query.limit(None).where(columns.created_at == until, UNLISTED)
            unlisted = list(self.database.read(lambda c: c.execute(same).all()))
        self._list(unlisted, {"filled_from": filled_from}, lead)
        return max(1, len(unlisted))

    def words(self, limit: int, shown: Shown, lead: Lead | None = None, young: float = 0) -> int:
        """Keep the words of some whose words are due, the newest first; returns how many there were.

        Args:
            limit: at most so many, and fewer where their texts are long; `limit` is returned of these too.
            shown: masks positional arguments.
            lead: only while this lead is held.
            young: what goes on waits until it is settled and so many seconds old; most has ended by then, and is kept
                once instead of twice.
        """
        due = task_words_due.c
        query = (
            select(due.number, due.state.label("due_state"), *SAID)
            .select_from(
                task_words_due.outerjoin(task_lists, rows.number == due.number).outerjoin(
                    task_records, columns.id == rows.id
                )
            )
            .order_by(due.number.desc())
        )

        def read(connection: Connection) -> tuple[dict[int, str], dict[int, int], int]:
            wanted = query
            if young:
                seconds = young + SETTLED_SECONDS[connection.dialect.name]
                old = first_number(connection.execute(select(Now(-seconds))).scalar_one())
                wanted = query.where(or_(due.state != OPEN, due.number < old))
            texts: dict[int, str] = {}
            states: dict[int, int] = {}
            size = 0
            while len(states) < limit:
                least, most = min(states, default=None), min(WORDS_READ_AT_ONCE, limit - len(states))
                below = wanted if least is None else wanted.where(due.number < least)
                some = connection.execute(below.limit(most)).mappings().all()
                states |= {row["number"]: row["due_state"] for row in some}
                new = {row["number"]: text_of(row, shown) for row in some if row["name"] is not None}
                size += sum(map(len, new.values()))
                texts |= new
                if size >= TEXT_AT_ONCE:
                    return texts, states, limit
                if len(some) < most:
                    break
            return texts, states, len(states)

        texts, states, found = self.database.read(read)
        if not states:
            return 0

        def work(connection: Connection) -> None:
            check_lead(connection, lead)
            there = set(connection.execute(select(rows.number).where(rows.number.in_(list(texts)))).scalars())
            keep_words(connection, {number: text for number, text in texts.items() if number in there})
            for state in set(states.values()):
                some = [number for number, its_state in states.items() if its_state == state]
                connection.execute(delete(task_words_due).where(due.number.in_(some), due.state == state))

        self._write(work)
        return found

    def compare(self, until: int | None, limit: int, lead: Lead | None = None) -> int | None:
        """Compare some records with their rows, from the newest to the oldest, and mend what differs.

        A record may have been seen by no look: its commit came too late, or the database's clock was set back.

        Args:
            until: the millisecond to begin with, which the call before returned; None begins with the newest.
            limit: so many records.
            lead: only while this lead is held.

        Returns:
            Where to go on; None at the end.
        """
        found = self.database.read(read_marks)
        if found is None or found.filled_from is not None:
            return None
        first = milliseconds(found.listed_to) if until is None else until
        newest = (first + 1) << TIE_BITS
        order = columns.created_at.desc(), columns.id.desc()
        older = columns.created_at < literal(moment_of(newest), columns.created_at.type)
        query = select(*LISTED, rows.state.label("listed_state")).select_from(WITH_ROW).where(older).order_by(*order)

        def read(connection: Connection) -> tuple[Sequence[Any], int | None, Sequence[str]]:
            some = connection.execute(query.limit(limit)).all()
            least = milliseconds(some[-1].created_at) if len(some) == limit else None
            if least == first:  # perhaps more of one moment than one look takes
                same = columns.created_at >= literal(moment_of(first << TIE_BITS), columns.created_at.type)
                some = connection.execute(query.where(same)).all()
            without = select(rows.id).where(rows.number < newest, ~exists().where(columns.id == rows.id))
            if least is not None:
                without = without.where(rows.number >= least << TIE_BITS)
            return some, least, list(connection.execute(without.limit(limit)).scalars())

        some, least, stray = self.database.read(read)
        wrong = [one for one in some if one.number is None or one.listed_state != list_state(one.state)]
        if wrong:
            self._list(wrong, {}, lead)
        if stray:
            self._write(partial(_forget_stray, task_ids=stray, lead=lead))
        return first - 1 if least == first else least

    def _follow(self, mark: str, moment: Any, unseen: ColumnElement[bool], limit: int, lead: Lead | None) -> int:
        """List what changed since a mark; arguments as `created`'s.

        The mark moves behind what may still be seen late, and no further than what is listed.
        """

        def read(connection: Connection) -> tuple[Sequence[Any], datetime, datetime, datetime | None] | None:
            found = read_marks(connection)
            if found is None:
                return None
            since: datetime = getattr(found, mark)
            going_on = self._passes.get(mark)
            settled = settled_until(connection) if going_on is None else going_on.settled
            after = literal(since if going_on is None else max(since, going_on.seen), moment.type)
            query = select(*LISTED).select_from(WITH_ROW).where(moment > after, unseen).order_by(moment).limit(limit)
            some = connection.execute(query).all()
            last = select(func.max(moment)).where(moment > after)
            return some, since, settled, connection.execute(last).scalar()

        found = self.database.read(read)
        if found is None:
            self._begin(lead)
            return 1
        some, since, settled, last = found
        moments: list[datetime] = [row.created_at if mark == "listed_to" else row.finished_at for row in some]
        reached = settled if len(some) < limit else min(moments[-1] - TICK, settled)
        began = self._passes.pop(mark, None)
        if some or (reached > since and (last is not None or began is not None)):
            self._list(some, {mark: max(since, reached)}, lead, _Late(mark, moment, unseen, since))
        if len(some) == limit and (began is None or time.monotonic() < began.until):
            until = time.monotonic() + PASS_SECONDS if began is None else began.until
            self._passes[mark] = _Pass(moments[-1] - TICK, settled, until)
        return len(some)

    def _begin(self, lead: Lead | None) -> None:
        """Begin to list: what is there already is listed later."""
        now = self.database.read(settled_until)
        first = insert_into(task_list_marks, self.database.kind).values(
            id=1, listed_to=now, ended_to=now, filled_from=now
        )

        def work(connection: Connection) -> None:
            check_lead(connection, lead)
            connection.execute(first.on_conflict_do_nothing())

        self._write(work)

    def _list(
        self, found: Sequence[Any], moved: Mapping[str, Any], lead: Lead | None, late: "_Late | None" = None
    ) -> None:
        """Write the rows of these records, and how far the lists go by that."""

        def work(connection: Connection) -> None:
            check_lead(connection, lead)
            if found:
                _write_rows(connection, found)
            if moved:
                marked = moved if late is None else late.hold_back(connection, moved)
                connection.execute(update(task_list_marks).where(MARKED).values(marked))

        self._write(work)

    def _write(self, work: Callable[[Connection], None]) -> None:
        asks = threading.get_ident()

        def measured(connection: Connection) -> None:
            began = time.thread_time()
            work(connection)
            if threading.get_ident() != asks:
                self.used_elsewhere += time.thread_time() - began

        self.database.write(measured, durable=False, lossy=True)


def settled_until(connection: Connection) -> datetime:
    """Return the moment before which nothing is written any more; what is read after this call has all of that."""
    seconds = SETTLED_SECONDS[connection.dialect.name]
    if connection.dialect.name == "sqlite":
        return connection.execute(select(Now(-seconds))).scalar_one()
    given = {"settled": seconds, "longest": LONGEST_TRANSACTION_SECONDS}
    found: datetime = connection.execute(SETTLED_ON_POSTGRESQL, given).scalar_one()
    return found.astimezone(UTC)


def check_lead(connection: Connection, lead: Lead | None) -> None:
    """Raise `LeadLost` where a lead is held no more; nothing where none is asked for."""
    if lead is not None and connection.execute(select(literal(1)).where(fenced(lead))).first() is None:
        raise LeadLost("Another process leads and follows the tasks.")


def _write_rows(connection: Connection, found: Sequence[Any]) -> None:
    """Insert these rows, or note of those that are there that their tasks ended: an end is never undone."""
    numbers = _numbers(connection, found)
    values = [_values(row, numbers[row.id]) for row in found]
    new = [row for row in found if row.number is None]
    tagged = [{"tag": key(tag), "number": numbers[row.id]} for row in new for tag in row.tags or ()]
    kind = connection.dialect.name
    for table, finish, some in (
        (task_lists, _listed, values),
        (task_list_tags, _tagged, tagged),
        (task_words_due, _due, values),
    ):
        _insertion(table, finish, kind).many(some)(connection)


def _listed(insertion: Any) -> Any:
    given = insertion.excluded
    ended = {name: given[name] for name in ("state", "finished", "worker", "error_type", "fingerprint")}
    goes_on = and_(rows.state == OPEN, given.state != OPEN)
    return insertion.on_conflict_do_update(index_elements=["id"], set_=ended, where=goes_on)


def _tagged(insertion: Any) -> Any:
    return insertion.on_conflict_do_nothing()


def _due(insertion: Any) -> Any:
    return insertion.on_conflict_do_update(index_elements=["number"], set_={"state": insertion.excluded.state})


@cache
def _insertion(table: Table, finish: Callable[[Any], Any], kind: str) -> Prepared:
    """Return the one statement that inserts many rows; `finish` says what becomes of one that is there."""

    def values_of(value: Given) -> dict[str, Any]:
        return {column.name: value(column.name, column.type) for column in table.columns}

    def one(value: Given) -> Any:
        return finish(insert_into(table, kind).values(values_of(value)))

    def many(given: GivenRows) -> Any:
        values = values_of(given)
        query = select(*values.values()).select_from(given.source).where(true())  # SQLite reads `… ON` as a join's
        return finish(insert_into(table, kind).from_select(list(values), query))

    return Prepared(one, "number", many, kind, in_key_order=False)


def _values(row: Any, number: int) -> dict[str, Any]:
    state = list_state(row.state)
    ended = state != OPEN
    failed = ended and row.state != "SUCCESS"
    return {
        "number": number,
        "id": row.id,
        "state": state,
        "finished": milliseconds(row.finished_at) if ended else None,
        "name": key(row.name),
        "category": key(row.category),
        "queue": key(row.queue),
        "tenant": _key(row.tenant),
        "parent": _key(row.parent_id),
        "worker": _key(row.worker) if ended else None,
        "error_type": _key(row.error_type) if failed else None,
        "fingerprint": _key(row.error_fingerprint) if failed else None,
    }


def _key(value: str | None) -> int | None:
    return None if value is None else key(value)


def _numbers(connection: Connection, found: Iterable[Any]) -> dict[str, int]:
    """Return the number of each row; new ones get one of their millisecond that is free."""
    numbers = {row.id: row.number for row in found if row.number is not None}
    new = {
        row.id: first_number(row.created_at) + (crc32(row.id.encode()) & (TIES - 1))
        for row in found
        if row.number is None
    }
    taken = set(numbers.values())
    while new:
        query = select(rows.number, rows.id).where(rows.number.in_(list(new.values())))
        others = {row.number: row.id for row in connection.execute(query)}
        left: dict[str, int] = {}
        for task_id, number in new.items():
            if number in taken or others.get(number, task_id) != task_id:
                left[task_id] = number + 1 if (number + 1) >> TIE_BITS == number >> TIE_BITS else number - TIES + 1
            else:
                numbers[task_id] = number
                taken.add(number)
        new = left
    return numbers


def _forget_stray(connection: Connection, task_ids: Sequence[str], lead: Lead | None) -> None:
    """Remove rows whose records are gone."""
    check_lead(connection, lead)
    there = set(connection.execute(select(columns.id).where(columns.id.in_(list(task_ids)))).scalars())
    forget(connection, [task_id for task_id in task_ids if task_id not in there])
