"""The schema's version: made by whoever comes first, refused when it is not this program's."""

import fcntl
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, inspect, text

from processors.errors import ConfigurationError
from records.database import Database

VERSION = "0036"
POSTGRESQL_LOCK = 0x43534149


def prepare(database: Database) -> None:
    """Make the schema where there is none; refuse one of another version.

    Raises:
        ConfigurationError: the schema is older or newer than this program; the message names the cure.
        ServiceUnavailable: the database does not answer.
    """
    found = version(database)
    if found is None:
        with _locked(database):
            if version(database) is None:
                _upgrade(database)
        found = version(database)
    if found != VERSION:
        raise ConfigurationError(mismatch(database, found))


def upgrade(database: Database) -> str | None:
    """Bring the schema to this program's version; returns the version it had.

    Raises:
        ConfigurationError: the schema is newer than this program, or of a version that it does not know.
        ServiceUnavailable: the database does not answer.
    """
    version(database)  # says so in one sentence where the database is away
    with _locked(database):
        found = version(database)
        if found is not None and found > VERSION:
            raise ConfigurationError(mismatch(database, found))
        if found != VERSION:
            _upgrade(database)
        return found


def version(database: Database) -> str | None:
    """Return the schema's version, or None where there is no schema."""

    def query(connection: Connection) -> str | None:
        if not inspect(connection).has_table("alembic_version"):
            return None
        return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()

    return database.read(query)


def mismatch(database: Database, found: str | None) -> str:
    """Return the sentence that names both versions and the cure."""
    cure = "run `csai db upgrade`" if (found or "") < VERSION else "start the newer program, or restore its database"
    return f"The schema of {database.shown} is version {found}, this program needs {VERSION}: {cure}."


def _upgrade(database: Database) -> None:
    from records import upgrading  # noqa: PLC0415 - a worker that finds its schema needs no migrations

    upgrading.upgrade(database, VERSION)


@contextmanager
def _locked(database: Database) -> Generator[None]:
    """Let one process at a time change the schema."""
    if database.is_sqlite:
        path = Path(str(database.url.database)).with_suffix(".schema-lock")
        with path.open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
        return
    with database.engine().connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")  # no transaction that says nothing
        connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": POSTGRESQL_LOCK})
        try:
            yield
        finally:
            connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": POSTGRESQL_LOCK})
