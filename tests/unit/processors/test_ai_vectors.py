"""Vectors from providers: packed by limits, shared between tasks, refused one by one, paid once."""

import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from types import SimpleNamespace

import numpy as np
import pytest

import ai_protocol
from ai_ledger import AiClock
from ai_provider import Fault
from ai_work import ENOUGH, SMALL, AiWork
from processors.ai_interfaces import Asker, Embedded, EmbeddingCall, Look, ModelTerms, Serving, Usage
from processors.ai_vectors import Vector, Vectors, Wanted
from processors.embeddings import Place, all_pieces, cut, texts_at
from processors.errors import AiError, Cancelled, Postponed, ProviderBusy, ProviderFault
from waiting import until

PRICES = ModelTerms(input_price=2.0)


class Picky:
    """A provider that refuses what holds the word `bad`, and counts no tokens."""

    def __init__(self, refusal: Exception | None = None) -> None:
        self.refusal = refusal or AiError("a text is bad", "content_filtered")
        self.requests: list[list[str]] = []
        self.seconds: list[float] = []

    def embed(self, call: EmbeddingCall, look: Look) -> Embedded:
        self.requests.append(list(call.inputs))
        self.seconds.append(call.seconds)
        if any("bad" in text for text in call.inputs):
            raise self.refusal
        return Embedded(np.asarray([_of(text) for text in call.inputs]), "picky-1", None)


def _of(text: str) -> np.ndarray:
    return ai_protocol.vector_of(text, 8)


def all_of(vectors: Vectors, texts: Sequence[str], serving: Serving, asker: Asker) -> list[Vector | AiError]:
    return vectors.of_pieces(texts, [serving], None, asker)


def test_vectors_are_exact_and_in_the_order_of_the_texts(work: AiWork):
    serving = work.serving(SMALL, prices=PRICES)
    texts, asker = [f"text {number}" for number in range(30)], work.asker()
    found = Vectors(work.gateway(serving)).of_pieces(texts, [serving], 16, asker)
    for text, vector in zip(texts, found, strict=True):
        assert np.array_equal(vector.values, ai_protocol.vector_of(text, 16))
    assert len(work.provider.asked) == 1
    tokens = sum(vector.usage.input_tokens for vector in found)
    assert work.usage(asker) == (tokens, 0, pytest.approx(2 * tokens / 1e6))
    assert tokens == sum(map(ai_protocol.tokens_of, texts))


def test_one_vector_goes_through_the_store_of_answers_without_losing_a_bit(work: AiWork):
    serving, asker = work.serving(SMALL), work.asker()
    vectors = Vectors(work.gateway(serving))
    once, again = (vectors.of("one", [serving], 5, asker) for _ in range(2))
    assert np.array_equal(once.values, ai_protocol.vector_of("one", 5))
    assert np.array_equal(once.values, again.values)
    assert len(work.provider.asked) == 1
    assert again.of_task is None


def test_a_vector_of_another_task_says_whose_it_is_and_costs_nothing(work: AiWork):
    serving, first, second = work.serving(SMALL, prices=PRICES), work.asker(), work.asker()
    vectors = Vectors(work.gateway(serving, cache_seconds=100))
    assert vectors.of("one", [serving], None, first).cost > 0
    told = vectors.of("one", [serving], None, second)
    assert (told.of_task, told.cost, work.usage(second)) == (first.run.task_id, 0.0, (0, 0, 0))


@pytest.mark.parametrize("code", ["content_filtered", "provider_bad_response", "context_too_long", "too_large"])
def test_a_bad_text_costs_the_others_nothing_but_a_few_requests(work: AiWork, code):
    picky = Picky(AiError("a text is bad", code))
    serving = work.serving(SMALL, picky)
    texts = [f"text {number}" for number in range(64)]
    texts[41] = "bad"
    in_requests = Vectors(work.gateway(serving)).in_requests([[text] for text in texts], [serving], None, work.asker())
    found = [one for answers in in_requests for its in answers for one in its]
    assert [number for number, one in enumerate(found) if isinstance(one, AiError)] == [41]
    assert found[41].code == code
    for text, one in zip(texts, found, strict=True):
        assert isinstance(one, AiError) or np.array_equal(one.values, _of(text))
    assert len(picky.requests) == 13


