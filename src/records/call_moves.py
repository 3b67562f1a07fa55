"""How calls and their attempts move: only onwards, each move one conditional update beside what follows from it."""

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import BindParameter, ColumnElement, Connection, Row, bindparam, func, select, update

from processors.call_interfaces import CallNext, EndedAttempt
from processors.interfaces import MemberEnd
from records.call_tables import LIVE, call_attempts, calls
from records.columns import Now
from records.members import closing_members, members
from records.task_records import columns as tasks

WhatNext = Callable[[EndedAttempt, Mapping[str, Any] | None], CallNext]
"""Says what becomes of a call after an attempt: told how that ended, and its campaign's arguments, if it has one."""

MENDED = ("waiting", "done", "failed", "exhausted", "cancelled")
"""States in which an attempt that was answered or not leaves its call."""

UNCOUNTED = ("not_taken", "void")
"""States of an attempt for which there was no call, and may be one later."""

LEAST_UNTAKEN = 12
"""Orders that made no call before the time between them counts: nights and pauses, in which none was sent, do not."""

CAMPAIGN_ENDED, TASK_ENDED = "its campaign has ended", "its task has ended"

c = call_attempts.c

# Built once: an end of a call needs them all, and to build them took longer than to run them.
_NAMED: BindParameter[Any] = bindparam("named")
CALL: Any = select(calls).where(calls.c.id == _NAMED).with_for_update()
RECORD: Any = select(tasks.kwargs, tasks.finished_at).where(tasks.id == _NAMED)
END: Any = (
    update(call_attempts)
    .where(c.id == _NAMED, c.state.in_([*LIVE, "ambiguous"]))
    .values(ended_at=Now(), look_at=None)
    .returning(call_attempts)
)
_MADE = select(func.max(c.number)).where(c.call_id == _NAMED, c.state.not_in(UNCOUNTED)).scalar_subquery()
REFUSALS: Any = select(func.count()).where(c.call_id == _NAMED, c.state == "refused")
SINCE: Any = select(func.min(c.sending_at), Now(), func.count()).where(
    c.call_id == _NAMED, c.number > func.coalesce(_MADE, 0)
)
MOVE_ON: Any = update(calls).where(calls.c.id == _NAMED).returning(calls)
MOVE_TO_END: Any = MOVE_ON.values(ended_at=Now(), next_attempt_at=None)


def close_waiting(connection: Connection, which: ColumnElement[bool], state: str, reason: str) -> int:
    """End the calls that wait among these, and their members; returns how many."""
    own = update(calls).where(which, calls.c.state == "waiting")
    values = {"state": state, "reason": reason, "next_attempt_at": None, "ended_at": Now()}
    ended = connection.execute(own.values(values).returning(calls)).all()
    _close_members(connection, ended)
    return len(ended)


def end_attempt(connection: Connection, attempt: Row[Any], values: Mapping[str, Any], what_next: WhatNext) -> None:
    """End an attempt that is live, or of which nobody knew, and say what becomes of its call.

    Args:
        connection: in a transaction.
        attempt: its row, which this transaction holds.
        values: what is known of it now: its `state` and more.
        what_next: decides about the call.
    """
    moments: dict[str, Any] = {name: value for name, value in values.items() if isinstance(value, ColumnElement)}
    plain = {name: value for name, value in values.items() if name not in moments}
    row = connection.execute(END.values(moments) if moments else END, {"named": attempt.id, **plain}).first()
    if row is not None:
        _move_on(connection, row, what_next)


def _move_on(connection: Connection, attempt: Row[Any], what_next: WhatNext) -> None:
    """Let a call wait for its next attempt, or end it, after an attempt of it ended."""
    call = connection.execute(CALL, {"named": attempt.call_id}).one()
    if call.state not in {"dialing", "ambiguous"}:
        return
    uncounted = attempt.state in UNCOUNTED
    attempts = call.attempts - uncounted
    then, _ = _next(connection, call, attempt, attempts, what_next)
    waits = then.state == "waiting"
    attempts -= not (uncounted or then.counted)
    values: dict[str, Any] = {"state": then.state, "reason": then.reason, "attempts": attempts}
    if not uncounted:
        values |= {"outcome": then.outcome, "answered_by": attempt.answered_by}
    move = MOVE_ON.values(ended_at=None, next_attempt_at=Now(then.wait)) if waits else MOVE_TO_END
    moved = connection.execute(move, {"named": call.id, **values}).all()
    if not waits:
        _close_members(connection, moved)


