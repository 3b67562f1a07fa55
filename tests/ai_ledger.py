"""AI calls for tests: plans and answers of usual size, and time that passes at once on every database."""

from datetime import datetime, timedelta

from sqlalchemy import Connection, bindparam, select, update

from processors.ai_interfaces import CallPlan, Leave, Share, Usage
from processors.interfaces import Run
from records.ai_accounts import ai_accounts, clock
from records.ai_answers import ai_answers
from records.ai_calls import AiCalls
from records.ai_window import ai_calls
from records.columns import Instant
from records.database import Database

TABLES = (ai_calls, ai_accounts, ai_answers)


class AiClock:
    """Makes all rows older; `now` is the database's clock and all that has passed so."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.passed = timedelta(0)

    def now(self) -> datetime:
        return self.database.read(clock) + self.passed

    def pass_by(self, seconds: float) -> None:
        """Let so many seconds pass."""
        self.passed += timedelta(seconds=seconds)
        self.database.write(lambda c: [_make_older(c, table, timedelta(seconds=seconds)) for table in TABLES])


def _make_older(connection: Connection, table, passed: timedelta) -> None:
    (key,) = table.primary_key
    moments = [column for column in table.columns if isinstance(column.type, Instant)]
    rows = connection.execute(select(key.label("key"), *moments)).mappings().all()
    older = [
        {"of": row["key"]} | {f"to_{one.name}": row[one.name] and row[one.name] - passed for one in moments}
        for row in rows
    ]
    if older:
        values = {one.name: bindparam(f"to_{one.name}") for one in moments}
        connection.execute(update(table).where(key == bindparam("of")).values(values), older)


USAGE = Usage(6, 2, 1, 1)


def plan(task: str = "t", *, run: int = 1, **values) -> CallPlan:
    given = {
        "account": "openai:1",
        "provider": "openai",
        "model": "small",
        "kind": "chat",
        "tokens": 10,
        "cost": 0.5,
        "currency": "USD",
        "requests_per_minute": 2,
        "tokens_per_minute": None,
        "budget_per_day": None,
        "seconds": 20.0,
        "patience": 0.0,
        "tenant": None,
    }
    return CallPlan(**given | values, run=Run(task, run))


def share(task: str = "t", usage: Usage = USAGE, cost: float = 0.25, tenant: str | None = None) -> Share:
    return Share(Run(task, 1), tenant, usage, cost)


def settled(ledger: AiCalls, asked: CallPlan) -> Leave:
    leave = ledger.ask(asked)
    assert isinstance(leave, Leave)
    ledger.settle(leave, [share(asked.run.task_id)])
    return leave
