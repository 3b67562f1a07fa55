"""Changes in the outside world: the intent, kept before a change begins, and what came of it."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, Literal

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
    delete,
    exists,
    func,
    literal,
    literal_column,
    or_,
    select,
    update,
)

from processors.doubt import doubt_seconds
from processors.errors import Cancelled, EffectInDoubt, InvalidArgument
from processors.interfaces import Run
from records.columns import SECONDS_PER_DAY, Instant, Json, Now, PlainText, metadata
from records.database import Database
from records.grouped_writes import CommitUnknown
from records.insertion import insert_into
from records.prepared import Given, GivenRows, Prepared
from records.task_records import FINAL, LONGEST_ID, RUNNING, columns, is_run, task_records

EffectState = Literal["intended", "done", "refused", "unknown"]
"""Begun or about to be; happened; known not to have happened, so that it may be intended again; for a person."""

IN_DOUBT: tuple[EffectState, ...] = ("intended", "unknown")
CLOSED: tuple[EffectState, ...] = ("done", "refused")

effects = Table(
    "effects",
    metadata,
    Column("key", String(255), primary_key=True),
    Column("task_id", String(255), nullable=False),  # whose intent it is
    Column("run", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("outcome", Json),
    Column("error", PlainText),
    Column("deadline_seconds", Float, nullable=False),
    Column("intended_at", Instant, nullable=False),
    Column("closed_at", Instant),
)

Index("ix_effects_task_id", effects.c.task_id)

OWN_KEY = func.substr(effects.c.key, 1, func.length(effects.c.task_id) + 1) == effects.c.task_id + ":"
"""Whether a key begins with the id of the task that used it; one that does not is a name of the business, for ever."""

PRUNED_AT_ONCE = 10_000
"""How many keys one pruning looks at."""

OPEN = effects.c.state != literal_column("'done'")


@dataclass(frozen=True, slots=True)
class Effect:
    """An effect as it was read.

    Attributes:
        rest: seconds for which it may still be going on, by the database's clock; 0 or less where it cannot be.
    """

    key: str
    task_id: str
    run: int
    state: EffectState
    outcome: Any
    error: str | None
    intended_at: datetime
    rest: float


@dataclass(frozen=True, slots=True)
class Doubt:
    """Something of which it is not known whether it happened.

    Attributes:
        key: what `settle_effect` takes.
        name: its task's name; None where the record was removed.
        state: `intended` where its task will look again by itself, `unknown` where a person has to.
    """

    key: str
    kind: Literal["effect", "mail", "call"]
    task_id: str
    name: str | None
    state: Literal["intended", "unknown"]
    intended_at: datetime | None
    error: str | None


def _intent(value: Given) -> dict[str, Any]:
    return {
        "key": value("key", effects.c.key.type),
        "task_id": columns.id,
        "run": columns.run,
        "state": literal("intended"),
        "deadline_seconds": value("deadline", Float()),
        "intended_at": Now(),
    }


@cache
def _intention(kind: str) -> Prepared:
    """Return the statement that keeps an intent of a run that goes on, where no other effect has the key."""

    def one(value: Given) -> Any:
        return insertion(value, select(*_intent(value).values()))

    def many(rows: GivenRows) -> Any:
        return insertion(rows, select(*_intent(rows).values()).select_from(rows.source))

    def insertion(value: Given, intent: Any) -> Any:
        own = is_run(value("task_id", String()), value("of_run", Integer()))
        insert = insert_into(effects, kind).from_select(list(_intent(value)), intent.where(own))
        anew = {column.name: insert.excluded[column.name] for column in effects.c if not column.primary_key}
        free = effects.c.state == "refused"
        return insert.on_conflict_do_update(index_elements=["key"], set_=anew, where=free).returning(effects.c.key)

    return Prepared(one, "key", many, kind)


def _close(value: Given) -> Any:
    own = and_(
        effects.c.key == value("key", String()),
        effects.c.task_id == value("task_id", String()),
        effects.c.run == value("of_run", Integer()),
    )
    values = {"state": "done", "outcome": value("outcome", Json()), "error": None, "closed_at": Now()}
    return update(effects).where(own).values(values).returning(effects.c.key)


CLOSE = Prepared(_close, "key")


class EffectRecords:
    """Keeps intents and outcomes. An intent is one statement, conditional on the run; so is whatever ends it."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._pruned_to = ""  # the last key that a pruning has looked at

    def intend(self, key: str, run: Run, deadline: float) -> bool:
        """Keep durably that this run is about to begin an effect; False where another has the key, or the run is over.

        Raises:
            EffectInDoubt: it is not known whether the intent was kept.
        """
        intent = _intention(self.database.kind)(key=key, task_id=run.task_id, of_run=run.number, deadline=deadline)
        try:
            return bool(self.database.write(intent))
        except CommitUnknown as lost:
            raise self._lost(key, deadline, lost) from lost

    def find(self, key: str, run: Run) -> Effect | None:
        """Return the effect of this key, or None where there is none.

        Raises:
            Cancelled: the record is no longer this run's.
        """
        own = is_run(run.task_id, run.number)
        query = (
            select(*effects.c, Now().label("now"))
            .select_from(task_records.outerjoin(effects, effects.c.key == key))
            .where(own)
        )
        row = self.database.read(lambda c: c.execute(query).mappings().first())
        if row is None:
            raise Cancelled(f"Task {run.task_id} was cancelled, or another run of it goes on.")
        return _to_effect(row) if row["key"] is not None else None

    def close(self, key: str, run: Run, outcome: Any) -> bool:
        """Store that this run's effect happened, whatever was concluded meanwhile; False where it is another's now."""
        close = CLOSE(key=key, task_id=run.task_id, of_run=run.number, outcome=outcome)
        return bool(self.database.write(close))

    def withdraw(self, key: str, run: Run) -> None:
        """Forget this run's intent, of which nothing happened."""
        self.database.write(lambda c: c.execute(delete(effects).where(_doubtful_of(key, run))))

    def refuse(self, key: str, run: Run, error: str) -> None:
        """Store that this run's effect was refused and did not happen; another attempt may intend it again."""
        statement = update(effects).where(_doubtful_of(key, run))
        self.database.write(lambda c: c.execute(statement.values(state="refused", error=error, closed_at=Now())))

    def note(self, key: str, run: Run, error: str) -> None:
        """Store what went wrong with this run's effect, which is in doubt."""
        statement = update(effects).where(_doubtful_of(key, run)).values(error=error)
        self.database.write(lambda c: c.execute(statement))

    def take_over(self, found: Effect, run: Run, deadline: float) -> bool:
        """Intend an effect that is known not to have happened again; False where it is not as it was found any more.

        Raises:
            EffectInDoubt: it is not known whether the intent was kept.
        """
        anew = {
            "task_id": run.task_id,
            "run": run.number,
            "state": "intended",
            "outcome": None,
            "error": None,
            "deadline_seconds": deadline,
            "intended_at": Now(),
            "closed_at": None,
        }
        own = exists().where(is_run(run.task_id, run.number))
        statement = update(effects).where(_as_found(found), own).values(anew).returning(effects.c.key)
        try:
            return bool(self.database.write(lambda c: c.execute(statement).all()))
        except CommitUnknown as lost:
            raise self._lost(found.key, deadline, lost) from lost

    def conclude(self, found: Effect, state: EffectState, *, outcome: Any = None, error: str | None = None) -> bool:
        """Store what a look at the other side told; False where it is not as it was found any more."""
        values = {"state": state, "outcome": outcome, "error": error, "closed_at": Now() if state in CLOSED else None}
        statement = update(effects).where(_as_found(found)).values(values).returning(effects.c.key)
        return bool(self.database.write(lambda c: c.execute(statement).all()))

    def settle(self, key: str, state: EffectState, *, outcome: Any = None, error: str | None = None) -> bool:
        """Store what a person has found out; False where the effect is not in doubt, or may still be going on."""
        over = effects.c.intended_at <= Now(-(effects.c.deadline_seconds + doubt_seconds(0)))
        doubtful = or_(effects.c.state == "unknown", and_(effects.c.state == "intended", over))
        values = {"state": state, "outcome": outcome, "error": error, "closed_at": Now()}
        statement = update(effects).where(effects.c.key == key, doubtful).values(values).returning(effects.c.key)
        return bool(self.database.write(lambda c: c.execute(statement).all()))

    def in_doubt(self, task_id: str) -> bool:
        """Tell whether it is unknown, of any effect of this task, whether it happened."""
        query = select(effects.c.key).where(effects.c.task_id == task_id, effects.c.state.in_(IN_DOUBT)).limit(1)
        return self.database.read(lambda c: c.execute(query).first()) is not None

    def unknown_in(self, error: str) -> str | None:
        """Return the key of an effect that is unknown and that an error names in quotes, or None."""
        query = select(effects.c.key).where(OPEN, effects.c.state == "unknown")
        keys = self.database.read(lambda c: c.execute(query).scalars().all())
        return next((key for key in keys if repr(key) in error), None)

    def doubts(self, limit: int) -> list[Doubt]:
        """Return the effects of which it is not known whether they happened, the oldest first; none that goes on."""
        query = (
            select(*effects.c, columns.name, columns.state.label("task_state"), columns.run.label("task_run"))
            .add_columns(Now().label("now"))
            .select_from(effects.outerjoin(task_records, columns.id == effects.c.task_id))
            .where(OPEN, effects.c.state.in_(IN_DOUBT))
            .order_by(effects.c.intended_at)
            .limit(limit)
        )
        rows = self.database.read(lambda c: c.execute(query).mappings().all())
        return [doubt for row in rows if (doubt := _to_doubt(row))]

    def done(self, task_id: str) -> dict[str, Any]:
        """Return the effects of a task that happened: each key with its outcome."""
        query = select(effects.c.key, effects.c.outcome).where(effects.c.task_id == task_id, effects.c.state == "done")
        rows = self.database.read(lambda c: c.execute(query).all())
        return dict(tuple(row) for row in rows)

    def carry_over(self, from_task: str, to_task: str, but: Collection[str] = ()) -> None:
        """Let a task that retries another know what that one has done under keys that begin with its id.

        Args:
            from_task: that one.
            to_task: the one that retries it.
            but: keys that the retry may use again.

        Raises:
            InvalidArgument: such a key would be too long under the other id; nothing was written.
        """
        c = effects.c
        prefix, names = f"{from_task}:", [column.name for column in c]
        new = {
            c.key: to_task + func.substr(c.key, len(prefix)),
            c.task_id: literal(to_task),
            c.run: literal(0),
            c.closed_at: Now(),  # or a pruning might find a copy old whose task has no record yet
        }
        own = and_(c.task_id == from_task, c.state == "done", func.substr(c.key, 1, len(prefix)) == prefix)
        own = and_(own, c.key.not_in(list(but))) if but else own
        done = select(*(new.get(column, column) for column in c)).where(own)
        copied = insert_into(effects, self.database.kind).from_select(names, done).on_conflict_do_nothing()
        longest = LONGEST_ID - len(to_task) + len(from_task)
        too_long = select(c.key).where(own, func.length(c.key) > longest).limit(1)

        def work(connection: Connection) -> None:
            key = connection.execute(too_long).scalar()
            if key is not None:
                raise InvalidArgument(
                    f"task_id: task {from_task} has done the effect {key!r:.100}, whose key would be longer than "
                    f"{LONGEST_ID} characters under the id of its retry; submit the rest of its work as a new task."
                )
            connection.execute(copied)

        self.database.write(work)

    def prune(self, days: float) -> int:
        """Remove what is known of effects whose keys begin with the id of a task that has no record any more.

        They were closed after their task had ended, or its record was gone, and so did not go with it. Keys of the
        business stay, and so does what is in doubt. Some keys are looked at, and those behind them the next time.

        Args:
            days: how long ago they must have been closed.
        """
        c = effects.c
        page = select(c.key).where(c.key > self._pruned_to).order_by(c.key).limit(PRUNED_AT_ONCE)
        keys = self.database.read(lambda r: r.execute(page).scalars().all())
        after, self._pruned_to = self._pruned_to, keys[-1] if len(keys) == PRUNED_AT_ONCE else ""
        if not keys:
            return 0
        old = and_(c.state.in_(CLOSED), c.closed_at < Now(-days * SECONDS_PER_DAY))
        gone = ~exists().where(columns.id == c.task_id)
        pruning = delete(effects).where(c.key > after, c.key <= keys[-1], OWN_KEY, old, gone).returning(c.key)
        return len(self.database.write(lambda w: w.execute(pruning).all(), durable=False))

    def _lost(self, key: str, deadline: float, lost: CommitUnknown) -> EffectInDoubt:
        return EffectInDoubt(f"It is not known whether the intent of {key!r} was kept: {lost}", doubt_seconds(deadline))


