"""How a record moves: each move is one guarded statement, so that no late or second writer can undo another's."""

import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    Float,
    Integer,
    RowMapping,
    String,
    Text,
    and_,
    case,
    delete,
    exists,
    func,
    literal,
    or_,
    select,
    true,
    tuple_,
    type_coerce,
    update,
)

from processors.limits import DefaultLimits
from records.ai_answers import ai_answers
from records.ai_window import CUT_OFF
from records.cached_results import cached_results
from records.columns import Now, instant, now_once
from records.database import Database
from records.deliveries import DOUBTFUL, END_TASK, SEND_EMAIL, deliveries
from records.digests import digest_entries, digests
from records.effects import CLOSED, OWN_KEY, effects
from records.incidents import Death, incidents, note
from records.leadership import Lead, fenced
from records.limited_starts import Grant, Held, LimitedStarts, Soon
from records.limits import SUBJECT_COLUMNS, subject_of, unlimited
from records.members import many_of, members, remove_members
from records.prepared import Given, Prepared
from records.task_logs import task_logs
from records.task_pauses import task_pauses
from records.task_records import (
    FINAL,
    RUNNING,
    WAITING,
    TaskRecord,
    TaskState,
    columns,
    is_run,
    task_records,
    to_record,
)
from records.webhook_bodies import webhook_bodies
from records.workers import workers

QUARANTINE_AFTER = 3
"""Runs that ended with the death of their worker before a task is not started again."""

RELAY_CLAIM_SECONDS = 4
"""How long who claimed a record to publish it has for that, before the next one may."""

FOLLOW_SECONDS = 5
"""How long the leader leaves what follows an end (a chain's next, a chord's part) to the process that wrote the end."""

FOLLOW_AGAIN_SECONDS = 300

PATIENCE_SECONDS = 0.08
"""How long a start waits for a limiter that is about to have room, instead of going back to its record.

A little longer than what the leader lets go comes too early (`records.holds.LEAD_SECONDS`, and a hundredth more).
"""

PATIENT_TRIES = 2
NO_LIMITS = DefaultLimits()

NAMED = (columns.id, columns.name)

WAITING_VALUES = [state.value for state in WAITING]
RUNNING_VALUES = [state.value for state in RUNNING]
FINAL_VALUES = [state.value for state in FINAL]


class Place(NamedTuple):
    """Where in the broker a record goes; `again` where a run of it was lost, given back or put off."""

    queue: str
    priority: str
    again: bool


class Mark(NamedTuple):
    """What was known of a record when it was published: a later run or hold of it was not."""

    task_id: str
    attempt: int
    run: int
    holds: int = 0


@dataclass(frozen=True, slots=True)
class Started:
    """A run that has begun: `run` is the fence of every later write."""

    run: int
    attempt: int
    created_at: datetime
    due_at: datetime
    started_at: datetime
    parent_id: str | None
    tenant: str | None


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a task failed, as it is stored."""

    error: str
    error_type: str
    traceback: str | None = None
    fingerprint: str | None = None


EXPIRED = Failure("The task expired before it could start.", "Expired")
CANCELLED = "The task was cancelled."


def _not_final() -> ColumnElement[bool]:
    return columns.state.not_in(FINAL_VALUES)


def _waits_in(queue: str) -> ColumnElement[bool]:
    """Tell in SQL what waits in a queue for publishing, a worker, a limit or a retry; not what is due later."""
    waits = or_(columns.due_at <= Now(), columns.state == "RETRY")
    return and_(columns.queue == queue, columns.state.in_(WAITING_VALUES), waits)


def _relayable(categories: Sequence[str] | None) -> ColumnElement[bool]:
    condition = and_(columns.relay_at <= now_once(), _state_in(WAITING_VALUES))
    return and_(condition, columns.category.in_(categories)) if categories else condition


def _has_followers() -> ColumnElement[bool]:
    """Tell in SQL whether a message has callbacks, a chain or a chord: `"embed":{}` is how none is kept."""
    return type_coerce(columns.message, Text).like('%"embed":{"%')


def _state_in(values: Sequence[str]) -> ColumnElement[bool]:
    """Tell in SQL whether a record that is found by something else has such a state.

    An expression and not the column, or SQLite reads all records of that state instead of the few that are meant.
    """
    return (columns.state + "").in_(values)


def _worker_dead() -> ColumnElement[bool]:
    """Tell in SQL whether a running record's process is gone; a parent has none and is never dead.

    Silence does not count, only a goodbye or the leader's word: after a pause of the database all have been silent.
    """
    own = workers.alias("own_worker")
    lives = exists().where(own.c.id == columns.worker_id, own.c.stopped_at.is_(None))
    return and_(columns.state.in_(RUNNING_VALUES), columns.is_parent.is_(False), ~lives)


def _worker_left() -> ColumnElement[bool]:
    """Tell in SQL whether a running record's process has said goodbye; of one that died the leader decides."""
    own = workers.alias("own_worker")
    goodbye = exists().where(own.c.id == columns.worker_id, own.c.stopped_at.is_not(None), own.c.lost.is_(False))
    return and_(_state_in(RUNNING_VALUES), columns.is_parent.is_(False), goodbye)


