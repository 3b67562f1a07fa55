"""Time that passes at once, for tests: everything that is remembered becomes older."""

from typing import Any

from sqlalchemy import Connection, func, literal, select, update

from records.columns import Instant, Now, metadata
from records.database import Database
from records.task_moves import WAITING_VALUES
from records.task_records import columns


class PassingTime:
    """Moves the moments of all rows into the past; a database's clock itself cannot be moved.

    Args:
        database: an SQLite database that nobody else uses.
    """

    def __init__(self, database: Database) -> None:
        self.database = database

    def pass_by(self, seconds: float) -> None:
        """Let so many seconds pass."""
        moments = {
            table: [column for column in table.columns if isinstance(column.type, Instant)]
            for table in metadata.sorted_tables
        }

        def work(connection: Connection) -> None:
            for table, found in moments.items():
                if found:
                    connection.execute(
                        update(table).values({column.name: _earlier(column, seconds) for column in found})
                    )

        self.database.write(work, durable=False)

    def until_due(self) -> float | None:
        """Return the seconds until the next waiting task is due; None where none is due later."""
        later = select(func.min(columns.relay_at), Now()).where(
            columns.state.in_(WAITING_VALUES), columns.relay_at > Now()
        )
        due, now = self.database.read(lambda c: c.execute(later).one())
        return None if due is None else (due - now).total_seconds()


def _earlier(column: Any, seconds: float) -> Any:
    return func.strftime("%Y-%m-%d %H:%M:%f000", column, literal(f"-{seconds:f} seconds"))
