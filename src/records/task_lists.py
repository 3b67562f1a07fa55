"""Pages of tasks, the newest first, by whatever people look for.

The rows beside the records (`records.task_list_rows`) say which records to look at; what they are, and what changed
since the rows were written, the records themselves say. So a page is what the records are at one moment.
"""

import heapq
import json
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import chain, islice
from operator import itemgetter
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Integer,
    Select,
    Text,
    and_,
    func,
    intersect,
    literal,
    literal_column,
    select,
    text,
    tuple_,
    type_coerce,
    union_all,
)
from sqlalchemy.sql.elements import SQLColumnExpression

from records import task_words
from records.database import Database
from records.task_following import read_marks
from records.task_list_rows import (
    ENDS,
    LONG,
    OPEN,
    TIE_BITS,
    USUAL_HOURS,
    first_number,
    key,
    list_state,
    milliseconds,
    rows,
    task_list_tags,
    task_lists,
)
from records.task_records import FINAL, MOST_BYTES, RUNNING, TaskState, columns, task_records

tags = task_list_tags.c

LIGHT = (
    "id",
    "name",
    "category",
    "queue",
    "priority",
    "state",
    "created_at",
    "due_at",
    "started_at",
    "finished_at",
    "expires_at",
    "attempt",
    "run",
    "worker",
    "progress",
    "progress_text",
    "error",
    "error_type",
    "error_fingerprint",
    "is_parent",
    "members_total",
    "parent_id",
    "retry_of",
    "retried_as",
    "held",
    "tenant",
    "tags",
)
"""What a row of a page tells."""

HEAVY = ("args", "kwargs", "result", "traceback")
"""What it tells beside that to who asks for it."""

READ_AT_ONCE = 16
"""Tasks of which that is read together, so that no more of it than that is thrown away."""

FEW = 1_000
"""What so many rows have at most is looked through, instead of what the other filters find."""

FEW_ENDS = 5_000
USUALLY = USUAL_HOURS * 3_600_000 << TIE_BITS
CLOCK_SET_BACK = 600_000 << TIE_BITS
"""A task ends after it was created; or as much before that, where the database's clock was set back."""

TAG = "tag"
OF_ENDS = frozenset({"worker", "error_type", "fingerprint"})
"""What a row has of a task that has ended only."""

JOINS = ("nestloop", "hashjoin", "mergejoin")

MOST_AT_ONCE = 500
FINALS = frozenset(state.value for state in FINAL)
FAILING = frozenset({TaskState.RETRY.value, TaskState.FAILURE.value, TaskState.REVOKED.value})
"""In these a task has the error that it is found by."""

AT_WORK = frozenset(state.value for state in (*RUNNING, *FINAL))
"""In these it has the worker that it is found by."""

OLDEST_NUMBER = -(1 << 63)
BEYOND_NUMBER = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which tasks: all that is given must hold; what is None is not looked at.

    Attributes:
        states: one of these.
        tags: all of these.
        worker: that ran it last, of what runs or has ended.
        created_from: at this moment or later; `created_before`, before it; the same of the end by `finished_…`.
        error_type: the class of the error that it ended with, or that it is tried again after.
        fingerprint: the like of that error.
        words: all of these are in its name, arguments, result or error, as `task_words.words_of` returns them.
        part: this is in one of those, as `task_words.plain` returns it; of the newest tasks alone.
    """

    states: frozenset[str] | None = None
    category: str | None = None
    name: str | None = None
    queue: str | None = None
    tenant: str | None = None
    tags: tuple[str, ...] = ()
    worker: str | None = None
    parent: str | None = None
    created_from: datetime | None = None
    created_before: datetime | None = None
    finished_from: datetime | None = None
    finished_before: datetime | None = None
    error_type: str | None = None
    fingerprint: str | None = None
    words: tuple[str, ...] = ()
    part: str | None = None

    @property
    def possible(self) -> frozenset[str]:
        """The states that these tasks may be in."""
        found = frozenset(state.value for state in TaskState) if self.states is None else self.states
        found = found & AT_WORK if self.worker is not None else found
        found = found & FAILING if self.error_type is not None or self.fingerprint is not None else found
        return found & FINALS if self.by_end else found

    @property
    def by_end(self) -> bool:
        """Whether the moment of the end is asked for."""
        return self.finished_from is not None or self.finished_before is not None

    @property
    def texts(self) -> bool:
        """Whether texts are searched."""
        return bool(self.words) or self.part is not None


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where in the order of all tasks one stands."""

    created_at: datetime
    id: str


