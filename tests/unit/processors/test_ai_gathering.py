"""What waits together is sent together: everybody gets its own answer, whatever happens to the others."""

import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain

import pytest

from ai_work import nothing
from processors.ai_gathering import AT_ONCE, Gathering, Sending
from processors.ai_interfaces import Look
from processors.errors import AiError, Cancelled, ProviderBusy
from waiting import until

WAIT = 30


class Line:
    """A line at which tests wait; the first requests hold it up until the gate opens."""

    def __init__(self, answer: Callable[[Sequence[str], Look], Iterator[str]] | None = None, room: int = 100) -> None:
        self.gathering = Gathering[str, str]()
        self.gate = threading.Event()
        self.requests: list[list[str]] = []
        self._answer = answer or (lambda items, _look: (f"<{item}>" for item in items))
        self._room = room

    @property
    def sending(self) -> Sending[str, str]:
        return Sending("key", lambda items: min(len(items), self._room), self._send)

    def ask(self, item: str, look: Callable[[], None] = nothing) -> str:
        return self.gathering.ask(item, self.sending, look)

    def hold_up(self, threads: ThreadPoolExecutor) -> list[Future[str]]:
        """Let as many requests be under way as may be."""
        held = []
        for number in range(AT_ONCE):
            held.append(threads.submit(self.ask, f"held{number}"))
            until(lambda number=number: len(self.requests) == number + 1, WAIT)
        return held

    def waits(self, count: int) -> None:
        until(lambda: len(self.gathering.lines["key"].waiting) == count, WAIT)

    def _send(self, items: Sequence[str], look: Look) -> Iterator[str]:
        self.requests.append(list(items))
        if items[0].startswith("held"):
            assert self.gate.wait(WAIT)
        return self._answer(items, look)


@pytest.fixture
def threads():
    with ThreadPoolExecutor(40) as pool:
        yield pool


def test_what_is_alone_is_sent_at_once():
    line = Line()
    assert line.ask("a") == "<a>"
    assert line.requests == [["a"]]


def test_what_waits_while_requests_are_under_way_goes_in_the_next_one_together(threads: ThreadPoolExecutor):
    line = Line()
    held = line.hold_up(threads)
    waiting = [threads.submit(line.ask, str(number)) for number in range(9)]
    line.waits(9)
    line.gate.set()
    assert [one.result(WAIT) for one in waiting] == [f"<{number}>" for number in range(9)]
    assert [one.result(WAIT) for one in held] == ["<held0>", "<held1>"]
    assert sorted(chain(*line.requests[AT_ONCE:])) == sorted(map(str, range(9)))
    assert len(line.requests) <= AT_ONCE + 2


def test_no_request_has_more_than_one_can_take_and_a_full_one_waits_for_no_other(threads: ThreadPoolExecutor):
    line = Line(room=4)
    line.hold_up(threads)
    waiting = [threads.submit(line.ask, str(number)) for number in range(10)]
    until(lambda: len(line.requests) == AT_ONCE + 2, WAIT)
    line.waits(2)
    line.gate.set()
    assert [one.result(WAIT) for one in waiting] == [f"<{number}>" for number in range(10)]
    assert max(map(len, line.requests)) <= 4


def test_what_the_provider_says_concerns_all_that_were_sent(threads: ThreadPoolExecutor):
    def busy(items: Sequence[str], _look: Look) -> Iterator[str]:
        if "0" in items:
            raise ProviderBusy("no room", 5)
        yield from items

    line = Line(busy)
    line.hold_up(threads)
    waiting = [threads.submit(line.ask, str(number)) for number in range(3)]
    line.waits(3)
    line.gate.set()
    errors = [one.exception(WAIT) for one in waiting]
    together = next(items for items in line.requests if "0" in items)
    assert all(isinstance(errors[int(item)], ProviderBusy) for item in together)


def test_what_was_answered_before_an_error_stays_answered(threads: ThreadPoolExecutor):
    def half(items: Sequence[str], _look: Look) -> Iterator[str]:
        for number, item in enumerate(items):
            if number == 1:
                raise ProviderBusy("no room", 5)
            yield item

    line = Line(half)
    line.hold_up(threads)
    waiting = [threads.submit(line.ask, item) for item in "abc"]
    line.waits(3)
    line.gate.set()
    outcomes = {item: one.exception(WAIT) for item, one in zip("abc", waiting, strict=True)}
    for items in line.requests[AT_ONCE:]:
        assert [type(outcomes[item]) for item in items] == [type(None), *[ProviderBusy] * (len(items) - 1)]


class Cancellations:
    """Tasks of which each may be cancelled at any moment."""

    def __init__(self) -> None:
        self.of: set[str] = set()

    def look(self, item: str) -> Look:
        def look() -> None:
            if item in self.of:
                raise Cancelled(item)

        return look


def test_a_request_goes_on_for_the_others_whose_sender_is_cancelled(threads: ThreadPoolExecutor):
    cancellations, tasks = Cancellations(), dict[str, Future[str]]()

    def answer(items: Sequence[str], _look: Look) -> Iterator[str]:
        if not items[0].startswith("held"):
            cancellations.of.add(items[0])
            until(tasks[items[0]].done, WAIT, "the sender's task ends before the request does")
        yield from items

    line = Line(answer)
    line.hold_up(threads)
    tasks |= {item: threads.submit(line.ask, item, cancellations.look(item)) for item in "abc"}
    line.waits(3)
    line.gate.set()
    outcomes = {item: task.exception(WAIT) for item, task in tasks.items()}
    (sent,) = line.requests[AT_ONCE:]
    assert sorted(sent) == ["a", "b", "c"]
    assert isinstance(outcomes.pop(sent[0]), Cancelled)
    assert [tasks[item].result() for item in outcomes] == list(outcomes)