def ended(state: TaskState, failure: Failure | None = None) -> dict[str, Any]:
    """Return the values of a final state."""
    values: dict[str, Any] = {
        "state": state.value,
        "finished_at": Now(),
        "relay_at": case((_has_followers(), Now(FOLLOW_SECONDS))),
        "worker_id": None,
        "deadline_at": None,
        "partial_text": None,
    }
    return values | _failed(failure) if failure else values


def _unheld() -> dict[str, Any]:
    """Return the values of a record that waits for no limiter, pause or turn any more."""
    return {"hold": None, "held": False, "turn": None}


def _ended_waiting(state: TaskState, failure: Failure | None = None) -> dict[str, Any]:
    """Return the values of a final state of what may never have started."""
    return ended(state, failure) | _unheld()


def _returned() -> dict[str, Any]:
    return {
        "state": TaskState.PENDING.value,
        "relay_at": Now(),
        "worker_id": None,
        "deadline_at": None,
        "progress": 0.0,
        "progress_text": None,
    }


def _failure(value: Given) -> dict[str, Any]:
    return {
        "error": value("error", columns.error.type),
        "error_type": value("error_type", String()),
        "error_fingerprint": value("error_fingerprint", String()),
        "traceback": value("traceback", columns.traceback.type),
    }


def _of_run(value: Given) -> ColumnElement[bool]:
    return is_run(value("task_id", String()), value("of_run", Integer()))


def _end_of_run(values: Callable[[Given], dict[str, Any]]) -> Prepared:
    """Return the statement that ends a run, if it is still the record's, with these values."""

    def build(value: Given) -> Any:
        return update(task_records).where(_of_run(value)).values(values(value)).returning(columns.id)

    return Prepared(build)


def _startable(value: Given) -> ColumnElement[bool]:
    """Tell in SQL whether a record may start as far as the record itself goes."""
    return and_(
        columns.id == value("task_id", String()),
        columns.attempt == value("of_attempt", Integer()),
        columns.due_at <= Now(),
        or_(columns.expires_at.is_(None), columns.expires_at > Now()),
        or_(_state_in(WAITING_VALUES), _worker_left()),
    )


def _start(value: Given, guards: ColumnElement[bool], values: dict[str, Any]) -> Any:
    return (
        update(task_records)
        .where(_startable(value), guards)
        .values(
            {
                "state": TaskState.STARTED.value,
                "run": columns.run + 1,
                "worker_id": value("worker_id", String()),
                "worker": value("worker", String()),
                "started_at": Now(),
                "deadline_at": Now(value("time_limit", Float())),
                "relay_at": None,
                "turn": None,
                "progress": 0.0,
                "progress_text": None,
                "partial_text": None,
            }
            | values
        )
        .returning(
            columns.id,
            columns.run,
            columns.attempt,
            columns.created_at,
            columns.due_at,
            columns.started_at,
            columns.parent_id,
            columns.tenant,
        )
    )


