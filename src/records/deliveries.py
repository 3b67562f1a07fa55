"""One row per recipient of one mail: marked before the body goes out, closed with the server's answer."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Float,
    Index,
    Integer,
    String,
    Table,
    and_,
    case,
    cast,
    column,
    delete,
    exists,
    func,
    literal,
    literal_column,
    or_,
    select,
    table,
    true,
    tuple_,
    update,
)

from processors.doubt import ENDED_MEANWHILE
from processors.errors import TransientError
from processors.interfaces import WAITING_STATES, Closed, Delivery, Outcome, Run
from records.columns import SECONDS_PER_DAY, Instant, Now, PlainText, metadata
from records.database import Database
from records.effects import Doubt
from records.insertion import insert_into
from records.prepared import Given, GivenRows, Prepared, Row
from records.task_records import FINAL, RUNNING, TaskState, columns, task_records

PRUNED_AT_ONCE = 10_000
"""How many rows one pruning looks at."""

ABANDONED_SECONDS = 300
"""Nobody hands a mail over for so long: where its task has ended by then, nobody will say what became of it."""

SEND_EMAIL = "email.send_email"
"""The task whose rows end with it; those of bulks and notifications end with their members."""

TASK_ENDED = "Its task ended before it."
NOT_HANDED_OVER = "The mail was not handed over: its task was cancelled, or another run has it."

deliveries = Table(
    "deliveries",
    metadata,
    Column("task_id", String(255), primary_key=True),
    Column("position", Integer, primary_key=True),  # which mail of a bulk; 0 for a single one
    Column("address", String(320), primary_key=True),
    Column("role", String(8), nullable=False),
    Column("state", String(16), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("code", Integer),
    Column("enhanced", String(16)),
    Column("text", PlainText, nullable=False),  # of a server, which may send anything
    Column("created_at", Instant, nullable=False),
    Column("handed_at", Instant),
    Column("closed_at", Instant),
    Column("next_attempt_at", Instant),  # of one who was put off
)

Index("ix_deliveries_address", deliveries.c.address, deliveries.c.created_at)


DOUBTFUL = deliveries.c.state.in_([literal_column("'handing'"), literal_column("'unknown'")])


NEW = Delivery(Outcome("queued"))


@cache
def _opening(kind: str) -> Prepared:
    """Return the statement that creates rows; one that exists is left as it is, and not returned."""

    def values(value: Given) -> dict[str, Any]:
        return {
            "task_id": value("task_id", String()),
            "position": value("position", Integer()),
            "address": value("address", String()),
            "role": value("role", String()),
            "state": literal("queued"),
            "attempts": literal(0),
            "text": literal(""),
            "created_at": Now(),
        }

    def one(value: Given) -> Any:
        return unless_there(insert_into(deliveries, kind).values(values(value)))

    def many(rows: GivenRows) -> Any:
        row = values(rows)
        query = select(*row.values()).select_from(rows.source).where(true())  # SQLite reads `… ON` as a join's
        return unless_there(insert_into(deliveries, kind).from_select(list(row), query))

    def unless_there(statement: Any) -> Any:
        return statement.on_conflict_do_nothing().returning(deliveries.c.address)

    return Prepared(one, "place", many, kind)


class DeliveryRecords:
    """Fulfils `processors.interfaces.Deliveries`."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._pruned_to = ("", 0, "")  # the last row that a pruning has looked at

    def open(
        self, task_id: str, mails: Mapping[int, Mapping[str, str]], run: Run | None = None
    ) -> Mapping[int, Mapping[str, Delivery]]:
        """Create the rows that do not exist yet (by mail: address to role); return every row of these mails.

        What ends a task ends the rows that are there: so a run whose task has ended creates none.

        Args:
            task_id: whose mails they are.
            mails: by their places.
            run: who sends them; None: whoever only looks.

        Raises:
            TransientError: the task was cancelled, or the run has ended; none was created.
        """
        rows = [
            {
                "place": f"{position}:{address}",
                "task_id": task_id,
                "position": position,
                "address": address,
                "role": role,
            }
            for position, roles in mails.items()
            for address, role in roles.items()
        ]
        made = self._create(rows, task_id, run) if rows else 0
        if made == len(rows) and all(mails.values()):  # all are new, as nearly always
            return {position: dict.fromkeys(roles, NEW) for position, roles in mails.items()}
        return self._rows(task_id, list(mails))

    def _create(self, rows: Sequence[Mapping[str, Any]], task_id: str, run: Run | None) -> int:
        """Create those of these rows that do not exist yet; returns how many."""
        held = HOLD.many([{"task_id": task_id, "run_id": run.task_id}] if run else [])
        new = _opening(self.database.kind).many(rows)

        def check(found: Sequence[Sequence[Row]]) -> int:
            if run and not _may_hand_over(found[0], task_id, run):
                raise TransientError(NOT_HANDED_OVER)
            return len(found[1])

        return self.database.write_together([held, new], check, durable=False)

    def _rows(self, task_id: str, positions: Sequence[int]) -> Mapping[int, Mapping[str, Delivery]]:
        c = deliveries.c
        query = select(
            c.position, c.address, c.state, c.code, c.enhanced, c.text, c.attempts, c.next_attempt_at, c.handed_at,
            Now().label("now"),
        ).where(c.task_id == task_id, c.position.in_(list(positions)))  # fmt: skip
        found: dict[int, dict[str, Delivery]] = {position: {} for position in positions}
        for row in self.database.read(lambda connection: connection.execute(query).all()):
            wait = max(0.0, (row.next_attempt_at - row.now).total_seconds()) if row.next_attempt_at else 0.0
            handed_ago = (row.now - row.handed_at).total_seconds() if row.handed_at else None
            outcome = Outcome(row.state, row.code, row.enhanced, row.text)
            found[row.position][row.address] = Delivery(outcome, row.attempts, wait, handed_ago)
        return found

    def put_off(self, task_id: str) -> int:
        """Return how many mails of a task wait for a server that put them off."""
        c = deliveries.c
        query = select(func.count(c.position.distinct())).where(
            c.task_id == task_id, c.next_attempt_at.is_not(None), (c.state + "") == "deferred"
        )
        return self.database.read(lambda connection: connection.execute(query).scalar_one())

    def outcomes(self, task_id: str, position: int) -> dict[str, Outcome]:
        """Return the outcome so far of every recipient of one mail."""
        c = deliveries.c
        query = select(c.address, c.state, c.code, c.enhanced, c.text).where(_mail(task_id, position))
        found = self.database.read(lambda connection: connection.execute(query).all())
        return {address: Outcome(state, code, enhanced, text) for address, state, code, enhanced, text in found}

    def listed(
        self, task_id: str, states: Sequence[str] | None, limit: int, after: tuple[int, str] | None
    ) -> list[Mapping[str, Any]]:
        """Return rows of a task's mails, mail by mail and address by address.

        Args:
            task_id: whose.
            states: of these alone; None: of all.
            limit: at most so many.
            after: position and address of the last one of the page before.
        """
        c = deliveries.c
        query = select(deliveries).where(c.task_id == task_id).order_by(c.position, c.address).limit(limit)
        if states is not None:
            query = query.where(c.state.in_(states))
        if after is not None:
            query = query.where(tuple_(c.position, c.address) > after)
        return [dict(row) for row in self.database.read(lambda r: r.execute(query).mappings().all())]

    def carry_over(self, from_task: str, to_task: str, moved: tuple[int, int] = (0, 0)) -> None:
        """Let a task that retries another know whom a mail of that one has reached already.

        Args:
            from_task: that one.
            to_task: the one that retries it.
            moved: the position of the mail in either.
        """
        c = deliveries.c
        before, after = moved
        # Closed now, or a pruning might find a copy old whose task has no record yet.
        new = {c.task_id: literal(to_task), c.position: literal(after), c.closed_at: Now()}
        reached = select(*(new.get(column, column) for column in c)).where(
            _mail(from_task, before), c.state == "accepted"
        )
        insert = insert_into(deliveries, self.database.kind)
        copied = insert.from_select([column.name for column in c], reached).on_conflict_do_nothing()
        self.database.write(lambda connection: connection.execute(copied))

    def in_doubt(self, task_id: str) -> bool:
        """Tell whether it is unknown, for anybody, whether this task's mail arrived."""
        c = deliveries.c
        query = select(c.address).where(c.task_id == task_id, c.state.in_(["unknown", "handing"])).limit(1)
        return self.database.read(lambda connection: connection.execute(query).first()) is not None

    def handing(self, task_id: str) -> set[int]:
        """Return which mails of a task are being handed over to somebody now, as far as is known."""
        c = deliveries.c
        lately = c.handed_at > Now(-ABANDONED_SECONDS)
        query = select(c.position).where(c.task_id == task_id, DOUBTFUL, (c.state + "") == "handing", lately)
        return set(self.database.read(lambda connection: connection.execute(query).scalars().all()))

    def doubts(self, limit: int) -> list[Doubt]:
        """Return the recipients of whom it is not known whether their mail arrived, the oldest first."""
        c = deliveries.c
        query = (
            select(c.task_id, c.position, c.address, c.handed_at, c.text, columns.name)
            .select_from(deliveries.outerjoin(task_records, columns.id == c.task_id))
            .where(DOUBTFUL, _doubtful())
            .order_by(c.handed_at)
            .limit(limit)
        )
        rows = self.database.read(lambda connection: connection.execute(query).all())
        return [
            Doubt(f"mail:{task_id}:{position}:{address}", "mail", task_id, name, "unknown", handed_at, text or None)
            for task_id, position, address, handed_at, text, name in rows
        ]

    def settle(self, task_id: str, position: int, address: str, outcome: Outcome) -> bool:
        """Store what a person has found out about one recipient; False where that one is not in doubt.

        Whoever is `deferred` by that is mailed by its task, and is `refused` where that mails nobody any more: a task
        that is submitted for it anew does.
        """
        own = and_(_mail(task_id, position), deliveries.c.address == address, _doubtful())
        held = select(columns.id).where(columns.id == task_id).with_for_update(read=True)
        values = _values(outcome)
        if outcome.state in WAITING_STATES:
            again = _tries_again()
            values |= {
                "state": case((again, outcome.state), else_="refused"),
                "closed_at": case((again, None), else_=Now()),
                "next_attempt_at": case((again, Now())),
            }
        statement = update(deliveries).where(own).values(values).returning(deliveries.c.address)

        def work(connection: Connection) -> bool:
            connection.execute(held)
            return bool(connection.execute(statement).all())

        return self.database.write(work)

    def end_mail(self, task_id: str, position: int, sender_id: str) -> None:
        """End those recipients of one mail who still wait: the task that sends it, `sender_id`, has ended."""
        sender = columns.id == sender_id
        reason = func.coalesce(select(columns.error).where(sender).scalar_subquery(), TASK_ENDED)
        waiting = update(deliveries).where(_mail(task_id, position), deliveries.c.state.in_(WAITING_STATES))
        end = waiting.values(_ending(_left_by(sender), reason))
        self.database.write(lambda connection: connection.execute(end), durable=False)

    def turn(self, task_id: str, closed: Sequence[Closed], handed: Sequence[tuple[int, str]], run: Run) -> None:
        """Store what became of some, and mark that this run hands mails over to others: all of it durably, or nothing.

        That a mail was accepted is stored whoever says so, even where a later run could not find it out: it stays true.

        Raises:
            TransientError: the task was cancelled, or another run of it has one of these; nothing may go out.
        """
        marked = HAND_OVER.many(_row(task_id, run, position, address) for position, address in handed)
        told = [(_row(task_id, run, position, address), outcome) for position, address, outcome in closed]
        accepted = ACCEPT.many(row | _closing(outcome) for row, outcome in told if outcome.state == "accepted")
        others = CLOSE.many(row | _closing(outcome) for row, outcome in told if outcome.state != "accepted")
        waits = handed or any(outcome.state in WAITING_STATES for _, _, outcome in closed)
        held = HOLD.many([{"task_id": task_id, "run_id": run.task_id}] if waits else [])

        def check(found: Sequence[Sequence[Row]]) -> None:
            if handed and (not _may_hand_over(found[0], task_id, run) or len(found[1]) != len(handed)):
                raise TransientError(NOT_HANDED_OVER)

        self.database.write_together([held, marked, accepted, others], check)

    def prune(self, days: float) -> int:
        """Remove what is known of the mails of tasks that have no record any more; end what its task left open.

        It was closed by a person after the record was gone, or copied for a retry that was never recorded. What is in
        doubt stays. Some rows are looked at, and those behind them the next time.

        Args:
            days: how long ago they must have been closed.
        """
        c = deliveries.c
        key = tuple_(c.task_id, c.position, c.address)
        page = select(c.task_id, c.position, c.address, c.state).where(key > self._pruned_to)
        page = page.order_by(c.task_id, c.position, c.address).limit(PRUNED_AT_ONCE)
        rows = self.database.read(lambda r: r.execute(page).all())
        after, last = self._pruned_to, tuple(rows[-1][:3]) if rows else self._pruned_to
        self._pruned_to = last if len(rows) == PRUNED_AT_ONCE else ("", 0, "")
        self._end_abandoned()
        if any(row.state in WAITING_STATES for row in rows):
            self._end_left(and_(key > after, key <= last))
        old, gone = c.closed_at < Now(-days * SECONDS_PER_DAY), ~exists().where(columns.id == c.task_id)
        pruning = delete(deliveries).where(key > after, key <= last, ~DOUBTFUL, old, gone).returning(c.address)
        return len(self.database.write(lambda w: w.execute(pruning).all(), durable=False)) if rows else 0

    def _end_abandoned(self) -> None:
        """Say of those who were being handed a mail that nobody knows whether they have it, once nobody will tell."""
        c = deliveries.c
        abandoned = update(deliveries).where(DOUBTFUL, c.state == "handing", _doubtful())
        values = {"state": "unknown", "text": ENDED_MEANWHILE, "closed_at": Now()}
        self.database.write(lambda connection: connection.execute(abandoned.values(values)), durable=False)

    def _end_left(self, which: ColumnElement[bool]) -> None:
        """End those of some who wait though their task ended a while ago: by an older program, or settled meanwhile."""
        c = deliveries.c
        own = columns.id == c.task_id
        goes_on = exists().where(own, or_(columns.finished_at.is_(None), columns.finished_at > Now(-ABANDONED_SECONDS)))
        left = and_(which, c.state.in_(WAITING_STATES), c.created_at <= Now(-ABANDONED_SECONDS), ~goes_on)
        values = _ending(_left_by(own), TASK_ENDED)
        self.database.write(lambda w: w.execute(update(deliveries).where(left).values(values)), durable=False)