Row = Mapping[Any, Any]
Term = tuple[str, int]
"""A filter that rows are found by: their column, or `TAG`, and the number of its text."""

Numbers = Callable[[int, int, int], Sequence[int]]
"""Returns numbers of rows, the greatest first: no lesser ones than this, those below that, so many."""

Fetch = Callable[[Place | None, int], Sequence[Row]]


class TaskLists:
    """Finds tasks."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def page(self, wanted: Wanted, limit: int, after: Place | None = None, *, heavy: bool = False) -> list[Row]:
        """Return the newest of these tasks, at most so many.

        Args:
            wanted: which.
            limit: at most so many.
            after: only those behind this place.
            heavy: with their arguments, results and tracebacks. Those that `MOST_BYTES` have no room for are without.
        """

        def read(connection: Connection) -> list[Row]:
            if self.database.is_sqlite:
                return Look(connection, wanted, limit, heavy=heavy).page(after)
            # What ends between two statements of one page would be in neither of them.
            connection.exec_driver_sql("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            try:
                return Look(connection, wanted, limit, heavy=heavy).page(after)
            finally:
                connection.exec_driver_sql("ROLLBACK")

        return self.database.read(read)


class Look:
    """One page, as it is found."""

    def __init__(self, connection: Connection, wanted: Wanted, limit: int, *, heavy: bool) -> None:
        self.connection = connection
        self.wanted = wanted
        self.limit = limit
        self.possible = wanted.possible
        self.heavy = heavy
        self.row = [columns[name] for name in LIGHT]
        self.conditions = _conditions(wanted)
        # An expression that is that of no index, either: PostgreSQL would read all that failed and sort it.
        whichever = len(self.possible) == len(TaskState)
        self.in_states = [] if whichever else [_unindexed(columns.state).in_(sorted(self.possible))]
        known = not wanted.texts or self.possible <= FINALS
        self.terms = [term for term in _terms(wanted) if known or term[0] not in OF_ENDS]
        # Equal moments are in the order of their ids' letters, whatever language PostgreSQL was set up for.
        self.sqlite = connection.dialect.name == "sqlite"
        self.id = columns.id if self.sqlite else columns.id.collate("C")

    def page(self, after: Place | None) -> list[Row]:
        """Return the rows behind a place."""
        if not self.possible:
            return []
        found = heapq.merge(*self._sources(after), key=_place, reverse=True)
        light = list(islice(_each_once(found), self.limit))
        return self._filled(light) if self.heavy else light

    def _filled(self, light: list[Row]) -> list[Row]:
        """Return the rows with what is heavy, as far as there is room."""
        room, filled = MOST_BYTES, list[Row]()
        for start in range(0, len(light), READ_AT_ONCE):
            some = light[start : start + READ_AT_ONCE]
            query = select(columns.id, *(columns[name] for name in HEAVY))
            found = self.connection.execute(query.where(columns.id.in_([row["id"] for row in some]))).mappings()
            heavy = {row["id"]: row for row in found}
            for row in some:
                whole = {**row, **heavy[row["id"]]}
                room -= len(json.dumps([row["error"], *(whole[name] for name in HEAVY)]))
                if room < 0 and filled:
                    return filled + light[len(filled) :]
                filled.append(whole)
        return filled

    def _sources(self, after: Place | None) -> Iterator[Iterable[Row]]:
        """Return what finds tasks, each in the order of the page; together they find all of them."""
        wanted, possible = self.wanted, self.possible
        if wanted.texts:
            yield self._chunks(self._texts(), after)
        elif wanted.by_end and self._few_ended():
            yield self._walk(after, *self._ended_between(), by_end=True)
        elif self.terms or wanted.by_end:
            yield from self._by_rows(after)
        elif wanted.states is None:
            yield self._walk(after)
        else:
            yield from self._by_state(after, possible)

    def _by_rows(self, after: Place | None) -> Iterator[Iterable[Row]]:
        wanted, possible = self.wanted, self.possible
        found = read_marks(self.connection)
        if found is None:
            yield self._walk(after)
            return
        yield self._walk(after, _later(columns.created_at, found.listed_to))
        if found.filled_from is not None:
            until = columns.created_at <= literal(found.filled_from, columns.created_at.type)
            yield self._walk(after, until)
        by_worker, by_error = wanted.worker is not None, wanted.error_type is not None or wanted.fingerprint is not None
        changes = wanted.states is not None or by_worker or by_error or wanted.by_end
        if changes and possible & FINALS:
            yield self._walk(after, _later(columns.finished_at, found.ended_to), by_end=True)
        if by_worker or by_error:
            yield from self._by_state(after, possible - FINALS)
        listed = {list_state(state) for state in (possible & FINALS if by_worker or by_error else possible)}
        if listed:
            yield self._chunks(self._rows(sorted(listed)), after)

    def _by_state(self, after: Place | None, states: frozenset[str]) -> Iterator[Iterable[Row]]:
        """Read the index of states, of each by itself."""
        for state in sorted(states):
            yield self._walk(after, columns.state == state, any_state=True)

    def _walk(
        self, after: Place | None, *found_by: ColumnElement[bool], by_end: bool = False, any_state: bool = False
    ) -> Iterator[Row]:
        """Read records that something else than their rows finds, in the order of the page.

        Args:
            after: where to begin.
            found_by: conditions whose index is read.
            by_end: whether that is the index of ends, so that the order is made afterwards.
            any_state: whether that tells the state: asked for it twice, PostgreSQL expects hardly any.
        """
        created = _unindexed(columns.created_at) if by_end else columns.created_at
        order = created.desc(), self.id.desc()
        conditions = [*self.conditions, *([] if any_state else self.in_states)]

        def fetch(place: Place | None, limit: int) -> Sequence[Row]:
            query = select(*self.row).where(*found_by, *conditions, *_created(self.wanted, created))
            if place is not None:
                query = query.where(self._behind(place, created))
            return self.connection.execute(query.order_by(*order).limit(limit)).mappings().all()

        return self._each_chunk(fetch, after)

    def _each_chunk(self, fetch: Fetch, place: Place | None) -> Iterator[Row]:
        while True:
            found = fetch(place, self.limit)
            yield from (row for row in found if self._has_tags(row))
            if len(found) < self.limit:
                return
            place = _place(found[-1])

    def _chunks(self, numbers: Numbers, after: Place | None) -> Iterator[Row]:
        """Read the records of rows, some at a time, behind a place."""
        below = BEYOND_NUMBER if after is None else first_number(after.created_at) + (1 << TIE_BITS)
        if self.wanted.created_before is not None:
            below = min(below, first_number(self.wanted.created_before) + (1 << TIE_BITS))
        if self.wanted.finished_before is not None:
            below = min(below, first_number(self.wanted.finished_before) + CLOCK_SET_BACK)
        first = self.wanted.created_from
        least = OLDEST_NUMBER if first is None else max(OLDEST_NUMBER, first_number(first))
        size = self.limit
        while below > least:
            some = list(numbers(least, below, size))
            if len(some) == size:  # all of the last moment: their order is not that of their numbers
                below = some[-1] >> TIE_BITS << TIE_BITS
                if some[-1] > below:
                    some += numbers(max(least, below), some[-1], 1 << TIE_BITS)
            else:
                below = least
            yield from self._records(some, after)
            size = min(size * 2, MOST_AT_ONCE)

    def _records(self, numbers: Sequence[int], after: Place | None) -> list[Row]:
        created = _unindexed(columns.created_at)
        query = select(*self.row).select_from(task_lists.join(task_records, columns.id == rows.id))
        query = query.where(*self.conditions, *self.in_states, *_created(self.wanted, created))
        if after is not None:
            query = query.where(self._behind(after, created))
        found: list[Row] = []
        for start in range(0, len(numbers), MOST_AT_ONCE):
            some = query.where(rows.number.in_(numbers[start : start + MOST_AT_ONCE]))
            found += self.connection.execute(some).mappings()
        return sorted(filter(self._has_tags, found), key=_place, reverse=True)

    def _behind(self, place: Place, created: Any) -> ColumnElement[bool]:
        moment = literal(place.created_at, columns.created_at.type)
        return and_(created <= moment, tuple_(created, self.id) < tuple_(moment, literal(place.id)))

    def _has_tags(self, row: Row) -> bool:
        return set(self.wanted.tags) <= set(row["tags"] or ())

    def _rows(self, states: Sequence[int]) -> Numbers:
        """Return what finds rows in one of these states: what the rarest filter finds is looked through.

        Where each filter alone finds many, two of them may meet nowhere; then their indexes are read side by side.
        """
        counted = list(self._counted())
        if not counted:
            return self._looking_through(states, None)
        rarest, count = min(counted, key=itemgetter(1))
        if count < FEW or len(counted) < 2 or self.wanted.by_end:  # noqa: PLR2004 - two that may meet
            return self._looking_through(states, rarest)
        return self._side_by_side(states)

    def _looking_through(self, states: Sequence[int], driver: Term | None) -> Numbers:
        """Return what finds rows by the index of one filter, and looks whether they are what the others want."""
        others = [_has(term) for term in self.terms if term != driver]
        first, before = self.wanted.finished_from, self.wanted.finished_before
        others += [] if first is None else [rows.finished >= milliseconds(first)]
        others += [] if before is None else [rows.finished <= milliseconds(before)]

        whichever = len(states) == 1 + len(ENDS)
        in_states = [] if whichever else [(rows.state + 0).in_(states)]
        usually_from = OLDEST_NUMBER
        if first is not None:
            usually_from = min(max(OLDEST_NUMBER, first_number(first) - USUALLY), BEYOND_NUMBER)

        def find(least: int, below: int, limit: int) -> Sequence[int]:
            same = others if driver is not None and driver[0] != TAG else [*in_states, *others]
            found = self._usual(states, driver, same, max(least, usually_from), below, limit)
            if first is not None and least < usually_from:  # what ended in that time was created then, too, but for few
                every = [_has(term) for term in self.terms], in_states, others
                number = rows.number + 0
                few = select(rows.number).where(text(LONG), number >= least, number < min(below, usually_from))
                found.append(few.where(*chain(*every)).order_by(number.desc()).limit(limit))
            with self._joined_only_by("nestloop"):
                return self._newest(found, limit)

        return find

    def _usual(
        self, states: Sequence[int], driver: Term | None, others: list[Any], least: int, below: int, limit: int
    ) -> list[Select[Any]]:
        """Return what finds rows in the order of their numbers, by the index of one filter."""
        if driver is None:
            found = [select(rows.number).where(rows.number >= least, rows.number < below, *others)]
        elif driver[0] != TAG:
            found = [_of_term(driver, state, least, below).where(*others) for state in states]
        else:
            tagged = _of_term(driver, OPEN, least, below).order_by(tags.number.desc()).limit(limit)
            joined = tagged.join(task_lists, rows.number == tags.number).where(*others)
            return [joined if others else tagged]
        return [query.order_by(rows.number.desc()).limit(limit) for query in found]

    def _side_by_side(self, states: Sequence[int]) -> Numbers:
        """Return what finds rows in the indexes of all filters, each read once, in the order of their numbers."""
        meet = _intersection if self.sqlite else _merge_join
        of_state = states if any(name != TAG for name, _ in self.terms) else states[:1]  # a tag's index knows no state

        def find(least: int, below: int, limit: int) -> Sequence[int]:
            found = [meet([_of_term(term, state, least, below) for term in self.terms], limit) for state in of_state]
            with self._joined_only_by("mergejoin"):
                return self._newest(found, limit)

        return find

    @contextmanager
    def _joined_only_by(self, way: str) -> Generator[None]:
        """Let PostgreSQL join in this way alone: by another one it hopes to find a page soon, or reads everything."""
        others = [] if self.sqlite else [one for one in JOINS if one != way]
        for one in others:
            self.connection.exec_driver_sql(f"SET LOCAL enable_{one} = off")
        yield
        for one in others:
            self.connection.exec_driver_sql(f"SET LOCAL enable_{one} = on")

    def _newest(self, found: Sequence[Select[Any]], limit: int) -> Sequence[int]:
        """Return the greatest numbers that these queries find."""
        if len(found) == 1:
            return sorted(self.connection.execute(found[0]).scalars(), reverse=True)
        each = [select(query.subquery().c.number) for query in found]
        some = union_all(*each).subquery()
        newest = select(some.c.number).order_by(some.c.number.desc()).limit(limit)
        return self.connection.execute(newest).scalars().all()

    def _counted(self) -> Iterator[tuple[Term, int]]:
        """Count the rows of each filter up to `FEW`; what has fewer ends the count. One filter alone is not counted."""
        if len(self.terms) == 1 and not self.wanted.texts:
            yield self.terms[0], FEW
            return
        states = sorted({list_state(state) for state in self.possible})
        for term in self.terms:
            name, value = term
            here = (tags.tag == value,) if name == TAG else (rows[name] == value, rows.state.in_(states))
            some = select(literal(1)).where(*here).limit(FEW).subquery()
            count = self.connection.execute(select(func.count()).select_from(some)).scalar_one()
            yield term, count
            if count < FEW:
                return

    def _texts(self) -> Numbers:
        """Return what finds rows by their texts: of the few of another filter, else by the index of the words."""
        connection, wanted = self.connection, self.wanted
        rarest, count = min(self._counted(), key=itemgetter(1), default=(None, FEW))
        oldest = OLDEST_NUMBER if wanted.part is None else self._recent()

        def find(least: int, below: int, limit: int) -> Sequence[int]:
            least = max(least, oldest)
            if count < FEW:
                return self._with_texts(rarest, least, below)[:limit]
            if wanted.part is not None:
                return task_words.with_part(connection, wanted.part, least, below, limit)
            return task_words.with_words(connection, wanted.words, least, below, limit)

        return find

    def _with_texts(self, driver: Term | None, least: int, below: int) -> list[int]:
        """Return the numbers of the few rows that a filter finds whose texts are as they must be."""
        listed = sorted({list_state(state) for state in self.possible})
        numbers = self._looking_through(listed, driver)(least, below, FEW)
        kept: dict[int, str] = {}
        for start in range(0, len(numbers), MOST_AT_ONCE):
            kept |= task_words.texts(self.connection, numbers[start : start + MOST_AT_ONCE])
        words, part = set(self.wanted.words), self.wanted.part or ""
        fit = (number for number, text in kept.items() if part in text and words <= set(task_words.words_of(text)))
        return sorted(fit, reverse=True)

    def _recent(self) -> int:
        """Return the number from which on parts of words are looked for."""
        some = select(rows.number).order_by(rows.number.desc()).limit(task_words.RECENT).subquery()
        return self.connection.execute(select(func.min(some.c.number))).scalar() or OLDEST_NUMBER

    def _few_ended(self) -> bool:
        some = select(literal(1)).where(*self._ended_between()).limit(FEW_ENDS).subquery()
        return self.connection.execute(select(func.count()).select_from(some)).scalar_one() < FEW_ENDS

    def _ended_between(self) -> list[ColumnElement[bool]]:
        return _between(columns.finished_at, self.wanted.finished_from, self.wanted.finished_before)


def _each_once(found: Iterable[Row]) -> Iterator[Row]:
    last = None
    for row in found:
        if row["id"] != last:
            last = row["id"]
            yield row


def _place(row: Row) -> Place:
    return Place(row["created_at"], row["id"])


def _unindexed(column: ColumnElement[Any]) -> Any:
    """Return a column as an expression, so that no index of it is read."""
    return func.coalesce(column, column)


def _later(column: ColumnElement[Any], moment: datetime) -> ColumnElement[bool]:
    return column > literal(moment, column.type)


def _between(column: Any, first: datetime | None, before: datetime | None) -> list[ColumnElement[bool]]:
    bounds = [] if first is None else [column >= literal(first, columns.created_at.type)]
    return bounds if before is None else [*bounds, column < literal(before, columns.created_at.type)]


def _created(wanted: Wanted, created: Any) -> list[ColumnElement[bool]]:
    return _between(created, wanted.created_from, wanted.created_before)


def _conditions(wanted: Wanted) -> list[ColumnElement[bool]]:
    """Return what a record must be beside its state; none of it makes a database read an index."""
    texts = {
        columns.category: wanted.category,
        columns.name: wanted.name,
        columns.queue: wanted.queue,
        columns.tenant: wanted.tenant,
        columns.parent_id: wanted.parent,
        columns.worker: wanted.worker,
        columns.error_type: wanted.error_type,
        columns.error_fingerprint: wanted.fingerprint,
    }
    found = [_text(column) == value for column, value in texts.items() if value is not None]
    found += _between(_unindexed(columns.finished_at), wanted.finished_from, wanted.finished_before)
    # What is found by this may still be other tags, which is seen when they are read.
    stored = type_coerce(columns.tags, Text)
    return found + [stored.contains(json.dumps(tag), autoescape=True) for tag in wanted.tags]


def _text(column: ColumnElement[Any]) -> SQLColumnExpression[Any]:
    return column.concat(literal_column("''"))


def _terms(wanted: Wanted) -> list[Term]:
    """Return by what rows are found, what has most likely few of them first."""
    texts = {
        "fingerprint": wanted.fingerprint,
        "parent": wanted.parent,
        "error_type": wanted.error_type,
        "worker": wanted.worker,
        "tenant": wanted.tenant,
        "name": wanted.name,
        "queue": wanted.queue,
        "category": wanted.category,
    }
    found = [(name, key(value)) for name, value in texts.items() if value is not None]
    return [(TAG, key(tag)) for tag in wanted.tags] + found


def _of_term(term: Term, state: int, least: int, below: int) -> Select[Any]:
    """Return the query for the numbers of the rows that one filter finds; a tag's index knows no state."""
    name, value = term
    if name == TAG:
        return select(tags.number).where(tags.tag == value, tags.number >= least, tags.number < below)
    return select(rows.number).where(
        rows[name] == value, rows.state == state, rows.number >= least, rows.number < below
    )


def _has(term: Term) -> ColumnElement[bool]:
    """Tell in SQL whether a row is what a filter wants; no index of that is read."""
    name, value = term
    if name != TAG:
        return (rows[name] + 0) == value
    own = task_list_tags.alias()
    return select(literal(1)).where(own.c.tag == value, own.c.number == rows.number).exists()


def _intersection(found: Sequence[Select[Any]], limit: int) -> Select[Any]:
    """Return the query for the greatest numbers that all of these find: SQLite reads them in step, and stops there."""
    number: ColumnElement[int] = literal_column("number", Integer)
    both = intersect(*found).order_by(number.desc()).limit(limit).subquery()
    return select(both.c.number)


def _merge_join(found: Sequence[Select[Any]], limit: int) -> Select[Any]:
    """Return the query for the same as PostgreSQL reads them in step."""
    first, *others = [query.subquery() for query in found]
    same = [first.c.number == other.c.number for other in others]
    return select(first.c.number).where(*same).order_by(first.c.number.desc()).limit(limit)
