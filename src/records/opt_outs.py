"""Numbers that are not called any more, because whoever has them said so."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, delete, select

from records.call_gates import OPT_OUTS, lock_gates
from records.call_moves import close_waiting
from records.call_tables import calls, opt_outs
from records.columns import Now
from records.database import Database
from records.insertion import insert_into

columns = opt_outs.c


@dataclass(frozen=True, slots=True)
class OptOut:
    """A number that is not called."""

    to_number: str
    source: str
    text: str
    created_at: datetime


class OptOuts:
    """Binds every grant that comes after it."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def add(self, to_number: str, source: str, text: str = "", call_sid: str | None = None) -> bool:
        """Call a number no more: what waits for it in any campaign ends; False where that was so before."""
        fresh = insert_into(opt_outs, self.database.kind).values(
            to_number=to_number, source=source, text=text, call_sid=call_sid, created_at=Now()
        )
        added = fresh.on_conflict_do_nothing(index_elements=["to_number"]).returning(columns.to_number)

        def work(connection: Connection) -> bool:
            lock_gates(connection, self.database.kind, [OPT_OUTS])
            new = connection.execute(added).first() is not None
            close_waiting(connection, calls.c.to_number == to_number, "opted_out", "the number opted out")
            return new

        return self.database.write(work)

    def remove(self, to_number: str) -> bool:
        """Let a number be called again; False where it was not kept back."""
        own = delete(opt_outs).where(columns.to_number == to_number).returning(columns.to_number)
        return self.database.write(lambda c: c.execute(own).first() is not None)

    def has(self, to_number: str) -> bool:
        """Tell whether a number opted out."""
        return bool(self.among([to_number]))

    def among(self, numbers: list[str]) -> set[str]:
        """Return those of these numbers that opted out."""
        query = select(columns.to_number).where(columns.to_number.in_(numbers))
        return set(self.database.read(lambda c: c.execute(query).scalars().all()))

    def listed(self, limit: int, after: str | None = None) -> list[OptOut]:
        """Return a page of those who opted out, in the order of their numbers, behind one of them."""
        query = select(columns.to_number, columns.source, columns.text, columns.created_at)
        if after is not None:
            query = query.where(columns.to_number > after)
        ordered = query.order_by(columns.to_number).limit(limit)
        return [OptOut(*row) for row in self.database.read(lambda c: c.execute(ordered).all())]
