"""Schedules: what runs when, and the one way in which a fire time becomes a task."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import (
    Boolean,
    Column,
    ColumnElement,
    Connection,
    Float,
    Index,
    String,
    Table,
    Text,
    and_,
    delete,
    false,
    select,
    update,
)

from processors.schedules import CatchUp, Timing
from records.columns import Instant, Json, Now, metadata, now_once
from records.database import Database
from records.insertion import insert_into
from records.leadership import Lead, leads
from records.task_records import Draft, insert_drafts

DATABASE, SETTINGS = "database", "settings"

schedules = Table(
    "schedules",
    metadata,
    Column("name", String(255), primary_key=True),
    Column("task", String(255), nullable=False),
    Column("kwargs", Json, nullable=False),
    Column("args", Json, nullable=False),
    Column("queue", String(255), nullable=False),
    Column("priority", String(16), nullable=False),
    Column("tenant", String(255)),
    Column("crontab", Text),
    Column("every_seconds", Float),
    Column("timezone", String(255), nullable=False),
    Column("catch_up", String(8), nullable=False),
    Column("paused", Boolean, nullable=False),
    Column("source", String(16), nullable=False),  # who may change it: `database`, or `settings` alone
    Column("anchor_at", Instant, nullable=False),  # an interval's moment zero
    Column("next_at", Instant, nullable=False),  # the next fire time; an old one while it is paused
    Column("last_fire_at", Instant),
    Column("last_task_id", String(255)),
    Column("created_at", Instant, nullable=False),
    Column("updated_at", Instant, nullable=False),
)

columns = schedules.c

Index("ix_schedules_next_at", columns.paused, columns.next_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """What a schedule is, as somebody defined it."""

    name: str
    task: str
    kwargs: dict[str, Any]
    args: list[Any]
    queue: str
    priority: str
    tenant: str | None
    crontab: str | None
    every_seconds: float | None
    timezone: str
    catch_up: CatchUp

    def timing(self, anchor: datetime) -> Timing:
        """Return when it fires, an interval from this anchor on."""
        return Timing(self.crontab, self.every_seconds, self.timezone, anchor)


DEFINED = tuple(field.name for field in fields(Definition))


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule(Definition):
    """A schedule as it was read."""

    paused: bool
    source: str
    anchor_at: datetime
    next_at: datetime
    last_fire_at: datetime | None
    last_task_id: str | None
    created_at: datetime
    updated_at: datetime

    def definition(self) -> Definition:
        """Return what somebody defined of it."""
        return Definition(**{name: getattr(self, name) for name in DEFINED})


@dataclass(frozen=True, slots=True)
class Fire:
    """What is to be fired of a schedule: its fire times' tasks; none where only the next one moves on.

    Attributes:
        schedule: as it was read.
        following: its next fire time after these.
        last: the last one of these, or None.
        drafts: a task for each of these.
    """

    schedule: Schedule
    following: datetime
    last: datetime | None
    drafts: Sequence[Draft]


class Adopted(NamedTuple):
    """What became of the settings' schedules.

    Attributes:
        taken: names that belong to schedules which are not the settings'.
        whole: whether no row was held by somebody else, so that nothing is left to be done.
    """

    taken: list[str]
    whole: bool


class Schedules:
    """Keeps schedules; `next_at` always lies after the last change of a schedule and after its last fire time."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def add(self, definition: Definition) -> Schedule | None:
        """Write a schedule, which fires from now on; None where its name is taken."""

        def work(connection: Connection) -> Schedule | None:
            values = _first_values(definition, _now(connection)) | {"source": DATABASE}
            fresh = insert_into(schedules, self.database.kind).values(values)
            return _one(connection, fresh.on_conflict_do_nothing().returning(schedules))

        return self.database.write(work)

    def change(self, name: str, decide: Callable[[Schedule], Definition]) -> Schedule | None:
        """Change a schedule, which goes on from now on; None where there is none of this name.

        Args:
            name: the schedule.
            decide: makes its new definition of what it is; what it raises changes nothing.
        """

        def work(connection: Connection) -> Schedule | None:
            schedule = _locked(connection, name)
            if schedule is None:
                return None
            return _one(connection, _changed(schedule, decide(schedule), _now(connection)).returning(schedules))

        return self.database.write(work)

    def pause(self, name: str) -> Schedule | None:
        """Fire a schedule no more until it is resumed; None where there is none of this name."""
        statement = update(schedules).where(columns.name == name).values(paused=True, updated_at=Now())
        return self.database.write(lambda c: _one(c, statement.returning(schedules)))

    def resume(self, name: str) -> Schedule | None:
        """Let a paused schedule go on from now on, and leave one that is not as it is; None where there is none."""

        def work(connection: Connection) -> Schedule | None:
            schedule = _locked(connection, name)
            if schedule is None or not schedule.paused:
                return schedule
            resumed = _changed(schedule, schedule.definition(), _now(connection)).values(paused=False)
            return _one(connection, resumed.returning(schedules))

        return self.database.write(work)

    def remove(self, name: str) -> bool:
        """Remove a schedule that is not the settings'; False where there is none of this name."""
        gone = delete(schedules).where(columns.name == name, columns.source == DATABASE).returning(columns.name)
        return self.database.write(lambda c: c.execute(gone).first() is not None)

    def read(self, name: str) -> Schedule | None:
        """Return one schedule, or None where there is none."""
        return self.database.read(lambda c: _one(c, select(schedules).where(columns.name == name)))

    def listed(self) -> list[Schedule]:
        """Return every schedule, by name."""
        return self.database.read(lambda c: _many(c, select(schedules).order_by(columns.name)))

    def overdue(self, seconds: float) -> list[tuple[str, float]]:
        """Return (name, seconds since its fire time) of what is over so many seconds late, the latest first."""
        late = select(columns.name, columns.next_at, Now().label("now")).where(_due(-seconds)).order_by(columns.next_at)
        rows = self.database.read(lambda c: c.execute(late).all())
        return [(row.name, (row.now - row.next_at).total_seconds()) for row in rows]

    def due(self, limit: int, *, besides: Collection[str] = ()) -> list[tuple[Schedule, datetime]]:
        """Return schedules whose fire time has come, the longest due first, each with the database's present moment.

        Args:
            limit: at most so many.
            besides: none of these names.
        """
        page = (DUE.where(columns.name.not_in(besides)) if besides else DUE).limit(limit)
        rows = self.database.read(lambda c: [dict(row) for row in c.execute(page).mappings()])
        return [(Schedule(**row), moment) for row in rows for moment in [row.pop("now")]]

    def fire(self, lead: Lead, fires: Sequence[Fire]) -> list[str]:
        """Record the tasks of fire times, each once, and move their schedules on, in one transaction.

        What was changed, paused, removed or fired by somebody else meanwhile is left alone, and so is everything where
        the lead is not held any more.

        Returns:
            The names of the schedules that moved on.
        """

        def work(connection: Connection) -> list[str]:
            moved: list[str] = []
            drafts: list[Draft] = []
            for fire in fires:
                if connection.execute(_fired(lead, fire)).first() is not None:
                    moved.append(fire.schedule.name)
                    drafts += fire.drafts
            if drafts:
                insert_drafts(connection, drafts)
            return moved

        return self.database.write(work)

    def adopt(self, lead: Lead, definitions: Sequence[Definition]) -> Adopted | None:
        """Let the settings' schedules be these: new ones come, changed ones change, gone ones go; pauses stay.

        Returns:
            What became of them, or None where the lead is not held any more.
        """
        wanted = {definition.name: definition for definition in definitions}

        def work(connection: Connection) -> Adopted | None:
            if not connection.execute(select(leads(*lead))).scalar():
                return None
            now = _now(connection)
            names = set(connection.execute(select(columns.name)).scalars())
            # What a frozen transaction holds would hold this one up, too.
            there = {one.name: one for one in _many(connection, select(schedules).with_for_update(skip_locked=True))}
            ours = {name: one for name, one in there.items() if one.source == SETTINGS}
            gone = ours.keys() - wanted.keys()
            connection.execute(delete(schedules).where(columns.name.in_(gone)))
            for name, definition in wanted.items():
                if name not in names:
                    values = _first_values(definition, now) | {"source": SETTINGS}
                    fresh = insert_into(schedules, self.database.kind).values(values)
                    connection.execute(fresh.on_conflict_do_nothing())
                elif name in ours and ours[name].definition() != definition:
                    connection.execute(_changed(ours[name], definition, now))
            taken = [name for name in wanted if name in there and name not in ours]
            return Adopted(taken, whole=names <= there.keys())

        return self.database.write(work)