@pytest.mark.parametrize("count", [1, 3])
def test_a_request_ends_once_nobody_waits_for_it_any_more(count, threads: ThreadPoolExecutor):
    cancellations, ended = Cancellations(), threading.Event()

    def answer(items: Sequence[str], look: Look) -> Iterator[str]:
        if not items[0].startswith("held"):
            cancellations.of.update(items)
            try:
                until(look, WAIT)
            finally:
                ended.set()
        yield from items

    line = Line(answer)
    line.hold_up(threads)
    tasks = [threads.submit(line.ask, item, cancellations.look(item)) for item in "abc"[:count]]
    line.waits(count)
    line.gate.set()
    assert all(isinstance(task.exception(WAIT), Cancelled) for task in tasks)
    assert ended.wait(WAIT)
    assert len(line.requests) == AT_ONCE + 1


def test_who_is_cancelled_while_it_waits_is_not_sent(threads: ThreadPoolExecutor):
    line, over = Line(), threading.Event()

    def look() -> None:
        if over.is_set():
            raise Cancelled

    line.hold_up(threads)
    cancelled = threads.submit(line.ask, "cancelled", look)
    line.waits(1)
    over.set()
    assert isinstance(cancelled.exception(WAIT), Cancelled)
    line.gate.set()
    assert line.ask("a") == "<a>"
    assert "cancelled" not in [*chain(*line.requests)]


def test_where_no_thread_can_be_started_all_that_were_to_go_are_told_and_the_next_ones_go(
    threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
):
    class Refused(threading.Thread):
        def start(self) -> None:
            raise RuntimeError("can't start new thread")

    line, cancellations = Line(), Cancellations()
    held = line.hold_up(threads)
    waiting = [threads.submit(line.ask, item, cancellations.look(item)) for item in "abc"]
    line.waits(3)
    with monkeypatch.context() as context:
        context.setattr(threading, "Thread", Refused)
        line.gate.set()
        try:
            assert {str(one.exception(WAIT)) for one in waiting} == {"can't start new thread"}
        finally:
            cancellations.of.update("abc")
    assert line.ask("d") == "<d>"
    for one in held:
        one.result(WAIT)
    assert not line.gathering.lines


@pytest.mark.parametrize("given", [0, 5])
def test_a_wrong_number_of_answers_lets_nobody_wait_for_ever(given):
    line = Line(lambda items, _look: iter(["x"] * (given or len(items) - 1)))
    with pytest.raises(ValueError, match="zip"):
        line.ask("a")
    assert not line.gathering.lines


def test_items_of_another_key_go_in_another_request():
    gathering = Gathering[str, str]()
    sent: list[list[str]] = []

    def send(items: Sequence[str], _look: Look) -> list[str]:
        sent.append(list(items))
        if items == ["a"]:  # while that is under way
            assert gathering.ask("b", Sending("second", len, send), nothing) == "b"
        return list(items)

    assert gathering.ask("a", Sending("first", len, send), nothing) == "a"
    assert sent == [["a"], ["b"]]


def test_a_line_is_forgotten_with_the_last_one_that_waits_at_it():
    line = Line(room=1)
    line.ask("a")
    assert not line.gathering.lines


class Fates:
    """Items of which each has a fate, as chance wills it: good, refused, busy, ends (once sent), leaves (early)."""

    def __init__(self, seed: int) -> None:
        self.seed, chances = seed, random.Random(seed)
        fates = ["good"] * 6 + ["refused", "busy", "ends", "leaves"]
        self.of = {str(number): chances.choice(fates) for number in range(200)}
        self.gathering = Gathering[str, "str | AiError"]()
        self.sent = Counter[str]()
        self.under_way, self.most = 0, 0
        self._lock = threading.Lock()

    def outcome(self, item: str) -> tuple[str, object]:
        room = random.Random(f"{self.seed}{item}").randint(1, 8)
        sending = Sending("key", lambda items: min(room, len(items)), self._send)
        looks = iter(range(2))

        def look() -> None:
            if self.of[item] == "leaves" and next(looks, None) is None:
                raise Cancelled
            if self.of[item] == "ends" and self.sent[item]:
                raise Cancelled

        try:
            return item, self.gathering.ask(item, sending, look)
        except (ProviderBusy, Cancelled) as error:
            return item, error

    def is_its_own(self, item: str, outcome: object) -> bool:
        if isinstance(outcome, Cancelled):
            return self.of[item] in {"ends", "leaves"}
        if isinstance(outcome, ProviderBusy):  # it concerns all that are sent with who is busy
            return self.of[str(outcome)] == "busy"
        return (str(outcome), isinstance(outcome, AiError)) == (item, self.of[item] == "refused")

    def _send(self, items: Sequence[str], look: Look) -> Iterator[str | AiError]:
        with self._lock:
            self.under_way += 1
            self.most = max(self.most, self.under_way)
            self.sent.update(items)
        try:
            for item in items:
                look()
                if self.of[item] == "busy":
                    raise ProviderBusy(item, 1)
                yield AiError(item, "content_filtered") if self.of[item] == "refused" else item
        finally:
            with self._lock:
                self.under_way -= 1


@pytest.mark.parametrize("seed", range(5))
def test_everybody_gets_its_own_answer_or_error_whatever_happens(seed: int, threads: ThreadPoolExecutor):
    fates = Fates(seed)
    outcomes = [one.result(WAIT) for one in [threads.submit(fates.outcome, item) for item in fates.of]]
    assert [item for item, outcome in outcomes if not fates.is_its_own(item, outcome)] == []
    assert fates.most <= AT_ONCE
    assert max(fates.sent.values()) == 1, "nothing is paid twice"
    assert not fates.gathering.lines
