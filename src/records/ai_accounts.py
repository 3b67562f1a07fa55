"""AI accounts: their pauses, failures, learned limits and what they cost today; a row each, which calls wait for."""

import random
from datetime import datetime
from functools import cache
from typing import Any, Literal, NamedTuple

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Float,
    Integer,
    String,
    Table,
    case,
    false,
    func,
    or_,
    select,
    update,
)

from processors.ai_interfaces import CallPlan, LimitNews, NoRoom
from records.ai_window import Rates
from records.columns import Instant, Now, PlainText, instant, metadata
from records.insertion import insert_into
from records.limits import CLOCK
from records.prepared import Given, Prepared

PauseReason = Literal["provider_rate_limited", "provider_auth", "provider_unavailable"]

SPREAD = 0.1
"""Up to so large a part of a pause is added to it, so that not all who wait come back at once."""

TRIAL_LOOKS = (2.0, 4.0)
"""Seconds after which to look whether the one call that tries was answered; by chance between these."""

NEWEST_WEIGHT = 0.1
"""How much the newest call counts in the usual time."""

ai_accounts = Table(
    "ai_accounts",
    metadata,
    Column("account", String(255), primary_key=True),
    Column("failures", Integer, nullable=False),  # in a row
    Column("why", String(32)),  # of the pause, which an answer ends
    Column("text", PlainText),
    Column("paused_until", Instant),
    Column("trial_id", BigInteger),  # the call that tries after a pause
    Column("trial_until", Instant),
    Column("requests_per_minute", Integer),  # as the provider told
    Column("tokens_per_minute", Integer),
    Column("usual_seconds", Float, nullable=False),  # that its calls take, the latest ones most
    Column("spent", Float, nullable=False),  # on the day of `spent_at`
    Column("spent_at", Instant),
)

columns = ai_accounts.c


NEW: dict[str, Any] = {"failures": 0, "usual_seconds": 0.0, "spent": 0.0}


class Account(NamedTuple):
    """An account's row."""

    account: str
    failures: int
    why: PauseReason | None
    text: str | None
    paused_until: datetime | None
    trial_id: int | None
    trial_until: datetime | None
    requests_per_minute: int | None
    tokens_per_minute: int | None
    usual_seconds: float
    spent: float
    spent_at: datetime | None

    def rates(self, plan: CallPlan) -> Rates:
        """Return the limits of a plan: those that are set, else what was learned."""
        return Rates(
            self.requests_per_minute if plan.requests_per_minute is None else plan.requests_per_minute,
            self.tokens_per_minute if plan.tokens_per_minute is None else plan.tokens_per_minute,
        )

    def spent_on(self, now: datetime) -> float:
        """Return what this day of UTC has cost so far."""
        return self.spent if self.spent_at is not None and self.spent_at.date() == now.date() else 0.0

    def pause(self, now: datetime) -> NoRoom | None:
        """Return why nobody may call now: a pause, or another call that tries after one."""
        if self.why is None or self.paused_until is None:
            return None
        text = self.text or ""
        if self.paused_until > now:
            rest = (self.paused_until - now).total_seconds()
            return NoRoom(rest * random.uniform(1, 1 + SPREAD), self.why, text)  # noqa: S311 - no secret
        if self.trial_until is not None and self.trial_until > now:
            return NoRoom(random.uniform(*TRIAL_LOOKS), self.why, text)  # noqa: S311 - no secret
        return None


def to_account(row: Any) -> Account:
    """Return an account of a row as the driver reads it."""
    found = Account(*row)
    moments = {name: getattr(found, name) for name in ("paused_until", "trial_until", "spent_at")}
    return found._replace(**{name: None if at is None else instant(at) for name, at in moments.items()})


def _of(value: Given) -> Any:
    return columns.account == value("account", String())


def _try(value: Given) -> Any:
    trial = {"trial_id": value("id", BigInteger()), "trial_until": value("until", Instant())}
    return update(ai_accounts).where(_of(value)).values(trial)


def _spend(value: Given) -> Any:
    spent = {"spent": value("spent", Float()), "spent_at": value("now", Instant())}
    return update(ai_accounts).where(_of(value)).values(spent)


