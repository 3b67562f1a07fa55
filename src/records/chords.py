"""The members of chords and groups: a set of ids, so that a part that returns twice counts once."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Index,
    Integer,
    String,
    Table,
    Text,
    and_,
    case,
    delete,
    exists,
    func,
    or_,
    select,
    type_coerce,
    update,
)

from records.columns import Instant, Json, Now, metadata
from records.database import Database
from records.insertion import insert_into
from records.task_records import FINAL, TaskRecord, TaskState, columns, task_records, to_record

KEEP_SECONDS = 30 * 24 * 3600

chords = Table(
    "chords",
    metadata,
    Column("group_id", String(255), primary_key=True),
    Column("size", Integer),  # NULL until the header was published whole
    Column("added", Integer, nullable=False),  # parts that joined while it ran
    Column("header", Json),  # Celery's own form of the group's result
    Column("created_at", Instant, nullable=False),
    Column("fired_at", Instant),
)

chord_parts = Table(
    "chord_parts",
    metadata,
    Column("group_id", String(255), primary_key=True),
    Column("part_id", String(255), primary_key=True),
    Column("position", Integer),
    Column("state", String(16), nullable=False),
    Column("result", Json),
)

Index("ix_chords_created_at", chords.c.created_at)
Index("ix_chords_fired_at", chords.c.fired_at, chords.c.created_at)


@dataclass(frozen=True, slots=True)
class Part:
    """What one member of a chord returned."""

    part_id: str
    state: str
    result: Any


@dataclass(frozen=True, slots=True)
class GroupFigures:
    """How far the members of a group are.

    Attributes:
        size: how many parts the header of a chord has; None for a group, and while a header is being published.
        known: how many members have a record.
        done: how many of these have ended.
        failed: how many of these failed or were cancelled.
        progress: the sum of their progress, each 0 to 100.
    """

    size: int | None
    known: int
    done: int
    failed: int
    progress: float


def _returns_part() -> ColumnElement[bool]:
    """Tell in SQL whether a chord waits for a record: its body has the same group id, and waits for nothing.

    What stands in a message as text, its quotation marks are escaped.
    """
    return type_coerce(columns.message, Text).like('%"chord":{"%')


def _part_returned() -> ColumnElement[bool]:
    """Tell in SQL whether a member has returned its part."""
    return exists().where(chord_parts.c.group_id == columns.group_id, chord_parts.c.part_id == columns.id)


def _older_than_chord(group_id: str) -> ColumnElement[bool]:
    """Tell in SQL whether a chord was made before this one; of the same moment, whether its id comes before."""
    last = chords.alias()
    moment = select(last.c.created_at).where(last.c.group_id == group_id).scalar_subquery()
    return or_(chords.c.created_at < moment, and_(chords.c.created_at == moment, chords.c.group_id < group_id))


class Chords:
    """Counts the parts of chords and tells when one is complete."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def save_header(self, group_id: str, header: Any) -> None:
        """Keep the form of a group's result."""
        self.database.write(lambda c: self._upsert(c, group_id, {"header": header}))

    def header(self, group_id: str) -> Any:
        """Return the form of a group's result, or None."""
        query = select(chords.c.header).where(chords.c.group_id == group_id)
        return self.database.read(lambda c: c.execute(query).scalar())

    def forget(self, group_id: str) -> None:
        """Remove a group and its parts."""
        self.database.write(lambda c: self._delete(c, group_id), durable=False)

    def set_size(self, group_id: str, size: int) -> None:
        """Note how many parts the published header has."""
        self.database.write(lambda c: self._upsert(c, group_id, {"size": size}))

    def add(self, group_id: str) -> None:
        """Count one part more: a task of the header replaced itself by a group."""

        def work(connection: Connection) -> None:
            self._upsert(connection, group_id, {})
            grown = update(chords).where(chords.c.group_id == group_id).values(added=chords.c.added + 1)
            connection.execute(grown)

        self.database.write(work)

    def part_returned(self, group_id: str, position: int | None, part: Part) -> bool:
        """Keep a part's result; tells whether the chord is complete now and its body not yet published."""
        values = {
            "group_id": group_id,
            "part_id": part.part_id,
            "position": position,
            "state": part.state,
            "result": part.result,
        }

        def work(connection: Connection) -> bool:
            self._upsert(connection, group_id, {})
            locked = select(chords).where(chords.c.group_id == group_id).with_for_update()
            chord = connection.execute(locked).mappings().one()
            connection.execute(insert_into(chord_parts, self.database.kind).values(values).on_conflict_do_nothing())
            counted = select(func.count()).where(chord_parts.c.group_id == group_id)
            count = connection.execute(counted).scalar_one()
            whole = chord["size"] is not None and count >= chord["size"] + chord["added"]
            return whole and chord["fired_at"] is None

        return self.database.write(work)

    def parts(self, group_id: str) -> list[Part]:
        """Return the parts' results in the header's order."""
        c = chord_parts.c
        query = select(c.part_id, c.state, c.result).where(c.group_id == group_id).order_by(c.position, c.part_id)
        return [Part(*row) for row in self.database.read(lambda connection: connection.execute(query).all())]

    def fired(self, group_id: str) -> None:
        """Note that the body was published: a part that returns again changes nothing."""
        statement = update(chords).where(chords.c.group_id == group_id).values(fired_at=Now())
        self.database.write(lambda c: c.execute(statement), durable=False)

    def figures(self, group_id: str) -> GroupFigures:
        """Return how far a group or the header of a chord is."""
        size = self.database.read(
            lambda c: c.execute(select(chords.c.size + chords.c.added).where(chords.c.group_id == group_id)).scalar()
        )
        return self._figures(size, self._of(group_id, size))

    def body_figures(self, group_id: str) -> GroupFigures:
        """Return how far the tasks of a chord's body are that is a group: they have the header's group id."""
        return self._figures(None, and_(columns.group_id == group_id, ~_returns_part()))

    def _figures(self, size: int | None, which: ColumnElement[bool]) -> GroupFigures:
        final = columns.state.in_([state.value for state in FINAL])
        lost = columns.state.in_([TaskState.FAILURE.value, TaskState.REVOKED.value])
        query = select(
            func.count(),
            func.count().filter(final),
            func.count().filter(lost),
            func.coalesce(func.sum(case((final, 100.0), else_=columns.progress)), 0.0),
        ).where(which)
        known, done, failed, progress = self.database.read(lambda c: c.execute(query).one())
        return GroupFigures(size, known, done, failed, float(progress))

    def members(self, group_id: str, size: int | None, limit: int) -> list[tuple[str, str, str]]:
        """Return id, name and state of the first members of a group, or of a chord of this size, that have a record."""
        query = select(columns.id, columns.name, columns.state).where(self._of(group_id, size))
        query = query.order_by(columns.created_at, columns.id).limit(limit)
        return [(row[0], row[1], row[2]) for row in self.database.read(lambda c: c.execute(query).all())]

    def body(self, group_id: str) -> dict[str, Any] | None:
        """Return the body of a chord, in Celery's own form, as its members know it; None where there is none."""
        query = select(columns.message).where(columns.group_id == group_id, _returns_part()).limit(1)
        message = self.database.read(lambda c: c.execute(query).scalar())
        return message["embed"]["chord"] if message else None

    def stuck(self, older_than: float, limit: int, after: str | None = None) -> list[str]:
        """Return chords all of whose members have ended over `older_than` seconds ago and whose body was not published.

        Those whose members' records are gone are left out: nothing else knows the body. The newest come first.

        Args:
            older_than: seconds since the last member's end.
            limit: how many at most.
            after: the last one of the page before.
        """
        of_chord = and_(columns.group_id == chords.c.group_id, _returns_part())
        goes_on = or_(columns.finished_at.is_(None), columns.finished_at > Now(-older_than))
        returned = select(func.count()).where(chord_parts.c.group_id == chords.c.group_id).scalar_subquery()
        missing = select(func.count()).select_from(task_records).where(of_chord, ~_part_returned())
        query = (
            select(chords.c.group_id)
            .where(
                chords.c.fired_at.is_(None),
                chords.c.created_at <= Now(-older_than),
                chords.c.size.is_not(None),
                exists().where(of_chord),
                ~exists().where(of_chord, goes_on),
                returned + missing.correlate(chords).scalar_subquery() >= chords.c.size + chords.c.added,
            )
            .order_by(chords.c.created_at.desc(), chords.c.group_id.desc())
            .limit(limit)
        )
        if after is not None:
            query = query.where(_older_than_chord(after))
        return list(self.database.read(lambda c: c.execute(query).scalars().all()))

    def unreturned(self, group_id: str, limit: int) -> list[TaskRecord]:
        """Return members of a chord that have ended and whose part was not returned; or else one that has ended."""
        ended = and_(columns.group_id == group_id, _returns_part(), columns.finished_at.is_not(None))

        def query(connection: Connection) -> list[TaskRecord]:
            missing = select(task_records).where(ended, ~_part_returned()).limit(limit)
            any_of_them = select(task_records).where(ended).limit(1)
            rows = connection.execute(missing).mappings().all() or connection.execute(any_of_them).mappings().all()
            return [to_record(row) for row in rows]

        return self.database.read(query)

    def prune(self) -> int:
        """Remove what is older than a month."""
        old = select(chords.c.group_id).where(chords.c.created_at < Now(-KEEP_SECONDS)).limit(1_000)

        def work(connection: Connection) -> int:
            ids = list(connection.execute(old).scalars().all())
            for group_id in ids:
                self._delete(connection, group_id)
            return len(ids)

        return self.database.write(work, durable=False)

    def _of(self, group_id: str, size: int | None) -> ColumnElement[bool]:
        members = columns.group_id == group_id
        return members if size is None else and_(members, _returns_part())

    def _upsert(self, connection: Connection, group_id: str, values: Mapping[str, Any]) -> None:
        fresh = insert_into(chords, self.database.kind).values(group_id=group_id, added=0, created_at=Now(), **values)
        if values:
            statement = fresh.on_conflict_do_update(index_elements=["group_id"], set_=dict(values))
        else:
            statement = fresh.on_conflict_do_nothing()
        connection.execute(statement)

    def _delete(self, connection: Connection, group_id: str) -> None:
        connection.execute(delete(chord_parts).where(chord_parts.c.group_id == group_id))
        connection.execute(delete(chords).where(chords.c.group_id == group_id))
