"""Contacts that were set here, a row each: where a person can be reached, and by what that person wants to be told."""

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import Column, Connection, String, Table, delete, select, update

from records.columns import Instant, Json, Now, metadata
from records.database import Database
from records.insertion import insert_into

contacts = Table(
    "contacts",
    metadata,
    Column("user_id", String(255), primary_key=True),
    Column("contact", Json, nullable=False),  # what `processors.contacts.Contact.stored` says: secrets are in it
    Column("updated_at", Instant, nullable=False),
)

columns = contacts.c


class ContactRecords:
    """Keeps what is known of people."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def read(self, user_id: str) -> dict[str, Any] | None:
        """Return what is known of a person, or None."""
        query = select(columns.contact).where(columns.user_id == user_id)
        return self.database.read(lambda c: c.execute(query).scalar())

    def change(self, user_id: str, change: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> dict[str, Any]:
        """Store what `change` makes of what is known of a person, who may be new; whoever else changes it waits."""
        fresh = insert_into(contacts, self.database.kind).values(user_id=user_id, contact={}, updated_at=Now())
        locked = fresh.on_conflict_do_update(
            index_elements=["user_id"], set_={"updated_at": fresh.excluded.updated_at}
        ).returning(columns.contact)

        def work(connection: Connection) -> dict[str, Any]:
            changed = dict(change(connection.execute(locked).scalar_one()))
            connection.execute(update(contacts).where(columns.user_id == user_id).values(contact=changed))
            return changed

        return self.database.write(work)

    def delete(self, user_id: str) -> bool:
        """Remove what is known of a person, at once; False where nothing is."""
        gone = delete(contacts).where(columns.user_id == user_id).returning(columns.user_id)
        return self.database.write(lambda c: c.execute(gone).first() is not None)
