"""People who were enrolled to be known again in pictures, and what they agreed to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Column, Connection, Integer, String, Table, delete, select, update

from processors.errors import PermanentError
from processors.people import MOST_ENCODINGS
from records.columns import Instant, Json, Now, PlainText, metadata
from records.database import Database
from records.insertion import insert_into

people = Table(
    "people",
    metadata,
    Column("name", String(255), primary_key=True),
    Column("consent", PlainText, nullable=False),  # the newest note
    Column("consent_at", Instant, nullable=False),  # when it was stored
    Column("encodings", Json, nullable=False),  # lists of 128 numbers: biometric data, which no list or result shows
    Column("encodings_count", Integer, nullable=False),  # so that a list need not read them
    Column("created_at", Instant, nullable=False),
)

columns = people.c


@dataclass(frozen=True, slots=True)
class Person:
    """A person as a list shows one: without the encodings."""

    name: str
    consent: str
    consent_at: datetime
    encodings: int
    created_at: datetime


class PeopleRecords:
    """Fulfils `processors.interfaces.Enrolment`."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def encodings(self) -> Mapping[str, Sequence[Sequence[float]]]:
        """Return each person's face encodings, by name."""
        query = select(columns.name, columns.encodings)
        return {row.name: row.encodings for row in self.database.read(lambda c: c.execute(query).all())}

    def enroll(self, name: str, consent: str, encoding: Sequence[float]) -> int:
        """Add an encoding to a person, who is new or not, with the consent that counts from now on.

        An encoding that is there already is not added again, so that a repeated run changes nothing.

        Returns:
            How many encodings the person has now.

        Raises:
            PermanentError: the person has the most that are kept; nothing was changed.
        """

        def work(connection: Connection) -> int:
            known = self._locked(connection, name, consent)
            if list(encoding) not in known:
                known.append(list(encoding))
            if len(known) > MOST_ENCODINGS:
                raise PermanentError(
                    f"{name} has {MOST_ENCODINGS} encodings, which are the most that are kept: forget the person and "
                    "enroll the best pictures."
                )
            values = {"encodings": known, "encodings_count": len(known)}
            connection.execute(update(people).where(columns.name == name).values(values))
            return len(known)

        return self.database.write(work)

    def forget(self, name: str) -> bool:
        """Remove a person with all encodings, at once; False where there is none of this name."""
        gone = delete(people).where(columns.name == name).returning(columns.name)
        return self.database.write(lambda c: c.execute(gone).first() is not None)

    def listed(self) -> list[Person]:
        """Return everybody, by name."""
        query = select(
            columns.name, columns.consent, columns.consent_at, columns.encodings_count, columns.created_at
        ).order_by(columns.name)
        return [Person(*row) for row in self.database.read(lambda c: c.execute(query).all())]

    def _locked(self, connection: Connection, name: str, consent: str) -> list[list[float]]:
        """Write a person's consent, hold the row until the transaction's end, and return the encodings so far."""
        fresh: dict[str, Any] = {
            "name": name,
            "consent": consent,
            "consent_at": Now(),
            "encodings": [],
            "encodings_count": 0,
            "created_at": Now(),
        }
        insert = insert_into(people, self.database.kind).values(fresh)
        renewed = {"consent": insert.excluded.consent, "consent_at": insert.excluded.consent_at}
        upsert = insert.on_conflict_do_update(index_elements=["name"], set_=renewed).returning(columns.encodings)
        return connection.execute(upsert).scalar_one()
