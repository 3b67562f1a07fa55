"""Transactions of a caller's own: what is written through one is kept once the caller commits it, or never was."""

from typing import Any, cast

from sqlalchemy import Connection, inspect

from processors.errors import InvalidArgument
from records.database import Database
from records.identity import identity_of


def connection_of(session: object, database: Database, database_id: str) -> Connection:
    """Return the connection of a caller's session, inside its transaction.

    Args:
        session: an SQLAlchemy `Session` or `Connection`.
        database: the record database, which it must belong to.
        database_id: that one's own id.

    Raises:
        InvalidArgument: it is neither, of another database, or has no transaction.
    """
    connection = _connection_of(session)
    # Looked up first: a query of a table that is not there would end a transaction of PostgreSQL.
    ours = connection.dialect.name == database.kind and inspect(connection).has_table("task_records")
    if not ours or identity_of(connection) != database_id:
        raise InvalidArgument(
            f"session: must be one of the record database {database.shown}, so that both are committed together; "
            f"got one of {connection.engine.url.render_as_string(hide_password=True)}."
        )
    if _commits_by_itself(connection):
        raise InvalidArgument(
            "session: must have a transaction; got one that commits every statement by itself: leave out AUTOCOMMIT."
        )
    return connection


def _connection_of(session: object) -> Connection:
    if isinstance(session, Connection):
        return session
    from sqlalchemy.orm import Session, scoped_session  # noqa: PLC0415 - who has one has loaded it

    if isinstance(session, Session):
        return session.connection()
    if isinstance(session, scoped_session):
        return cast("scoped_session[Session]", session).connection()
    raise InvalidArgument(
        f"session: must be an SQLAlchemy Session or Connection; got {type(session).__name__}"
        " (of an AsyncSession, pass what its run_sync gives you)."
    )


def _commits_by_itself(connection: Connection) -> bool:
    """Tell whether there is no transaction that could be rolled back."""
    raw: Any = connection.connection.dbapi_connection
    if connection.dialect.name != "sqlite":
        return connection.dialect.detect_autocommit_setting(raw)
    # Without the driver's own transactions there may be one that the application has begun, as this service does.
    return raw.isolation_level is None and not getattr(raw, "in_transaction", True)