def _mail(task_id: str, position: int) -> ColumnElement[bool]:
    return and_(deliveries.c.task_id == task_id, deliveries.c.position == position)


def _doubtful() -> ColumnElement[bool]:
    """Tell in SQL whether nobody knows, nor will find out by itself, whether a recipient's mail arrived."""
    own = task_records.alias("own_record").c
    goes_on = exists().where(own.id == deliveries.c.task_id, own.state.not_in([state.value for state in FINAL]))
    abandoned = and_(deliveries.c.state == "handing", deliveries.c.handed_at <= Now(-ABANDONED_SECONDS), ~goes_on)
    return or_(deliveries.c.state == "unknown", abandoned)


def _tries_again() -> ColumnElement[bool]:
    """Tell in SQL whether the task of a row may still mail its recipient: it goes on, and so does the row's member."""
    own, member = task_records.alias("own_record").c, table("members", *map(column, ("task_id", "position", "state"))).c
    c = deliveries.c
    goes_on = exists().where(own.id == c.task_id, own.state.not_in([state.value for state in FINAL]))
    ended = exists().where(member.task_id == c.task_id, member.position == c.position, member.state != "waiting")
    return and_(goes_on, ~ended)


def _left_as(which: ColumnElement[bool]) -> ColumnElement[Any]:
    """Return in SQL what one who still waits becomes by the end of a task's record; NULL where that is not final."""
    expired = and_(columns.state == TaskState.REVOKED.value, columns.error_type == "Expired")
    states = {
        TaskState.REVOKED.value: "cancelled",
        TaskState.FAILURE.value: "refused",
        TaskState.SUCCESS.value: "refused",
    }
    told = case((expired, "expired"), *((columns.state == one, state) for one, state in states.items()))
    return select(told).where(which).scalar_subquery()