def test_a_refusal_that_is_no_texts_fault_is_not_asked_again_in_halves(work: AiWork):
    picky = Picky(AiError("no such model", "model_missing"))
    serving = work.serving(SMALL, picky)
    found = all_of(Vectors(work.gateway(serving)), ["bad", "b", "c", "d"], serving, work.asker())
    assert [one.code for one in found] == ["model_missing"] * 4
    assert len(picky.requests) == 1


def test_a_provider_whose_answers_are_none_is_not_asked_for_ever(work: AiWork):
    picky = Picky(AiError("broken JSON", "provider_bad_response"))
    serving = work.serving(SMALL, picky)
    found = all_of(Vectors(work.gateway(serving)), ["bad"] * 2048, serving, work.asker())
    assert {one.code for one in found} == {"provider_bad_response"}
    assert len(picky.requests) <= 130


def test_many_bad_texts_cost_the_others_nothing(work: AiWork):
    serving = work.serving(SMALL, Picky())
    texts = ["bad" if number % 40 == 7 else f"text {number}" for number in range(1024)]
    found = all_of(Vectors(work.gateway(serving)), texts, serving, work.asker())
    assert [isinstance(one, AiError) for one in found] == [text == "bad" for text in texts]


def test_what_the_halves_of_a_request_got_before_room_was_short_is_not_paid_again(work: AiWork):
    picky = Picky()
    serving = work.serving(SMALL, picky, requests_per_minute=8)
    vectors, asker = Vectors(work.gateway(serving)), work.asker()
    texts = [f"text {number}" for number in range(64)]
    texts[41] = "bad"
    found: list[Vector | AiError] = []
    for _ in range(5):
        with suppress(ProviderBusy):
            for answers in vectors.in_requests([[text] for text in texts[len(found) :]], [serving], None, asker):
                found += [one for its in answers for one in its]
        AiClock(work.database).pass_by(61)
        asker = work.new_run(asker)
    assert [number for number, one in enumerate(found) if isinstance(one, AiError)] == [41]
    assert len(found) == 64
    answered = [text for request in picky.requests if "bad" not in request for text in request]
    assert len(answered) == len(set(answered)) == 63


def test_a_request_that_the_tasks_time_would_cut_short_is_left_to_its_next_run(work: AiWork):
    picky = Picky()
    serving = work.serving(SMALL, picky, max_inputs=1)
    in_requests = Vectors(work.gateway(serving)).in_requests(
        [["a"], ["b"]], [serving], None, work.asker(until=time.monotonic() + 0.9)
    )
    assert len(next(in_requests)) == 1
    with pytest.raises(Postponed, match="goes on anew"):
        next(in_requests)
    assert picky.requests == [["a"]]


def test_pieces_for_which_the_tasks_time_is_too_short_are_left_to_its_next_run(
    work: AiWork, monkeypatch: pytest.MonkeyPatch
):
    class Long(Picky):
        def embed(self, call: EmbeddingCall, look: Look) -> Embedded:
            passed.append(ENOUGH - 10)
            return super().embed(call, look)

    long, passed = Long(), list[float]()
    clock = SimpleNamespace(monotonic=lambda: time.monotonic() + sum(passed))
    monkeypatch.setattr("processors.ai_vectors.time", clock)
    serving, asker = work.serving(SMALL, long, max_inputs=1), work.asker()
    vectors = Vectors(work.gateway(serving))
    with pytest.raises(Postponed, match="goes on anew"):
        all_of(vectors, ["a", "b"], serving, asker)
    assert long.requests == [["a"]]
    assert len(all_of(vectors, ["a", "b"], serving, work.new_run(asker))) == 2
    assert long.requests == [["a"], ["b"]]


