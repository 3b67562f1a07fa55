"""The one door to an order for a call.

Pace, live calls, pauses and opt-outs are looked at in the transaction that keeps the attempt.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil
from typing import Any
from uuid import uuid4

from sqlalchemy import ColumnElement, Connection, Row, exists, func, select, update

from processors import doubt
from processors.call_interfaces import Closed, Gate, Granted, NoRoom
from records.call_tables import ATTEMPT_IS_LIVE, call_attempts, call_gates, calls, opt_outs
from records.columns import Now
from records.database import Database
from records.insertion import insert_into
from records.task_pauses import IN_FORCE, task_pauses
from records.task_records import FINAL
from records.task_records import columns as tasks

LOOK_AGAIN_SECONDS = 1.0
"""How long whoever finds all calls live, or a number called by another, waits before it asks again."""

NUMBER_SECONDS = 15.0
CATCH_UP_SECONDS = 0.1
"""What orders of an account are late by, at most, that the next ones make up for."""

OPT_OUTS = "opt_outs"
"""The gate that a grant holds while it looks whether a number opted out, and an opt-out while it is written."""

LONGEST_PREFIX = 4
COUNTED = ("sending", "unknown", "placed", "ended", "ambiguous")
"""Attempts that may have rung."""

gates = call_gates.c


@dataclass(frozen=True, slots=True)
class Wish:
    """A call that is to be made now.

    Attributes:
        call_id: of a row in `calls` that waits.
        account: by which; its gate is looked at first.
        gates: the account's, and the campaign's where it has one.
        task_id: the record that must not have ended: the single call's task, or its campaign.
        deadline: seconds by which the order has ended.
        limits: how often a number may be called in so many seconds, over all campaigns.
    """

    call_id: str
    account: str
    gates: Sequence[Gate]
    task_id: str
    deadline: float
    limits: Sequence[tuple[int, float]] = ()


def lock_gates(connection: Connection, kind: str, keys: Sequence[str]) -> None:
    """Make these gates where they are not there, and keep others from going through until the transaction ends."""
    for key in sorted(keys):
        fresh = insert_into(call_gates, kind).values(key=key, next_free_at=Now())
        connection.execute(fresh.on_conflict_do_update(index_elements=["key"], set_={"key": gates.key}))


class CallGates:
    """Grants attempts, one at a time over all workers."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def grant(self, wish: Wish) -> Granted | NoRoom | Closed:
        """Keep an attempt as `sending` where it may be made now; durable before this returns.

        A grant waits for the one before it, and so do an opt-out, a pause and a cancellation, which bind all grants
        after them.
        """
        began = doubt.clock()

        def work(connection: Connection) -> str | NoRoom | Closed:
            return self._grant(connection, wish)

        answer = self.database.write(work)
        return Granted(answer, began) if isinstance(answer, str) else answer

    def rest(self, key: str, seconds: float, text: str | None = None) -> None:
        """Let nothing through a gate for so long."""

        def work(connection: Connection) -> None:
            lock_gates(connection, self.database.kind, [key])
            later = gates.next_free_at < Now(seconds)
            own = update(call_gates).where(gates.key == key)
            connection.execute(own.where(later).values(next_free_at=Now(seconds), text=text))

        self.database.write(work, durable=False)

    def open_halted(self, account: str) -> None:
        """Let calls to countries through again that were refused for an account."""
        own = update(call_gates).where(gates.key.startswith(f"halted:{account}:", autoescape=True))
        self.database.write(lambda c: c.execute(own.values(next_free_at=Now(), text=None)), durable=False)

    def _grant(self, connection: Connection, wish: Wish) -> str | NoRoom | Closed:
        lock_gates(connection, self.database.kind, [OPT_OUTS, *(gate.key for gate in wish.gates)])
        call = connection.execute(select(calls).where(calls.c.id == wish.call_id).with_for_update()).one()
        if call.state != "waiting":
            return Closed(call.state)
        if (why := _closed(connection, wish.task_id)) is not None:
            return Closed(why)
        if connection.execute(select(opt_outs.c.source).where(opt_outs.c.to_number == call.to_number)).first():
            return Closed("opted_out")
        now: datetime = connection.execute(select(Now())).scalar_one()
        if (no_room := _no_room(connection, wish, call.to_number, now)) is not None:
            return no_room
        for gate in wish.gates:
            free = _due(connection, gate, now) + timedelta(microseconds=ceil(gate.gap_seconds * 1_000_000))
            connection.execute(update(call_gates).where(gates.key == gate.key).values(next_free_at=free, text=None))
        attempt_id, number = uuid4().hex, _last_number(connection, call.id) + 1
        settled = now + timedelta(seconds=doubt.doubt_seconds(wish.deadline))
        connection.execute(
            call_attempts.insert().values(
                id=attempt_id,
                call_id=call.id,
                number=number,
                campaign_id=call.campaign_id,
                account=wish.account,
                to_number=call.to_number,
                from_number=call.from_number,
                state="sending",
                sending_at=now,
                doubt_until=settled,
                look_at=settled,
                looks=0,
            )
        )
        begun = update(calls).where(calls.c.id == call.id)
        connection.execute(begun.values(state="dialing", attempts=calls.c.attempts + 1, next_attempt_at=None))
        return attempt_id


