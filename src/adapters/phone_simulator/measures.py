"""What is counted, so that promises about calls can be checked from outside."""

import time
from collections import Counter, deque
from typing import Any

from adapters.phone_simulator.calls import Call


class Measures:
    """Counters over the whole life of the simulator; calls that are forgotten stay counted.

    Attributes:
        live_now, live_most: calls that were made and have not ended, inbound ones too; the most at one instant.
        live_most_by_number: the most at one instant, by the number that is not ours.
        queued_now, queued_most: calls that wait in Twilio's queue; the most at one instant.
        posts: how many creates came, refused ones too.
        posts_most_in_a_second: the most that came within any second of the machine.
        posts_by_attempt: how many came by the key `attempt` of their URLs.
        calls, calls_by_attempt: how many calls were made.
        rung: how often a number was dialled.
        ended: how many calls ended, by status.
        answers: how many requests were answered, by HTTP status; 0: cut off on purpose.
        documents, callbacks: how many webhooks were sent for TwiML, and to tell something (lost ones not counted).
        callbacks_failed: how many callbacks were not taken, after all retries.
    """

    def __init__(self) -> None:
        self.live_now = self.live_most = 0
        self.live_most_by_number: Counter[str] = Counter()
        self.queued_now = self.queued_most = 0
        self.posts = self.posts_most_in_a_second = 0
        self.posts_by_attempt: Counter[str] = Counter()
        self.calls = 0
        self.calls_by_attempt: Counter[str] = Counter()
        self.rung: Counter[str] = Counter()
        self.ended: Counter[str] = Counter()
        self.answers: Counter[int] = Counter()
        self.documents = self.callbacks = self.callbacks_failed = 0
        self._live_by_number: Counter[str] = Counter()
        self._recent: deque[float] = deque()

    def posted(self, attempt: str) -> None:
        """Count a create that came."""
        now = time.monotonic()
        self.posts += 1
        if attempt:
            self.posts_by_attempt[attempt] += 1
        self._recent.append(now)
        while self._recent[0] <= now - 1.0:
            self._recent.popleft()
        self.posts_most_in_a_second = max(self.posts_most_in_a_second, len(self._recent))

    def made(self, call: Call) -> None:
        """Count a call that was made, and waits in the queue."""
        self.calls += 1
        if call.plan.attempt:
            self.calls_by_attempt[call.plan.attempt] += 1
        self.live_now += 1
        self.live_most = max(self.live_most, self.live_now)
        number = call.other_number
        self._live_by_number[number] += 1
        self.live_most_by_number[number] = max(self.live_most_by_number[number], self._live_by_number[number])
        self.queued_now += 1
        self.queued_most = max(self.queued_most, self.queued_now)

    def left_queue(self, call: Call) -> None:
        """Count a call that is dialled."""
        self.queued_now -= 1
        if call.direction == "outbound-api":
            self.rung[call.plan.to] += 1

    def over(self, call: Call, *, queued: bool) -> None:
        """Count a call that ended.

        Args:
            call: with its last status.
            queued: whether it waited in the queue until then.
        """
        self.live_now -= 1
        self.queued_now -= queued
        self.ended[call.status] += 1
        number = call.other_number
        self._live_by_number[number] -= 1
        if not self._live_by_number[number]:
            del self._live_by_number[number]

    def as_json(self) -> dict[str, Any]:
        """Return all counters."""
        counted = {name: value for name, value in vars(self).items() if not name.startswith("_")}
        return {name: value.copy() if isinstance(value, dict) else value for name, value in counted.items()}
