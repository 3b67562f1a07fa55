"""One row per task: what it is, where it stands, what came of it."""

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cache
from operator import attrgetter
from typing import Any, TypeGuard, TypeVar

from sqlalchemy import (
    Boolean,
    Column,
    ColumnElement,
    Connection,
    Float,
    Integer,
    RowMapping,
    String,
    Table,
    Text,
    and_,
    case,
    false,
    func,
    literal,
    literal_column,
    or_,
    select,
    text,
    true,
    tuple_,
    type_coerce,
    update,
)

from processors.errors import SubmitUnknown, TurnOver
from processors.json_text import JsonText
from processors.scheduling import FailedTasks
from records.columns import Instant, Json, Now, PlainText, metadata
from records.database import CommitUnknown, Database
from records.insertion import insert_into
from records.prepared import ROWS_AT_ONCE, Bound, Given, GivenRows, Prepared, given

Result = TypeVar("Result")

LONE = re.compile("[\ud800-\udfff]")
"""Half of a pair of UTF-16, which is no character and which no database takes."""

SUBMITTER_SECONDS = 4
"""How long the relay leaves a fresh record to its submitter, who publishes it by itself."""


class TaskState(StrEnum):
    """Where a task stands, in Celery's own words; `UNKNOWN` is what a stranger's id gets and is never stored."""

    PENDING = "PENDING"
    STARTED = "STARTED"
    PROGRESS = "PROGRESS"
    RETRY = "RETRY"
    SUCCESS = "SUCCESS"
    FAILURE = "FAILURE"
    REVOKED = "REVOKED"


WAITING = (TaskState.PENDING, TaskState.RETRY)
RUNNING = (TaskState.STARTED, TaskState.PROGRESS)
FINAL = (TaskState.SUCCESS, TaskState.FAILURE, TaskState.REVOKED)

