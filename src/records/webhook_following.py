"""Finds what ended and is to be told by webhooks: each end becomes one task for each endpoint, once.

A turn is two transactions, between which nothing of others waits: one reads a bounded number of rows, the other opens
their tasks and moves how far was looked. So it may end, or be done by two at once, at any statement: its tasks' ids are
made of what they tell.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    Integer,
    and_,
    exists,
    func,
    literal,
    literal_column,
    or_,
    select,
    text,
    tuple_,
    update,
)

from processors.webhooks import Ended, Wanted, wants, webhook_id
from records.columns import Now
from records.database import Database
from records.leadership import Lead
from records.task_following import LONGEST_TRANSACTION_SECONDS, PASS_SECONDS, check_lead
from records.task_records import Draft, insert_drafts
from records.task_records import columns as tasks
from records.webhook_endpoints import ENABLED, WebhookEndpoint, endpoints_of, webhook_endpoints
from records.webhook_endpoints import columns as endpoints

DraftOf = Callable[[str, Ended], Draft]
"""Makes the task that tells one end to the endpoint with this id."""

OVERLAP_SECONDS = {"sqlite": 2.0, "postgresql": 5.0}
"""How long before now is looked at again: clocks step, and a moment is told before its transaction is seen."""

DRAFTS_AT_ONCE = 50
"""Others wait until so many are written: some milliseconds."""

MOST_REMEMBERED = 100_000

OLDEST_WRITER = text(
    "SELECT greatest(min(xact_start), clock_timestamp() - make_interval(secs => :longest)) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_xid IS NOT NULL"
    " HAVING count(*) > 0"
)
"""When the oldest transaction of PostgreSQL began that goes on and has written: what it ended it ended later. One that
takes longer than any of ours is a stranger's, which ends no task."""

LOOKED_AT = (
    tasks.id,
    tasks.run,
    tasks.state,
    tasks.category,
    tasks.name,
    tasks.tenant,
    tasks.parent_id,
    tasks.finished_at,
)
AHEAD = and_(ENABLED, endpoints.seen_to > Now())
"""The database's clock was set back to before what was looked at."""

TIES: Mapping[str, ColumnElement[Any]] = {
    "sqlite": literal_column("task_records.rowid", Integer),
    "postgresql": tasks.id,
}
"""What tells apart what ended in one moment; SQLite has it in the index of those, where one statement may end all."""

FIRST = select(func.min(endpoints.seen_to)).where(ENABLED).scalar_subquery()
ANY_LEFT = select(or_(exists().where(tasks.finished_at >= FIRST), exists().where(AHEAD)))


class _Place(NamedTuple):
    """Where a page ended; before the first one there is no `tie`."""

    moment: datetime
    tie: Any = None


@dataclass(frozen=True, slots=True)
class _Pass:
    """Looks that go on where the one before ended.

    Attributes:
        known: the endpoints that it looks for; where they change it begins anew.
        place: what lies before, and what is there, was looked at.
        settled: what ended before this moment was there when the pass began.
        until: when it begins anew, by this process's clock, where it has come to what may not be settled.
    """

    known: Mapping[str, Wanted]
    place: _Place
    settled: datetime
    until: float

    @property
    def over(self) -> bool:
        """Whether it is time to look again at what may have come late; before that nothing does."""
        return self.place.moment >= self.settled and time.monotonic() >= self.until


class _Look(NamedTuple):
    """What one turn found.

    Attributes:
        told: who is told.
        going_on: the pass.
        rows: what ended next.
    """

    told: Sequence[WebhookEndpoint]
    going_on: _Pass
    rows: Sequence[Any]


