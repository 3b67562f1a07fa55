"""Calls to AI providers: what may be called now, by all workers together, and what every call took.

Whoever asks has the account's row for itself until the answer is written, and all moments are the database's. What is
written need not survive a power cut or a crash of PostgreSQL: a call more than the limit may begin in the minute after
it, and what a call costs stands on the provider's bill.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Float,
    String,
    Text,
    and_,
    case,
    cast,
    delete,
    func,
    insert,
    literal,
    or_,
    select,
    update,
)

from processors.ai_interfaces import NO_NEWS, CallPlan, Leave, LimitNews, NoRoom, Share, Usage
from processors.ai_usage import OF_TASK, Part
from processors.errors import AiError
from records.ai_accounts import (
    END_TRIAL,
    TRY,
    Account,
    PauseReason,
    ai_accounts,
    answered,
    clock,
    failing,
    locked,
    pausing,
    spend,
)
from records.ai_window import (
    FORGET,
    KEPT_FOR,
    LEAVE_LINES,
    NO_PLACE,
    WINDOW,
    CallState,
    Rates,
    Window,
    ai_calls,
    columns,
)
from records.columns import SECONDS_PER_DAY, Now, instant, now_once
from records.database import Database
from records.prepared import Given, Prepared
from records.task_records import task_records

EARLY_SECONDS = 1.0
"""Who comes back so much too early waits for its time in place, whatever its patience."""

LONGEST_WAIT_SECONDS = 59.0
"""Nobody waits longer in place: a call that is under way counts for 60 s at least, and nobody knows how long."""

ANSWERED_OR_LOST: tuple[CallState, ...] = ("settled", "share", "lost")

TAKEN = or_(columns.state.in_(ANSWERED_OR_LOST), and_(columns.state == "reserved", columns.gone_at <= Now()))
"""What the report tells; what a lost call took is not known, and its plan's cost stands for it."""