def _start_limited(value: Given) -> Any:
    """Return the start that limits have granted, at the moment that they count it for."""
    keys = value("limit_keys", columns.limit_keys.type)
    at = {"started_at": value("granted_at", columns.started_at.type)}
    return _start(value, true(), _unheld() | at | {"limit_keys": func.coalesce(columns.limit_keys, keys)})


START = Prepared(lambda value: _start(value, unlimited(), {}))

START_LIMITED = Prepared(_start_limited)

SUBJECT = Prepared(lambda value: select(*SUBJECT_COLUMNS).where(_startable(value)))

SUCCEED = _end_of_run(
    lambda value: (
        ended(TaskState.SUCCESS)
        | {"result": value("result", columns.result.type), "progress": 100.0, "error": None, "error_type": None}
    )
)

FAIL = _end_of_run(
    lambda value: ended(TaskState.FAILURE) | _failure(value) | {"result": value("result", columns.result.type)}
)

TRY_AGAIN = _end_of_run(
    lambda value: (
        {
            "state": TaskState.RETRY.value,
            "attempt": columns.attempt + value("counted", Integer()),
            "due_at": Now(value("delay", Float())),
            "relay_at": Now(value("delay", Float())),
            "worker_id": None,
            "deadline_at": None,
            "lost_runs": literal(0),
        }
        | _failure(value)
    )
)

GIVE_BACK = _end_of_run(lambda _: _returned())

REPORT = _end_of_run(
    lambda value: {
        "state": TaskState.PROGRESS.value,
        "progress": value("percent", Float()),
        "progress_text": value("text", columns.progress_text.type),
        "partial_text": value("partial", columns.partial_text.type),
    }
)


def as_marked(value: Given) -> ColumnElement[bool]:
    """Tell in SQL whether a record still waits as it did when it was marked."""
    return and_(
        columns.id == value("task_id", String()),
        columns.attempt == value("of_attempt", Integer()),
        columns.run == value("of_run", Integer()),
        columns.holds == value("of_holds", Integer()),
        _state_in(WAITING_VALUES),
    )


def mark_values(mark: Mark) -> dict[str, Any]:
    """Return what `as_marked` compares with."""
    task_id, attempt, run, holds = mark
    return {"task_id": task_id, "of_attempt": attempt, "of_run": run, "of_holds": holds}


PUBLISHED = Prepared(
    lambda value: update(task_records).where(as_marked(value)).values(published_at=Now(), relay_at=None)
)

FOLLOWED = Prepared(
    lambda value: (
        update(task_records)
        .where(columns.id == value("task_id", String()), _state_in(FINAL_VALUES))
        .values(relay_at=None)
    )
)

ANY_DUE = Prepared(lambda _: select(columns.id).where(_relayable(None)).order_by(columns.relay_at).limit(1))

RUNS_OF = Prepared(
    lambda value: select(columns.id, columns.run).where(
        columns.worker_id == value("worker_id", String()), columns.state.in_(RUNNING_VALUES)
    )
)


OF_A_TASK = (
    ai_answers,
    cached_results,
    digest_entries,
    digests,
    incidents,
    members,
    task_logs,
    task_pauses,
    webhook_bodies,
)
"""What goes with a task's record."""


