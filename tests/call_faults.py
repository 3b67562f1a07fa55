"""A service that calls by a simulated Twilio, whose workers a test kills at exact points, and what came of calls."""

import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from sqlalchemy import select, update

from adapters.phone_simulator.callees import Callee
from adapters.phone_simulator.calls import Call
from adapters.twilio_simulator import TwilioSimulator
from api.__main__ import listen
from api.app import create_app
from calling import ACCOUNT_SID, TOKEN, account, use, variables
from config.settings import settings
from installation import Installation
from records.call_tables import LIVE, call_attempts
from records.call_tables import calls as call_rows
from records.columns import Now
from records.workers import workers
from services.celery_service import celery_service
from services.wiring import parts
from waiting import until

SPEED = 20.0
"""Seconds of phones in one of the machine's."""

ACCOUNT_LIVE = 100
END_SECONDS = 90
BLOCKS = count(201)
PERSON, NOBODY = Callee(rings=3.0), Callee("nobody")


class CallService:
    """One installation that makes calls.

    Attributes:
        installation: its processes.
        twilio: the outside truth.
        folder: where points are named at which a worker is to stand still; see `held_calls`.
        callees: who is at which number; a person where nothing is said.
    """

    def __init__(self, installation: Installation, folder: Path) -> None:
        self.installation, self.folder = installation, folder
        self.callees: dict[str, Callee] = {}
        self.twilio = TwilioSimulator(
            ACCOUNT_SID,
            TOKEN,
            speed=SPEED,
            calls_per_second=1000,
            live_calls=ACCOUNT_LIVE,
            magic=False,
            callees=lambda number: self.callees.get(number, PERSON),
        )

    def numbers(self, count: int, callee: Callee = PERSON) -> list[str]:
        """Return numbers that no other test has, with somebody at each."""
        block = next(BLOCKS)
        found = [f"+1555{block}{5000 + at}" for at in range(count)]
        self.callees |= dict.fromkeys(found, callee)
        return found

    def campaign(self, numbers: Sequence[str], **more: Any) -> str:
        given = {"delay_between_calls": 0, "max_concurrent_calls": 20, "ring_seconds": 40, "limit_seconds": 600}
        return celery_service.queue_bulk_calls(numbers, **given | {"call_metadata": {"message": "Hello."}} | more)

    def hold(self, point: str) -> None:
        """Let the first who comes to this point stand still there."""
        (self.folder / point).touch()

    def until_held(self, point: str) -> None:
        until((self.folder / f"{point}.held").exists, what=f"somebody stands at {point}")

    def let_go(self, point: str) -> None:
        (self.folder / f"{point}.go").touch()

    def kill_worker(self) -> None:
        """Kill -9 of the worker, which is known at once, without the wait of seconds."""
        self.installation.worker.kill()
        silent = update(workers).where(workers.c.stopped_at.is_(None)).values(seen_at=Now(-60))
        parts().database.write(lambda c: c.execute(silent))

    def until_over(self, task_id: str, seconds: float = END_SECONDS) -> Any:
        """Return a task's record once it has ended, and none of its calls is live."""
        own = (call_attempts.c.campaign_id == task_id) | (call_attempts.c.call_id == task_id)
        live = select(call_attempts.c.state).where(own, call_attempts.c.state.in_(LIVE))
        waiting = select(call_rows.c.state).where(call_rows.c.id == task_id, call_rows.c.ended_at.is_(None))

        def over() -> Any:
            record = parts().tasks.read(task_id)
            left = parts().database.read(lambda c: c.execute(live).all() + c.execute(waiting).all())
            return record if record is not None and record.final and not left else None

        try:
            return until(over, seconds, what=f"task {task_id} and its calls are over", every=0.1)
        except AssertionError as error:
            raise AssertionError(f"{error}; {parts().tasks.read(task_id)}; {self.attempts(task_id)}") from error

    def attempts(self, task_id: str) -> list[Mapping[str, Any]]:
        """Return the attempts of a call, or of a campaign's."""
        own = (call_attempts.c.campaign_id == task_id) | (call_attempts.c.call_id == task_id)
        query = select(call_attempts).where(own).order_by(call_attempts.c.sending_at)
        return [dict(row) for row in parts().database.read(lambda c: c.execute(query).mappings().all())]

    def calls_to(self, numbers: Sequence[str]) -> list[Call]:
        """Return what the simulator knows of calls to these."""
        return [call for call in self.twilio.calls if call.plan.to in set(numbers)]

    def check(self, task_id: str, numbers: Sequence[str], states: Mapping[str, int], rung: int | None = None) -> None:
        """Look that no number rang twice, no order went out twice, everything is known, and counts add up.

        Args:
            task_id: a campaign whose calls are over.
            numbers: its.
            states: how many members ended how.
            rung: how many numbers rang; None: all.
        """
        measures, attempts = self.twilio.measures, self.attempts(task_id)
        times = Counter({number: measures.rung[number] for number in numbers})
        assert set(times.values()) <= {0, 1}, times
        assert times.total() == (len(numbers) if rung is None else rung), times
        posted = {row["id"]: measures.posts_by_attempt[row["id"]] for row in attempts}
        assert set(posted.values()) <= {0, 1}, posted
        made = {call.sid: call.plan.attempt for call in self.calls_to(numbers)}
        assert {row["call_sid"]: row["id"] for row in attempts if row["call_sid"]} == made, "each call is known"
        assert {call.ended for call in self.calls_to(numbers)} <= {True}
        assert max(measures.live_most_by_number[number] for number in numbers) <= 1
        campaign = celery_service.get_campaign(task_id, limit=1_000)
        assert campaign["counts"] == states
        assert sum(states.values()) == campaign["total"] == len(numbers)
        assert campaign["live_calls"] == 0

    def check_single(self, task_id: str, number: str) -> None:
        """Look that a single call was made once, and is known."""
        [call] = self.calls_to([number])
        assert self.twilio.measures.rung[number] == 1
        assert parts().tasks.read(task_id).state == "SUCCESS", parts().tasks.read(task_id)
        assert parts().tasks.read(task_id).result["call_sid"] == call.sid
        attempts = self.attempts(task_id)
        assert {self.twilio.measures.posts_by_attempt[row["id"]] for row in attempts} <= {0, 1}
        assert [row["call_sid"] for row in attempts if row["call_sid"]] == [call.sid]


@contextmanager
def web_application(port: int = 0) -> Iterator[str]:
    """Take webhooks, in threads of this process, on a port, or on a free one; returns where."""
    listener = listen("127.0.0.1", port)
    server = uvicorn.Server(uvicorn.Config(create_app(settings), log_config=None, lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        until(lambda: server.started, what="the web application has started")
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(60)


@contextmanager
def calling(service: CallService) -> Iterator[CallService]:
    """Let an installation call by the simulator, and take its webhooks here."""
    worker = service.installation.worker
    before = worker.command
    with service.twilio, web_application() as base, pytest.MonkeyPatch.context() as patch:
        given = account(twilio_base_url=service.twilio.url, webhook_base_url=base)
        use(given, patch)
        parts().__dict__.pop("voice", None)
        worker.command = [f"{word},held_calls" if word == "service_tasks" else word for word in before]
        try:
            with service.installation.worker_with(HELD_CALLS=str(service.folder), **variables(given)):
                yield service
                worker.command = before
        finally:
            worker.command = before
            parts().__dict__.pop("voice", None)
