"""People who use the dashboard and their sessions: of a password its hash, of a session's token its SHA-256 alone."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Index,
    String,
    Table,
    Text,
    and_,
    delete,
    insert,
    or_,
    select,
    update,
)

from records import audit
from records.audit import Act
from records.columns import Instant, Now, metadata
from records.database import Database
from records.insertion import insert_into
from records.prepared import Prepared

SEEN_EVERY_SECONDS = 60
IDLE_SECONDS = 12 * 3600
"""A session that nobody uses for so long has ended."""

LONGEST_SESSION_SECONDS = 30 * 86_400

users = Table(
    "users",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("name", String(100), nullable=False, unique=True),
    Column("password", Text, nullable=False),  # its hash, with how it was made
    Column("role", String(16), nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("disabled_at", Instant),
    Column("last_login_at", Instant),
)

user_sessions = Table(
    "user_sessions",
    metadata,
    Column("digest", String(64), primary_key=True),  # the token's SHA-256, in hexadecimal
    Column("user_id", String(16), nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("seen_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False),
)

columns = users.c
sessions = user_sessions.c

Index("ix_user_sessions_user_id", sessions.user_id)


@dataclass(frozen=True, slots=True)
class User:
    """A user as they were read."""

    id: str
    name: str
    password: str = field(repr=False)
    role: str
    created_at: datetime
    disabled_at: datetime | None
    last_login_at: datetime | None


SEEN = Prepared(
    lambda value: (
        update(user_sessions)
        .where(
            sessions.digest == value("digest", sessions.digest.type),
            sessions.seen_at < Now(-SEEN_EVERY_SECONDS),
        )
        .values(seen_at=Now())
        .returning(sessions.digest)
    ),
    "digest",
)


class Users:
    """Keeps users and their sessions."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def add(self, user_id: str, name: str, password: str, role: str, *, act: Act) -> bool:
        """Keep a new user, and who made them; False where the name is taken."""
        values = {"id": user_id, "name": name, "password": password, "role": role, "created_at": Now()}
        fresh = insert_into(users, self.database.kind).values(values).on_conflict_do_nothing(index_elements=["name"])

        def work(connection: Connection) -> bool:
            return _noted(connection, fresh.returning(columns.id), act)

        return self.database.write(work)

    def read(self, name: str) -> User | None:
        """Return a user by their name."""
        query = select(users).where(columns.name == name)
        row = self.database.read(lambda c: c.execute(query).mappings().first())
        return None if row is None else User(**dict(row))

    def listed(self) -> list[User]:
        """Return all users, those that are disabled too, by name."""
        query = select(users).order_by(columns.name)
        return [User(**dict(row)) for row in self.database.read(lambda c: c.execute(query).mappings().all())]

    def set_role(self, user_id: str, role: str, act: Act) -> bool:
        """Let a user do what this role may; False where they have it."""
        return self._change(and_(columns.id == user_id, columns.role != role), {"role": role}, act)

    def set_password(self, user_id: str, password: str, act: Act, former: str | None = None) -> bool:
        """Replace a password's hash, and end all sessions of the user; False where there is none, or no former one."""
        which = columns.id == user_id if former is None else and_(columns.id == user_id, columns.password == former)
        return self._change(which, {"password": password}, act, ends_sessions_of=user_id)

    def disable(self, user_id: str, act: Act) -> bool:
        """Keep a user out, and end all their sessions; False where they were kept out before."""
        enabled = and_(columns.id == user_id, columns.disabled_at.is_(None))
        return self._change(enabled, {"disabled_at": Now()}, act, ends_sessions_of=user_id)

    def enable(self, user_id: str, act: Act) -> bool:
        """Let a user in again; False where they were not kept out."""
        disabled = and_(columns.id == user_id, columns.disabled_at.is_not(None))
        return self._change(disabled, {"disabled_at": None}, act)

    def open_session(self, user: User, digest: str, former: str | None, act: Act) -> bool:
        """Begin a session of a user whose password was checked, and remove those that have ended.

        Args:
            user: as they were read; where their password was changed since, or they were disabled, nothing is begun.
            digest: the new token's SHA-256.
            former: that of the token that it replaces.
            act: what is written down.
        """
        unchanged = and_(columns.id == user.id, columns.password == user.password, columns.disabled_at.is_(None))
        login = update(users).where(unchanged).values(last_login_at=Now()).returning(columns.id)
        values: dict[str, Any] = {"digest": digest, "user_id": user.id, "created_at": Now(), "seen_at": Now()}
        fresh = insert(user_sessions).values(**values, expires_at=Now(LONGEST_SESSION_SECONDS))

        def work(connection: Connection) -> bool:
            if not _noted(connection, login, act):
                return False
            connection.execute(delete(user_sessions).where(or_(~_lasts(), sessions.digest == former)))
            connection.execute(fresh)
            return True

        return self.database.write(work)

    def of_session(self, digest: str) -> User | None:
        """Return whose session has this SHA-256; None where there is none, or it has ended, or they are disabled."""
        query = (
            select(users)
            .join(user_sessions, sessions.user_id == columns.id)
            .where(sessions.digest == digest, columns.disabled_at.is_(None), _lasts())
        )
        row = self.database.read(lambda c: c.execute(query).mappings().first())
        return None if row is None else User(**dict(row))

    def seen(self, digest: str) -> None:
        """Note soon that a session was used; written at most once a minute, and dropped rather than waited for."""
        self.database.write_later(SEEN(digest=digest))

    def end_session(self, digest: str) -> None:
        """End one session."""
        self.database.write(lambda c: c.execute(delete(user_sessions).where(sessions.digest == digest)))

    def _change(
        self, which: ColumnElement[bool], values: Mapping[str, Any], act: Act, ends_sessions_of: str | None = None
    ) -> bool:
        changed = update(users).where(which).values(dict(values)).returning(columns.id)

        def work(connection: Connection) -> bool:
            done = _noted(connection, changed, act)
            if done and ends_sessions_of is not None:
                connection.execute(delete(user_sessions).where(sessions.user_id == ends_sessions_of))
            return done

        return self.database.write(work)


def _noted(connection: Connection, statement: Any, act: Act) -> bool:
    """Run a statement that returns what it changed, and write the act down where there was something."""
    done = connection.execute(statement).first() is not None
    if done:
        audit.note(connection, act)
    return done


def _lasts() -> ColumnElement[bool]:
    """Tell in SQL whether a session goes on."""
    return and_(sessions.expires_at > Now(), sessions.seen_at > Now(-IDLE_SECONDS))