def test_a_text_all_of_whose_pieces_are_too_long_comes_to_its_end_within_the_limit(work: AiWork):
    class Narrow(Picky):
        def embed(self, call: EmbeddingCall, look: Look) -> Embedded:
            if max(map(len, call.inputs)) > 300:
                self.requests.append(list(call.inputs))
                raise AiError("too long", "context_too_long")
            return super().embed(call, look)

    narrow, text = Narrow(), "".join(f"word {number:3} " for number in range(1_000))
    serving = work.serving(SMALL, narrow, max_inputs=8, requests_per_minute=4)
    vectors, asker, places = Vectors(work.gateway(serving)), work.asker(), cut(text, 100)

    def ask(texts: Sequence[str]) -> list[Vector | AiError]:
        return all_of(vectors, texts, serving, asker)

    found: dict[Place, Vector] = {}
    for _ in range(5):
        with suppress(ProviderBusy):
            found = all_pieces(text, places, ask(texts_at(text, places)), ask)
        AiClock(work.database).pass_by(61)
        asker = work.new_run(asker)
    assert "".join(text[start:end] for start, end in sorted(found)) == text
    answered = [one for request in narrow.requests if max(map(len, request)) <= 300 for one in request]
    assert len(answered) == len(set(answered)) == len(found)


def test_a_wrong_number_of_vectors_is_nobodys_vector(work: AiWork):
    serving = work.serving(SMALL)
    work.provider.next(*[Fault.vectors(lambda data: data[:-1])] * 3)
    found = all_of(Vectors(work.gateway(serving)), ["a", "b"], serving, work.asker())
    assert [one.code for one in found] == ["provider_bad_response"] * 2


def test_what_was_paid_before_room_was_short_is_not_paid_again(work: AiWork):
    serving = work.serving(SMALL, requests_per_minute=1, max_inputs=2)
    vectors, texts, asker = Vectors(work.gateway(serving)), list("abcdef"), work.asker()
    for _ in range(2):
        with pytest.raises(ProviderBusy):
            all_of(vectors, texts, serving, asker)
        asker = work.new_run(asker) if asker.run.number == 1 else asker
        AiClock(work.database).pass_by(61)
    found = all_of(vectors, texts, serving, asker)
    assert work.provider.texts == dict.fromkeys(texts, 1)
    assert [len(one.values) for one in found] == [1536] * 6


def test_what_another_tasks_room_ended_lets_others_ask(work: AiWork):
    serving = work.serving(SMALL, requests_per_minute=1, max_inputs=1)
    vectors = Vectors(work.gateway(serving))
    with pytest.raises(ProviderBusy):
        all_of(vectors, ["a", "b"], serving, work.asker())
    AiClock(work.database).pass_by(130)
    assert vectors.of("b", [serving], None, work.asker()).of_task is None


def test_texts_of_different_tasks_that_wait_together_are_sent_together_and_paid_by_each(work: AiWork):
    begun, goes_on = threading.Semaphore(0), threading.Event()

    class Slow(Picky):
        def embed(self, call: EmbeddingCall, look: Look) -> Embedded:
            if call.inputs[0].startswith("first"):
                begun.release()
                assert goes_on.wait(30)
            answer = super().embed(call, look)
            tokens = 10 * len(call.inputs)
            return Embedded(answer.vectors, answer.model, Usage(input_tokens=tokens))

    slow = Slow()
    serving = work.serving(SMALL, slow, prices=PRICES)
    vectors = Vectors(work.gateway(serving))
    seen = threading.Semaphore(0)
    askers = [work.asker(tenant=str(number), look=seen.release) for number in range(10)]
    with ThreadPoolExecutor(12) as threads:
        first = [threads.submit(vectors.of, f"first {n}", [serving], None, work.asker()) for n in range(2)]
        assert all(begun.acquire(timeout=30) for _ in first)
        together = [threads.submit(vectors.of, f"t{n}", [serving], None, asker) for n, asker in enumerate(askers)]
        assert all(seen.acquire(timeout=30) for _ in range(2 * len(together)))
        goes_on.set()
        for number, one in enumerate(together):
            assert np.array_equal(one.result(30).values, _of(f"t{number}"))
    assert len(slow.requests) <= 4
    assert [work.usage(asker)[0] for asker in askers] == [10] * 10
    assert {one.status for asker in askers for one in asker.attempts} == {"ok"}
    assert [len(asker.attempts) for asker in askers] == [1] * 10


def test_a_request_for_several_tasks_has_the_time_of_the_one_that_has_most(work: AiWork):
    picky = Picky()
    serving = work.serving(SMALL, picky)
    askers = [work.asker(until=time.monotonic() + seconds) for seconds in (2, 50, 3)]
    wanted = [Wanted(f"text {number}", asker) for number, asker in enumerate(askers)]
    assert len(list(Vectors(work.gateway(serving)).embed(wanted, serving, None))) == 3
    assert 40 < picky.seconds[0] <= 50


