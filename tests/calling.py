"""Who calls for tests: a line or the whole service with a provider in memory, or the settings of a simulated Twilio."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from adapters.twilio_simulator import EXAMPLE_NUMBER, OUR_NUMBER, TwilioSimulator
from call_rows import ACCOUNT, Phones
from config.settings import settings
from fake_provider import FakeProvider
from processors import doubt
from processors.call_interfaces import CallOrder, Gate, Granted
from processors.call_questions import follow_due
from processors.call_states import CallProgress
from processors.dialing import Line, dial
from processors.order_pace import OrderPace
from records.call_events import CallEvent, Waits
from records.database import Database
from services.celery_service import celery_service
from services.parent_tasks import settle_cancelled
from services.submission import submit_by_name
from services.testing import InlineService, _empty_database
from services.wiring import parts

ACCOUNT_SID, TOKEN = "AC" + "c" * 32, "d" * 32
FAST = 200.0
"""Seconds of phones in one of the machine's."""

NUMBERS = [f"+1555777{at:04}" for at in range(1000, 1100)]

ANSWER, STATUS = "https://calls.example.com/answer?attempt=", "https://calls.example.com/status?attempt="


class Office:
    """Somebody who calls, and what comes of it."""

    def __init__(self, database: Database, *, polls: bool = False, account_live: int | None = None) -> None:
        self.phones, self.provider = Phones(database), FakeProvider(ACCOUNT)
        self.gate = Gate(f"account:{ACCOUNT}", 0.0, account_live)
        self.line = Line(
            self.provider,
            self.gate,
            self.phones.calls,
            self.phones.gates,
            OrderPace(),
            polls,
            persist=lambda write: write(),
        )

    def order(self, call_id: str, attempt_id: str) -> CallOrder:
        call = self.phones.call(call_id)
        return CallOrder(
            call.to_number, call.from_number, answer_url=ANSWER + attempt_id, status_url=STATUS + attempt_id
        )

    def dial(self, call_id: str, may_ring: Callable[[float], bool] = lambda _: True) -> str:
        """Make a call that is granted; returns the attempt's id, whatever came of it."""
        attempt_id = self.phones.granted(call_id)
        try:
            dial(self.line, Granted(attempt_id, doubt.clock()), self.order(call_id, attempt_id), may_ring)
        except Exception as error:
            self.error: BaseException | None = error
        else:
            self.error = None
        return attempt_id

    def follow(self, seconds: float = 0.0) -> int:
        """Let time pass, and ask the provider about what is due; returns how many that were."""
        self.phones.pass_by(seconds)
        return follow_due(self.line, self.phones.calls, lambda *_: None)

    def tell(self, attempt_id: str, status: str, **more: Any) -> None:
        """Let the provider's message about an attempt's call come."""
        sid = self.phones.attempt(attempt_id).call_sid or next(reversed(self.provider.calls))
        self.provider.move(sid, status)
        self.phones.tell(attempt_id, sid, status, **more)


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    (tmp_path / "records.db").write_bytes(_empty_database())
    database = Database(f"sqlite:///{tmp_path / 'records.db'}")
    yield Office(database)
    database.close()


def account(**more: Any) -> dict[str, Any]:
    """Return the settings of who calls by this account; `more` are others, and come before these."""
    usual = {"twilio_account_sid": ACCOUNT_SID, "twilio_auth_token": TOKEN, "twilio_phone_number": OUR_NUMBER}
    return usual | {"twilio_calls_per_second": 50.0} | more


def variables(given: dict[str, Any]) -> dict[str, str]:
    """Return settings as a process takes them."""
    return {name.upper(): str(value) for name, value in given.items()}


def use(given: dict[str, Any], patch: pytest.MonkeyPatch) -> None:
    """Let this process have these settings."""
    for name, value in given.items():
        patch.setattr(settings, name, value)


@pytest.fixture
def simulator(monkeypatch: pytest.MonkeyPatch) -> Iterator[TwilioSimulator]:
    """Twilio, with an account that owns the document's number too.

    Nothing of this service listens: what is said goes out with the call, and its status is asked for.
    """
    own = (OUR_NUMBER, EXAMPLE_NUMBER)
    with TwilioSimulator(ACCOUNT_SID, TOKEN, numbers=own, speed=FAST, calls_per_second=1000, seed=1) as made:
        use(account(twilio_base_url=made.url, twilio_calls_per_second=100.0), monkeypatch)
        monkeypatch.setattr("services.call_lines.is_reachable", lambda: False)
        yield made


class Desk:
    """The service in this process, and the provider that it calls by."""

    def __init__(self, service: InlineService, provider: FakeProvider) -> None:
        self.service, self.provider = service, provider
        self.ends: Callable[[str], str | None] = lambda _: "completed"

    def run(self, seconds: float = 0.0) -> None:
        """Run what is due by then."""
        self.service.advance(seconds) if seconds else self.service.run_due()
        settle_cancelled([one for one in parts().moves.unfollowed(100) if one.is_parent])  # the leader's duty

    def follow(self, seconds: float = 100.0) -> None:
        """Let calls go on for a while, and the provider be asked about them."""
        for sid in self.provider.live():
            if (end := self.ends(self.provider.calls[sid].to_number)) is not None:
                self.provider.end(sid, end)
        self.run(seconds)
        submit_by_name("monitoring.follow_calls", {}, queue="twilio_calls", origin="test")
        self.run()

    def phone(self) -> None:
        """Let calls go on, and their ends be told."""
        for sid in self.provider.live():
            seen = self.provider.calls[sid]
            attempt = parts().calls.attempt_of_sid(sid)
            if (end := self.ends(seen.to_number)) is not None and attempt is not None:
                self.provider.end(sid, end)
                told = CallEvent("status", sid, attempt.id, sid, attempt.account, CallProgress(end, 3))
                parts().call_events.receive(told, lambda _: Waits(60, 600))
        self.run(2.1)

    def until_final(self, task_id: str, times: int = 60, *, lost: bool = False) -> Any:
        """Return a task's status once it has ended.

        Args:
            task_id: whose.
            times: that are looked at.
            lost: whether no end is told, so that the provider is asked.
        """
        for _ in range(times):
            self.follow() if lost else self.phone()
            status = celery_service.get_task_status(task_id)
            if status["status"] in {"SUCCESS", "FAILURE", "REVOKED"}:
                return status
        raise AssertionError(f"it does not end: {status}")

    def result(self, task_id: str) -> Any:
        return celery_service.get_task_result(task_id, timeout=0)

    def made(self, **more: Any) -> tuple[str, str]:
        """Return the task and the provider's name of a call that was made."""
        task_id = celery_service.queue_outbound_call(**{"to_number": NUMBERS[0], **more})
        self.run()
        return task_id, self.result(task_id)["call_sid"]


@pytest.fixture
def desk(inline_service: InlineService, monkeypatch: pytest.MonkeyPatch) -> Desk:
    provider = FakeProvider(ACCOUNT_SID)
    use(account(twilio_calls_per_second=100.0, webhook_base_url="https://calls.example.com"), monkeypatch)
    monkeypatch.setattr("processors.campaigns.PATIENCE_SECONDS", 0.02)
    monkeypatch.setattr(parts(), "voice", provider)
    return Desk(inline_service, provider)
