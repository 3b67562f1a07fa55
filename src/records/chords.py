"""The members of chords and groups: a set of ids, so that a part that returns twice counts once."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, Connection, Index, Integer, String, Table, delete, func, select, update

from records.columns import Instant, Json, Now, metadata
from records.database import Database
from records.insertion import insert_into

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


@dataclass(frozen=True, slots=True)
class Part:
    """What one member of a chord returned."""

    part_id: str
    state: str
    result: Any


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

    def prune(self) -> int:
        """Remove what is older than a month."""
        old = select(chords.c.group_id).where(chords.c.created_at < Now(-KEEP_SECONDS)).limit(1_000)

        def work(connection: Connection) -> int:
            ids = list(connection.execute(old).scalars().all())
            for group_id in ids:
                self._delete(connection, group_id)
            return len(ids)

        return self.database.write(work, durable=False)

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
