"""Calls and their attempts, for whoever makes them and asks what became of them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, and_, case, delete, exists, func, or_, select, update

from processors.call_errors import BY_CODE
from processors.call_interfaces import GIVEN_UP, AttemptRow, CallRow, CallSeen, NextCall
from processors.call_states import BY_FETCH, CallProgress, known_status, merged, spelled
from records.call_moves import TASK_ENDED, WhatNext, close_waiting, end_attempt, told_late
from records.call_tables import ATTEMPT_IS_LIVE, LIVE, OPEN, call_attempts, call_events, calls
from records.columns import SECONDS_PER_DAY, Now, now_once
from records.database import Database
from records.effects import Doubt
from records.insertion import insert_into
from records.task_records import columns as tasks

LOOKED_AT_ONCE = 50
LOOK_LEASE_SECONDS = 60.0
"""How long whoever took an attempt to look at it has, before another one looks."""

FIRST_LOOK_SECONDS = 30.0
"""After an order whose answer was lost: the provider's list may be late by that."""

PRUNED_AT_ONCE = 5_000
MOST_HURRIED = 8
"""Looks at one call that a campaign which waits for it may hurry; the later ones have their own time."""

OF_A_COUNTRY = [code for code, found in BY_CODE.items() if found.country]

a = call_attempts.c