task_records = Table(
    "task_records",
    metadata,
    # Text where it may be: PostgreSQL takes half of what may stand in a column for its width, and a table it has not
    # analyzed yet for empty where its rows would be wider than a page.
    Column("id", String(255), primary_key=True),
    Column("name", String(255), nullable=False),
    Column("category", String(64), nullable=False),
    Column("queue", String(255), nullable=False),
    Column("priority", String(16), nullable=False),
    Column("state", String(16), nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("due_at", Instant, nullable=False),
    Column("relay_at", Instant),  # when the relay publishes it; NULL: nothing to publish
    Column("published_at", Instant),
    Column("started_at", Instant),
    Column("deadline_at", Instant),  # the hard time limit of the run that goes on
    Column("finished_at", Instant),
    Column("expires_at", Instant),
    Column("attempt", Integer, nullable=False),
    Column("run", Integer, nullable=False),
    Column("lost_runs", Integer, nullable=False),  # runs in a row that ended with the death of their worker
    Column("worker_id", String(36)),
    Column("worker", Text),
    Column("progress", Float, nullable=False),
    Column("progress_text", PlainText),
    Column("args", Json, nullable=False),
    Column("kwargs", Json, nullable=False),
    Column("message", Json, nullable=False),  # the rest of the Celery message: headers, properties, embed, options
    Column("result", Json),
    Column("error", PlainText),
    Column("error_type", Text),
    Column("error_fingerprint", String(64)),
    Column("traceback", PlainText),
    Column("is_parent", Boolean, nullable=False),
    Column("members_total", Integer),
    Column("parent_id", Text),
    Column("root_id", Text),
    Column("caller_id", Text),  # the task that submitted this one
    Column("group_id", Text),
    Column("retry_of", Text),
    Column("retried_as", Text),
    Column("retry_count", Integer, nullable=False),  # retries by hand along the chain
    Column("origin", Text),
    Column("tenant", Text),
    Column("tags", Json),
    Column("idempotency_key", Text),
    Column("limit_keys", Json),  # what it is limited by beside queue, category, name and tenant
    Column("hold", Text),  # what it waits for: a scope, alone or after `unpaced:`, `pause:<queue>`, …
    Column("held", Boolean, nullable=False, server_default=false()),  # until it is let go; `hold` stays until it starts
    Column("holds", Integer, nullable=False, server_default=text("0")),  # how often it was held
    Column("turn", Integer),  # its place in the line of those who wait for the same
    Column("partial_text", PlainText),  # what there is so far of the text that its result will have
)

columns = task_records.c
FAILED = columns.state.concat(literal_column("''")) == literal_column("'FAILURE'")
"""As the index of what failed has it; an expression and not the column, or SQLite takes the index of states for it."""

RETRIABLE = or_(FAILED, and_((columns.state + "") == TaskState.REVOKED.value, columns.retry_of.is_not(None)))
"""What may be retried by hand: what has failed, and of what was cancelled only what is such a retry itself."""

DUE_HEADER = "csai_first_due"
"""Of a task that is submitted for later, among the headers of all its messages: a moment or null, and seconds."""

LONGEST_ID = 255


def is_task_id(value: Any) -> TypeGuard[str]:
    """Tell whether a record may have this id."""
    return isinstance(value, str) and 0 < len(value) <= LONGEST_ID and "\0" not in value and not LONE.search(value)


def is_run(task_id: Any, run: Any) -> ColumnElement[bool]:
    """Tell in SQL whether a record is that of this run, which goes on: one that was cancelled or fenced finds out.

    The state is an expression and not the column, or SQLite reads all records that run instead of the one.
    """
    return and_(columns.id == task_id, columns.run == run, (columns.state + "").in_([s.value for s in RUNNING]))


@dataclass(slots=True)  # to freeze one takes longer than to make it
class Draft:
    """What a submit knows of a task before its record exists; it is not changed, but replaced.

    Attributes:
        written: its keyword arguments, and what they are as JSON, where somebody has written them.
        due_at: when it is due; none, or one that has passed by the database's clock, means now.
        delay: how many seconds later than that.
        relay_now: leave the publishing to the relay at once, not to the submitter.
        hold: what it waits for before it is published, at its `turn`.
        first: publish it to the front of its queue.
    """

    id: str
    name: str
    category: str
    queue: str
    kwargs: Mapping[str, Any] = field(default_factory=dict[str, Any])
    args: Sequence[Any] = ()
    priority: str = "normal"
    message: Mapping[str, Any] = field(default_factory=dict[str, Any])
    attempt: int = 0
    run: int = 0
    delay: float = 0
    due_at: datetime | None = None
    expires_at: datetime | None = None
    relay_now: bool = False
    is_parent: bool = False
    members_total: int | None = None
    parent_id: str | None = None
    root_id: str | None = None
    caller_id: str | None = None
    group_id: str | None = None
    retry_of: str | None = None
    retry_count: int = 0
    origin: str | None = None
    tenant: str | None = None
    tags: Sequence[str] | None = None
    idempotency_key: str | None = None
    limit_keys: Sequence[str] | None = None
    hold: str | None = None
    turn: int | None = None
    first: bool = False
    written: tuple[Mapping[str, Any], JsonText] | None = None

    @property
    def kwargs_text(self) -> JsonText | None:
        """Its keyword arguments as JSON, where they are written; who replaced them since has not."""
        return self.written[1] if self.written is not None and self.written[0] is self.kwargs else None

    @property
    def kwargs_stored(self) -> Mapping[str, Any] | JsonText:
        """Its keyword arguments, as text where they are written."""
        text = self.kwargs_text
        return self.kwargs if text is None else text

    @property
    def holds(self) -> int:
        """How often it was held since it was recorded: never."""
        return 0


def first_due(created_at: datetime, named: tuple[str | None, float] | None) -> datetime:
    """Return when a task was due first, whatever has changed its `due_at` since, such as a retry or a pause.

    Args:
        created_at: when it was recorded.
        named: what its message has as `DUE_HEADER`; None where it has none.
    """
    if named is None:
        return created_at
    at, delay = named
    moment = created_at if at is None else max(created_at, datetime.fromisoformat(at))
    return moment + timedelta(seconds=delay)


@dataclass(frozen=True, slots=True)
class TaskRecord:
    """A record as it was read."""

    id: str
    name: str
    category: str
    queue: str
    priority: str
    state: TaskState
    created_at: datetime
    due_at: datetime
    relay_at: datetime | None
    published_at: datetime | None
    started_at: datetime | None
    deadline_at: datetime | None
    finished_at: datetime | None
    expires_at: datetime | None
    attempt: int
    run: int
    lost_runs: int
    worker_id: str | None
    worker: str | None
    progress: float
    progress_text: str | None
    args: list[Any]
    kwargs: dict[str, Any]
    message: dict[str, Any]
    result: Any
    error: str | None
    error_type: str | None
    error_fingerprint: str | None
    traceback: str | None
    is_parent: bool
    members_total: int | None
    parent_id: str | None
    root_id: str | None
    caller_id: str | None
    group_id: str | None
    retry_of: str | None
    retried_as: str | None
    retry_count: int
    origin: str | None
    tenant: str | None
    tags: list[str] | None
    idempotency_key: str | None
    limit_keys: list[str] | None
    hold: str | None
    held: bool
    holds: int
    turn: int | None
    partial_text: str | None

    @property
    def kwargs_text(self) -> None:
        """Its keyword arguments as JSON: a record has them as they were read."""

    @property
    def first(self) -> bool:
        """Whether its message goes to the front of its queue: its turn had come before."""
        # A run of it was lost, given back or put off, which was no attempt; but not to let others have its slot.
        again = self.run > self.attempt and self.error_type != TurnOver.__name__
        return again or (self.hold is not None and not self.held)

    @property
    def final(self) -> bool:
        """Tell whether nothing will change any more."""
        return self.state in FINAL


def to_record(row: RowMapping) -> TaskRecord:
    """Turn a row into a record."""
    values: dict[str, Any] = dict(row)
    values["state"] = TaskState(values["state"])
    return TaskRecord(**values)


USUAL = ("id", "name", "category", "queue", "priority", "args", "kwargs", "message", "root_id", "caller_id", "origin")
"""What most drafts say."""

RARE = tuple(name for name in Draft.__slots__ if name not in (*USUAL, "written"))
"""What few drafts say: with fewer values a database is quicker."""

SQLITE_ROWS_AT_ONCE = 2_500
"""Rows of many drafts in one statement: a thread that comes back from SQLite waits for its turn to run Python."""

NOT_STORED = ("delay", "due_at", "relay_now", "first")

_usual = attrgetter(*("kwargs_stored" if name == "kwargs" else name for name in USUAL))
_rare = attrgetter(*RARE)
_NOTHING_RARE = _rare(Draft("", "", "", ""))


def _usual_values(value: Given) -> dict[str, Any]:
    """Return the columns of a record whose draft says nothing rare."""
    return {name: value(name, columns[name].type) for name in USUAL} | {
        "state": literal(TaskState.PENDING.value),
        "created_at": Now(),
        "due_at": Now(),
        "relay_at": Now(SUBMITTER_SECONDS),
        "lost_runs": literal(0),
        "progress": literal(0.0),
        "attempt": literal(0),
        "run": literal(0),
        "retry_count": literal(0),
        "is_parent": literal(value=False),
    }


def _all_values(value: Given) -> dict[str, Any]:
    """Return the columns of a record whatever its draft says."""
    to_come = value("due_at", Instant()) > Now()
    rare = {name: value(name, columns[name].type) for name in RARE if name not in NOT_STORED}
    return (
        _usual_values(value)
        | rare
        | {
            "state": value("state", String()),
            "due_at": case((to_come, value("due_moment", Instant())), else_=Now(value("delay", Float()))),
            "relay_at": case((to_come, value("relay_moment", Instant())), else_=Now(value("relay_delay", Float()))),
            "started_at": Now(value("started_delay", Float())),
            "held": value("held", Boolean()),
        }
    )


@cache
def _insertion(kind: str, values_of: Callable[[Given], dict[str, Any]], *, telling: bool) -> Prepared:
    """Return the statement that writes records; an id that exists is left as it is."""

    def one(value: Given) -> Any:
        return unless_there(insert_into(task_records, kind).values(values_of(value)))

    def many(rows: GivenRows) -> Any:
        values = values_of(rows)
        query = select(*values.values()).select_from(rows.source).where(true())  # SQLite reads `… ON` as a join's
        return unless_there(insert_into(task_records, kind).from_select(list(values), query))

    def unless_there(statement: Any) -> Any:
        insert = statement.on_conflict_do_nothing(index_elements=["id"])
        return insert.returning(columns.id) if telling else insert

    at_once = ROWS_AT_ONCE if kind != "sqlite" else SQLITE_ROWS_AT_ONCE
    return Prepared(one, "id", many, kind, in_key_order=False, at_once=at_once)


def insertion(kind: str, drafts: Sequence[Draft], *, telling: bool = True) -> Bound:
    """Return what inserts the records of these drafts.

    Args:
        kind: of the database.
        drafts: one whose id is there is left out.
        telling: return the ids of those that are new.
    """
    if all(_rare(draft) == _NOTHING_RARE for draft in drafts):
        usual = _insertion(kind, _usual_values, telling=telling)
        return usual.many(dict(zip(USUAL, _usual(draft), strict=True)) for draft in drafts)
    return _insertion(kind, _all_values, telling=telling).many(map(_given_values, drafts))


def insert_drafts(connection: Connection, drafts: Sequence[Draft]) -> None:
    """Insert the records of these drafts inside a caller's transaction; ids that exist are left as they are."""
    insertion(connection.dialect.name, drafts, telling=False)(connection)


def _given_values(draft: Draft) -> dict[str, Any]:
    """Return every value of a draft: moments are made by the database's clock, absent ones from no seconds."""
    waits = draft.due_at is not None or draft.delay > 0 or draft.relay_now
    delay = max(0.0, float(draft.delay))
    values: dict[str, Any] = dict(zip(USUAL + RARE, _usual(draft) + _rare(draft), strict=True))
    values["message"] = _message_of(draft, delay)
    values["state"] = "PROGRESS" if draft.is_parent else "PENDING"
    values["delay"] = delay
    values["held"] = draft.hold is not None
    unpublished = draft.is_parent or draft.hold is not None
    values["due_moment"] = draft.due_at and draft.due_at + timedelta(seconds=delay)
    values["relay_moment"] = None if unpublished else values["due_moment"]
    values["relay_delay"] = None if unpublished else delay if waits else float(SUBMITTER_SECONDS)
    values["started_delay"] = 0.0 if draft.is_parent else None
    return values


def _message_of(draft: Draft, delay: float) -> Mapping[str, Any]:
    """Return a draft's message, with `DUE_HEADER` where it is for later."""
    if (draft.due_at is None and not delay) or not math.isfinite(delay):  # what is none, no database takes
        return draft.message
    named = {DUE_HEADER: [draft.due_at and draft.due_at.isoformat(), delay]}
    return {**draft.message, "headers": {**draft.message.get("headers", {}), **named}}


def surely(task_id: str, write: Callable[[bool], Result]) -> Result:
    """Write; where the answer to the commit was lost write again, which must change nothing that is there.

    Args:
        task_id: the task that is recorded, for the error.
        write: is told whether it is called again.

    Raises:
        ServiceUnavailable: nothing was written.
        SubmitUnknown: it is not known whether it was written.
    """
    try:
        return write(False)  # noqa: FBT003 - its only argument
    except CommitUnknown as lost:
        try:
            return write(True)  # noqa: FBT003
        except Exception as error:
            raise SubmitUnknown(f"It is not known whether task {task_id} was recorded: {lost}", task_id) from error


def _failed(wanted: FailedTasks) -> list[ColumnElement[bool]]:
    """Return the conditions for failed tasks; a text is looked for in name, error and arguments, in whatever case."""
    conditions = [FAILED, columns.finished_at > Now(-wanted.max_age_hours * 3600)]
    if wanted.task_types:
        conditions.append(columns.category.in_(wanted.task_types))
    if wanted.error_type is not None:
        conditions.append(columns.error_type == wanted.error_type)
    if wanted.search is not None:
        stored = json.dumps(wanted.search)[1:-1]  # how arguments are written: with escapes
        texts = {
            columns.name: wanted.search,
            columns.error: wanted.search,
            columns.args: stored,
            columns.kwargs: stored,
        }
        found = [type_coerce(place, Text).icontains(text, autoescape=True) for place, text in texts.items()]
        conditions.append(or_(*found))
    return conditions


OLDEST = (columns.created_at, columns.id)

MOST_BYTES = 16 * 1024**2
"""Of all that a list tells of tasks that it tells whole, but for its first one: that is told however large it is."""

READ_AT_ONCE = 50
"""Of those."""

ONE = select(task_records).where(columns.id == given("task_id", String()))
ENDED = ONE.where(or_(*(columns.state == text(f"'{state.value}'") for state in FINAL)))
STATE = Prepared(lambda value: select(columns.state).where(columns.id == value("task_id", String())))


class TaskRecords:
    """Opens and reads records; `records.task_moves` changes their state."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def open(self, draft: Draft) -> bool:
        """Write the record of a task, durably, unless one with this id exists.

        Returns:
            Whether it was new, or may have been: the answer to a first commit was lost.

        Raises:
            ServiceUnavailable: nothing was written.
            SubmitUnknown: it is not known whether it was written.
        """
        opening = insertion(self.database.kind, [draft])
        return surely(draft.id, lambda again: bool(self.database.write(opening)) or again)

    def opening(self, drafts: Sequence[Draft]) -> Bound:
        """Return what `open_many` writes; all that takes time in this process is done then."""
        opening = insertion(self.database.kind, drafts, telling=False)
        opening.bind(self.database.engine().dialect)
        return opening

    def open_retries(self, drafts: Sequence[Draft]) -> set[str]:
        """Write the records of tasks that retry others, durably, and the id of each into that one: all or nothing.

        Returns:
            The ids of those that are certainly new; not of one whose former task was retried before, or may not be.

        Raises:
            ServiceUnavailable: nothing was written.
            SubmitUnknown: it is not known whether they were written.
        """
        if not drafts:
            return set()

        def link(connection: Connection, draft: Draft) -> bool:
            waits = and_(columns.id == draft.retry_of, RETRIABLE, columns.retried_as.is_(None))
            linked = update(task_records).where(waits).values(retried_as=draft.id).returning(columns.id)
            return connection.execute(linked).first() is not None

        def work(connection: Connection) -> set[str]:
            linked = [draft for draft in drafts if link(connection, draft)]
            new = insertion(connection.dialect.name, linked)(connection) if linked else ()
            return {row[0] for row in new}

        return surely(drafts[0].id, lambda _: self.database.write(work))

    def open_many(self, opening: Bound) -> None:
        """Write the records of many tasks, durably: all of them or none; ids that exist are left as they are.

        Raises:
            ServiceUnavailable: nothing was written.
            SubmitUnknown: it is not known whether they were written.
        """
        if opening:
            surely(opening.keys[0], lambda _: self.database.write(opening))

    def read(self, task_id: str) -> TaskRecord | None:
        """Return one record, or None where there is none."""
        row = self.database.read(lambda c: c.execute(ONE, {"task_id": task_id}).mappings().first())
        return to_record(row) if row else None

    def ended(self, task_id: str) -> TaskRecord | None:
        """Return the record of a task that has ended, for who waits for it; None where it goes on or there is none."""
        row = self.database.read(lambda c: c.execute(ENDED, {"task_id": task_id}).mappings().first())
        return to_record(row) if row else None

    def is_final(self, task_id: str) -> bool | None:
        """Tell whether a task has ended, for who asks often; None where there is no such record."""
        rows = self.database.read(STATE(task_id=task_id))
        return rows[0][0] in FINAL if rows else None

    def active(self, limit: int, most_bytes: int | None = None) -> list[TaskRecord]:
        """Return what runs, is reserved or waits in a queue, the oldest first; of much data as `_some` does."""
        running = columns.state.in_([s.value for s in RUNNING])
        waiting = and_(columns.state.in_([s.value for s in WAITING]), columns.due_at <= Now())
        return self._some(or_(running, waiting), limit, OLDEST, most_bytes)

    def running(self) -> list[tuple[str, str, str]]:
        """Return the id, name and working process of each task that runs there, the oldest first."""
        runs = and_(columns.state.in_([s.value for s in RUNNING]), columns.worker_id.is_not(None))
        query = select(columns.id, columns.name, columns.worker_id).where(runs).order_by(*OLDEST)
        return [tuple(row) for row in self.database.read(lambda c: c.execute(query).all())]

    def going_on(self, name: str, limit: int) -> list[TaskRecord]:
        """Return the tasks of this name that run, the newest first; a parent runs from its submit on."""
        runs = and_(columns.state.in_([s.value for s in RUNNING]), columns.name == name)
        return self._select(runs, limit, (columns.created_at.desc(), columns.id.desc()))

    def unfinished(self, limit: int) -> list[TaskRecord]:
        """Return what has no end yet, whether or not it is due, the oldest first."""
        return self._select(columns.state.in_([s.value for s in (*WAITING, *RUNNING)]), limit=limit)

    def unfinished_of(self, origins: Sequence[str], after: str, limit: int = 1_000) -> list[TaskRecord]:
        """Return what these have submitted and has no end yet, by id, from behind an id on."""
        going_on = columns.state.in_([s.value for s in (*WAITING, *RUNNING)])
        return self._select(and_(going_on, columns.origin.in_(origins), columns.id > after), limit, (columns.id,))

    def failed(
        self, wanted: FailedTasks, limit: int, after: TaskRecord | None = None, most_bytes: int | None = None
    ) -> list[TaskRecord]:
        """Return the tasks that failed, the newest failure first.

        Args:
            wanted: which.
            limit: at most so many.
            after: the last one of those that were returned before.
            most_bytes: of all that they tell, as `_some` has it.
        """
        conditions = _failed(wanted)
        if after is not None:
            last = literal(after.finished_at, columns.finished_at.type), literal(after.id)
            conditions.append(tuple_(columns.finished_at, columns.id) < tuple_(*last))
        order = columns.finished_at.desc(), columns.id.desc()
        return self._some(and_(*conditions), limit, order, most_bytes)

    def unretried(
        self, wanted: FailedTasks, limit: int, until: datetime, after: TaskRecord | None = None
    ) -> list[TaskRecord]:
        """Return the tasks that had failed by a moment and were not retried by hand yet, the oldest failure first.

        Members of a parent are left out.

        Args:
            wanted: which.
            limit: at most so many.
            until: the moment.
            after: the last one of those that were returned before.
        """
        conditions = [
            *_failed(wanted),
            columns.finished_at <= until,
            columns.retried_as.is_(None),
            columns.parent_id.is_(None),
        ]
        if after is not None:
            last = literal(after.finished_at, columns.finished_at.type), literal(after.id)
            conditions.append(tuple_(columns.finished_at, columns.id) > tuple_(*last))
        return self._select(and_(*conditions), limit, (columns.finished_at, columns.id))

    def queue_figures(self) -> dict[str, dict[str, Any]]:
        """Return by queue: how many wait for a worker, the age of the oldest in seconds, how many are due later."""
        ready = and_(columns.state.in_([s.value for s in WAITING]), columns.due_at <= Now())
        later = and_(columns.state.in_([s.value for s in WAITING]), columns.due_at > Now())
        running = and_(columns.state.in_([s.value for s in RUNNING]), columns.is_parent.is_(False))
        query = (
            select(
                columns.queue,
                func.count().filter(ready).label("depth"),
                func.min(columns.due_at).filter(ready).label("oldest"),
                func.count().filter(later).label("scheduled"),
                func.count().filter(running).label("running"),
                Now().label("now"),
            )
            .where(columns.state.in_([s.value for s in (*WAITING, *RUNNING)]))
            .group_by(columns.queue)
        )
        rows = self.database.read(lambda c: c.execute(query).mappings().all())
        return {
            row["queue"]: {
                "depth": row["depth"],
                "oldest_age_seconds": round((row["now"] - row["oldest"]).total_seconds(), 3) if row["oldest"] else None,
                "scheduled": row["scheduled"],
                "running": row["running"],
            }
            for row in rows
        }

    def _some(
        self, condition: Any, limit: int, order: Sequence[Any], most_bytes: int | None = None
    ) -> list[TaskRecord]:
        """Return records in an order; fewer than `limit` where their arguments, results and errors are larger.

        The first one is there however large it is. Few are read at once, so that little is read in vain.
        """
        if most_bytes is None:
            return self._select(condition, limit, order)
        query = select(columns.id).where(condition).order_by(*order).limit(limit)
        ids = self.database.read(lambda c: c.execute(query).scalars().all())
        found = list[TaskRecord]()
        for start in range(0, len(ids), READ_AT_ONCE):
            some = columns.id.in_(ids[start : start + READ_AT_ONCE])
            for record in self._select(and_(condition, some), order=order):
                told = [record.args, record.kwargs, record.result, record.error, record.traceback]
                most_bytes -= len(json.dumps(told))
                if most_bytes < 0 and found:
                    return found
                found.append(record)
        return found

    def _select(self, condition: Any, limit: int | None = None, order: Sequence[Any] = OLDEST) -> list[TaskRecord]:
        query = select(task_records).where(condition).order_by(*order).limit(limit)
        return [to_record(row) for row in self.database.read(lambda c: c.execute(query).mappings().all())]
