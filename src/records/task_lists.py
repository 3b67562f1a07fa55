"""Pages of tasks, the newest first, by whatever people look for.

The rows beside the records (`records.task_list_rows`) say which records to look at; what they are, and what changed
since the rows were written, the records themselves say. So a page is what the records are at one moment.
"""

import heapq
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

from sqlalchemy import ColumnElement, Connection, Text, and_, func, literal, literal_column, select, tuple_, type_coerce
from sqlalchemy.sql.elements import SQLColumnExpression

from records import task_words
from records.database import Database
from records.task_following import read_marks
from records.task_list_rows import (
    OPEN,
    TIE_BITS,
    first_number,
    key,
    list_state,
    milliseconds,
    rows,
    task_list_tags,
    task_lists,
)
from records.task_records import FINAL, RUNNING, TaskState, columns

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

FEW = 1_000
"""What so many rows have at most is looked through, instead of what the other filters find."""

FEW_ENDS = 5_000
MOST_AT_ONCE = 500
FINALS = frozenset(state.value for state in FINAL)
FAILING = frozenset({TaskState.RETRY.value, TaskState.FAILURE.value, TaskState.REVOKED.value})
"""In these a task has the error that it is found by."""

AT_WORK = frozenset(state.value for state in (*RUNNING, *FINAL))
"""In these it has the worker that it is found by."""

OLDEST_NUMBER = -(1 << 62)
BEYOND_NUMBER = 1 << 62


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


