"""The telephone exchange: all calls of one account, what the API asks of them, and the queue that they wait in."""

import uuid
from collections import deque
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from functools import partial
from itertools import islice
from random import Random
from typing import Any

from adapters.phone_simulator.callbacks import Callbacks, Send
from adapters.phone_simulator.callees import Callee, callee_of, refusal_of
from adapters.phone_simulator.calls import Call, Direction
from adapters.phone_simulator.course import WAITING, Course
from adapters.phone_simulator.faults import Faults
from adapters.phone_simulator.listing import page
from adapters.phone_simulator.measures import Measures
from adapters.phone_simulator.orders import CallPlan, Form, attempt_of, read_order
from adapters.phone_simulator.refusals import invalid, refusal
from adapters.phone_simulator.timetable import Timetable

QUEUE_LIMIT_SECONDS = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Lines:
    """What an account may do.

    Attributes:
        numbers: that call.
        calls_per_second: how many are dialled in one of the machine's seconds; the others wait.
        live_calls: how many there may be at one instant, inbound ones too; None: any number.
        magic: whether the last digits of a number decide what happens.
        callees: who answers at a number, where the simulator does not decide it.
        kept: how many ended calls are remembered.
    """

    numbers: Collection[str]
    calls_per_second: float = 1.0
    live_calls: int | None = None
    magic: bool = True
    callees: Callable[[str], Callee] | None = None
    kept: int = 100_000