def _left_by(which: ColumnElement[bool]) -> ColumnElement[Any]:
    """Return in SQL the same of a task that has ended, perhaps so long ago that its record is gone."""
    return func.coalesce(_left_as(which), "cancelled")


def _ending(state: Any, reason: Any) -> dict[str, Any]:
    """Return the values of one who is mailed no more; what a server has said last stays."""
    text = deliveries.c.text
    return {
        "state": state,
        "text": case((text == "", reason), else_=text),
        "closed_at": Now(),
        "next_attempt_at": None,
    }


def _hold(value: Given) -> Any:
    """Read who hands over and for whom, and let whoever cancels wait: what was cancelled before is seen.

    What comes later is late. A bulk goes before its batch, as where it is cancelled: else each would have what the
    other waits for. SQLite has one writer, who needs no lock.
    """
    task_id, run_id = value("task_id", String()), value("run_id", String())
    rows = select(columns.id, columns.run, columns.state).where(columns.id.in_([task_id, run_id]))
    return rows.order_by(columns.id != task_id).with_for_update(read=True)


def _may_hand_over(found: Sequence[Row], task_id: str, run: Run) -> bool:
    """Tell whether this run goes on, and whose mail it is was not cancelled."""
    known = {one: (number, state) for one, number, state in found}
    number, state = known.get(run.task_id, (None, None))
    cancelled = task_id in known and known[task_id][1] == TaskState.REVOKED.value
    return number == run.number and state in {one.value for one in RUNNING} and not cancelled