class CallRecords:
    """What is remembered of calls.

    Args:
        database: where.
        what_next: decides what becomes of a call after an attempt.
    """

    def __init__(self, database: Database, what_next: WhatNext) -> None:
        self.database = database
        self.what_next = what_next

    def now(self) -> datetime:
        """Return the moment by the database's clock."""
        return self.database.read(lambda c: c.execute(select(Now())).scalar_one())

    def want(self, call_id: str, to_number: str, from_number: str, retry_of: str | None = None) -> CallRow:
        """Remember a single call, where it is not remembered yet; returns it."""
        fresh = insert_into(calls, self.database.kind).values(
            id=call_id,
            to_number=to_number,
            from_number=from_number,
            state="waiting",
            attempts=0,
            next_attempt_at=Now(),
            retry_of=retry_of,
            created_at=Now(),
        )

        def work(connection: Connection) -> Any:
            connection.execute(fresh.on_conflict_do_nothing(index_elements=["id"]))
            return connection.execute(select(calls).where(calls.c.id == call_id)).one()

        return _call(self.database.write(work))

    def admit(self, campaign_id: str, members: Sequence[Mapping[str, Any]]) -> None:
        """Remember members of a campaign as calls: those that wait for a moment, and those that end at once.

        Args:
            campaign_id: whose.
            members: `position`, `to_number`, `from_number`, and `wait` (seconds) or `state` and `reason` of its end.
        """
        rows = [
            {
                "id": f"{campaign_id}:{one['position']}",
                "campaign_id": campaign_id,
                "position": one["position"],
                "to_number": one["to_number"],
                "from_number": one["from_number"],
                "state": "waiting",
                "reason": one.get("reason"),
                "attempts": 0,
            }
            for one in members
        ]
        ends = [one for one in members if "state" in one]

        def work(connection: Connection) -> None:
            for row, one in zip(rows, members, strict=True):
                fresh = insert_into(calls, self.database.kind).values(
                    **row, next_attempt_at=Now(one.get("wait", 0.0)), created_at=Now()
                )
                connection.execute(fresh.on_conflict_do_nothing(index_elements=["id"]))
            for one in ends:
                own = calls.c.id == f"{campaign_id}:{one['position']}"
                close_waiting(connection, own, one["state"], one["reason"])

        self.database.write(work, durable=False)

    def put_off(self, call_id: str, seconds: float, reason: str) -> None:
        """Let a call that is due wait for longer."""
        own = update(calls).where(calls.c.id == call_id, calls.c.state == "waiting")
        later = own.values(next_attempt_at=Now(seconds), reason=reason)
        self.database.write(lambda c: c.execute(later), durable=False)

    def close(self, call_id: str, state: str, reason: str) -> None:
        """End a call that waits."""
        self.database.write(lambda c: close_waiting(c, calls.c.id == call_id, state, reason))

    def close_campaign(self, campaign_id: str, state: str, reason: str, limit: int) -> int:
        """End some of the calls of a campaign that wait, which goes no further; returns how many those were."""
        some = select(calls.c.id).where(calls.c.campaign_id == campaign_id, calls.c.state == "waiting").limit(limit)
        return self.database.write(lambda c: close_waiting(c, calls.c.id.in_(some), state, reason))

    def close_left(self) -> int:
        """End the single calls that wait although their tasks have ended; returns how many those were."""
        open_task = exists().where(tasks.id == calls.c.id, tasks.finished_at.is_(None))
        left = and_(calls.c.ended_at.is_(None), calls.c.campaign_id.is_(None), ~open_task)
        return self.database.write(lambda c: close_waiting(c, left, "cancelled", TASK_ENDED), durable=False)

    def next_of(self, campaign_id: str) -> NextCall:
        """Return what a campaign is to do now."""
        own = calls.c.campaign_id == campaign_id
        waiting = select(calls, Now().label("now")).where(own, calls.c.state == "waiting")
        first = waiting.order_by(calls.c.next_attempt_at, calls.c.position).limit(1)
        live = select(exists().where(a.campaign_id == campaign_id, ATTEMPT_IS_LIVE))
        is_open = select(exists().where(own, calls.c.state.in_(OPEN)))

        def query(connection: Connection) -> NextCall:
            row = connection.execute(first).first()
            if row is not None and row.next_attempt_at <= row.now:
                return NextCall(_call(row), 0.0, open=True, live=True, now=row.now)
            wait = None if row is None else (row.next_attempt_at - row.now).total_seconds()
            now = connection.execute(select(Now())).scalar_one()
            going_on = bool(connection.execute(is_open).scalar())
            return NextCall(None, wait, going_on, bool(connection.execute(live).scalar()), now)

        return self.database.read(query)

    def minutes(self, campaign_id: str) -> int:
        """Return the minutes that a campaign's calls took, begun ones counted whole, and one for each that is live."""
        whole = (func.coalesce(a.duration_seconds, 0) + 59) // 60
        taken = case((ATTEMPT_IS_LIVE, 1), else_=whole)
        query = select(func.sum(taken)).where(a.campaign_id == campaign_id)
        return int(self.database.read(lambda c: c.execute(query).scalar()) or 0)

    def last_position(self, campaign_id: str) -> int:
        """Return the position of the last member that is remembered as a call; -1 where none is."""
        query = select(func.max(calls.c.position)).where(calls.c.campaign_id == campaign_id)
        found = self.database.read(lambda c: c.execute(query).scalar())
        return -1 if found is None else found

    def read(self, call_id: str) -> CallRow | None:
        """Return a call."""
        row = self.database.read(lambda c: c.execute(select(calls).where(calls.c.id == call_id)).first())
        return None if row is None else _call(row)

    def story(self, call_id: str) -> dict[str, Any] | None:
        """Return all that is known of a call and its attempts."""

        def query(connection: Connection) -> dict[str, Any] | None:
            call = connection.execute(select(calls).where(calls.c.id == call_id)).mappings().first()
            if call is None:
                return None
            own = select(call_attempts).where(a.call_id == call_id).order_by(a.number)
            return dict(call) | {"tries": [dict(row) for row in connection.execute(own).mappings()]}

        return self.database.read(query)

    def last_attempt(self, call_id: str) -> AttemptRow | None:
        """Return the last attempt of a call."""
        return self._attempt(select(call_attempts).where(a.call_id == call_id).order_by(a.number.desc()).limit(1))

    def attempts(self, call_id: str) -> list[dict[str, Any]]:
        """Return all that is remembered of the attempts of a call, in their order."""
        query = select(call_attempts).where(a.call_id == call_id).order_by(a.number)
        return [dict(row) for row in self.database.read(lambda c: c.execute(query).mappings().all())]

    def attempt(self, attempt_id: str) -> AttemptRow | None:
        """Return an attempt."""
        return self._attempt(select(call_attempts).where(a.id == attempt_id))

    def attempt_of_sid(self, call_sid: str) -> AttemptRow | None:
        """Return the attempt that made the call which the provider names so."""
        return self._attempt(select(call_attempts).where(a.call_sid == call_sid))

    def retries(self, call_id: str) -> list[CallRow]:
        """Return the calls that were to repeat a call, or one of those, the first one first."""
        found: list[CallRow] = []
        asked = [call_id]
        while asked:
            query = select(calls).where(calls.c.retry_of.in_(asked)).order_by(calls.c.created_at, calls.c.id)
            rows = self.database.read(lambda c, query=query: c.execute(query).all())
            asked = [row.id for row in rows if row.id not in {one.id for one in found}]
            found += [_call(row) for row in rows]
        return found

    def placed(
        self, attempt_id: str, call_sid: str, status: str, *, queue_seconds: float, look: float, hang_up: float
    ) -> bool:
        """Note that there is a call; False where a message had said so before, or the attempt has ended.

        Args:
            attempt_id: whose.
            call_sid: the provider's name for the call.
            status: what the provider said.
            queue_seconds: how long it keeps the call before it rings.
            look: seconds until the provider is asked what became of it.
            hang_up: seconds until it is ended.
        """
        own = update(call_attempts).where(a.id == attempt_id, a.state.in_(["sending", "unknown"]))
        values = {
            "state": "placed",
            "call_sid": call_sid,
            "status": func.coalesce(a.status, known_status(status)),
            "queue_seconds": queue_seconds,
            "placed_at": Now(),
            "look_at": Now(look),
            "hang_up_at": Now(hang_up),
            "looks": 0,
        }
        return self.database.write(lambda c: c.execute(own.values(values).returning(a.id)).first() is not None)

    def given_up(self, attempt_id: str) -> bool:
        """Tell whether everybody believes that an attempt made no call."""
        own = select(a.id).where(a.id == attempt_id, a.state.in_(GIVEN_UP))
        return self.database.read(lambda c: c.execute(own).first()) is not None

    def unknown(self, attempt_id: str, error: str) -> None:
        """Note that nobody knows whether there is a call."""
        own = update(call_attempts).where(a.id == attempt_id, a.state == "sending")
        new = own.values(state="unknown", error=error, look_at=Now(FIRST_LOOK_SECONDS))
        self.database.write(lambda c: c.execute(new))

    def ended_without_call(self, attempt_id: str, state: str, code: int | None, error: str) -> None:
        """Note that there is no call (`refused`, `not_taken`, `void`), or that nobody will ever know (`ambiguous`)."""

        def work(connection: Connection) -> None:
            row = _locked(connection, a.id == attempt_id)
            if row is not None and row.state in LIVE:
                end_attempt(connection, row, {"state": state, "error_code": code, "error": error}, self.what_next)

        self.database.write(work)

    def take_looks(self, limit: int = LOOKED_AT_ONCE, *, older_than: float | None = None) -> list[AttemptRow]:
        """Take some attempts whose provider is to be asked; nobody else is given them for a minute.

        Args:
            limit: at most so many.
            older_than: instead of those whose time has come, all live ones that are older than so many seconds.
        """
        due = a.look_at <= now_once() if older_than is None else a.sending_at <= now_once(-older_than)
        some = select(a.id).where(due, ATTEMPT_IS_LIVE).order_by(a.look_at).limit(limit)
        if not self.database.is_sqlite:
            some = some.with_for_update(skip_locked=True)
        taken = update(call_attempts).where(a.id.in_(some)).values(look_at=Now(LOOK_LEASE_SECONDS))
        rows = self.database.write(lambda c: c.execute(taken.returning(*ATTEMPT_COLUMNS)).all(), durable=False)
        return [as_attempt(row) for row in rows]

    def hurry(self, campaign_id: str, quiet_seconds: float) -> None:
        """Let the provider be asked now about those calls of a campaign of which nothing has been heard for a while.

        Args:
            campaign_id: whose.
            quiet_seconds: after so long the first time; each look makes it twice as long.
        """
        own = update(call_attempts).where(a.campaign_id == campaign_id, a.state == "placed", a.look_at > now_once())
        ages = [
            and_(a.looks == looks, a.placed_at <= now_once(-quiet_seconds * 2**looks)) for looks in range(MOST_HURRIED)
        ]
        self.database.write(lambda c: c.execute(own.where(or_(*ages)).values(look_at=Now())), durable=False)

    def looks_due(self) -> bool:
        """Tell whether a provider is to be asked about some attempt now."""
        query = select(a.id).where(a.look_at <= now_once(), ATTEMPT_IS_LIVE).limit(1)
        return self.database.read(lambda c: c.execute(query).first()) is not None

    def live(self) -> int:
        """Return how many attempts are live."""
        return self.database.read(lambda c: c.execute(select(func.count()).where(ATTEMPT_IS_LIVE)).scalar_one())

    def looked(self, attempt_id: str, wait: float) -> None:
        """Note that a look told nothing: the next one is after so many seconds."""
        own = update(call_attempts).where(a.id == attempt_id, ATTEMPT_IS_LIVE)
        new = own.values(looks=a.looks + 1, look_at=Now(wait), state=_doubted())
        self.database.write(lambda c: c.execute(new), durable=False)

    def seen(self, attempt_id: str, call: CallSeen, look: float, hang_up: float) -> None:
        """Note what the provider knows of an attempt's call; it is adopted where that was not known yet."""

        def work(connection: Connection) -> None:
            row = _locked(connection, a.id == attempt_id)
            if row is None or row.call_sid not in {None, call.sid}:  # a message adopted another one meanwhile
                return
            progress = joined(row, _told_by_fetch(call))
            adopted = {} if row.call_sid else {"call_sid": call.sid, "placed_at": Now(), "hang_up_at": Now(hang_up)}
            price = {} if call.price is None else {"price": call.price, "price_unit": call.price_unit}
            values = progress_values(progress) | adopted | price
            if row.state in {*LIVE, "ambiguous"} and progress.ended:
                end_attempt(connection, row, {**values, "state": "ended"}, self.what_next)
                return
            if row.state in LIVE:
                values |= {"state": "placed", "looks": row.looks + 1, "look_at": Now(look)}
            connection.execute(update(call_attempts).where(a.id == attempt_id).values(values))
            if row.state == "ended":
                told_late(connection, attempt_id, self.what_next)

        self.database.write(work)

    def ask_to_end(self, attempt_id: str) -> None:
        """Note that somebody here asked for the end of an attempt's call."""
        own = update(call_attempts).where(a.id == attempt_id, ATTEMPT_IS_LIVE)
        self.database.write(lambda c: c.execute(own.values(ending_at=func.coalesce(a.ending_at, Now()))))

    def info(self, call_sid: str) -> dict[str, Any]:
        """Return what is known of a call by the provider's name for it, for people; nothing where none is."""
        query = select(call_attempts, calls.c.heard).join(calls, calls.c.id == a.call_id).where(a.call_sid == call_sid)
        row = self.database.read(lambda c: c.execute(query).first())
        if row is None:
            return {}
        told = {
            "sid": call_sid,
            "status": row.status,
            "to": row.to_number,
            "from": row.from_number,
            "duration": row.duration_seconds,
            "answered_by": row.answered_by,
            "sip_response_code": row.sip_code,
            "price": row.price,
            "price_unit": row.price_unit,
            "heard": row.heard,
            "unsaid": row.unsaid,
            "task_id": row.call_id,
            "campaign_id": row.campaign_id,
        }
        return {name: value for name, value in told.items() if value is not None}

    def settle_absent(self, attempt_id: str) -> bool:
        """Note that a person has found out that there was no call; False where that is known."""
        return self._settle(attempt_id, {"state": "void", "error": "settled by a person: there was no call"})

    def settle_made(self, attempt_id: str, call_sid: str) -> bool:
        """Note that a person has found out which call it was; False where that is another attempt's."""
        if self.owned([call_sid]):
            return False
        return self._settle(attempt_id, {"state": "ended", "call_sid": call_sid, "status": "completed"})

    def in_doubt(self, call_id: str) -> bool:
        """Tell whether nobody knows of some attempt of a call whether it was made."""
        query = select(a.id).where(a.call_id == call_id, a.state.in_(["sending", "unknown", "ambiguous"])).limit(1)
        return self.database.read(lambda c: c.execute(query).first()) is not None

    def _settle(self, attempt_id: str, values: Mapping[str, Any]) -> bool:
        def work(connection: Connection) -> bool:
            row = _locked(connection, a.id == attempt_id)
            if row is None or row.state not in {"unknown", "ambiguous"}:
                return False
            end_attempt(connection, row, values, self.what_next)
            return True

        return self.database.write(work)

    def owned(self, sids: Sequence[str]) -> set[str]:
        """Return those of these calls that are known to be some attempt's."""
        query = select(a.call_sid).where(a.call_sid.in_(sids))
        return set(self.database.read(lambda c: c.execute(query).scalars().all()))

    def refusals_in_row(self, campaign_id: str, count: int) -> list[int | None]:
        """Return the codes of the last attempts of a campaign, where so many numbers were refused; else nothing."""
        query = select(a.call_id, a.state, a.error_code).where(a.campaign_id == campaign_id, a.state != "sending")
        last = query.order_by(a.sending_at.desc()).limit(count)
        rows = self.database.read(lambda c: c.execute(last).all())
        refused = {call_id: code for call_id, state, code in rows if state == "refused"}
        return list(refused.values()) if len(refused) == count else []

    def halted_seconds(self, campaign_id: str, prefix: str) -> float:
        """Return for how long all orders of a campaign to the numbers that begin so were refused for their country."""
        own = and_(a.campaign_id == campaign_id, a.to_number.startswith(prefix, autoescape=True))
        made = select(func.max(a.sending_at)).where(own, a.state.in_(["placed", "ended"])).scalar_subquery()
        refused = own & (a.state == "not_taken") & a.error_code.in_(OF_A_COUNTRY)
        query = select(Now(), func.min(a.sending_at)).where(refused, or_(made.is_(None), a.sending_at > made))
        now, first = tuple[Any, Any](self.database.read(lambda c: c.execute(query).one()))
        return 0.0 if first is None else (now - first).total_seconds()

    def live_of(self, campaign_id: str) -> list[AttemptRow]:
        """Return the live attempts of a campaign."""
        query = select(*ATTEMPT_COLUMNS).where(a.campaign_id == campaign_id, ATTEMPT_IS_LIVE)
        return [as_attempt(row) for row in self.database.read(lambda c: c.execute(query).all())]

    def doubts(self, limit: int) -> list[Doubt]:
        """Return the calls of which nobody knows whether they were made."""
        query = select(a.id, a.call_id, a.state, a.sending_at, a.error).where(a.state.in_(["unknown", "ambiguous"]))
        rows = self.database.read(lambda c: c.execute(query.order_by(a.sending_at).limit(limit)).all())
        return [
            Doubt(
                f"call:{row.id}",
                "call",
                row.call_id,
                "twilio_calls.queue_outbound_call",
                "unknown",
                row.sending_at,
                row.error,
            )
            for row in rows
        ]

    def prune(self, days: float) -> None:
        """Remove what ended so many days ago, in pages; doubts and what is live stay."""
        self.close_left()
        old = now_once(-days * SECONDS_PER_DAY)
        doubtful = exists().where(a.call_id == calls.c.id, or_(ATTEMPT_IS_LIVE, a.state == "ambiguous"))
        some = select(calls.c.id).where(calls.c.ended_at <= old, ~doubtful).limit(PRUNED_AT_ONCE)
        events = select(call_events.c.id).where(call_events.c.received_at <= old).limit(PRUNED_AT_ONCE)

        def work(connection: Connection) -> None:
            ids = connection.execute(some).scalars().all()
            connection.execute(delete(calls).where(calls.c.id.in_(ids), ~doubtful))
            gone = ~exists().where(calls.c.id == a.call_id)
            connection.execute(delete(call_attempts).where(a.call_id.in_(ids), gone))
            connection.execute(delete(call_events).where(call_events.c.id.in_(events)))

        self.database.write(work, durable=False)

    def _attempt(self, query: Any) -> AttemptRow | None:
        rows = query.with_only_columns(*ATTEMPT_COLUMNS)
        row = self.database.read(lambda c: c.execute(rows).first())
        return None if row is None else as_attempt(row)


