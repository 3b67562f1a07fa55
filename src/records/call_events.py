"""What a provider told of calls: each message is kept once, and moves its attempt only onwards."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from sqlalchemy import Connection, Row, Select, bindparam, func, select, update

from processors.call_interfaces import AttemptRow, Unsaid
from processors.call_states import CallProgress
from records.call_moves import WhatNext, end_attempt, told_late
from records.call_records import ATTEMPT_COLUMNS, as_attempt, joined, progress_values
from records.call_tables import LIVE, call_attempts, call_events, calls
from records.columns import Now
from records.database import Database
from records.insertion import insert_into

a = call_attempts.c
ON_ITS_WAY = frozenset({"sending", "unknown"})

_READ: Any = select(
    a.id, a.call_id, a.account, a.state, a.call_sid, a.status, a.sequence, a.answered_by, a.duration_seconds, a.sip_code
)
BY_ID: Select[Any] = _READ.where(a.id == bindparam("named")).with_for_update()
ATTEMPT: Any = select(*ATTEMPT_COLUMNS).where(a.id == bindparam("named"))
BY_SID: Select[Any] = _READ.where(a.call_sid == bindparam("named")).with_for_update()


@dataclass(frozen=True, slots=True)
class CallEvent:
    """A message of a provider about one call.

    Attributes:
        kind: `status`, `machine`, `recording`, `answer` (what is to be said?) or `heard` (keys or speech).
        dedupe_key: the same message, told again, has the same one.
        token: so has what the provider itself calls it; None where it gave it no name.
        unsaid: why whoever answered is told nothing; None where that is not so.
        attempt_id: from the address that it came to; None where that has none.
        call_sid: the provider's name for the call.
        account: whose call.
        progress: what it tells.
        heard: keys or speech, and what else whoever answered did.
        raw: all that came, for people.
    """

    kind: str
    dedupe_key: str
    attempt_id: str | None
    call_sid: str
    account: str
    progress: CallProgress = field(default_factory=CallProgress)
    heard: Mapping[str, Any] | None = None
    raw: Mapping[str, Any] = field(default_factory=dict[str, Any])
    token: str | None = None
    unsaid: Unsaid | None = None


@dataclass(frozen=True, slots=True)
class Waits:
    """How long a call is left alone.

    Attributes:
        look: seconds until the provider is asked, where nothing more is told.
        hang_up: seconds until it is ended.
    """

    look: float
    hang_up: float


@dataclass(frozen=True, slots=True)
class Received:
    """What became of a message.

    Attributes:
        new: whether it had not come before.
        attempt: the attempt that it is about, as it stands now; None where it is about none of ours.
        why_not: why it changed nothing.
        second_call: whether the provider has made a second call for the attempt.
    """

    new: bool
    attempt: AttemptRow | None = None
    why_not: str | None = None
    second_call: bool = False


class CallEvents:
    """Keeps messages, and applies each in the transaction that keeps it."""

    def __init__(self, database: Database, what_next: WhatNext) -> None:
        self.database = database
        self.what_next = what_next
        fresh = insert_into(call_events, database.kind).values(received_at=Now())
        self._fresh = fresh.on_conflict_do_nothing().returning(call_events.c.id)

    def receive(self, event: CallEvent, waits: Callable[[str], Waits]) -> Received:
        """Keep a message and do what it says, durably before this returns.

        Args:
            event: the message.
            waits: asked, in no transaction, where this message may be the first to tell that there is a call; told the
                id of what was wanted.
        """
        answer = self.database.write(lambda c: self._receive(c, event, None))
        if isinstance(answer, Received):
            return answer
        known = waits(answer)
        again = self.database.write(lambda c: self._receive(c, event, known))
        return cast("Received", again)

    def of_call(self, call_sid: str) -> list[dict[str, Any]]:
        """Return the messages about a call, in the order in which they came."""
        query = select(call_events).where(call_events.c.call_sid == call_sid).order_by(call_events.c.id)
        return [dict(row) for row in self.database.read(lambda c: c.execute(query).mappings().all())]

    def _receive(self, connection: Connection, event: CallEvent, waits: Waits | None) -> Received | str:
        """Return what became of a message; or the id of its call where nothing was done, because waits are needed."""
        query, named = (BY_ID, event.attempt_id) if event.attempt_id else (BY_SID, event.call_sid)
        row = connection.execute(query, {"named": named}).first()
        why_not = _why_not(connection, row, event)
        if row is not None and why_not is None and waits is None and _is_first(row):
            return row.call_id
        new = self._keep(connection, event, why_not)
        second = row is not None and row.call_sid not in {None, event.call_sid}
        if row is None or not new or why_not is not None:
            return Received(new, None if row is None or second else as_attempt_of(connection, row.id), why_not, second)
        return Received(new, self._apply(connection, row, event, waits))

    def _keep(self, connection: Connection, event: CallEvent, why_not: str | None) -> bool:
        """Keep a message; False where it has come before."""
        values: dict[str, Any] = {
            "dedupe_key": event.dedupe_key,
            "token": event.token,
            "attempt_id": event.attempt_id,
            "call_sid": event.call_sid,
            "kind": event.kind,
            "sequence": event.progress.sequence,
            "status": event.progress.status,
            "raw": dict(event.raw),
            "applied": why_not is None,
            "why_not": why_not,
        }
        return connection.execute(self._fresh, values).first() is not None

    def _apply(self, connection: Connection, row: Row[Any], event: CallEvent, waits: Waits | None) -> AttemptRow:
        if event.heard is not None:
            _add_heard(connection, row.call_id, event.heard)
        progress = joined(row, event.progress)
        values = progress_values(progress)
        if event.unsaid is not None:
            values |= {"unsaid": func.coalesce(a.unsaid, event.unsaid)}
        if waits is not None and row.call_sid is None:
            values |= {"call_sid": event.call_sid, "placed_at": Now(), "hang_up_at": Now(waits.hang_up)}
        if progress.ended and row.state in {*LIVE, "ambiguous"}:
            end_attempt(connection, row, {**values, "state": "ended"}, self.what_next)
            return as_attempt_of(connection, row.id)
        if waits is not None and row.state in ON_ITS_WAY:
            values |= {"state": "placed", "look_at": Now(waits.look), "looks": 0}
        own = update(call_attempts).where(a.id == row.id).values(values)
        now = as_attempt(connection.execute(own.returning(*ATTEMPT_COLUMNS)).one())
        if now.state == "ended":
            told_late(connection, now.id, self.what_next)
        return now


def _is_first(row: Row[Any]) -> bool:
    """Tell whether a message about an attempt is the first news that there is a call."""
    return row.call_sid is None or row.state in ON_ITS_WAY


def as_attempt_of(connection: Connection, attempt_id: str) -> AttemptRow:
    """Return an attempt as it stands in this transaction."""
    return as_attempt(connection.execute(ATTEMPT, {"named": attempt_id}).one())


def _why_not(connection: Connection, row: Row[Any] | None, event: CallEvent) -> str | None:
    if row is None:
        return "it is about no call of ours"
    if event.account != row.account:
        return "it is of another account"
    if row.call_sid not in {None, event.call_sid}:
        return f"the attempt's call is {row.call_sid}"
    owner = select(a.id).where(a.call_sid == event.call_sid, a.id != row.id)
    if row.call_sid is None and (other := connection.execute(owner).scalar()) is not None:
        return f"its call is that of attempt {other}"
    return None


def _add_heard(connection: Connection, call_id: str, heard: Mapping[str, Any]) -> None:
    query = select(calls.c.heard).where(calls.c.id == call_id).with_for_update()
    before = connection.execute(query).scalar() or list[Any]()
    connection.execute(update(calls).where(calls.c.id == call_id).values(heard=[*before, dict(heard)]))