def _values(outcome: Outcome) -> dict[str, Any]:
    return {
        "state": outcome.state,
        "code": outcome.code,
        "enhanced": outcome.enhanced,
        "text": outcome.text,
        "closed_at": None if outcome.state in WAITING_STATES else Now(),
    }


def _row(task_id: str, run: Run, position: int, address: str) -> dict[str, Any]:
    """Return what names one recipient, and the run that speaks of it, to the statements below."""
    return {
        "place": f"{position}:{address}",
        "task_id": task_id,
        "position": position,
        "address": address,
        "run_id": run.task_id,
        "run": run.number,
    }


def _closing(outcome: Outcome) -> dict[str, Any]:
    waits = None if outcome.state not in WAITING_STATES else outcome.retry_after or 0.0
    return {
        "state": outcome.state,
        "code": outcome.code,
        "enhanced": outcome.enhanced,
        "text": outcome.text,
        "waits": waits,
    }


def _named(value: Given) -> ColumnElement[bool]:
    c = deliveries.c
    return and_(
        c.task_id == value("task_id", String()),
        c.position == value("position", Integer()),
        c.address == value("address", String()),
    )


def _hand_over(value: Given) -> Any:
    c = deliveries.c
    new = {"state": "handing", "attempts": c.attempts + 1, "handed_at": Now(), "next_attempt_at": None}
    return update(deliveries).where(_named(value), c.state.in_(WAITING_STATES)).values(new).returning(c.address)