def progress_of(attempt: Any) -> CallProgress:
    """Return what is known of an attempt's call."""
    return CallProgress(
        attempt.status, attempt.sequence, attempt.answered_by, attempt.duration_seconds, attempt.sip_code
    )


def joined(attempt: Any, told: CallProgress) -> CallProgress:
    """Return what is known of an attempt's call after more was told; an end's SIP code stays that was told once."""
    known = progress_of(attempt)
    both = merged(known, told)
    if both.sip_code is None and known.status == told.status == both.status:
        return replace(both, sip_code=known.sip_code or told.sip_code)
    return both


def progress_values(progress: CallProgress) -> dict[str, Any]:
    """Return the columns that say what is known of an attempt's call."""
    return {
        "status": progress.status,
        "sequence": progress.sequence,
        "answered_by": progress.answered_by,
        "duration_seconds": progress.duration_seconds,
        "sip_code": progress.sip_code,
    }


def _told_by_fetch(call: CallSeen) -> CallProgress:
    told = CallProgress(spelled(call.status), None, call.answered_by, call.duration_seconds)
    return replace(told, sequence=BY_FETCH) if told.ended else told


def _doubted() -> Any:
    """Return in SQL the state of an attempt that was looked at: after its doubt no process has it in hand any more."""
    return case((and_(a.state == "sending", a.doubt_until <= Now()), "unknown"), else_=a.state)


ATTEMPT_COLUMNS = (
    a.id,
    a.call_id,
    a.campaign_id,
    a.account,
    a.to_number,
    a.from_number,
    a.state,
    a.sending_at,
    a.call_sid,
    a.status,
    (a.doubt_until <= Now()).label("settled"),
    a.looks,
    and_(a.hang_up_at.is_not(None), a.hang_up_at <= Now()).label("past_limit"),
)

ATTEMPT_NAMES = tuple(column.name for column in ATTEMPT_COLUMNS)


def as_attempt(row: Any) -> AttemptRow:
    """Return an attempt of its `ATTEMPT_COLUMNS`."""
    values: dict[str, Any] = {name: row[at] for at, name in enumerate(ATTEMPT_NAMES)}
    values["settled"], values["past_limit"] = bool(row.settled), bool(row.past_limit)
    return AttemptRow(**values)


def _call(row: Any) -> CallRow:
    return CallRow(
        row.id,
        row.campaign_id,
        row.to_number,
        row.from_number,
        row.state,
        row.attempts,
        row.reason,
        row.outcome,
    )


def _locked(connection: Connection, which: Any) -> Row[Any] | None:
    return connection.execute(select(call_attempts).where(which).with_for_update()).first()