def _answered(value: Given) -> Any:
    learned = {
        name: func.coalesce(value(name, Integer()), columns[name])
        for name in ("requests_per_minute", "tokens_per_minute")
    }
    return (
        update(ai_accounts)
        .where(_of(value))
        .values(failures=0, usual_seconds=value("usual_seconds", Float()), **learned)
    )


LOCKED = Prepared(lambda value: select(ai_accounts).where(_of(value)).with_for_update(), "account")
TRY = Prepared(_try, "account")
SPEND = Prepared(_spend, "account")
ANSWERED = Prepared(_answered, "account")
NO_TRIAL: dict[str, Any] = {"trial_id": None, "trial_until": None}
NO_PAUSE: dict[str, Any] = {"why": None, "text": None, "paused_until": None, **NO_TRIAL}
END_PAUSE = Prepared(lambda value: update(ai_accounts).where(_of(value)).values(NO_PAUSE), "account")
END_TRIAL = Prepared(
    lambda value: update(ai_accounts).where(columns.trial_id == value("id", BigInteger())).values(NO_TRIAL), "id"
)


@cache
def _opening(kind: str) -> Prepared:
    def build(value: Given) -> Any:
        fresh = {"account": value("account", String()), **NEW}
        return insert_into(ai_accounts, kind).values(fresh).on_conflict_do_nothing()

    return Prepared(build, "account", kind=kind)


def locked(connection: Connection, kind: str, account: str) -> Account:
    """Return an account, made where it is new, and hold its row until the transaction's end."""
    rows = LOCKED(account=account)(connection)
    if not rows:
        _opening(kind)(account=account)(connection)
        rows = LOCKED(account=account)(connection)
    return to_account(rows[0])


def clock(connection: Connection) -> datetime:
    """Return the database's clock, asked for after the account was locked."""
    return instant(CLOCK()(connection)[0][0])


def answered(connection: Connection, account: Account, call_id: int, seconds: float, news: LimitNews) -> None:
    """Note that a call was answered after so many seconds; the answer of the one that tried ends the pause.

    That of a call from before the pause does not: many may be under way when a provider says that they are too many.
    """
    usual = account.usual_seconds or seconds
    ANSWERED(
        account=account.account,
        usual_seconds=usual + (seconds - usual) * NEWEST_WEIGHT,
        requests_per_minute=news.requests_per_minute,
        tokens_per_minute=news.tokens_per_minute,
    )(connection)
    if account.trial_id == call_id:
        END_PAUSE(account=account.account)(connection)


def spend(connection: Connection, account: Account, cost: float, now: datetime) -> None:
    """Add to what the day has cost; what a call of yesterday took less than its plan is not taken off today's."""
    SPEND(account=account.account, spent=max(0.0, account.spent_on(now) + cost), now=now)(connection)


def pausing(kind: str, account: str, why: PauseReason, seconds: float, text: str) -> Any:
    """Return what pauses an account, unless it is paused for longer."""
    values: dict[str, Any] = {"why": why, "text": text, "paused_until": Now(seconds), **NO_TRIAL}
    fresh = insert_into(ai_accounts, kind).values(account=account, **NEW, **values)
    shorter = or_(columns.paused_until.is_(None), columns.paused_until < fresh.excluded.paused_until)
    return fresh.on_conflict_do_update(index_elements=["account"], set_=values, where=shorter)


def failing(kind: str, account: str) -> Any:
    """Return what counts one more failure, and returns how many there are in a row, and whether there is a pause.

    The next call may try. What fails in a pause was under way before, and is not counted: it tells nothing new.
    """
    fresh = insert_into(ai_accounts, kind).values(account=account, **NEW | {"failures": 1})
    paused = func.coalesce(columns.paused_until > Now(), false())
    more = {"failures": columns.failures + case((paused, 0), else_=1), **NO_TRIAL}
    counted = fresh.on_conflict_do_update(index_elements=["account"], set_=more)
    return counted.returning(columns.failures, paused.label("paused"))
