"""Bodies of webhooks that were not taken at once, kept for the next attempts: the record may be gone by then."""

from sqlalchemy import Column, String, Table, select

from records.columns import PlainText, metadata
from records.database import Database
from records.insertion import insert_into

webhook_bodies = Table(
    "webhook_bodies",
    metadata,
    Column("task_id", String(255), primary_key=True),  # of the task that tells: with its record the body goes
    Column("body", PlainText, nullable=False),
)

columns = webhook_bodies.c


class WebhookBodies:
    """Keeps and finds bodies."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def keep(self, task_id: str, body: bytes) -> None:
        """Keep what a task tells; the first body stays."""
        fresh = insert_into(webhook_bodies, self.database.kind).values(task_id=task_id, body=body.decode())
        self.database.write(lambda c: c.execute(fresh.on_conflict_do_nothing()), durable=False)

    def read(self, task_id: str) -> bytes | None:
        """Return what a task tells, where it was kept."""
        query = select(columns.body).where(columns.task_id == task_id)
        found: str | None = self.database.read(lambda c: c.execute(query).scalar())
        return None if found is None else found.encode()