def _closed(connection: Connection, task_id: str) -> str | None:
    """Tell why nothing of a task may be begun; its record stays as it is until the transaction ends."""
    record = select(tasks.state).where(tasks.id == task_id).with_for_update(read=True)
    state = connection.execute(record).scalar()
    if state is None or state in FINAL:
        return "cancelled"
    paused = select(task_pauses.c.task_id).where(task_pauses.c.task_id == task_id, IN_FORCE)
    return "paused" if connection.execute(paused).first() else None


def _no_room(connection: Connection, wish: Wish, to_number: str, now: datetime) -> NoRoom | None:
    prefixes = [to_number[: end + 1] for end in range(1, LONGEST_PREFIX + 1)]
    halts = [f"halted:{wish.account}:{prefix}" for prefix in prefixes]
    asked = [gate.key for gate in wish.gates] + halts
    # By the moment that the attempt will have: a clock read again lets it begin a little before its time.
    rows = connection.execute(select(call_gates).where(gates.key.in_(asked), gates.next_free_at > now)).all()
    if rows:
        return _rests(max(rows, key=lambda row: row.next_free_at), now)
    for gate in wish.gates:
        if (wait := _until_pace(connection, gate, now)) > 0:
            return NoRoom("pace", wait)
        if gate.most_live is not None and _live(connection, gate) >= gate.most_live:
            return NoRoom("live", LOOK_AGAIN_SECONDS)
    c = call_attempts.c
    same = exists().where(c.account == wish.account, c.to_number == to_number, ATTEMPT_IS_LIVE)
    if connection.execute(select(same)).scalar():
        return NoRoom("number", NUMBER_SECONDS)
    for most, seconds in wish.limits:
        recent = select(c.sending_at).where(
            c.to_number == to_number, c.state.in_(COUNTED), c.sending_at > Now(-seconds)
        )
        found = connection.execute(recent.order_by(c.sending_at.desc()).limit(most)).scalars().all()
        if len(found) == most:
            return NoRoom("attempts", seconds - (now - found[-1]).total_seconds())
    return None


def _rests(gate: Row[Any], now: datetime) -> NoRoom:
    """Return that a gate lets nothing through yet."""
    wait = max(0.0, (gate.next_free_at - now).total_seconds())
    return NoRoom("pace", wait) if gate.text is None else NoRoom("halted", wait, gate.text, gate.key.rpartition(":")[2])


def _due(connection: Connection, gate: Gate, now: datetime) -> datetime:
    """Return when an order that is made now was due, from which the next one has its distance."""
    if gate.at_once == 1:
        return now
    free: datetime = connection.execute(select(gates.next_free_at).where(gates.key == gate.key)).scalar_one()
    return max(free, now - timedelta(seconds=CATCH_UP_SECONDS))


def _until_pace(connection: Connection, gate: Gate, now: datetime) -> float:
    """Return the seconds until an order more does not make too many of them."""
    if gate.at_once == 1:
        return 0.0
    sent = select(call_attempts.c.sending_at).where(_own(gate)).order_by(call_attempts.c.sending_at.desc())
    first = connection.execute(sent.limit(1).offset(gate.at_once - 1)).scalar()
    return 0.0 if first is None else gate.at_once * gate.gap_seconds - (now - first).total_seconds()


def _live(connection: Connection, gate: Gate) -> int:
    return connection.execute(select(func.count()).where(_own(gate), ATTEMPT_IS_LIVE)).scalar_one()


def _own(gate: Gate) -> ColumnElement[bool]:
    kind, _, name = gate.key.partition(":")
    return (call_attempts.c.account if kind == "account" else call_attempts.c.campaign_id) == name


def _last_number(connection: Connection, call_id: str) -> int:
    query = select(func.max(call_attempts.c.number)).where(call_attempts.c.call_id == call_id)
    return connection.execute(query).scalar() or 0