class TaskMoves:
    """Changes the state of records. A record only moves forward: `run` fences every write of a run."""

    def __init__(self, database: Database, defaults: DefaultLimits = NO_LIMITS) -> None:
        self.database = database
        self._limits = LimitedStarts(database.kind, defaults)
        # Each limited start keeps its limiters, and on PostgreSQL a connection, until its commit: one of a process
        # does, and its body begins at once instead of after those that would be committed with it.
        self._deciding = threading.Lock()

    def start(
        self,
        task_id: str,
        attempt: int,
        worker_id: str,
        worker: str,
        time_limit: float | None,
        *,
        limited: bool = False,
        limit_keys: Sequence[str] | None = None,
    ) -> Started | Held | None:
        """Begin a run, if the record waits (or its worker has left), is due, expects this attempt, and limits allow it.

        Args:
            task_id: the record.
            attempt: the attempt that the message was published for.
            worker_id: the row of the working process.
            worker: its name, for people.
            time_limit: seconds after which the run is killed; None for no limit.
            limited: whether a limit of the settings may bind it; what was set at run time is seen without that.
            limit_keys: more scopes that it is limited by, where its record does not say so.

        Returns:
            The run; or what the record is held for; or None. Without a run the caller acknowledges the message and
            walks away.
        """
        record = {"task_id": task_id, "of_attempt": attempt}
        run = {"worker_id": worker_id, "worker": worker, "time_limit": time_limit}
        if not limited and not limit_keys:
            rows = self.database.write(START(**record, **run), durable=False)
            if rows:
                return _started(rows[0])
        for patience in (*[PATIENCE_SECONDS] * PATIENT_TRIES, 0.0):
            found = self._start_limited(record, run, limit_keys, patience)
            if not isinstance(found, Soon):
                return found
            time.sleep(found.seconds)
        return None

    def _start_limited(
        self, record: Mapping[str, Any], run: Mapping[str, Any], limit_keys: Sequence[str] | None, patience: float
    ) -> Started | Held | Soon | None:
        """Begin a run that limits or a pause may bind, in one transaction; arguments as `start`'s."""

        def work(connection: Connection) -> Started | Held | Soon | None:
            rows = SUBJECT(**record)(connection)
            if not rows:
                return None
            subject = subject_of(rows[0])
            if limit_keys and not subject.limit_keys:
                subject = subject._replace(limit_keys=limit_keys)
            grant = self._limits.decide(connection, subject, patience)
            if not isinstance(grant, Grant):
                return grant
            keys = list(subject.limit_keys) or None
            started = START_LIMITED(**record, **run, granted_at=grant.at, limit_keys=keys)(connection)
            if not started:
                return None
            self._limits.count(connection, grant)
            return _started(started[0])

        with self._deciding:
            return self.database.write(work, durable=False)

    def report(self, task_id: str, run: int, percent: float, text: str, partial: str | None = None) -> None:
        """Note how far a run is, and what there is so far of its text; may be dropped under load."""
        self.database.write_later(REPORT(task_id=task_id, of_run=run, percent=percent, text=text, partial=partial))

    def succeed(self, task_id: str, run: int, result: Any) -> bool:
        """End a run in success; False when the run is no longer the record's."""
        return self._moved(SUCCEED(task_id=task_id, of_run=run, result=result))

    def succeed_later(
        self, task_id: str, run: int, result: Any, then: Callable[[bool, BaseException | None], None]
    ) -> None:
        """End a run in success without waiting for it; `then` gets what `succeed` returns, or the error it raises."""
        end = SUCCEED(task_id=task_id, of_run=run, result=result)
        self.database.write_then(end, lambda rows, error: then(bool(rows), error))

    def fail_later(
        self, task_id: str, run: int, failure: Failure, then: Callable[[bool, BaseException | None], None]
    ) -> None:
        """End a run, and the task, in failure without waiting for it; `then` as for `succeed_later`."""
        end = FAIL(task_id=task_id, of_run=run, result=None, **_failed(failure))
        self.database.write_then(end, lambda rows, error: then(bool(rows), error))

    def fail(self, task_id: str, run: int, failure: Failure, result: Any = None, *, mail: bool = False) -> bool:
        """End a run, and the task, in failure.

        Args:
            task_id: the record.
            run: the run that ends.
            failure: why.
            result: where nothing was done but there is something to show.
            mail: whether it is a mail, whose recipients who still wait end with it.
        """
        end = FAIL(task_id=task_id, of_run=run, result=result, **_failed(failure))

        def work(connection: Connection) -> Sequence[Any]:
            rows = end(connection)
            if rows:
                _end_mails(connection, [task_id], "refused", failure.error)
            return rows

        return self._moved(work if mail else end)

    def fail_waiting(self, task_id: str, failure: Failure, state: TaskState = TaskState.FAILURE) -> bool:
        """End a task that will never start: what it was to follow has failed."""
        waits = and_(columns.id == task_id, columns.state.in_(WAITING_VALUES))
        statement = update(task_records).where(waits).values(_ended_waiting(state, failure)).returning(*NAMED)
        left_as = "refused" if state is TaskState.FAILURE else "expired"
        return bool(self.database.write(lambda c: _ended(c, statement, left_as, failure.error), durable=False))

    def try_again(self, task_id: str, run: int, delay: float, failure: Failure, *, counted: bool = True) -> bool:
        """End a run that failed for now: the next one is due after `delay` seconds; `counted` as an attempt or not."""
        again = TRY_AGAIN(task_id=task_id, of_run=run, delay=float(delay), counted=int(counted), **_failed(failure))
        return self._moved(again)

    def give_back(self, task_id: str, run: int) -> bool:
        """Return a run that a shutdown interrupted: it waits again at once, and the attempt is not counted."""

        def work(connection: Connection) -> Sequence[Any]:
            rows = GIVE_BACK(task_id=task_id, of_run=run)(connection)
            CUT_OFF(task_id=task_id, run=run)(connection)
            return rows

        return self._moved(work)

    def revoke(self, task_id: str) -> bool:
        """Cancel what is not final, and all tasks of it where it is a parent; False where nothing was left to do."""
        return bool(self.revoke_many([task_id]))

    def revoke_many(self, task_ids: Sequence[str]) -> list[str]:
        """Cancel these and the tasks of the parents among them; returns the ids given that were cancelled."""

        def work(connection: Connection) -> list[str]:
            cancelled: list[str] = []
            for start in range(0, len(task_ids), 500):
                some = list(task_ids[start : start + 500])
                cancelled += _cancelled(connection, columns.id.in_(some))
                connection.execute(_revocation(columns.parent_id.in_(some)))
            return cancelled

        return self.database.write(work)

    def revoke_unstarted(self, task_id: str) -> bool:
        """Cancel a task that no worker has begun; False where one has, or it has ended."""
        unstarted = and_(columns.id == task_id, columns.started_at.is_(None))
        return bool(self.database.write(lambda c: _cancelled(c, unstarted)))

    def revoke_waiting(self, queue: str) -> list[str]:
        """Cancel what waits in this queue for publishing, a worker, a limit or a retry; not what is due later."""
        return self.database.write(lambda c: _cancelled(c, _waits_in(queue)))

    def count_waiting(self, queue: str) -> int:
        """Return how many tasks `revoke_waiting` would cancel now."""
        query = select(func.count()).select_from(task_records).where(_waits_in(queue))
        return int(self.database.read(lambda c: c.execute(query).scalar_one()))

    def count_unfinished(self) -> int:
        """Return how many tasks `revoke_all` would cancel now."""
        query = select(func.count()).select_from(task_records).where(_not_final())
        return int(self.database.read(lambda c: c.execute(query).scalar_one()))

    def revoke_all(self) -> list[str]:
        """Cancel all that runs and waits; parents before their tasks, as a task that mails for one locks the two."""
        return self.database.write(lambda c: _cancelled(c, columns.is_parent) + _cancelled(c, true()))

    def runs_of(self, worker_id: str) -> dict[str, int]:
        """Return the runs (task id to run) that the records say this working process has."""
        return dict(self.database.read(RUNS_OF(worker_id=worker_id)))

    def claim(
        self,
        limit: int,
        categories: Sequence[str] | None = None,
        *,
        besides: Collection[Place] = (),
        lead: Lead | None = None,
    ) -> list[TaskRecord]:
        """Take what is to be published now, the longest due first; nobody else is given it within some seconds.

        Args:
            limit: at most so many.
            categories: of these alone.
            besides: of none that goes there.
            lead: only while this lead is held.
        """
        if not self.database.read(ANY_DUE()):
            return []
        let_go = and_(columns.hold.is_not(None), ~columns.held)
        again = or_(columns.run > columns.attempt, let_go)
        others = [
            or_(columns.queue != place.queue, columns.priority != place.priority, ~again if place.again else again)
            for place in besides
        ]
        condition = and_(_relayable(categories), fenced(lead), *others)
        some = select(task_records).where(condition).order_by(columns.relay_at).limit(limit)

        def work(connection: Connection) -> Sequence[RowMapping]:
            rows = connection.execute(some.with_for_update(skip_locked=True)).mappings().all()
            claimed = update(task_records).where(columns.id.in_([row["id"] for row in rows]))
            connection.execute(claimed.values(relay_at=Now(RELAY_CLAIM_SECONDS)))
            return rows

        return [to_record(row) for row in self.database.write(work, durable=False)]

    def published(self, records: Sequence[Mark], *, wait: bool = False) -> None:
        """Note that these were published; those that moved on meanwhile are left alone.

        Args:
            records: what is known of each.
            wait: return once it is noted, so that the next look for what is due finds none of them again.
        """
        if records:
            marks = PUBLISHED.many(mark_values(Mark(*one)) for one in records)
            if wait:
                self.database.write(marks, durable=False)
            else:
                self.database.write_later(marks)

    def unfollowed(self, limit: int, lead: Lead | None = None) -> list[TaskRecord]:
        """Return what ended without a word that what follows it was done; looks again only minutes later."""
        late = and_(columns.relay_at <= now_once(), _state_in(FINAL_VALUES), fenced(lead))
        some = select(columns.id).where(late).order_by(columns.relay_at).limit(limit).scalar_subquery()
        statement = update(task_records).where(columns.id.in_(some)).values(relay_at=Now(FOLLOW_AGAIN_SECONDS))
        found = self.database.write(
            lambda c: c.execute(statement.returning(task_records)).mappings().all(), durable=False
        )
        return [to_record(row) for row in found]

    def follow_again(self, task_id: str) -> None:
        """Let what follows a task's end be looked at again soon."""
        final = update(task_records).where(columns.id == task_id, _state_in(FINAL_VALUES))
        again = final.values(relay_at=Now(FOLLOW_SECONDS))
        self.database.write(lambda c: c.execute(again), durable=False)

    def followed(self, task_id: str) -> None:
        """Note that what follows a task's end was done."""
        self.database.write_later(FOLLOWED(task_id=task_id))

    def expire(self, lead: Lead | None = None) -> list[str]:
        """Cancel what waited past its expiry."""
        overdue = and_(columns.expires_at <= now_once(), columns.finished_at.is_(None), _state_in(WAITING_VALUES))
        values = _ended_waiting(TaskState.REVOKED, EXPIRED)
        statement = update(task_records).where(overdue, fenced(lead)).values(values).returning(*NAMED)
        return self.database.write(lambda c: _ended(c, statement, "expired", EXPIRED.error), durable=False)

    def reap(self, lead: Lead | None = None) -> tuple[list[str], list[str]]:
        """Take back the runs of dead workers; with a lead, while it is held.

        A run that had reached its hard time limit when its worker was last seen fails; one that killed its worker for
        the third time in a row is quarantined, unless it got on with its members; the rest waits again, due at once,
        its attempt not counted.

        Returns:
            The ids that wait again, and the ids that failed.
        """
        orphans = (
            select(
                columns.id,
                columns.run,
                columns.lost_runs,
                columns.started_at,
                columns.parent_id,
                columns.kwargs,
                columns.deadline_at,
                columns.worker,
                columns.worker_id,
                workers.c.host,
                workers.c.pid,
                workers.c.exit_code,
                workers.c.memory_mb,
                workers.c.seen_at,
                or_(workers.c.stopped_at.is_(None), workers.c.lost).label("lost"),
            )
            .select_from(task_records.outerjoin(workers, workers.c.id == columns.worker_id))
            .where(_worker_dead())
            .limit(1_000)
        )
        rows = self.database.read(lambda c: c.execute(orphans).mappings().all())
        if not rows:
            return [], []

        def work(connection: Connection) -> tuple[list[str], list[str]]:
            returned: list[str] = []
            failed: list[str] = []
            for row in rows:
                still = and_(columns.id == row["id"], columns.run == row["run"], _worker_dead(), fenced(lead))
                death = _death(row)
                lost_runs = row["lost_runs"] + 1 if row["lost"] else row["lost_runs"]
                if row["lost"] and lost_runs > 1 and _got_on(connection, row):
                    lost_runs = 1
                failure = _verdict(lost_runs, death)
                values = ended(TaskState.FAILURE, failure) if failure else _returned()
                values["lost_runs"] = literal(lost_runs)
                moved = update(task_records).where(still).values(values).returning(*NAMED)
                if found := connection.execute(moved).first():
                    if failure and found.name == SEND_EMAIL:
                        _end_mails(connection, [row["id"]], "refused", failure.error)
                    CUT_OFF(task_id=row["id"], run=row["run"])(connection)
                    (failed if failure else returned).append(row["id"])
                    if row["lost"] or failure:
                        note(connection, row["id"], row["run"], death)
            return returned, failed

        return self.database.write(work, durable=False)

    def relay_again(self, task_ids: Sequence[str]) -> int:
        """Let the relay publish these again, where they still wait."""
        if not task_ids:
            return 0
        statement = (
            update(task_records)
            .where(columns.id.in_(list(task_ids)), _state_in(WAITING_VALUES), columns.relay_at.is_(None), ~columns.held)
            .values(relay_at=Now())
            .returning(columns.id)
        )
        return len(self.database.write(lambda c: c.execute(statement).scalars().all(), durable=False))

    def unstarted(self, older_than: float, page: int) -> Iterator[list[tuple[str, str]]]:
        """Return (id, queue) of what was published over `older_than` seconds before now and still waits.

        So many at once; however late a page is read, what is published after this call is in none.
        """
        moment = self.database.read(lambda c: c.execute(select(Now(-older_than))).scalar_one())
        return self._unstarted_pages(moment, page)

    def _unstarted_pages(self, moment: datetime, page: int) -> Iterator[list[tuple[str, str]]]:
        for state in WAITING_VALUES:
            beyond = true()
            while rows := self._unstarted(state, moment, beyond, page):
                yield [(row.id, row.queue) for row in rows]
                last = literal(rows[-1].created_at, columns.created_at.type), literal(rows[-1].id)
                beyond = tuple_(columns.created_at, columns.id) > tuple_(*last)

    def _unstarted(self, state: str, moment: datetime, beyond: ColumnElement[bool], page: int) -> Sequence[Any]:
        overdue = columns.published_at <= literal(moment, columns.published_at.type)
        query = (
            select(columns.id, columns.queue, columns.created_at)
            .where(columns.state == state, columns.relay_at.is_(None), ~columns.held, overdue, beyond)
            .order_by(columns.created_at, columns.id)
            .limit(page)
        )
        return self.database.read(lambda c: c.execute(query).all())

    def final_before(self, hours: float, limit: int) -> list[str]:
        """Return ids of final records that finished more than `hours` ago, the oldest first."""
        query = (
            select(columns.id)
            .where(_state_in(FINAL_VALUES), columns.finished_at < Now(-hours * 3600))
            .order_by(columns.finished_at)
            .limit(limit)
        )
        return list(self.database.read(lambda c: c.execute(query).scalars().all()))

    def remove(self, task_ids: Sequence[str]) -> int:
        """Remove final records for good, with what belongs to them.

        Effects that are in doubt stay, for a person to settle, and so do those that the business has named.
        """
        over = exists().where(
            columns.id == effects.c.task_id,
            columns.state.in_(FINAL_VALUES),
            columns.finished_at >= effects.c.closed_at,
        )
        from records.task_list_rows import forget  # noqa: PLC0415 - an idle worker keeps no lists

        known = delete(effects).where(effects.c.task_id.in_(list(task_ids)), effects.c.state.in_(CLOSED), OWN_KEY, over)

        def work(connection: Connection) -> tuple[int, list[str]]:
            connection.execute(known)
            gone = delete(task_records).where(columns.id.in_(list(task_ids)), columns.state.in_(FINAL_VALUES))
            ids = list(connection.execute(gone.returning(columns.id)).scalars().all())
            forget(connection, ids)
            many = many_of(connection, ids)
            few = [task_id for task_id in ids if task_id not in many]
            connection.execute(delete(deliveries).where(deliveries.c.task_id.in_(few), ~DOUBTFUL))
            for table in OF_A_TASK:
                own = few if table is members else ids
                connection.execute(delete(table).where(table.c.task_id.in_(own)))
            return len(ids), many

        removed, large = self.database.write(work)
        for task_id in large:
            remove_members(self.database, task_id)
        return removed

    def waiting_count(self, categories: Sequence[str] | None = None) -> int:
        """Return how many records wait for the relay now."""
        query = select(func.count()).select_from(task_records).where(_relayable(categories))
        return self.database.read(lambda c: c.execute(query).scalar_one())

    def _moved(self, work: Callable[[Connection], Sequence[Any]]) -> bool:
        return bool(self.database.write(work, durable=False))


