"""A provider of phone calls in memory, which makes and loses calls as a test tells it."""

import threading
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from typing import Any

from processors.call_errors import BY_CODE, Meaning
from processors.call_interfaces import (
    CallInDoubt,
    CallNotFound,
    CallNotTaken,
    CallOrder,
    CallRefused,
    CallSeen,
    CallsHalted,
    PlacedCall,
)
from processors.call_states import ENDS
from processors.errors import TransientError


def error_of(code: int, meaning: Meaning, number: str = "+1555") -> Exception:
    """Return what a provider raises that answers an order with a code."""
    match meaning.kind:
        case "refused":
            return CallRefused(f"refused: {meaning.why}", code, retry_once=meaning.retry_once)
        case "halted":
            return CallsHalted(f"halted: {meaning.why}", code, country=number[1:3] if meaning.country else None)
        case "not_taken":
            return CallNotTaken(f"not taken: {meaning.why}", too_many_live=meaning.too_many_live)
        case "in_doubt":
            return CallInDoubt(f"in doubt: {meaning.why}")


class FakeProvider:
    """Fulfils `processors.call_interfaces.VoiceProvider`.

    A number that ends with a code of `call_errors` is refused with it; all others get a call, which goes on until
    `end` is called.

    Attributes:
        orders: all that came.
        answers: what the next orders come to: an error, which is raised; with `made` before it, after a call was made.
        queue_seconds: how long each call waits before it rings.
        calls: all that were made, by their names, as they stand.
        hidden, missing: names of calls that are in no list; that are not found.
        reads: an error that every look raises.
        live_most: the most live calls at one instant.
    """

    def __init__(self, account: str = "AC1", deadline: float = 10.0) -> None:
        self.account, self.deadline = account, deadline
        self.orders: list[CallOrder] = []
        self.answers: deque[BaseException | tuple[str, BaseException]] = deque()
        self.always: BaseException | None = None
        self.queue_seconds = 0.0
        self.calls: dict[str, CallSeen] = {}
        self.hidden, self.missing = set[str](), set[str]()
        self.reads: Exception | None = None
        self.ended: list[str] = []
        self.looks: Counter[str] = Counter()
        self.live_most = 0
        self._lock, self._numbers = threading.Lock(), count(1)

    def create_call(self, order: CallOrder) -> PlacedCall:
        with self._lock:
            self.orders.append(order)
            answer = self.answers.popleft() if self.answers else self.always
            code = next((one for one in (int(order.to_number[-6:]), int(order.to_number[-5:])) if one in BY_CODE), None)
            if answer is None and code is not None:
                answer = error_of(code, BY_CODE[code], order.to_number)
            if isinstance(answer, BaseException):
                raise answer
            sid = self._made(order)
            if answer is not None:
                raise answer[1]
            return PlacedCall(sid, "queued", self.queue_seconds)

    def fetch_call(self, sid: str) -> CallSeen:
        self._look("fetch")
        if sid not in self.calls or sid in self.missing:
            raise CallNotFound(f"There is no call {sid}, now.")
        return self.calls[sid]

    def list_calls(self, *, to_number: str, from_number: str, limit: int = 100) -> Sequence[CallSeen]:
        self._look("list")
        own = [
            one
            for one in self.calls.values()
            if (one.to_number, one.from_number) == (to_number, from_number) and one.sid not in self.hidden
        ]
        return own[::-1][:limit]

    def end_call(self, sid: str) -> CallSeen:
        self._look("end")
        if sid not in self.calls or sid in self.missing:
            raise CallNotFound(f"There is no call {sid}, now.")
        self.ended.append(sid)
        if self.calls[sid].status not in ENDS:
            self.end(sid, "completed" if self.calls[sid].status == "in-progress" else "canceled")
        return self.calls[sid]

    def is_authentic(self, url: str, form: Sequence[tuple[str, str]] | bytes, signature: str) -> bool:
        return signature == f"signed {url}"

    def add(self, to_number: str, from_number: str, **more: Any) -> str:
        """Make a call that nobody here has ordered."""
        sid = f"CA{next(self._numbers):032x}"
        seen = CallSeen(sid, "queued", to_number, from_number, "outbound-api", datetime.now(UTC))
        self.calls[sid] = replace(seen, **more)
        return sid

    def move(self, sid: str, status: str) -> None:
        """Let a call go on."""
        self.calls[sid] = replace(self.calls[sid], status=status)

    def end(self, sid: str, status: str = "completed", seconds: int = 20) -> None:
        """Let a call end."""
        duration = seconds if status == "completed" else None
        self.calls[sid] = replace(self.calls[sid], status=status, duration_seconds=duration, ended_at=datetime.now(UTC))

    def live(self) -> list[str]:
        """Return the names of the calls that go on."""
        return [sid for sid, one in list(self.calls.items()) if one.status not in ENDS]

    def rung(self) -> Counter[str]:
        """Return how many calls each number got."""
        return Counter(one.to_number for one in self.calls.values())

    def _made(self, order: CallOrder) -> str:
        sid = self.add(order.to_number, order.from_number)
        self.live_most = max(self.live_most, len(self.live()))
        return sid

    def _look(self, what: str) -> None:
        self.looks[what] += 1
        if self.reads is not None:
            raise self.reads


NOT_NOW = TransientError("It does not answer now.")
