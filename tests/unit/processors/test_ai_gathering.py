"""What waits together is sent together: everybody gets its own answer, whatever happens to the others."""

import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain

import pytest

from processors.ai_gathering import AT_ONCE, Gathering, Sending
from processors.errors import AiError, Cancelled, ProviderBusy
from waiting import until

WAIT = 30


def nothing() -> None:
    """Look, and see nothing."""


class Line:
    """A line at which tests wait; the first requests hold it up until the gate opens."""

    def __init__(self, answer: Callable[[Sequence[str]], Iterator[str]] | None = None, room: int = 100) -> None:
        self.gathering = Gathering[str, str]()
        self.gate = threading.Event()
        self.requests: list[list[str]] = []
        self._answer = answer or (lambda items: (f"<{item}>" for item in items))
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

    def _send(self, items: Sequence[str]) -> Iterator[str]:
        self.requests.append(list(items))
        if items[0].startswith("held"):
            assert self.gate.wait(WAIT)
        return self._answer(items)


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
    def busy(items: Sequence[str]) -> Iterator[str]:
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
    def half(items: Sequence[str]) -> Iterator[str]:
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


def test_the_senders_own_end_lets_the_others_wait_again(threads: ThreadPoolExecutor):
    def ends(items: Sequence[str]) -> Iterator[str]:
        if items[0] == "cancelled":
            raise Cancelled
        yield from items

    line = Line(ends)
    line.hold_up(threads)
    cancelled = threads.submit(line.ask, "cancelled")
    line.waits(1)
    others = [threads.submit(line.ask, item) for item in "ab"]
    line.waits(3)
    line.gate.set()
    assert isinstance(cancelled.exception(WAIT), (Cancelled, type(None)))
    assert [one.result(WAIT) for one in others] == ["a", "b"]


def test_what_was_answered_before_the_senders_own_end_is_not_sent_again(threads: ThreadPoolExecutor):
    first = []

    def ends_after_two(items: Sequence[str]) -> Iterator[str]:
        if len(items) < 4 or first:
            yield from items
            return
        first.extend(items)
        yield from items[:2]
        raise Cancelled

    line = Line(ends_after_two)
    line.hold_up(threads)
    waiting = [threads.submit(line.ask, item) for item in "abcd"]
    line.waits(4)
    line.gate.set()
    outcomes = [one.exception(WAIT) for one in waiting]
    assert all(outcome is None or isinstance(outcome, Cancelled) for outcome in outcomes)
    sent_again = {*chain(*line.requests[AT_ONCE + 1 :])} & set(first[:2])
    assert not sent_again


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


@pytest.mark.parametrize("given", [0, 5])
def test_a_wrong_number_of_answers_lets_nobody_wait_for_ever(given):
    line = Line(lambda items: iter(["x"] * (given or len(items) - 1)))
    with pytest.raises(ValueError, match="zip"):
        line.ask("a")
    assert not line.gathering.lines


def test_items_of_another_key_go_in_another_request():
    gathering = Gathering[str, str]()
    sent: list[list[str]] = []

    def send(items: Sequence[str]) -> list[str]:
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
    """Items of which each has a fate, as chance wills it: good, refused, busy, ends (who sends), leaves (who waits)."""

    def __init__(self, seed: int) -> None:
        self.seed, chances = seed, random.Random(seed)
        fates = ["good"] * 6 + ["refused", "busy", "ends", "leaves"]
        self.of = {str(number): chances.choice(fates) for number in range(200)}
        self.gathering = Gathering[str, "str | AiError"]()
        self.sent, self.may_be_sent = Counter[str](), Counter(dict.fromkeys(self.of, 1))
        self.under_way, self.most = 0, 0
        self._lock = threading.Lock()

    def outcome(self, item: str) -> tuple[str, object]:
        room = random.Random(f"{self.seed}{item}").randint(1, 8)
        sending = Sending("key", lambda items: min(room, len(items)), self._send)
        looks = iter(range(2))

        def look() -> None:
            if self.of[item] == "leaves" and next(looks, None) is None:
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

    def _send(self, items: Sequence[str]) -> Iterator[str | AiError]:
        with self._lock:
            self.under_way += 1
            self.most = max(self.most, self.under_way)
            self.sent.update(items)
            if self.of[items[0]] == "ends":
                self.may_be_sent.update(items[1:])
        try:
            for item in items:
                if self.of[items[0]] == "ends":
                    raise Cancelled
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
    assert not fates.sent - fates.may_be_sent, "only what another one's end broke off is sent again"
    assert not fates.gathering.lines
