"""Who did what, a row for each act that changed something; rows are never changed, and go when they are old."""

from collections.abc import Mapping
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
    and_,
    delete,
    insert,
    or_,
    select,
)

from records.columns import SECONDS_PER_DAY, Instant, Json, Now, PlainText, metadata, now_once
from records.database import Database
from records.prepared import Given, GivenRows, Prepared

PRUNED_AT_ONCE = 5_000

audit = Table(
    "audit",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("at", Instant, nullable=False),
    Column("actor_kind", String(16), nullable=False),  # key: of the API; user: of this machine, or of the dashboard
    Column("actor", PlainText, nullable=False),
    Column("act", String(64), nullable=False),
    Column("target_kind", String(32)),
    Column("target_id", PlainText),
    Column("count", BigInteger),  # of what was changed
    Column("details", Json),  # with secrets masked
    Column("origin", String(16), nullable=False),  # api, cli or dashboard
    Column("outcome", String(16), nullable=False),  # done or failed
)

columns = audit.c

Index("ix_audit_at", columns.at, columns.id)
Index("ix_audit_actor", columns.actor, columns.at, columns.id)
Index("ix_audit_act", columns.act, columns.at, columns.id)
Index("ix_audit_target", columns.target_kind, columns.target_id, columns.at, columns.id)


@dataclass(frozen=True, slots=True)
class Act:
    """What was done, as it is written down."""

    actor_kind: str
    actor: str
    act: str
    origin: str
    target_kind: str | None = None
    target_id: str | None = None
    count: int | None = None
    details: Mapping[str, Any] | None = None
    outcome: str = "done"


@dataclass(frozen=True, slots=True)
class AuditRow:
    """A row as it was read."""

    id: int
    at: datetime
    actor_kind: str
    actor: str
    act: str
    target_kind: str | None
    target_id: str | None
    count: int | None
    details: Mapping[str, Any] | None
    origin: str
    outcome: str


@dataclass(frozen=True, slots=True)
class WantedActs:
    """Which acts are wanted; what is None does not matter.

    Attributes:
        at_from: done at this moment or later.
        at_before: done before it.
    """

    actor: str | None = None
    act: str | None = None
    target_kind: str | None = None
    target_id: str | None = None
    at_from: datetime | None = None
    at_before: datetime | None = None


def _insertion(value: Given, rows: GivenRows | None = None) -> Any:
    """Return what writes an act down."""
    values: dict[str, Any] = {name: value(name, columns[name].type) for name in Act.__slots__} | {"at": Now()}
    if rows is None:
        return insert(audit).values(values)
    return insert(audit).from_select(list(values), select(*values.values()).select_from(rows.source))


KEEP = Prepared(_insertion, "act", build_for_rows=lambda rows: _insertion(rows, rows), in_key_order=False)


def note(connection: Connection, act: Act) -> None:
    """Write an act down, inside a caller's transaction, so that neither is without the other."""
    values: dict[str, Any] = {name: getattr(act, name) for name in Act.__slots__}
    connection.execute(insert(audit).values(**values, at=Now()))


class Audit:
    """Keeps and lists who did what."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def add(self, act: Act) -> None:
        """Write an act down."""
        self.database.write(lambda c: note(c, act))

    def add_later(self, act: Act) -> None:
        """Write an act down soon; dropped where too much waits or the database is away."""
        self.database.write_later(KEEP(**{name: getattr(act, name) for name in Act.__slots__}))

    def listed(self, wanted: WantedActs, limit: int, after: tuple[datetime, int] | None = None) -> list[AuditRow]:
        """Return acts, the newest first.

        Args:
            wanted: which.
            limit: at most so many.
            after: moment and id of the last one of the page before.
        """
        query = select(audit).where(*_conditions(wanted))
        if after is not None:
            at, row_id = after
            query = query.where(columns.at <= at, or_(columns.at < at, and_(columns.at == at, columns.id < row_id)))
        query = query.order_by(columns.at.desc(), columns.id.desc()).limit(limit)
        return [AuditRow(**dict(row)) for row in self.database.read(lambda c: c.execute(query).mappings().all())]

    def prune(self, days: float) -> int:
        """Remove what was done so many days ago; returns how many rows."""
        old = select(columns.id).where(columns.at < now_once(-days * SECONDS_PER_DAY)).limit(PRUNED_AT_ONCE)
        statement = delete(audit).where(columns.id.in_(old)).returning(columns.id)
        removed = 0
        while found := self.database.write(lambda c: len(c.execute(statement).all()), durable=False):
            removed += found
        return removed


def _conditions(wanted: WantedActs) -> list[ColumnElement[bool]]:
    names = ("actor", "act", "target_kind", "target_id")
    found = [columns[name] == value for name in names if (value := getattr(wanted, name)) is not None]
    if wanted.at_from is not None:
        found.append(columns.at >= wanted.at_from)
    if wanted.at_before is not None:
        found.append(columns.at < wanted.at_before)
    return found
