"""Ways out for mail that were asked to wait: no process hands mail over to them before that is over."""

from collections.abc import Collection, Mapping

from sqlalchemy import Column, ColumnElement, Connection, Integer, String, Table, and_, delete, select, update

from processors.limits import DefaultLimits, Rate
from processors.mail_interfaces import Rest
from records.columns import SECONDS_PER_DAY, Instant, Now, PlainText, metadata, now_once
from records.database import Database
from records.insertion import insert_into
from records.limited_starts import LimitedStarts

FIRST_REST_SECONDS = 60.0
LONGEST_REST_SECONDS = 1_800.0
"""The first rest, and the longest of those that a server does not ask for itself; each one is twice the one before."""

SHORTEST_ASKED_SECONDS = 5.0
"""A server that asks for less, and for less each time that it asks again, would be asked for ever."""

LAST_LEVEL = 6
"""The one whose rest is the longest: what recovers begins there."""

mail_rests = Table(
    "mail_rests",
    metadata,
    Column("transport", String(300), primary_key=True),
    Column("domain", String(255), primary_key=True),  # of recipients; empty: the whole transport; @: new connections
    Column("level", Integer, nullable=False),  # rests in a row, less the times when it took mail since
    Column("not_before", Instant, nullable=False),
    Column("reason", PlainText, nullable=False),
)

columns = mail_rests.c


class MailRestRecords:
    """Fulfils `processors.mail_interfaces.MailRests`."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._starts = LimitedStarts(database.kind, DefaultLimits())

    def of(self, transport: str) -> Mapping[str, Rest]:
        """Return what rests of a transport, or has not recovered yet, by domain."""
        return self._found(columns.transport == transport).get(transport, {})

    def all(self) -> Mapping[str, Mapping[str, Rest]]:
        """Return what rests now, by transport and domain."""
        return self._found(columns.not_before > now_once())

    def note(self, transport: str, domain: str, seconds: float | None, reason: str) -> float | None:
        """Let a domain rest; returns for how many seconds, or None where it rests already.

        Args:
            transport: by which.
            domain: of recipients; an empty one is the whole transport.
            seconds: that the server asked for; None: twice as long as the last time, from 60 s up to half an hour.
            reason: what it said.
        """
        own = and_(columns.transport == transport, columns.domain == domain)
        new = {"transport": transport, "domain": domain, "level": 0, "not_before": Now(), "reason": ""}
        opened = insert_into(mail_rests, self.database.kind).values(new)
        # It is locked where it is there, and made where another process forgets it in this moment.
        opened = opened.on_conflict_do_update(index_elements=["transport", "domain"], set_={"level": columns.level})
        locked = opened.returning(columns.level, columns.not_before, Now().label("now"))

        def work(connection: Connection) -> float | None:
            row = connection.execute(locked).one()
            left = (row.not_before - row.now).total_seconds()
            if left > 0 and (seconds is None or seconds <= left):
                return None  # several were told at once
            level = min(row.level + (left <= 0), LAST_LEVEL)
            grown = min(LONGEST_REST_SECONDS, FIRST_REST_SECONDS * 2 ** (level - 1))
            rest = grown if seconds is None or seconds < SHORTEST_ASKED_SECONDS * level else seconds
            values = {"level": level, "not_before": Now(rest), "reason": reason}
            connection.execute(update(mail_rests).where(own).values(values))
            return rest if left <= 0 else None

        return self.database.write(work)

    def ease(self, transport: str, domains: Collection[str]) -> None:
        """Note that mail was taken: the next rest of these domains is half as long."""
        own = and_(columns.transport == transport, columns.domain.in_(list(domains)), columns.not_before <= now_once())

        def work(connection: Connection) -> None:
            connection.execute(delete(mail_rests).where(own, columns.level <= 1))
            connection.execute(update(mail_rests).where(own).values(level=columns.level - 1))

        self.database.write(work, durable=False)

    def pace(self, transport: str, most_per_minute: int) -> float:
        """Count one mail of a rate; returns 0, or the seconds until there is room, in which case nothing is counted."""
        rate = Rate(most_per_minute, 60)
        return self.database.write(lambda c: self._starts.pace(c, f"mail:{transport}", rate), durable=False)

    def prune(self) -> None:
        """Forget what has rested for the last time a day ago."""
        old = delete(mail_rests).where(columns.not_before <= now_once(-SECONDS_PER_DAY))
        self.database.write(lambda c: c.execute(old), durable=False)

    def _found(self, which: ColumnElement[bool]) -> Mapping[str, Mapping[str, Rest]]:
        query = select(
            columns.transport, columns.domain, columns.not_before, columns.reason, Now().label("now")
        ).where(which)  # fmt: skip
        found: dict[str, dict[str, Rest]] = {}
        for row in self.database.read(lambda c: c.execute(query).all()):
            rest = Rest(max(0.0, (row.not_before - row.now).total_seconds()), row.reason)
            found.setdefault(row.transport, {})[row.domain] = rest
        return found