class Exchange:
    """All calls of one account. Every method may be called by any thread.

    Attributes:
        faults: what goes wrong; may be replaced at any time.
        measures: what was counted.

    Args:
        account: `AC…`.
        lines: what it may do.
        timetable: when things happen, and the lock under which they do.
        send: sends a message, and calls back with what came of it, in another thread.
        random: decides what is left to chance.
        told: is called with each step of a call.
        recordings_url: where recordings would be.
    """

    def __init__(
        self,
        account: str,
        lines: Lines,
        timetable: Timetable,
        send: Send,
        random: Random,
        told: Callable[[Call, str], None] = lambda _call, _what: None,
        recordings_url: str = "",
    ) -> None:
        self.account = account
        self.faults = Faults()
        self.measures = Measures()
        self._lines = lines
        self._timetable = timetable
        self._clock = timetable.clock
        self._random = random
        self._told = told
        self._course = Course(
            timetable,
            Callbacks(timetable, lambda: self.faults, random, self.measures, send, self._note),
            self.measures,
            lambda: self.faults,
            send=send,
            note=self._note,
            over=self._keep,
            recordings_url=recordings_url,
        )
        self._calls: dict[str, Call] = {}
        self._by_number: dict[str, deque[Call]] = {}
        self._ended: deque[Call] = deque()
        self._next_dial = 0.0

    def posted(self, form: Form) -> None:
        """Count a create that came, whatever becomes of it."""
        with self._timetable.changed:
            self.measures.posted(attempt_of(form))

    def answered(self, status: int) -> None:
        """Count an answer; 0: it was cut off."""
        with self._timetable.changed:
            self.measures.answers[status] += 1

    def create(self, form: Form) -> Call:
        """Make a call.

        Raises:
            Refusal: there is none.
        """
        with self._timetable.changed:
            plan = read_order(form, self._lines.numbers)
            refused = refusal_of(plan.to) if self._lines.magic else None
            if refused:
                raise refused
            self._check_room()
            call = self._new("outbound-api", plan, self._callee(plan.to))
            wait = self._wait()
            call.queue_seconds = wait / self._clock.speed
            if wait > QUEUE_LIMIT_SECONDS:
                self._course.after(QUEUE_LIMIT_SECONDS, call, partial(self._course.end, call, "canceled"))
            else:
                self._course.after(wait, call, partial(self._course.dial, call))
            return call

    def incoming(self, plan: CallPlan, callee: Callee) -> Call:
        """Let somebody call us.

        Raises:
            Refusal: there are as many calls as there may be.
        """
        with self._timetable.changed:
            self._check_room()
            call = self._new("inbound", plan, callee)
            self._course.come_in(call)
            return call

    def find(self, sid: str) -> Call:
        """Return a call.

        Raises:
            Refusal: there is none, or it is not visible yet.
        """
        with self._timetable.changed:
            call = self._calls.get(sid)
            if call is None or self._age(call) < self.faults.fetch_missing:
                raise refusal(20404)
            return call

    def resource(self, call: Call) -> dict[str, Any]:
        """Return a call as Twilio shows it."""
        with self._timetable.changed:
            return call.resource(self._clock.now())

    def page(self, query: Form) -> dict[str, Any]:
        """Return a page of calls as Twilio shows it.

        Raises:
            Refusal: a value of the query cannot be read.
        """
        with self._timetable.changed:
            return page(self.listed(dict(query).get("To")), query, self.account, self._clock.now())

    def listed(self, to: str | None = None) -> list[Call]:
        """Return the calls that are visible, the newest first.

        Args:
            to: to this number alone; None: all.
        """
        with self._timetable.changed:
            some: Iterable[Call] = self._calls.values() if to is None else self._by_number.get(to, ())
            return [call for call in reversed(list(some)) if self._age(call) >= self.faults.list_lag]

    def seen(self, most: int) -> dict[str, Any]:
        """Return everything that was counted, and the newest calls with their histories.

        Args:
            most: how many calls at most.
        """
        with self._timetable.changed:
            newest = list(islice(reversed(self._calls.values()), most))
            return {**self.measures.as_json(), "calls": [call.seen() for call in newest]}

    def remembered(self) -> list[Call]:
        """Return all calls that are remembered, the oldest first, visible or not."""
        with self._timetable.changed:
            return list(self._calls.values())

    def known(self, sid: str) -> Call | None:
        """Return a call that is remembered, visible or not."""
        with self._timetable.changed:
            return self._calls.get(sid)

    def change(self, sid: str, form: Form) -> Call:
        """End a call, or let it hear something else.

        Raises:
            Refusal: it has ended, there is none, or nothing is asked for.
        """
        with self._timetable.changed:
            call = self.find(sid)
            given = dict(form)
            status = given.get("Status")
            if call.ended or (status is None and call.status != "in-progress"):
                raise refusal(21220)
            if status is None:
                self._course.redirect(call, given)
            elif status == "completed" or (status == "canceled" and call.status in WAITING):
                self._course.end(call, "canceled" if call.status in WAITING else "completed")
            elif status != "canceled":
                raise invalid("Status", "completed or canceled")
            return call

    def _new(self, direction: Direction, plan: CallPlan, callee: Callee) -> Call:
        sid = f"CA{uuid.uuid4().hex}"
        call = Call(sid, self.account, direction, plan, self._clock.date(), self._clock.now(), callee)
        self._calls[sid] = call
        self._by_number.setdefault(plan.to, deque()).append(call)
        self.measures.made(call)
        self._note(call, "queued")
        return call

    def _keep(self, call: Call) -> None:
        """Remember a call that has ended, instead of the oldest one."""
        self._ended.append(call)
        if len(self._ended) > self._lines.kept:
            self._forget(self._ended.popleft())

    def _forget(self, call: Call) -> None:
        del self._calls[call.sid]
        same = self._by_number[call.plan.to]
        same.remove(call)
        if not same:
            del self._by_number[call.plan.to]

    def _check_room(self) -> None:
        if self._lines.live_calls is not None and self.measures.live_now >= self._lines.live_calls:
            raise refusal(10004)

    def _wait(self) -> float:
        """Return how many seconds of phones a new call waits, and take its place."""
        now = self._clock.now()
        start = max(now, self._next_dial)
        self._next_dial = start + self._clock.speed / self._lines.calls_per_second
        return start - now + self.faults.queue_seconds * self._clock.speed

    def _callee(self, number: str) -> Callee:
        if self._lines.callees:
            return self._lines.callees(number)
        return callee_of(number, self._random, magic=self._lines.magic)

    def _age(self, call: Call) -> float:
        """Return the machine's seconds since a call was made."""
        return (self._clock.now() - call.created_at) / self._clock.speed

    def _note(self, call: Call, what: str) -> None:
        call.history.append((self._clock.date(), what))
        self._told(call, what)