def _started(row: Sequence[Any]) -> Started:
    _, run, attempt, created_at, due_at, started_at, parent_id, tenant = row
    return Started(run, attempt, instant(created_at), instant(due_at), instant(started_at), parent_id, tenant)


def _failed(failure: Failure) -> dict[str, Any]:
    return {
        "error": failure.error,
        "error_type": failure.error_type,
        "error_fingerprint": failure.fingerprint,
        "traceback": failure.traceback,
    }


def _ended(connection: Connection, end: Any, left_as: str, reason: str) -> list[str]:
    """End tasks by a statement that returns `NAMED`, and the recipients of those that are mails; returns their ids."""
    rows = connection.execute(end).all()
    _end_mails(connection, [row.id for row in rows if row.name == SEND_EMAIL], left_as, reason)
    return [row.id for row in rows]


def _end_mails(connection: Connection, task_ids: Sequence[str], left_as: str, reason: str) -> None:
    """End those recipients of these mails who still wait."""
    if task_ids:
        if connection.dialect.name == "postgresql":  # for some hundred tasks it would rather read the whole table
            connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        END_TASK.many({"task_id": one, "state": left_as, "reason": reason} for one in task_ids)(connection)


def _cancelled(connection: Connection, condition: ColumnElement[bool]) -> list[str]:
    return _ended(connection, _revocation(condition).returning(*NAMED), "cancelled", CANCELLED)