@pytest.mark.parametrize(
    ("fault", "charged"),
    [
        (AiError("broken JSON", "model_missing", charged=True), True),
        (AiError("no such model", "model_missing"), False),
        (ProviderFault("it timed out", "provider_unavailable", charged=True), True),
        (ProviderFault("it cannot be reached", "provider_unavailable"), False),
    ],
)
def test_what_a_request_for_several_tasks_may_have_cost_is_told_to_each_for_its_own_text(work: AiWork, fault, charged):
    serving = work.serving(SMALL, Picky(fault), prices=PRICES)
    askers = [work.asker(tenant=tenant) for tenant in "abc"]
    wanted = [Wanted("bad " * 10 * (number + 1), asker) for number, asker in enumerate(askers)]
    with suppress(ProviderFault):
        list(Vectors(work.gateway(serving)).embed(wanted, serving, None))
    assert [work.usage(asker)[0] for asker in askers] == ([11, 21, 31] if charged else [0, 0, 0])
    assert [work.usage(asker)[2] for asker in askers] == pytest.approx(
        [2.2e-5, 4.2e-5, 6.2e-5] if charged else [0, 0, 0]
    )


def test_a_text_that_was_sent_by_a_task_which_is_cancelled_meanwhile_is_paid_once(work: AiWork):
    begun, goes_on, cancelled = threading.Semaphore(0), threading.Event(), set[str]()
    tasks: dict[str, Future[Vector]] = {}

    class Slow(Picky):
        def embed(self, call: EmbeddingCall, look: Look) -> Embedded:
            if call.inputs[0].startswith("first"):
                begun.release()
                assert goes_on.wait(30)
            else:
                cancelled.add(call.inputs[0])
                until(tasks[call.inputs[0]].done, 30)
                look()
            return super().embed(call, look)

    def asker(text: str) -> Asker:
        def look() -> None:
            if text in cancelled:
                raise Cancelled

        return work.asker(look=look)

    slow = Slow()
    serving = work.serving(SMALL, slow)
    vectors = Vectors(work.gateway(serving))
    with ThreadPoolExecutor(5) as threads:
        first = [threads.submit(vectors.of, f"first {n}", [serving], None, work.asker()) for n in range(2)]
        assert all(begun.acquire(timeout=30) for _ in first)
        tasks |= {text: threads.submit(vectors.of, text, [serving], None, asker(text)) for text in "abc"}
        until(lambda: sum(len(line.waiting) for line in vectors._gathering.lines.values()) == 3, 30)
        goes_on.set()
        outcomes = {text: task.exception(30) for text, task in tasks.items()}
        (sender,) = cancelled
        assert isinstance(outcomes.pop(sender), Cancelled)
        assert all(np.array_equal(tasks[text].result().values, _of(text)) for text in outcomes)
    assert sorted(map(len, slow.requests)) == [1, 1, 3]


def test_another_provider_of_the_same_model_is_asked_where_one_is_down(work: AiWork):
    down = work.serving(SMALL, Picky(ProviderFault("down", "provider_unavailable")))
    up, asker = work.serving(SMALL), work.asker()
    vector = Vectors(work.gateway(down, up)).of("bad", [down, up], None, asker)
    assert vector.provider == up.terms.name
    assert [one.status for one in asker.attempts] == ["provider_unavailable", "ok"]


def test_pieces_that_one_provider_has_answered_are_not_paid_at_the_next_one_too(work: AiWork):
    first, second = Picky(), Picky()
    limited = work.serving(SMALL, first, max_inputs=2, requests_per_minute=3)
    other, texts = work.serving(SMALL, second), [f"text {number}" for number in range(10)]
    found = Vectors(work.gateway(limited, other)).of_pieces(texts, [limited, other], None, work.asker())
    asked = [[text for request in one.requests for text in request] for one in (first, second)]
    assert asked == [texts[:6], texts[6:]]
    for text, vector in zip(texts, found, strict=True):
        assert np.array_equal(vector.values, _of(text))
