"""What lists find tasks by, beside their records: a narrow row a task, so that a record has no index for a list.

Texts are kept as numbers of 31 bits; two texts may have the same one, so whoever finds a row asks its record.
"""

from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from zlib import crc32

from sqlalchemy import BigInteger, Column, Connection, Index, Integer, SmallInteger, String, Table, delete, select

from records.columns import Instant, metadata
from records.task_records import TaskState
from records.task_words import remove_words

Number = BigInteger().with_variant(Integer, "sqlite")

OPEN = 0
"""The state of what has not ended: which it is, its record tells."""

ENDS = {TaskState.SUCCESS: 1, TaskState.FAILURE: 2, TaskState.REVOKED: 3}
TIE_BITS = 22
TIES = 1 << TIE_BITS
EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)
MOST_AT_ONCE = 500

USUAL_HOURS = 1
LONG = f"finished - (number >> {TIE_BITS}) > {USUAL_HOURS * 3_600_000}"
"""In SQL, of a row: its task ended later than so many hours after it was created; the few of these have an index."""

task_lists = Table(
    "task_lists",
    metadata,
    Column("number", Number, primary_key=True, autoincrement=False),  # its order, by the moment of its record
    Column("id", String(255), nullable=False),
    Column("state", SmallInteger, nullable=False),
    Column("finished", Number),
    Column("name", Integer, nullable=False),
    Column("category", Integer, nullable=False),
    Column("queue", Integer, nullable=False),
    Column("tenant", Integer),
    Column("parent", Integer),
    Column("worker", Integer),
    Column("error_type", Integer),
    Column("fingerprint", Integer),
)
rows = task_lists.c

Index("uq_task_lists_id", rows.id, unique=True)
Index("ix_task_lists_name", rows.name, rows.state, rows.number)
Index("ix_task_lists_category", rows.category, rows.state, rows.number)
Index("ix_task_lists_queue", rows.queue, rows.state, rows.number)

# On SQLite without a rowid, which the migration says: to say it here would load SQLite's words where PostgreSQL serves.
task_list_tags = Table(
    "task_list_tags",
    metadata,
    Column("tag", Integer, primary_key=True),
    Column("number", Number, primary_key=True, autoincrement=False),
)

Index("ix_task_list_tags_number", task_list_tags.c.number)

task_list_marks = Table(
    "task_list_marks",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("listed_to", Instant, nullable=False),  # what was created until then is listed, but for this:
    Column("ended_to", Instant, nullable=False),  # what ended until then is listed so
    Column("filled_from", Instant),  # until then some may not be; NULL: all is
)

task_words_due = Table(
    "task_words_due",
    metadata,
    Column("number", Number, primary_key=True, autoincrement=False),
    Column("state", SmallInteger, nullable=False),
)


def key(value: str) -> int:
    """Return the number that a text is found by."""
    return crc32(value.encode("utf-8", "surrogatepass")) & 0x7FFFFFFF


def milliseconds(moment: datetime) -> int:
    """Return a moment as a number."""
    return (moment - EPOCH) // MILLISECOND


def first_number(moment: datetime) -> int:
    """Return the least number of those that were created in the same millisecond."""
    return milliseconds(moment) << TIE_BITS


def moment_of(number: int) -> datetime:
    """Return the moment at which the millisecond of a number begins."""
    return EPOCH + MILLISECOND * (number >> TIE_BITS)


def list_state(state: str) -> int:
    """Return a record's state as its row has it."""
    return ENDS.get(TaskState(state), OPEN)


def forget(connection: Connection, task_ids: Collection[str]) -> None:
    """Remove what lists and searches keep of tasks whose records go."""
    ids: Sequence[str] = list(task_ids)
    for start in range(0, len(ids), MOST_AT_ONCE):
        mine = select(rows.number).where(rows.id.in_(ids[start : start + MOST_AT_ONCE]))
        numbers = list(connection.execute(mine).scalars())
        remove_words(connection, numbers)
        for table in (task_list_tags, task_words_due, task_lists):
            connection.execute(delete(table).where(table.c.number.in_(numbers)))
