"""Runs that ended with the death of their working process: which one it was, and how it ended as far as was seen."""

import signal
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Column, Connection, Integer, String, Table, select

from records.columns import Instant, Now, metadata
from records.database import Database
from records.insertion import insert_into

IDS_AT_ONCE = 500

incidents = Table(
    "incidents",
    metadata,
    Column("task_id", String(255), primary_key=True),
    Column("run", Integer, primary_key=True),
    Column("why", String(16), nullable=False),  # died: its parent saw it end; lost: it fell silent; time_limit
    Column("worker", String(255)),  # Celery's node name
    Column("worker_id", String(36)),
    Column("host", String(255)),
    Column("pid", Integer),
    Column("exit_code", Integer),
    Column("signal", String(16)),  # that ended it: then there is no exit code
    Column("memory_mb", Integer),  # the most that the process had held when it was last seen
    Column("at", Instant, nullable=False),  # when the run was taken back
)


@dataclass(frozen=True, slots=True)
class Death:
    """How a working process ended; what nobody saw is None.

    Attributes:
        why: `died`, `lost` or `time_limit`.
        exit_code: of the process, as Python tells it: below 0 it is the signal that ended it.
        memory_mb: the most that it had held when it was last seen.
    """

    why: str
    worker: str | None
    worker_id: str | None
    host: str | None
    pid: int | None
    exit_code: int | None
    memory_mb: int | None

    @property
    def signal(self) -> str | None:
        """The name of the signal that ended it."""
        return None if self.exit_code is None or self.exit_code >= 0 else signal_name(self.exit_code)

    def told(self) -> str:
        """Tell it in words, as a part of a sentence."""
        return _told(self)


@dataclass(frozen=True, slots=True)
class Incident:
    """A row as it was read."""

    task_id: str
    run: int
    why: str
    worker: str | None
    worker_id: str | None
    host: str | None
    pid: int | None
    exit_code: int | None
    signal: str | None
    memory_mb: int | None
    at: datetime

    def told(self) -> str:
        """Tell it in words, as a part of a sentence."""
        return _told(self)


def note(connection: Connection, task_id: str, run: int, death: Death) -> None:
    """Write down, inside a caller's transaction, that a run ended so."""
    values: dict[str, Any] = {name: getattr(death, name) for name in Death.__slots__} | {
        "task_id": task_id,
        "run": run,
        "exit_code": None if death.signal else death.exit_code,
        "signal": death.signal,
        "at": Now(),
    }
    statement = insert_into(incidents, connection.dialect.name).values(values)
    connection.execute(statement.on_conflict_do_nothing())


class Incidents:
    """Reads incidents; `records.task_moves` writes them as it takes runs back."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def of(self, task_ids: Sequence[str]) -> dict[str, list[Incident]]:
        """Return the incidents of these tasks, each one's in the order of its runs."""
        found: dict[str, list[Incident]] = {task_id: [] for task_id in task_ids}
        for start in range(0, len(task_ids), IDS_AT_ONCE):
            some = incidents.c.task_id.in_(list(task_ids[start : start + IDS_AT_ONCE]))
            query = select(incidents).where(some).order_by(incidents.c.task_id, incidents.c.run)
            for row in self.database.read(lambda c, query=query: c.execute(query).mappings().all()):
                found[row["task_id"]].append(Incident(**dict(row)))
        return found


def _told(one: Death | Incident) -> str:
    who = f"{one.worker or 'a worker'} (process {one.pid or '?'} on {one.host or '?'})"
    if one.signal:
        how = f"was killed by {one.signal}"
    elif one.exit_code is not None:
        how = f"ended with exit code {one.exit_code}"
    else:
        how = "fell silent, so that nobody knows how it ended"
    held = f"; it had held up to {one.memory_mb} MB of memory" if one.memory_mb else ""
    return f"{who} {how}{held}"


def signal_name(exit_code: int) -> str:
    """Return the name of the signal that an exit code below 0 stands for."""
    try:
        return signal.Signals(-exit_code).name
    except ValueError:
        return f"signal {-exit_code}"
