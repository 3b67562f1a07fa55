"""Uploads: files that came over HTTP, each kept in the storage until it expires.

The row is written before the storage keeps anything, and goes after it, so that whatever is killed in between leaves a
row that leads to the rest.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime

from sqlalchemy import BigInteger, Column, String, Table, delete, insert, or_, select, update

from processors.interfaces import OldUpload
from records.columns import Instant, Now, PlainText, metadata
from records.database import Database

ARRIVING, KEPT, SCHEDULED = "arriving", "kept", "scheduled"
"""`scheduled`: a schedule has it, whose name is the upload's."""

ARRIVING_SECONDS = 3_600.0
"""Longer than the storage takes for any file; after that nobody is waited for."""

LINGER_SECONDS = 86_400.0
"""So long the row of an upload that never was kept stays: who was frozen while storing may still do it."""

uploads = Table(
    "uploads",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("state", String(16), nullable=False),
    Column("address", String(128), nullable=False),
    Column("name", PlainText, nullable=False),
    Column("type", String(255), nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("tenant", String(255)),
    Column("created_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False),
)

columns = uploads.c


def reference(upload_id: str) -> str:
    """Return by what the storage knows that an upload keeps its bytes, beside the tasks that do."""
    return f"upload-{upload_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A file that came over HTTP.

    Attributes:
        id: its own.
        address: of its bytes in the storage.
        name: made safe.
        type: what its sender says it is.
        bytes: how many.
        tenant: whose it is; None: nobody's.
    """

    id: str
    address: str
    name: str
    type: str
    bytes: int
    tenant: str | None = None


class Uploads:
    """Keeps what is known of uploads."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def arriving(self, upload: Upload) -> None:
        """Write down, durably, what the storage is about to keep."""
        values = {
            "id": upload.id,
            "state": ARRIVING,
            "address": upload.address,
            "name": upload.name,
            "type": upload.type,
            "bytes": upload.bytes,
            "tenant": upload.tenant,
            "created_at": Now(),
            "expires_at": Now(ARRIVING_SECONDS),
        }
        self.database.write(lambda c: c.execute(insert(uploads).values(**values)))

    def kept(self, upload_id: str, seconds: float, state: str = KEPT) -> datetime | None:
        """Write down that the storage keeps it, for so long; returns until when, or None where it was given up."""
        statement = (
            update(uploads)
            .where(columns.id == upload_id, columns.state == ARRIVING, columns.expires_at > Now())
            .values(state=state, expires_at=Now(seconds))
            .returning(columns.expires_at)
        )
        return self.database.write(lambda c: c.execute(statement).scalar())

    def scheduled(self) -> Sequence[Upload]:
        """Return the uploads that schedules have, or had, the newest last."""
        names = tuple(field.name for field in fields(Upload))
        query = select(*(columns[name] for name in names)).where(columns.state == SCHEDULED)
        ordered = query.order_by(columns.created_at, columns.id)
        return self.database.read(lambda c: [Upload(**row) for row in c.execute(ordered).mappings()])

    def renew(self, ids: Sequence[str], seconds: float) -> None:
        """Keep what schedules have for so long from now on."""
        longer = update(uploads).where(columns.id.in_(ids), columns.state == SCHEDULED).values(expires_at=Now(seconds))
        if ids:
            self.database.write(lambda c: c.execute(longer))

    def expired(self, after: str, limit: int) -> Sequence[OldUpload]:
        """Return uploads whose time is over, in the order of their ids, from behind an id on."""
        query = (
            select(columns.id).where(columns.expires_at <= Now(), columns.id > after).order_by(columns.id).limit(limit)
        )
        found = self.database.read(lambda c: c.execute(query).scalars().all())
        return [OldUpload(upload_id, reference(upload_id)) for upload_id in found]

    def remove(self, ids: Sequence[str]) -> Sequence[str]:
        """Forget uploads whose time is over and whose bytes were removed; returns which."""
        over = or_(columns.state.in_([KEPT, SCHEDULED]), columns.created_at <= Now(-LINGER_SECONDS))
        gone = delete(uploads).where(columns.id.in_(ids), columns.expires_at <= Now(), over).returning(columns.id)
        return self.database.write(lambda c: list(c.execute(gone).scalars()))

    def give_up(self, upload_id: str) -> None:
        """Forget an upload that the storage did not keep, and whose references were removed."""
        gone = delete(uploads).where(columns.id == upload_id, columns.state == ARRIVING)
        self.database.write(lambda c: c.execute(gone))