class WebhookFollowing:
    """Opens the tasks that tell ends to endpoints.

    Args:
        database: of the records.
        draft_of: makes such a task.
    """

    def __init__(self, database: Database, draft_of: DraftOf) -> None:
        self.database = database
        self._draft_of = draft_of
        self._overlap = OVERLAP_SECONDS[database.kind]
        self._pass: _Pass | None = None
        self._opened: dict[str, datetime] = {}  # what was opened and may be seen again; forgotten, it is opened again

    def turn(self, limit: int, lead: Lead | None = None) -> bool:
        """Look at the next ends, at most so many; tells whether there are more.

        Without an endpoint, or an end since the last look, it is one statement that reads.
        """
        if not self.database.read(lambda c: c.execute(ANY_LEFT).scalar()):
            return False
        going_on, self._pass = self._pass, None  # what is remembered is only what is known to be kept
        opened, self._opened = self._opened, {}
        # A power cut takes SQLite's tasks together with how far was looked, and this memory.
        look = self.database.write(lambda c: self._look(c, limit, lead, going_on), durable=False)
        if look is None:
            return False
        told, going_on, rows = look
        taken, drafts, new = self._drafts(told, rows, opened)
        last = _Place(*rows[taken - 1][-2:]) if taken else going_on.place
        whole = taken < limit and taken == len(rows)
        reached = going_on.settled if whole else min(last.moment, going_on.settled)
        self.database.write(lambda c: self._open(c, lead, drafts, list(going_on.known), reached), durable=False)
        self._pass = None if whole else replace(going_on, place=last)
        if len(opened) < MOST_REMEMBERED:
            first = max(reached, min(one.seen_to for one in told))
            self._opened = {one: at for one, at in opened.items() if at >= first}
        self._opened |= new
        return not whole

    def _look(self, connection: Connection, limit: int, lead: Lead | None, going_on: _Pass | None) -> _Look | None:
        """Return what ended next; None where nobody is told."""
        check_lead(connection, lead)
        set_back = update(webhook_endpoints).where(AHEAD).values(seen_to=Now(-self._overlap))
        anew = connection.execute(set_back).rowcount > 0
        told = endpoints_of(connection, select(webhook_endpoints).where(ENABLED))
        if not told:
            return None
        known = {one.id: one.wanted for one in told}
        if anew or going_on is None or going_on.known != known or going_on.over:
            until = time.monotonic() + PASS_SECONDS
            since = min(one.seen_to for one in told)
            going_on = _Pass(known, _Place(since), self._settled(connection), until)
        return _Look(told, going_on, self._page(connection, going_on.place, limit))

    def _open(
        self,
        connection: Connection,
        lead: Lead | None,
        drafts: Sequence[Draft],
        endpoint_ids: Sequence[str],
        reached: datetime,
    ) -> None:
        """Open these tasks, and note of these endpoints that all was looked at that ended before a moment."""
        check_lead(connection, lead)
        if drafts:
            insert_drafts(connection, drafts)
        moved = update(webhook_endpoints).where(endpoints.id.in_(endpoint_ids), endpoints.seen_to < reached)
        connection.execute(moved.values(seen_to=reached))

    def _drafts(
        self, told: Sequence[WebhookEndpoint], rows: Sequence[Any], before: Mapping[str, datetime]
    ) -> tuple[int, list[Draft], dict[str, datetime]]:
        """Return how many of these rows are taken, the tasks that tell them, and what those are remembered by.

        What was opened `before` is opened no second time.
        """
        wanted = [(one.id, one.wanted, one.seen_to) for one in told]
        drafts: list[Draft] = []
        opened: dict[str, datetime] = {}
        for taken, row in enumerate(rows, 1):
            *of_task, moment, _ = row
            ended = Ended(*of_task)
            for endpoint_id, wants_these, seen_to in wanted:
                if moment >= seen_to and wants(wants_these, ended):
                    told_by = webhook_id(endpoint_id, ended.id, ended.run)
                    if told_by not in before:
                        drafts.append(self._draft_of(endpoint_id, ended))
                        opened[told_by] = moment
            if len(drafts) >= DRAFTS_AT_ONCE:
                return taken, drafts, opened
        return len(rows), drafts, opened

    def _settled(self, connection: Connection) -> datetime:
        """Return the moment before which nothing will end any more.

        On SQLite this transaction keeps every other one from writing; on PostgreSQL it asks who still writes.
        """
        settled: datetime = connection.execute(select(Now(-self._overlap))).scalar_one()
        writers = OLDEST_WRITER.bindparams(longest=LONGEST_TRANSACTION_SECONDS)
        oldest = None if self.database.is_sqlite else connection.execute(writers).scalar()
        return settled if oldest is None else min(settled, oldest)

    def _page(self, connection: Connection, place: _Place, limit: int) -> Sequence[Any]:
        """Return what ended after a place, in its order."""
        moment, tie = literal(place.moment, tasks.finished_at.type), TIES[self.database.kind]
        beyond = tasks.finished_at >= moment
        if place.tie is not None:
            beyond = and_(beyond, tuple_(tasks.finished_at, tie) > tuple_(moment, literal(place.tie)))
        query = select(*LOOKED_AT, tie).where(beyond).order_by(tasks.finished_at, tie).limit(limit)
        return connection.execute(query).all()
