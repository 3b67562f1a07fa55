"""Who is not mailed any more, and why; and the hard bounces that were seen once."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    Index,
    Integer,
    String,
    Table,
    UniqueConstraint,
    and_,
    case,
    delete,
    or_,
    select,
    update,
)

from processors.suppression import EVERYWHERE, REASONS, Reason, is_hard_bounce
from records.columns import SECONDS_PER_DAY, Instant, Now, PlainText, metadata, now_once
from records.database import Database
from records.insertion import insert_into
from records.prepared import Prepared

SECOND_BOUNCE_SECONDS = 24 * 3600
"""A hard bounce may be a server's fault; two within so long are the address's (Postal's rule)."""

BOUNCED_SECONDS = 30 * SECONDS_PER_DAY
"""So long a hard bounce keeps mail back: mailboxes are opened again, and nothing that is not sent would tell."""

OF_SERVER = "delivery"
"""The source of what the server that takes our mail has said itself."""

ADDRESSES_AT_ONCE = 500

suppressions = Table(
    "suppressions",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("address", String(320), nullable=False),  # as `processors.suppression.normalised` writes it
    Column("scope", String(255), nullable=False),  # `all`, or a list's name
    Column("reason", String(16), nullable=False),
    Column("until", Instant),
    Column("source", String(32), nullable=False),  # who said so
    Column("text", PlainText, nullable=False),
    Column("created_at", Instant, nullable=False),
    UniqueConstraint("address", "scope", "reason", name="uq_suppressions_address"),
)

columns = suppressions.c

hard_bounces = Table(
    "hard_bounces",
    metadata,
    Column("address", String(320), primary_key=True),
    Column("mail_id", String(998), nullable=False),  # of which mail: the same one is no second bounce
    Column("source", String(32), nullable=False),
    Column("at", Instant, nullable=False),
)

Index("ix_hard_bounces_at", hard_bounces.c.at)


@dataclass(frozen=True, slots=True)
class Suppression:
    """An address that is not mailed, or not by one list."""

    id: int
    address: str
    scope: str
    reason: Reason
    until: datetime | None
    source: str
    text: str
    created_at: datetime


class SuppressionRecords:
    """Fulfils `processors.suppression.Suppressions`."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def reasons(self, addresses: Sequence[str], list_name: str | None) -> Mapping[str, Reason]:
        """Return, of those of these addresses that are suppressed now, the strongest reason of each."""
        asked = IN_FORCE.many(
            {"address": address, "scope": EVERYWHERE if list_name is None else list_name}
            for address in dict.fromkeys(address.lower() for address in addresses)
        )
        found: dict[str, Reason] = {}
        for address, reason in self.database.read(asked):
            found[address] = min(reason, found.get(address, reason), key=REASONS.index)
        return {address: found[address.lower()] for address in addresses if address.lower() in found}

    def refused(self, address: str, code: int | None, enhanced: str | None, text: str, *, mail_id: str) -> None:
        """Note that a server refused a recipient; the second hard bounce within 24 hours suppresses the address."""
        if is_hard_bounce(code, enhanced):
            said = " ".join(str(part) for part in (code, enhanced, text) if part)
            self.database.write(lambda c: note_bounce(c, address.lower(), mail_id, OF_SERVER, said))

    def accepted(self, addresses: Sequence[str]) -> None:
        """Forget the hard bounces that the servers that take our mail told of these before.

        What was told by others stays: behind a relay, that the relay takes a mail says nothing of its recipient.
        """
        pieces = list(_pieces({address.lower() for address in addresses}))

        def noted(connection: Connection) -> bool:
            queries = (select(own.c.address).where(told).limit(1) for some in pieces for own, told in _told(some))
            return any(connection.execute(query).first() for query in queries)

        def forget(connection: Connection) -> None:
            for some in pieces:
                for own, told in _told(some):
                    connection.execute(delete(own).where(told))

        if self.database.read(noted):  # hardly ever: a mail that is taken costs no commit
            self.database.write(forget)

    def suppress(
        self, address: str, reason: Reason, list_name: str | None, until: datetime | None, *, source: str, text: str
    ) -> Suppression:
        """Mail an address no more, from now on; said again it counts anew.

        Args:
            address: normalised.
            reason: why.
            list_name: of which list alone; None: of all mail.
            until: when it ends; None: never.
            source: who said so, at most 32 characters.
            text: what else is known.
        """
        scope = EVERYWHERE if list_name is None else list_name

        def work(connection: Connection) -> Suppression:
            put(connection, address, scope, reason, until, source=source, text=text, shortens=True)
            own = (columns.address == address, columns.scope == scope, columns.reason == reason)
            return Suppression(**connection.execute(select(suppressions).where(*own)).mappings().one())

        return self.database.write(work)

    def unsuppress(self, address: str, list_name: str | None) -> bool:
        """Mail an address again, whatever the reason was; tells whether it was suppressed.

        Args:
            address: normalised.
            list_name: by this list; None: by those mails that belong to no list, which ends nothing of any list.
        """
        scope = EVERYWHERE if list_name is None else list_name
        own = (columns.address == address, columns.scope == scope)

        def work(connection: Connection) -> bool:
            if scope == EVERYWHERE:
                connection.execute(delete(hard_bounces).where(hard_bounces.c.address == address))
            in_force = connection.execute(select(columns.id).where(*own, _in_force()).limit(1)).first()
            connection.execute(delete(suppressions).where(*own))
            return in_force is not None

        return self.database.write(work)

    def listed(
        self,
        address: str | None = None,
        scope: str | None = None,
        reason: Reason | None = None,
        limit: int = 100,
        after: int | None = None,
    ) -> list[Suppression]:
        """Return what is in force, the newest first; `after` is the id of the last one of the page before."""
        wanted = {columns.address: address, columns.scope: scope, columns.reason: reason}
        query = select(suppressions).where(_in_force(), *(c == value for c, value in wanted.items() if value))
        if after is not None:
            query = query.where(columns.id < after)
        query = query.order_by(columns.id.desc()).limit(limit)
        return [Suppression(**row) for row in self.database.read(lambda c: c.execute(query).mappings().all())]

    def prune(self) -> int:
        """Forget what has ended, and bounces that no second one followed in time; returns how many."""
        ended = delete(suppressions).where(columns.until <= now_once()).returning(columns.id)
        old = hard_bounces.c.at <= now_once(-SECOND_BOUNCE_SECONDS)
        late = delete(hard_bounces).where(old).returning(hard_bounces.c.address)
        return self.database.write(
            lambda c: sum(len(c.execute(statement).all()) for statement in (ended, late)), durable=False
        )


def put(
    connection: Connection,
    address: str,
    scope: str,
    reason: Reason,
    until: datetime | ColumnElement[datetime] | None,
    *,
    source: str,
    text: str,
    shortens: bool = False,
) -> None:
    """Suppress an address, inside a caller's transaction.

    Args:
        connection: the caller's.
        address: normalised.
        scope: `all`, or a list's name.
        reason: why.
        until: when it ends, as a moment or as an expression of SQL; None: never.
        source: who said so.
        text: what else is known.
        shortens: whether what was for ever may end now.
    """
    given: dict[str, Any] = {"address": address, "scope": scope, "reason": reason, "source": source, "text": text}
    insert = insert_into(suppressions, connection.dialect.name).values(**given, until=until, created_at=Now())
    new = insert.excluded
    end = new.until if shortens else case((columns.until.is_(None), None), else_=new.until)
    changed = {"until": end, "source": new.source, "text": new.text}
    connection.execute(
        insert.on_conflict_do_update(index_elements=[columns.address, columns.scope, columns.reason], set_=changed)
    )


def note_bounce(connection: Connection, address: str, mail_id: str, source: str, text: str) -> None:
    """Note one mail's hard bounce, inside a caller's transaction; the second within 24 hours suppresses the address."""
    noted = hard_bounces.c
    fresh = insert_into(hard_bounces, connection.dialect.name).values(
        address=address, mail_id=mail_id, source=source, at=Now()
    )
    # writes nothing where there is one, but holds its row until the transaction's end
    locked = fresh.on_conflict_do_update(index_elements=[noted.address], set_={"address": fresh.excluded.address})
    locked = locked.returning(noted.mail_id, noted.at, Now().label("now"))
    last = connection.execute(locked).mappings().one()
    if last["mail_id"] == mail_id:
        return
    if (last["now"] - last["at"]).total_seconds() < SECOND_BOUNCE_SECONDS:
        suppress_bounced(connection, address, source, text)
    newest = {"mail_id": mail_id, "source": source, "at": Now()}
    connection.execute(update(hard_bounces).where(noted.address == address).values(newest))


def suppress_bounced(connection: Connection, address: str, source: str, text: str) -> None:
    """Suppress an address that takes no mail for 30 days, inside a caller's transaction."""
    put(connection, address, EVERYWHERE, "hard_bounce", Now(BOUNCED_SECONDS), source=source, text=text)


def _in_force() -> ColumnElement[bool]:
    return or_(columns.until.is_(None), columns.until > now_once())


IN_FORCE = Prepared(
    lambda value: select(columns.address, columns.reason).where(
        columns.address == value("address", String()),
        or_(columns.scope == EVERYWHERE, columns.scope == value("scope", String())),
        _in_force(),
    ),
    "address",
)


def _told(addresses: Sequence[str]) -> list[tuple[Table, ColumnElement[bool]]]:
    """Return, table by table, which rows hold what the servers that take our mail told of these addresses."""
    noted, bounced = hard_bounces.c, columns.reason == "hard_bounce"
    return [
        (hard_bounces, and_(noted.address.in_(addresses), noted.source == OF_SERVER)),
        (suppressions, and_(columns.address.in_(addresses), bounced, columns.source == OF_SERVER)),
    ]


def _pieces(addresses: Iterable[str]) -> Iterable[Sequence[str]]:
    ordered = sorted(addresses)
    return (ordered[start : start + ADDRESSES_AT_ONCE] for start in range(0, len(ordered), ADDRESSES_AT_ONCE))
