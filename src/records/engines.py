"""The engines of one database in one process."""

from dataclasses import dataclass

from sqlalchemy import Engine

from records.prepared import compile_all


@dataclass(frozen=True, slots=True)
class Engines:
    """Where connections come from; on PostgreSQL both are one.

    Attributes:
        reader: for reads, and for what is written past the writer thread.
        writer: for the thread that writes.
    """

    reader: Engine
    writer: Engine

    def make_ready(self) -> None:
        """Ask the server what it can and compile what runs often; leaves no connection open."""
        for engine in {self.reader, self.writer}:
            with engine.connect() as connection:
                compile_all(connection.dialect)
        self.dispose()

    def dispose(self) -> None:
        """Close all connections that are not in use."""
        for engine in {self.reader, self.writer}:
            engine.dispose()
