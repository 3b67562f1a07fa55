"""What differs whenever a task's status does: for all who wait for tasks, in a few statements however many wait."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Select, case, func, select, tuple_

from records.call_tables import call_attempts, calls
from records.database import Database
from records.members import members, place_of
from records.task_pauses import task_pauses
from records.task_records import columns

Mark = tuple[Any, ...]

FEW_PARTS = 20
"""Of so many, what a parent tells of each is looked at, such as the channels of a notification."""

CHANGING = (
    columns.state,
    columns.attempt,
    columns.run,
    columns.progress,
    columns.progress_text,
    columns.due_at,
    columns.hold,
    columns.held,
    columns.retried_as,
    func.length(columns.partial_text),
)

# Each is one step in an index, where a count would read all members of a large bulk at every look.
LAST_END = select(func.max(members.c.closed_at)).where(members.c.task_id == columns.id)
LAST_CALL = select(func.max(call_attempts.c.sending_at)).where(call_attempts.c.campaign_id == columns.id)
PAUSE = select(func.coalesce(task_pauses.c.resumed_at, task_pauses.c.paused_at)).where(
    task_pauses.c.task_id == columns.id
)
OF_PARENTS = tuple(
    case((columns.is_parent, query.correlate(columns.id.table).scalar_subquery()))
    for query in (LAST_END, LAST_CALL, PAUSE)
)


class TaskMarks:
    """Tells how tasks stand, as something that can be compared."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def of(self, task_ids: Sequence[str]) -> dict[str, Mark]:
        """Return for each of these tasks that exists what differs whenever its status does.

        How many calls of a campaign go on is told with the next call that begins or member that ends.

        Args:
            task_ids: ids of records, or of a campaign's members, `<campaign>:<position>`.
        """
        few = columns.is_parent & (columns.members_total <= FEW_PARTS)
        rows = self._rows(select(columns.id, few, *CHANGING, *OF_PARENTS).where(columns.id.in_(task_ids)))
        found = {row[0]: tuple(row[2:]) for row in rows}
        for parent_id, parts in self._parts([row[0] for row in rows if row[1]]).items():
            found[parent_id] += tuple(parts)
        return found | self._of_members([one for one in task_ids if one not in found and ":" in one])

    def _parts(self, parent_ids: Sequence[str]) -> Mapping[str, list[Mark]]:
        found: defaultdict[str, list[Mark]] = defaultdict(list)
        if parent_ids:
            query = select(columns.parent_id, columns.id, *CHANGING).where(columns.parent_id.in_(parent_ids))
            for row in self._rows(query.order_by(columns.id)):
                found[row[0]].append(tuple(row[1:]))
        return found

    def _of_members(self, member_ids: Sequence[str]) -> dict[str, Mark]:
        """Return the marks of a campaign's members: of the member, its call, and the attempts of that."""
        places = {place: one for one in member_ids if (place := place_of(one)) is not None}
        if not places:
            return {}
        c, a = members.c, call_attempts.c
        rows = self._rows(
            select(c.task_id, c.position, c.state, c.closed_at).where(tuple_(c.task_id, c.position).in_(places))
        )
        found = {places[row[0], row[1]]: tuple(row[2:]) for row in rows}
        called = calls.c.id.in_(list(found))
        changing = (calls.c.state, calls.c.reason, calls.c.attempts, calls.c.next_attempt_at, calls.c.outcome)
        for row in self._rows(select(calls.c.id, *changing).where(called)):
            found[row[0]] += tuple(row[1:])
        tried = select(a.call_id, a.state, a.status, a.call_sid, a.from_number).where(a.call_id.in_(list(found)))
        for row in self._rows(tried.order_by(a.call_id, a.number)):
            found[row[0]] += tuple(row[1:])
        return found

    def _rows(self, query: Select[*tuple[Any, ...]]) -> Sequence[Any]:
        return self.database.read(lambda connection: connection.execute(query).all())