def told_late(connection: Connection, attempt_id: str, what_next: WhatNext) -> None:
    """Mend what is said of a call where more became known of its last attempt after that had ended.

    What ended is never opened again; what waits for another attempt ends where there is to be none. A member says the
    same as its call until its campaign is over, whose result was told then.

    Args:
        connection: in a transaction, which holds the attempt's row.
        attempt_id: one that ended.
        what_next: decides about the call.
    """
    attempt = connection.execute(select(call_attempts).where(c.id == attempt_id)).one()
    call = connection.execute(select(calls).where(calls.c.id == attempt.call_id).with_for_update()).first()
    last = connection.execute(select(func.max(c.number)).where(c.call_id == attempt.call_id)).scalar()
    if call is None or call.state not in MENDED or attempt.number != last:
        return
    then, over = _next(connection, call, attempt, call.attempts, what_next)
    values: dict[str, Any] = {"reason": then.reason, "outcome": then.outcome, "answered_by": attempt.answered_by}
    if then.state != "waiting":
        values["state"] = then.state
    if then.state != "waiting" and call.state == "waiting":
        values |= {"next_attempt_at": None, "ended_at": Now()}
    new = connection.execute(update(calls).where(calls.c.id == call.id).values(values).returning(calls)).one()
    if new.state == "waiting" or new.campaign_id is None:
        return
    _close_members(connection, [new])
    if not over:
        own = update(members).where(members.c.task_id == new.campaign_id, members.c.position == new.position)
        connection.execute(own.values(state=new.state, outcome=_told(new)))


def _next(
    connection: Connection, call: Row[Any], attempt: Row[Any], attempts: int, what_next: WhatNext
) -> tuple[CallNext, bool]:
    """Return what becomes of a call after an attempt, and whether its campaign is over."""
    ended = EndedAttempt(
        state=attempt.state,
        status=attempt.status,
        attempts=attempts,
        untaken_seconds=_untaken_seconds(connection, call.id),
        answered_by=attempt.answered_by,
        duration_seconds=attempt.duration_seconds,
        sip_code=attempt.sip_code,
        error_code=attempt.error_code,
        error=attempt.error,
        asked_to_end=attempt.ending_at is not None,
        unsaid=attempt.unsaid,
        refusals=connection.execute(REFUSALS, {"named": call.id}).scalar_one() if attempt.state == "refused" else 0,
        heard=call.heard or [],
    )
    task = connection.execute(RECORD, {"named": call.campaign_id or call.id}).first()
    then = what_next(ended, task.kwargs if task and call.campaign_id else None)
    if then.state == "waiting" and call.state == "ambiguous":
        then = CallNext("failed", then.reason, outcome=then.outcome or ended.state)
    over = task is not None and task.finished_at is not None
    if then.state == "waiting" and over:
        then = CallNext("cancelled", CAMPAIGN_ENDED if call.campaign_id else TASK_ENDED, outcome=then.outcome)
    return then, over


def _close_members(connection: Connection, ended: Any) -> None:
    """Close the members that these calls are, in the order of their positions."""
    by_campaign: dict[str, list[Any]] = {}
    for call in ended:
        if call.campaign_id is not None:
            by_campaign.setdefault(call.campaign_id, []).append(call)
    for campaign_id in sorted(by_campaign):
        rows = sorted(by_campaign[campaign_id], key=lambda call: call.position)
        closing_members(campaign_id, [MemberEnd(row.position, row.state, _told(row)) for row in rows])(connection)


def _told(call: Row[Any]) -> dict[str, Any]:
    """Return what a member keeps of its call."""
    told = {
        "task_id": call.id,
        "attempts": call.attempts,
        "outcome": call.outcome,
        "reason": call.reason,
        "answered_by": call.answered_by,
        "heard": call.heard,
    }
    return {name: value for name, value in told.items() if value is not None}


def _untaken_seconds(connection: Connection, call_id: str) -> float:
    """Return for how long all attempts of a call have made no call, up to the last one; 0.0 where they are few."""
    first, now, orders = tuple[Any, Any, int](connection.execute(SINCE, {"named": call_id}).one())
    return 0.0 if orders < LEAST_UNTAKEN else (now - first).total_seconds()