def _doubtful_of(key: str, run: Run) -> ColumnElement[bool]:
    c = effects.c
    return and_(c.key == key, c.task_id == run.task_id, c.run == run.number, c.state.in_(IN_DOUBT))


def _as_found(found: Effect) -> ColumnElement[bool]:
    """Tell in SQL whether an effect is still as it was read: of many who look at once, one acts on what it saw."""
    c = effects.c
    same = and_(c.task_id == found.task_id, c.run == found.run, c.intended_at == found.intended_at)
    return and_(c.key == found.key, same, c.state == found.state)


def _rest(row: Mapping[Any, Any]) -> float:
    return doubt_seconds(row["deadline_seconds"]) - (row["now"] - row["intended_at"]).total_seconds()


def _to_effect(row: Mapping[Any, Any]) -> Effect:
    told = {name: row[name] for name in Effect.__slots__ if name != "rest"}
    return Effect(**told, rest=_rest(row))


def _to_doubt(row: Mapping[Any, Any]) -> Doubt | None:
    """Return what is in doubt; None for an effect that is going on."""
    over, task_state = _rest(row) <= 0, row["task_state"]
    if row["state"] == "intended" and not over and task_state in RUNNING and row["task_run"] == row["run"]:
        return None
    abandoned = over and (task_state is None or task_state in FINAL)
    return Doubt(
        key=row["key"],
        kind="effect",
        task_id=row["task_id"],
        name=row["name"],
        state="unknown" if row["state"] == "unknown" or abandoned else "intended",
        intended_at=row["intended_at"],
        error=row["error"],
    )