Row = Mapping[str, Any]
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
            heavy: with their arguments, results and tracebacks.
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
        self.row = [columns[name] for name in (*LIGHT, *(HEAVY if heavy else ()))]
        self.conditions = _conditions(wanted, self.possible)
        self.terms = _terms(wanted)
        # Equal moments are in the order of their ids' letters, whatever language PostgreSQL was set up for.
        self.id = columns.id if connection.dialect.name == "sqlite" else columns.id.collate("C")

    def page(self, after: Place | None) -> list[Row]:
        """Return the rows behind a place."""
        if not self.possible:
            return []
        found = heapq.merge(*self._sources(after), key=_place, reverse=True)
        return list(islice(_each_once(found), self.limit))

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
            for state in sorted(possible):
                yield self._walk(after, columns.state == state)

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
            for state in sorted(possible - FINALS):
                yield self._walk(after, columns.state == state)
        listed = {list_state(state) for state in (possible & FINALS if by_worker or by_error else possible)}
        driver = self._driver()
        for state in sorted(listed):
            yield self._chunks(self._rows(state, driver), after)

    def _walk(self, after: Place | None, *found_by: ColumnElement[bool], by_end: bool = False) -> Iterator[Row]:
        """Read records that something else than their rows finds, in the order of the page.

        Args:
            after: where to begin.
            found_by: conditions whose index is read.
            by_end: whether that is the index of ends, so that the order is made afterwards.
        """
        created = _unindexed(columns.created_at) if by_end else columns.created_at
        order = created.desc(), self.id.desc()

        def fetch(place: Place | None, limit: int) -> Sequence[Row]:
            query = select(*self.row).where(*found_by, *self.conditions, *_created(self.wanted, created))
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

    def _chunks(self, numbers: Callable[[int, int, int], Sequence[int]], after: Place | None) -> Iterator[Row]:
        """Read the records of rows, some at a time.

        Args:
            numbers: returns numbers of rows, the greatest first: no lesser ones than this, those below that, so many.
            after: where to begin.
        """
        below = BEYOND_NUMBER if after is None else first_number(after.created_at) + (1 << TIE_BITS)
        if self.wanted.created_before is not None:
            below = min(below, first_number(self.wanted.created_before) + (1 << TIE_BITS))
        least = OLDEST_NUMBER if self.wanted.created_from is None else first_number(self.wanted.created_from)
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
        found: list[Row] = []
        for start in range(0, len(numbers), MOST_AT_ONCE):
            ids = select(rows.id).where(rows.number.in_(numbers[start : start + MOST_AT_ONCE]))
            given = list(self.connection.execute(ids).scalars())
            created = _unindexed(columns.created_at)
            query = select(*self.row).where(columns.id.in_(given), *self.conditions, *_created(self.wanted, created))
            if after is not None:
                query = query.where(self._behind(after, created))
            found += self.connection.execute(query).mappings().all()
        return sorted(filter(self._has_tags, found), key=_place, reverse=True)

    def _behind(self, place: Place, created: Any) -> ColumnElement[bool]:
        moment = literal(place.created_at, columns.created_at.type)
        return and_(created <= moment, tuple_(created, self.id) < tuple_(moment, literal(place.id)))

    def _has_tags(self, row: Row) -> bool:
        return set(self.wanted.tags) <= set(row["tags"] or ())

    def _rows(self, state: int, driver: str | None) -> Callable[[int, int, int], Sequence[int]]:
        """Return what finds rows of one state; `driver` names the filter whose index is read."""
        tags = [key(tag) for tag in self.wanted.tags]
        others = [
            (rows[name] if name == driver else rows[name] + 0) == value for name, value in self.terms if name != "tag"
        ]
        others.append((rows.state if driver not in (None, "tag") else rows.state + 0) == state)
        if self.wanted.finished_from is not None:
            others.append(rows.finished >= milliseconds(self.wanted.finished_from))
        if self.wanted.finished_before is not None:
            others.append(rows.finished <= milliseconds(self.wanted.finished_before))
        others += [_has_tag(tag) for tag in (tags[1:] if driver == "tag" else tags)]

        def find(least: int, below: int, limit: int) -> Sequence[int]:
            number: Any = task_list_tags.c.number if driver == "tag" else rows.number
            query = select(number).where(number >= least, number < below, *others)
            if driver == "tag":
                joined = task_list_tags.join(task_lists, rows.number == number)
                query = query.select_from(joined).where(task_list_tags.c.tag == tags[0])
            return self.connection.execute(query.order_by(number.desc()).limit(limit)).scalars().all()

        return find

    def _driver(self) -> str | None:
        """Return the filter whose rows are the fewest, or seem to be."""
        if len(self.terms) < 2:  # noqa: PLR2004 - nothing to choose from
            return self.terms[0][0] if self.terms else None
        return min(self._counted(), key=lambda found: found[1])[0]

    def _counted(self) -> Iterator[tuple[str, int]]:
        """Count the rows of each filter up to `FEW`; what has fewer ends the count."""
        states = sorted({list_state(state) for state in self.possible})
        for name, value in self.terms:
            if name == "tag":
                some = select(literal(1)).where(task_list_tags.c.tag == value)
            else:
                some = select(literal(1)).where(rows[name] == value, rows.state.in_(states))
            count = self.connection.execute(select(func.count()).select_from(some.limit(FEW).subquery())).scalar_one()
            yield name, count
            if count < FEW:
                return

    def _texts(self) -> Callable[[int, int, int], Sequence[int]]:
        """Return what finds rows by their texts."""
        connection, wanted = self.connection, self.wanted
        few = None
        if self.terms:
            name, count = min(self._counted(), key=lambda found: found[1])
            few = name if count < FEW else None
        oldest = self._recent() if wanted.part is not None else OLDEST_NUMBER

        def find(least: int, below: int, limit: int) -> Sequence[int]:
            least = max(least, oldest)
            if wanted.part is not None:
                found = task_words.with_part(connection, wanted.part, least, below, limit)
            else:
                found = task_words.with_words(connection, wanted.words, least, below, limit)
            return found

        def among(least: int, below: int, limit: int) -> Sequence[int]:
            return self._with_texts(few, max(least, oldest), below)[:limit]

        return find if few is None else among

    def _with_texts(self, driver: str, least: int, below: int) -> list[int]:
        """Return the numbers of the few rows that a filter finds whose texts are as they must be."""
        listed = sorted({list_state(state) for state in self.possible} | {OPEN})
        numbers = [number for state in listed for number in self._rows(state, driver)(least, below, FEW)]
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


def _conditions(wanted: Wanted, possible: frozenset[str]) -> list[ColumnElement[bool]]:
    """Return what a record must be, none of which makes a database read an index for it."""
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
    if len(possible) < len(TaskState):
        found.append(_text(columns.state).in_(sorted(possible)))
    found += _between(_unindexed(columns.finished_at), wanted.finished_from, wanted.finished_before)
    # What is found by this may still be other tags, which is seen when they are read.
    tags = type_coerce(columns.tags, Text)
    return found + [tags.contains(json.dumps(tag), autoescape=True) for tag in wanted.tags]


def _text(column: ColumnElement[Any]) -> SQLColumnExpression[Any]:
    return column.concat(literal_column("''"))


def _terms(wanted: Wanted) -> list[tuple[str, int]]:
    """Return by what rows are found: column and number."""
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
    return found + [("tag", key(tag)) for tag in wanted.tags]


def _has_tag(tag: int) -> ColumnElement[bool]:
    own = task_list_tags.alias()
    return select(literal(1)).where(own.c.tag == tag, own.c.number == rows.number).exists()