def _due(seconds: float = 0) -> ColumnElement[bool]:
    return and_(columns.paused == false(), columns.next_at <= now_once(seconds))


DUE = select(schedules, Now().label("now")).where(_due()).order_by(columns.next_at, columns.name)


def _fired(lead: Lead, fire: Fire) -> Any:
    """Return the statement that moves a schedule on, if its fire time is still the one that was read.

    What a frozen transaction holds is left alone: it would hold up who leads now, and frees it when it ends.
    """
    own = (
        select(columns.name)
        .where(columns.name == fire.schedule.name, columns.next_at == fire.schedule.next_at, _due(), leads(*lead))
        .with_for_update(skip_locked=True)
        .cte("own")
    )
    values: dict[str, Any] = {"next_at": fire.following}
    if fire.last is not None:
        values |= {"last_fire_at": fire.last, "last_task_id": fire.drafts[-1].id}
    return update(schedules).where(columns.name.in_(select(own.c.name))).values(values).returning(columns.name)


def _first_values(definition: Definition, now: datetime) -> dict[str, Any]:
    return {name: getattr(definition, name) for name in DEFINED} | {
        "paused": False,
        "anchor_at": now,
        "next_at": definition.timing(now).after(now),
        "created_at": now,
        "updated_at": now,
    }


def _changed(schedule: Schedule, definition: Definition, now: datetime) -> Any:
    """Return what gives a schedule this definition from now on; an interval that stays keeps its phase."""
    kept = schedule.every_seconds is not None and schedule.every_seconds == definition.every_seconds
    anchor = schedule.anchor_at if kept else now
    values = {name: getattr(definition, name) for name in DEFINED} | {
        "anchor_at": anchor,
        "next_at": definition.timing(anchor).after(max(now, schedule.last_fire_at or now)),
        "updated_at": Now(),
    }
    return update(schedules).where(columns.name == schedule.name).values(values)


def _locked(connection: Connection, name: str) -> Schedule | None:
    return _one(connection, select(schedules).where(columns.name == name).with_for_update())


def _now(connection: Connection) -> datetime:
    return connection.execute(select(Now())).scalar_one()


def _one(connection: Connection, statement: Any) -> Schedule | None:
    row = connection.execute(statement).mappings().first()
    return None if row is None else Schedule(**row)


def _many(connection: Connection, statement: Any) -> list[Schedule]:
    return [Schedule(**row) for row in connection.execute(statement).mappings().all()]