def _revocation(condition: ColumnElement[bool]) -> Any:
    followed = case((or_(columns.is_parent, _has_followers()), Now(FOLLOW_SECONDS)))  # a parent's members are settled
    values = _ended_waiting(TaskState.REVOKED) | {"relay_at": followed}
    return update(task_records).where(_not_final(), condition).values(values)


def _death(row: Mapping[Any, Any]) -> Death:
    """Return how the working process of a run ended."""
    seen, deadline = row["seen_at"], row["deadline_at"]
    late = deadline is not None and seen is not None and seen >= deadline
    why = "time_limit" if late else "lost" if row["exit_code"] is None else "died"
    known = ("worker", "worker_id", "host", "pid", "exit_code", "memory_mb")
    return Death(why, *(row[name] for name in known))


def _got_on(connection: Connection, row: Mapping[Any, Any]) -> bool:
    """Tell whether a run for some members of a parent, or for all of them, ended one before its worker died.

    A batch takes up where it was: what kills its worker by itself would do so before the next one ends.
    """
    parent_id, given = row["parent_id"], row["kwargs"]
    first, count = given.get("first"), given.get("count")
    is_batch = given.get("bulk_id") == parent_id and isinstance(first, int) and isinstance(count, int)
    if parent_id is None or not (is_batch or given.get("campaign_id") == parent_id):
        return False
    for rows in (members.c, deliveries.c):
        ended = select(rows.position).where(rows.task_id == parent_id, rows.closed_at >= row["started_at"])
        own = ended.where(rows.position.between(first, first + count - 1)) if is_batch else ended
        if connection.execute(own.limit(1)).first() is not None:
            return True
    return False


def _verdict(lost_runs: int, death: Death) -> Failure | None:
    """Decide what becomes of a run whose worker died, after so many of them in a row; None lets it wait again."""
    if death.why == "time_limit":
        return Failure("The task ran longer than its hard time limit and was killed.", "TimeLimitExceeded")
    if lost_runs >= QUARANTINE_AFTER:
        return Failure(
            f"The task was quarantined: {QUARANTINE_AFTER} of its runs ended with the death of their worker; "
            f"at last {death.told()}.",
            "Quarantined",
        )
    return None
