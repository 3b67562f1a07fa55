"""The database's own name: a broker remembers whose it is."""

from sqlalchemy import Column, Connection, Integer, String, Table, select

from records.columns import metadata
from records.database import Database

identity = Table(
    "identity",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("database_id", String(36), nullable=False),
)


def database_id(database: Database) -> str:
    """Return the id that the database was given when its schema was made."""
    return database.read(identity_of)


def identity_of(connection: Connection) -> str:
    """Return the id of the database that this connection leads to."""
    return connection.execute(select(identity.c.database_id).where(identity.c.id == 1)).scalar_one()