def _answer(value: Given) -> dict[str, Any]:
    """Return what a server has said."""
    return {
        "code": cast(value("code", Integer()), Integer),  # PostgreSQL asks for the type of what may be NULL
        "enhanced": value("enhanced", String()),
        "text": value("text", PlainText()),
    }


def _accept(value: Given) -> Any:
    c = deliveries.c
    new = _answer(value) | {"state": "accepted", "closed_at": Now(), "next_attempt_at": None}
    own = and_(_named(value), c.state.in_([*OPEN_STATES, "unknown"]))
    return update(deliveries).where(own).values(new).returning(c.address)


def _close(value: Given) -> Any:
    c = deliveries.c
    waits = cast(value("waits", Float()), Float)
    put_off = cast(value("state", String()), String) == "deferred"
    state, text = cast(value("state", String()), String), cast(value("text", PlainText()), String)
    # whoever would wait, but for a run whose task was ended meanwhile, is mailed no more
    left = case((waits.is_not(None), _left_as(columns.id == value("run_id", String()))))
    new = _answer(value) | {
        "state": func.coalesce(left, state),
        "text": case((and_(text == "", left.is_not(None)), TASK_ENDED), else_=text),
        "closed_at": case((or_(waits.is_(None), left.is_not(None)), Now())),
        "next_attempt_at": case((and_(waits.is_not(None), left.is_(None)), Now(func.coalesce(waits, 0.0)))),
        # who was put off before a content was handed over had a try, too
        "attempts": c.attempts + case((and_(put_off, c.state.in_(WAITING_STATES)), 1), else_=0),
    }
    own = and_(_named(value), c.state.in_(OPEN_STATES), newest(value))
    return update(deliveries).where(own).values(new).returning(c.address)


def _end(value: Given, which: ColumnElement[bool]) -> Any:
    waiting = update(deliveries).where(which, deliveries.c.state.in_(WAITING_STATES))
    reason = cast(value("reason", PlainText()), String)
    return waiting.values(_ending(value("state", String()), reason)).returning(deliveries.c.task_id)


def _end_task(value: Given) -> Any:
    return _end(value, deliveries.c.task_id == value("task_id", String()))


def _end_mail(value: Given) -> Any:
    c = deliveries.c
    return _end(value, and_(c.task_id == value("task_id", String()), c.position == value("position", Integer())))


def newest(value: Given) -> ColumnElement[bool]:
    """Tell in SQL whether a run is the newest of its task: a later one decides what becomes of the mails."""
    return exists().where(columns.id == value("run_id", String()), columns.run == value("run", Integer()))


OPEN_STATES = [*WAITING_STATES, "handing"]
HOLD = Prepared(_hold)
HAND_OVER = Prepared(_hand_over, "place")
ACCEPT = Prepared(_accept, "place")
CLOSE = Prepared(_close, "place")
END_TASK = Prepared(_end_task)
"""Ends all recipients of a task who still wait: for the transaction that ends the task."""

END_MAIL = Prepared(_end_mail, "position")
"""The same, for one mail of it."""
