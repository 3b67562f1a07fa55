"""Results that may answer other tasks: kept with the task that they are of, and removed with its record."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, Index, String, Table, select

from records.columns import Instant, Json, Now, metadata
from records.database import Database
from records.insertion import insert_into

cached_results = Table(
    "cached_results",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("task_id", String(255), nullable=False),  # whose result it is
    Column("created_at", Instant, nullable=False),
    Column("result", Json, nullable=False),
)

columns = cached_results.c

Index("ix_cached_results_task_id", columns.task_id)


@dataclass(frozen=True, slots=True)
class CachedResult:
    """A result as JSON values, and the task that it is of."""

    task_id: str
    result: dict[str, Any]


class CachedResults:
    """Keeps results by the digest of all that shaped them."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def find(self, key: str) -> CachedResult | None:
        """Return the result that is kept under a key, or None."""
        query = select(columns.task_id, columns.result).where(columns.key == key)
        row = self.database.read(lambda c: c.execute(query).first())
        return None if row is None else CachedResult(row.task_id, row.result)

    def keep(self, key: str, task_id: str, result: dict[str, Any]) -> None:
        """Keep a result, instead of an older one; a crash of the machine may lose it."""
        values = {"task_id": task_id, "created_at": Now(), "result": result}
        insert = insert_into(cached_results, self.database.kind).values(key=key, **values)
        anew = {name: insert.excluded[name] for name in values}
        statement = insert.on_conflict_do_update(index_elements=["key"], set_=anew)
        self.database.write(lambda c: c.execute(statement), durable=False)
