"""Keys of the API, a row each: what they may do and until when; of the key itself its SHA-256 alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Column, Connection, String, Table, or_, select, update

from records import audit
from records.audit import Act
from records.columns import Instant, Json, Now, PlainText, metadata
from records.database import Database
from records.insertion import insert_into
from records.prepared import Prepared

USED_EVERY_SECONDS = 60

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("name", PlainText, nullable=False),
    Column("digest", String(64), nullable=False, unique=True),  # the key's SHA-256, in hexadecimal
    Column("scopes", Json, nullable=False),
    Column("tenant", PlainText),
    Column("created_at", Instant, nullable=False),
    Column("expires_at", Instant),
    Column("revoked_at", Instant),
    Column("last_used_at", Instant),
)

columns = api_keys.c


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as it was read."""

    id: str
    name: str
    digest: str
    scopes: list[str]
    tenant: str | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


@dataclass(frozen=True, slots=True)
class FoundKey:
    """A key, and when it was looked up, by the database's clock."""

    key: ApiKey
    at: datetime


USED = Prepared(
    lambda value: (
        update(api_keys)
        .where(
            columns.id == value("id", String()),
            or_(columns.last_used_at.is_(None), columns.last_used_at < Now(-USED_EVERY_SECONDS)),
        )
        .values(last_used_at=Now())
        .returning(columns.id)
    ),
    "id",
)


class ApiKeys:
    """Keeps and finds keys."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def add(
        self,
        key_id: str,
        name: str,
        digest: str,
        scopes: Sequence[str],
        tenant: str | None,
        expires_at: datetime | None,
        *,
        act: Act,
    ) -> ApiKey | None:
        """Keep a new key, and who made it; None where there is one with its id."""
        values: dict[str, Any] = {"id": key_id, "name": name, "digest": digest, "scopes": list(scopes)}
        values |= {"tenant": tenant, "expires_at": expires_at, "created_at": Now()}
        insert = insert_into(api_keys, self.database.kind).values(values)
        fresh = insert.on_conflict_do_nothing(index_elements=["id"]).returning(*columns)

        def work(connection: Connection) -> ApiKey | None:
            made = connection.execute(fresh).mappings().first()
            if made is None:
                return None
            audit.note(connection, act)
            return ApiKey(**dict(made))

        return self.database.write(work)

    def find(self, digest: str) -> FoundKey | None:
        """Return the key that has this SHA-256, whatever became of it."""
        query = select(api_keys, Now().label("now")).where(columns.digest == digest)
        row = self.database.read(lambda c: c.execute(query).mappings().first())
        if row is None:
            return None
        values = dict(row)
        return FoundKey(at=values.pop("now"), key=ApiKey(**values))

    def read(self, key_id: str) -> ApiKey | None:
        """Return a key by its id."""
        query = select(api_keys).where(columns.id == key_id)
        row = self.database.read(lambda c: c.execute(query).mappings().first())
        return None if row is None else ApiKey(**dict(row))

    def listed(self) -> list[ApiKey]:
        """Return all keys, those that ended too, the newest first."""
        query = select(api_keys).order_by(columns.created_at.desc(), columns.id)
        return [ApiKey(**dict(row)) for row in self.database.read(lambda c: c.execute(query).mappings().all())]

    def revoke(self, key_id: str, act: Act) -> bool:
        """End a key, and write down who did; False where it has ended before, or is none."""
        ended = (
            update(api_keys)
            .where(columns.id == key_id, columns.revoked_at.is_(None))
            .values(revoked_at=Now())
            .returning(columns.id)
        )

        def work(connection: Connection) -> bool:
            done = connection.execute(ended).first() is not None
            if done:
                audit.note(connection, act)
            return done

        return self.database.write(work)

    def used(self, key_id: str) -> None:
        """Note soon that a key was used; written at most once a minute, and dropped rather than waited for."""
        self.database.write_later(USED(id=key_id))
