"""Who is called by: a provider in memory behind a line of its own, or a Twilio on this machine that settings name."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from adapters.twilio_simulator import OUR_NUMBER, TwilioSimulator
from call_rows import ACCOUNT, Phones
from config.settings import settings
from fake_provider import FakeProvider
from processors import doubt
from processors.call_interfaces import CallOrder, Gate, Granted
from processors.call_questions import follow_due
from processors.dialing import Line, dial
from records.database import Database
from services.testing import _empty_database

ACCOUNT_SID, TOKEN = "AC" + "c" * 32, "d" * 32
DOCUMENT_NUMBER = "+1987654321"
FAST = 200.0
"""Seconds of phones in one of the machine's."""

ANSWER, STATUS = "https://calls.example.com/answer?attempt=", "https://calls.example.com/status?attempt="


class Office:
    """Somebody who calls, and what comes of it."""

    def __init__(self, database: Database, *, polls: bool = False, account_live: int | None = None) -> None:
        self.phones, self.provider = Phones(database), FakeProvider(ACCOUNT)
        self.gate = Gate(f"account:{ACCOUNT}", 0.0, account_live)
        self.line = Line(
            self.provider, self.gate, self.phones.calls, self.phones.gates, polls, persist=lambda write: write()
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
    own = (OUR_NUMBER, DOCUMENT_NUMBER)
    with TwilioSimulator(ACCOUNT_SID, TOKEN, numbers=own, speed=FAST, calls_per_second=1000, seed=1) as made:
        use(account(twilio_base_url=made.url, twilio_calls_per_second=100.0), monkeypatch)
        monkeypatch.setattr("services.call_lines.is_reachable", lambda: False)
        yield made