BY: dict[Part, ColumnElement[Any]] = {
    "day": func.substr(cast(columns.at, Text()), 1, 10),  # of UTC, which sessions of PostgreSQL are set to
    "provider": columns.provider,
    "model": columns.model,
    "kind": columns.kind,
    "tenant": columns.tenant,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageLine:
    """What calls took; a part is None where the report is not by it.

    Attributes:
        day: of UTC, `2026-11-28`.
        calls: how many there were; one that served several tasks is the first one's.
        cost: in this currency.
        currency: of the provider's prices; what was paid in another one is another line.
        estimated: the share of the rows, 0..1, whose tokens or cost nobody counted.
    """

    day: str | None = None
    provider: str | None = None
    model: str | None = None
    kind: str | None = None
    tenant: str | None = None
    calls: int
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    reasoning_tokens: int
    cost: float
    currency: str
    estimated: float


@dataclass(frozen=True, slots=True)
class AccountState:
    """How an account stands.

    Attributes:
        why: what it is paused for, or None; a pause that is over goes on until a call was answered.
        text: the same for people.
        seconds: until a call may try again; 0 where no pause holds.
        failures: in a row.
        requests: calls that count in the window now, those that are under way among them.
        tokens: theirs.
        cost_today: on this day of UTC.
    """

    account: str
    why: PauseReason | None
    text: str | None
    seconds: float
    failures: int
    requests: int
    tokens: int
    cost_today: float


USED = ("input_tokens", "output_tokens", "cached_tokens", "reasoning_tokens")
SHARED = ("task_id", "run", "tenant", *USED, "estimated", "cost")


def _given(value: Given, names: Sequence[str]) -> dict[str, ColumnElement[Any]]:
    return {name: value(name, columns[name].type) for name in names}


def _of_call(value: Given) -> ColumnElement[bool]:
    return columns.id == value("id", BigInteger())


def _note_call(value: Given) -> Any:
    names = ("account", "provider", "model", "kind", "task_id", "run", "tenant", "currency")
    given = _given(value, (*names, "state", "at", "gone_at", "tokens", "cost"))
    return insert(ai_calls).values(given | dict.fromkeys(USED, 0) | {"estimated": True}).returning(columns.id)


def _settle_call(value: Given) -> Any:
    given = _given(value, (*SHARED, "at", "tokens"))
    return update(ai_calls).where(_of_call(value)).values(state="settled", gone_at=None, **given)


def _share_call(value: Given) -> Any:
    """Return what writes another task's share beside its call."""
    same = {name: columns[name] for name in ("account", "provider", "model", "kind", "at", "currency")}
    row = same | {"state": literal("share"), "tokens": literal(0)} | _given(value, SHARED)
    return insert(ai_calls).from_select(list(row), select(*row.values()).where(_of_call(value)))


NOTE = Prepared(_note_call)
SETTLE = Prepared(_settle_call, "id")
SHARE = Prepared(_share_call, "id")
RESERVED_COST = Prepared(
    lambda value: select(func.coalesce(func.sum(columns.cost), 0.0)).where(
        columns.account == value("account", String()), columns.state == "reserved"
    ),
    "account",
)
CALL = Prepared(
    lambda value: select(columns.account, columns.state, columns.at, columns.cost).where(_of_call(value)), "id"
)


class AiCalls:
    """Fulfils `processors.ai_interfaces.AiLedger`."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def ask(self, plan: CallPlan) -> Leave | NoRoom:
        """Take room for a call, or tell when there may be some.

        Raises:
            AiError: `budget_exceeded`: the day's budget would be spent; `too_large`: the plan has more tokens than the
                account may use in a minute.
        """
        return self.database.write(lambda c: self._ask(c, plan), durable=False, lossy=True)

    def settle(self, leave: Leave, shares: Sequence[Share], news: LimitNews = NO_NEWS) -> None:
        """Note what a call took; one that is settled already, or was released, stays as it is.

        Whom it answered gives up the places that are kept for it, at this account or at another one that had no room.

        Args:
            leave: the call.
            shares: at least one; the first stands in the call's row, and all count in the window together.
            news: limits that the provider told.
        """
        self.database.write(lambda c: self._end(c, leave.id, shares, news), durable=False, lossy=True)

    def release(self, leave: Leave) -> None:
        """Give room back."""

        def work(connection: Connection) -> None:
            END_TRIAL(id=leave.id)(connection)  # first: who asks locks the account before the calls
            FORGET(id=leave.id)(connection)

        self.database.write(work, durable=False, lossy=True)

    def fail(self, leave: Leave, shares: Sequence[Share]) -> None:
        """Note a call that had no answer, and what it may have taken; it ends no pause.

        It counts for a minute from now on; one that is settled already, or was released, stays as it is.

        Args:
            leave: the call.
            shares: at least one, as of a call that is settled.
        """
        self.database.write(lambda c: self._end(c, leave.id, shares, None), durable=False, lossy=True)

    def pause(self, account: str, why: PauseReason, seconds: float, text: str) -> None:
        """Let nobody call an account for so many seconds, or for the rest of a longer pause."""
        statement = pausing(self.database.kind, account, why, seconds, text)
        self.database.write(lambda c: c.execute(statement), durable=False, lossy=True)

    def count_failure(self, account: str, text: str, pause_for: Callable[[int], float]) -> None:
        """Count a failure of an account, and pause it; see the protocol."""

        def work(connection: Connection) -> None:
            row = connection.execute(failing(self.database.kind, account)).one()
            if not row.paused and (seconds := pause_for(row.failures)):
                connection.execute(pausing(self.database.kind, account, "provider_unavailable", seconds, text))

        self.database.write(work, durable=False, lossy=True)

    def usage(
        self, since: datetime, until: datetime, by: Sequence[Part] = ("day", "provider", "model")
    ) -> list[UsageLine]:
        """Return what was taken from `since` on and before `until`, a line for each of these parts and currency."""
        return self._usage(and_(columns.at >= since, columns.at < until), by)

    def of_task(self, task_id: str) -> list[UsageLine]:
        """Return what a task and its parts took, by provider, model and kind."""
        its_parts = select(task_records.c.id).where(task_records.c.parent_id == task_id)
        return self._usage(or_(columns.task_id == task_id, columns.task_id.in_(its_parts)), OF_TASK)

    def prune(self, days: float) -> int:
        """Remove calls that are older than so many days; returns how many."""
        old = delete(ai_calls).where(columns.at < now_once(-days * SECONDS_PER_DAY))
        return self.database.write(lambda c: c.execute(old).rowcount)

    def accounts(self) -> list[AccountState]:
        """Return how all accounts stand, by name."""
        window = or_(
            and_(columns.state == "settled", columns.at > Now(-WINDOW.total_seconds())),
            and_(columns.state == "reserved", columns.gone_at > Now()),
        )
        used = select(columns.account, func.count(), func.sum(columns.tokens)).where(window).group_by(columns.account)

        def query(connection: Connection) -> list[AccountState]:
            counts = {account: (requests, tokens) for account, requests, tokens in connection.execute(used)}
            now = clock(connection)
            rows = connection.execute(select(ai_accounts).order_by(ai_accounts.c.account))
            return [_state(Account(*row), *counts.get(row[0], (0, 0)), now) for row in rows]

        return self.database.read(query)

    def _ask(self, connection: Connection, plan: CallPlan) -> Leave | NoRoom:
        account = locked(connection, self.database.kind, plan.account)
        now = clock(connection)
        window = Window(connection, plan.account, now, account.usual_seconds)
        if window.lost_cost:
            spend(connection, account, window.lost_cost, now)
        rates = account.rates(plan)
        _check_size(plan, rates)
        if plan.budget_per_day is not None:
            _check_budget(
                plan, account.spent_on(now) + window.lost_cost + RESERVED_COST(account=plan.account)(connection)[0][0]
            )
        if pause := account.pause(now):
            return pause
        line = window.line(plan.run.task_id)
        start = window.next_start(rates, plan.tokens, line)
        if line.own != NO_PLACE:
            FORGET(id=line.own)(connection)
        seconds = (start - now).total_seconds()
        patience = min(max(plan.patience, EARLY_SECONDS if line.own != NO_PLACE else 0.0), LONGEST_WAIT_SECONDS)
        if seconds > patience:
            _note(connection, plan, "kept", start, start + KEPT_FOR)
            return NoRoom(seconds, "limit", _no_room(plan, rates, seconds))
        end = start + timedelta(seconds=plan.seconds)
        call_id = _note(connection, plan, "reserved", start, end + WINDOW)
        if account.why is not None:
            TRY(account=plan.account, id=call_id, until=end)(connection)
        return Leave(call_id, seconds)

    def _end(self, connection: Connection, call_id: int, shares: Sequence[Share], news: LimitNews | None) -> None:
        """Note what a call took; without news there was no answer."""
        found = CALL(id=call_id)(connection)
        if not found:
            return
        account = locked(connection, self.database.kind, found[0][0])
        state, start, planned_cost = CALL(id=call_id)(connection)[0][1:]  # again: nobody else changes it now
        if state == "settled":
            return
        now = clock(connection)
        if news is None:
            END_TRIAL(id=call_id)(connection)
        else:
            answered(connection, account, call_id, (now - instant(start)).total_seconds(), news)
        cost = sum(share.cost for share in shares) - (planned_cost if state == "lost" else 0.0)
        if cost:
            spend(connection, account, cost, now)
        first, *others = shares
        tokens = sum(share.usage.input_tokens + share.usage.output_tokens for share in shares)
        SETTLE(id=call_id, at=now, tokens=tokens, **_taken(first))(connection)
        for share in others:
            SHARE(id=call_id, **_taken(share))(connection)
        if news is not None:  # who was answered waits nowhere else; after a refusal, which takes no tokens, it may
            answered_runs = [one.run for one in shares if one.usage != Usage()]
            LEAVE_LINES.many({"task_id": run.task_id, "run": run.number} for run in answered_runs)(connection)

    def _usage(self, condition: ColumnElement[bool], by: Sequence[Part]) -> list[UsageLine]:
        parts = [BY[part].label(part) for part in by]
        calls = func.sum(case((columns.state == "share", 0), else_=1))
        estimated = func.avg(case((columns.estimated, 1.0), else_=0.0))
        sums = [func.sum(columns[name]).label(name) for name in (*USED, "cost")]
        query = (
            select(*parts, calls.label("calls"), *sums, columns.currency, cast(estimated, Float()).label("estimated"))
            .where(condition, TAKEN)
            .group_by(*parts, columns.currency)
            .order_by(*parts, columns.currency)
        )
        return [UsageLine(**row) for row in self.database.read(lambda c: c.execute(query).mappings().all())]


def _note(connection: Connection, plan: CallPlan, state: CallState, at: datetime, gone_at: datetime) -> int:
    note = NOTE(
        account=plan.account,
        provider=plan.provider,
        model=plan.model,
        kind=plan.kind,
        task_id=plan.run.task_id,
        run=plan.run.number,
        tenant=plan.tenant,
        state=state,
        at=at,
        gone_at=gone_at,
        tokens=plan.tokens,
        cost=plan.cost,
        currency=plan.currency,
    )
    return note(connection)[0][0]


def _taken(share: Share) -> dict[str, Any]:
    return {
        "task_id": share.run.task_id,
        "run": share.run.number,
        "tenant": share.tenant,
        "input_tokens": share.usage.input_tokens,
        "output_tokens": share.usage.output_tokens,
        "cached_tokens": share.usage.cached_tokens,
        "reasoning_tokens": share.usage.reasoning_tokens,
        "estimated": share.usage.estimated,
        "cost": share.cost,
    }


def _check_size(plan: CallPlan, rates: Rates) -> None:
    if rates.tokens is not None and plan.tokens > rates.tokens:
        raise AiError(
            f"A request of {plan.tokens} tokens, the answer's among them, is more than the {rates.tokens} that "
            f"{plan.provider} takes in a minute: send less at once, allow a shorter answer, or raise "
            "tokens_per_minute of this provider in AI_PROVIDERS.",
            "too_large",
        )


def _check_budget(plan: CallPlan, spent: float) -> None:
    if plan.budget_per_day is not None and spent + plan.cost > plan.budget_per_day:
        raise AiError(
            f"{plan.provider} has cost {spent:.4f} today (UTC), what is under way among it, and a call of up to "
            f"{plan.cost:.4f} would be over the day's {plan.budget_per_day:.4f}: wait for tomorrow, or raise "
            "budget_per_day of this provider in AI_PROVIDERS.",
            "budget_exceeded",
        )


def _no_room(plan: CallPlan, rates: Rates, seconds: float) -> str:
    limits = [f"{most} {what}" for most, what in zip(rates, ("requests", "tokens"), strict=True) if most is not None]
    return f"{plan.provider} takes {' and '.join(limits)} in a minute; there is room in {seconds:.1f} s."


def _state(account: Account, requests: int, tokens: int, now: datetime) -> AccountState:
    return AccountState(
        account=account.account,
        why=account.why,
        text=account.text,
        seconds=0.0 if account.paused_until is None else max(0.0, (account.paused_until - now).total_seconds()),
        failures=account.failures,
        requests=requests,
        tokens=tokens,
        cost_today=account.spent_on(now),
    )
