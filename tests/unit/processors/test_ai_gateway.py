"""The gateway: room is taken and given back, pauses hold for all, equal requests are paid once, attempts are told."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from ai_ledger import AiClock
from ai_work import CHAT, OTHER_CHAT, AiWork, Says, later, said
from processors import ai_chats
from processors.ai_chats import Prompt, Said
from processors.ai_gateway import FAILURES_IN_A_ROW, Gateway, cost_of, digest_of, first_that_answers, seconds_for
from processors.ai_interfaces import Asker, ChatAnswer, Look, ModelTerms, Serving, Usage
from processors.ai_routes import Routes
from processors.errors import AiError, Cancelled, Postponed, ProviderBusy, ProviderFault

PRICES = ModelTerms(input_price=1.0, output_price=10.0)


def chat(gateway: Gateway, asker: Asker, text: str = "hello", servings: list[Serving] | None = None) -> Said:
    prompt = Prompt([{"role": "user", "content": text}], {})
    return ai_chats.ask(gateway, servings or list(gateway.routes.servings), lambda _: prompt, asker, None)


def test_a_call_is_settled_with_what_the_provider_counted_and_told_as_an_attempt(work: AiWork):
    serving, asker = work.serving(prices=PRICES, currency="EUR"), work.asker()
    said = chat(work.gateway(serving), asker)
    assert said.answer.text == "echo: hello"
    assert work.usage(asker) == (said.usage.input_tokens, said.usage.output_tokens, pytest.approx(said.cost))
    assert said.cost == pytest.approx((said.usage.input_tokens + 10 * said.usage.output_tokens) / 1e6)
    assert [line.currency for line in work.ledger.of_task(asker.run.task_id)] == ["EUR"]
    (attempt,) = asker.attempts
    assert (attempt.provider, attempt.model, attempt.status) == (serving.terms.name, CHAT, "ok")


def test_without_room_a_task_comes_back_when_its_place_is_there_and_nothing_is_sent(work: AiWork):
    gateway = work.gateway(work.serving(requests_per_minute=1))
    chat(gateway, work.asker(), "first")
    with pytest.raises(ProviderBusy) as busy:
        chat(gateway, work.asker(), "second")
    assert 55 < busy.value.retry_after <= 60
    assert len(work.provider.asked) == 1


def test_a_cancellation_while_a_task_waits_for_room_gives_the_room_back(work: AiWork):
    serving = work.serving(requests_per_minute=1)
    gateway = work.gateway(serving, patience=5)
    chat(gateway, work.asker(), "first")
    AiClock(work.database).pass_by(58)
    before = len(work.provider.asked)
    with pytest.raises(Cancelled):
        chat(gateway, work.asker(look=_cancel))
    assert len(work.provider.asked) == before
    AiClock(work.database).pass_by(3)
    assert chat(gateway, work.asker(), "third").answer.text == "echo: third"


def test_a_call_that_a_cancellation_ends_keeps_its_room_because_it_may_be_paid(work: AiWork):
    serving = work.serving(adapter=Says(Cancelled()), requests_per_minute=1)
    with pytest.raises(Cancelled):
        chat(work.gateway(serving), work.asker())
    with pytest.raises(ProviderBusy):
        chat(work.gateway(serving), work.asker(), "another")


@pytest.mark.parametrize(("told", "seconds"), [(7.0, 7.0), (None, 5.0), (0.0, 0.5), (1e300, 86_400.0)])
def test_a_429_pauses_the_account_for_all_for_as_long_as_it_says_and_never_not_at_all_or_for_ever(
    work: AiWork, told, seconds
):
    limited = ProviderFault("too many", "provider_rate_limited", told)
    adapter = Says(limited)
    gateway, asker = work.gateway(work.serving(adapter=adapter)), work.asker()
    with pytest.raises(ProviderBusy, match="too many") as busy:
        chat(gateway, asker)
    assert busy.value.retry_after == seconds
    with pytest.raises(ProviderBusy, match="too many") as busy:
        chat(gateway, work.asker(), "another")
    assert busy.value.retry_after == pytest.approx(seconds, rel=0.2, abs=0.2)
    assert len(adapter.calls) == 1
    assert [(one.status, one.retry_after) for one in asker.attempts] == [("provider_rate_limited", told)]


def test_a_refused_key_lets_tasks_wait_and_only_one_at_a_time_tries_it_again(work: AiWork):
    adapter = Says(ProviderFault("bad key", "provider_auth"))
    gateway = work.gateway(work.serving(adapter=adapter))
    for text in ("a", "b", "c"):
        with pytest.raises(ProviderBusy, match="bad key"):
            chat(gateway, work.asker(), text)
    assert len(adapter.calls) == 1
    AiClock(work.database).pass_by(61)
    adapter.answers = [said("works again")]
    assert chat(gateway, work.asker(), "d").answer.text == "works again"
    assert chat(gateway, work.asker(), "e").answer.text == "works again"


def test_failures_in_a_row_pause_the_provider_and_are_the_tasks_own_attempts(work: AiWork):
    adapter = Says(ProviderFault("down", "provider_unavailable"))
    gateway = work.gateway(work.serving(adapter=adapter))
    for number in range(FAILURES_IN_A_ROW):
        with pytest.raises(ProviderFault, match="down"):
            chat(gateway, work.asker(), str(number))
    with pytest.raises(ProviderBusy, match="down"):
        chat(gateway, work.asker(), "paused")
    assert len(adapter.calls) == FAILURES_IN_A_ROW


def test_requests_that_a_provider_does_not_answer_are_no_more_than_its_limit(work: AiWork):
    adapter = Says(ProviderFault("down", "provider_unavailable"))
    gateway = work.gateway(work.serving(adapter=adapter, requests_per_minute=2))
    for number in range(4):
        with pytest.raises((ProviderFault, ProviderBusy)):
            chat(gateway, work.asker(), str(number))
    assert len(adapter.calls) == 2


@pytest.mark.parametrize(
    ("error", "cost"),
    [
        (ProviderFault("it timed out", "provider_unavailable", charged=True), 1024 * 10 / 1e6),
        (ProviderFault("nobody listens", "provider_unavailable"), 0),
        (ProviderFault("too many", "provider_rate_limited"), 0),
        (AiError("broken JSON", "provider_bad_response", charged=True), 1024 * 10 / 1e6),
        (AiError("no such parameter", "provider_bad_response"), 0),
    ],
    ids=str,
)
def test_a_call_without_an_answer_costs_what_was_planned_unless_it_was_refused(work: AiWork, error, cost):
    serving = work.serving(adapter=Says(error), prices=ModelTerms(input_price=0.0, output_price=10.0))
    asker = work.asker()
    with pytest.raises((ProviderFault, ProviderBusy, AiError)):
        chat(work.gateway(serving), asker)
    (account,) = [one for one in work.ledger.accounts() if one.account == serving.terms.account]
    assert account.cost_today == pytest.approx(cost)
    assert work.usage(asker)[2] == pytest.approx(cost)
    assert all(line.estimated for line in work.ledger.of_task(asker.run.task_id) if cost)


def test_many_failures_at_once_are_the_first_pause_and_not_the_longest(work: AiWork):
    together = threading.Barrier(12)

    def down(_look: Look) -> ChatAnswer:
        together.wait(30)
        raise ProviderFault("down", "provider_unavailable")

    gateway = work.gateway(work.serving(adapter=Says(down)))
    askers = [work.asker() for _ in range(12)]
    with ThreadPoolExecutor(12) as threads:
        asked = [threads.submit(chat, gateway, asker, str(number)) for number, asker in enumerate(askers)]
        assert all(isinstance(one.exception(30), ProviderFault) for one in asked)
    with pytest.raises(ProviderBusy, match="down") as busy:
        chat(gateway, work.asker(), "paused")
    assert busy.value.retry_after <= 11


def test_while_one_call_tries_after_a_pause_its_failure_lets_nobody_slip_through(work: AiWork):
    """The pause is renewed before the room is given back: else a call would go out between the two."""
    serving = work.serving(adapter=Says(ProviderFault("bad key", "provider_auth")))
    order: list[str] = []

    class Watched:
        ask, settle = work.ledger.ask, work.ledger.settle

        def pause(self, *values: object) -> None:
            order.append("pause")

        def release(self, leave: object) -> None:
            order.append("release")

    gateway = Gateway(Routes([serving]), Watched(), work.answers)
    with pytest.raises(ProviderBusy):
        chat(gateway, work.asker())
    assert order == ["pause", "release"]


def test_a_refusal_counts_as_a_request_and_costs_nothing(work: AiWork):
    refusal = AiError("no", "content_filtered")
    serving = work.serving(adapter=Says(refusal), prices=PRICES, requests_per_minute=1)
    asker = work.asker()
    with pytest.raises(AiError, match="no"):
        chat(work.gateway(serving), asker)
    assert work.usage(asker) == (0, 0, 0)
    assert [one.status for one in asker.attempts] == ["content_filtered"]
    with pytest.raises(ProviderBusy):
        chat(work.gateway(serving), work.asker(), "another")


def test_a_day_s_budget_refuses_the_call_that_would_be_over_it_before_it_is_sent(work: AiWork):
    gateway = work.gateway(work.serving(prices=ModelTerms(1.0, 1000.0), budget_per_day=0.5))
    with pytest.raises(AiError) as error:
        chat(gateway, work.asker())
    assert error.value.code == "budget_exceeded"
    assert not work.provider.asked


def test_equal_requests_of_two_tasks_in_flight_are_paid_once(work: AiWork):
    begun, goes_on = threading.Event(), threading.Event()

    def answer(_look: Look) -> ChatAnswer:
        begun.set()
        assert goes_on.wait(30)
        return said("once")

    adapter = Says(answer)
    gateway = work.gateway(work.serving(adapter=adapter, prices=PRICES), patience=30)
    first, second = work.asker(), work.asker(look=goes_on.set)  # the second one looks: it waits for the first
    with ThreadPoolExecutor(2) as threads:
        one = threads.submit(chat, gateway, first)
        assert begun.wait(30)
        two = threads.submit(chat, gateway, second)
        assert (one.result(30).answer.text, two.result(30).answer.text) == ("once", "once")
    assert len(adapter.calls) == 1
    assert (one.result().of_task, two.result().of_task) == (None, first.run.task_id)
    assert (two.result().cost, work.usage(second)) == (0.0, (0, 0, 0))


def test_a_task_that_waits_for_the_answer_of_another_asks_no_fallback_meanwhile(work: AiWork):
    serving, fallback = work.serving(), work.serving(OTHER_CHAT)
    gateway = work.gateway(serving, fallback, patience=0.1)
    digest = digest_of("chat", serving, None, [[{"role": "user", "content": "hello"}], {}, None])
    assert gateway.begin(digest, work.asker()) is None
    with pytest.raises(Postponed, match="asks for the same now") as waits:
        chat(gateway, work.asker(), servings=[serving, fallback])
    assert not isinstance(waits.value, ProviderBusy)
    assert not work.provider.asked


def test_a_task_whose_run_died_after_the_answer_was_kept_reuses_it(work: AiWork):
    gateway, asker = work.gateway(work.serving()), work.asker()
    first = chat(gateway, asker)
    second = chat(gateway, work.new_run(asker))
    assert len(work.provider.asked) == 1
    assert (second.answer.text, second.of_task) == (first.answer.text, None)


def test_a_run_that_died_before_its_answer_was_kept_holds_up_nobody(work: AiWork):
    serving, asker = work.serving(), work.asker()
    gateway = work.gateway(serving)
    digest = digest_of("chat", serving, None, [[{"role": "user", "content": "hello"}], {}, None])
    assert gateway.begin(digest, asker) is None
    assert chat(gateway, work.new_run(asker)).answer.text == "echo: hello"


def test_other_tenants_answers_are_not_shared(work: AiWork):
    gateway = work.gateway(work.serving(), cache_seconds=1000)
    for tenant in ("a", "b", None):
        assert chat(gateway, work.asker(tenant=tenant, created_at=later(-10))).of_task is None
    assert len(work.provider.asked) == 3


@pytest.mark.parametrize(("cache_seconds", "requests"), [(0, 2), (1000, 1)])
def test_later_tasks_share_an_answer_only_where_the_cache_is_on(work: AiWork, cache_seconds, requests):
    gateway = work.gateway(work.serving(), cache_seconds=cache_seconds)
    first = work.asker()
    chat(gateway, first)
    work.end(first)
    chat(gateway, work.asker(created_at=later(10)))
    assert len(work.provider.asked) == requests


def test_an_answer_that_failed_or_was_cut_is_given_to_nobody_else(work: AiWork):
    adapter = Says(AiError("no", "content_filtered"), said("cu", "length"), said())
    gateway = work.gateway(work.serving(adapter=adapter), cache_seconds=1000)
    with pytest.raises(AiError):
        chat(gateway, work.asker())
    assert chat(gateway, work.asker()).answer.text == "cu"
    assert chat(gateway, work.asker()).answer.text == "yes"


def test_a_task_with_no_time_left_asks_nobody_and_the_provider_is_not_blamed(work: AiWork):
    adapter = Says(said())
    gateway = work.gateway(work.serving(adapter=adapter))
    with pytest.raises(AiError, match="AI_TASK_SOFT_TIME_LIMIT") as error:
        chat(gateway, work.asker(until=time.monotonic() + 0.5))
    assert (error.value.code, adapter.calls) == ("timeout", [])


def test_a_call_may_take_what_the_provider_has_or_what_the_task_has_left(work: AiWork):
    assert seconds_for(work.serving(call_seconds=5), work.asker()) == 5
    assert 9 < seconds_for(work.serving(call_seconds=50), work.asker(until=time.monotonic() + 10)) <= 10


def test_the_first_that_answers_is_taken_and_every_other_one_is_an_attempt(work: AiWork):
    down = work.serving(adapter=Says(ProviderFault("down", "provider_unavailable")))
    small = work.serving(adapter=Says(AiError("too long", "context_too_long")))
    asker = work.asker()
    said = chat(work.gateway(), asker, servings=[down, small, work.serving()])
    assert said.answer.text == "echo: hello"
    assert [one.status for one in asker.attempts] == ["provider_unavailable", "context_too_long", "ok"]


def test_a_refusal_that_another_one_could_not_cure_ends_the_search(work: AiWork):
    never = Says(said())
    filtered = work.serving(adapter=Says(AiError("no", "content_filtered")))
    with pytest.raises(AiError, match="no"):
        chat(work.gateway(), work.asker(), servings=[filtered, work.serving(adapter=never)])
    assert never.calls == []


def test_where_nobody_answers_the_soonest_room_counts_then_a_fault_then_the_first_refusal():
    busy = [ProviderBusy("later", 50), ProviderBusy("soon", 5)]
    fault, refusal = ProviderFault("down", "provider_unavailable"), AiError("too long", "context_too_long")

    def outcome(*errors: Exception) -> Exception:
        def ask(number: Serving) -> None:
            raise errors[int(number)]

        with pytest.raises(type(errors[0]) if len(errors) == 1 else Exception) as raised:
            first_that_answers(range(len(errors)), ask, {"context_too_long"})
        return raised.value

    assert outcome(refusal, fault, *busy) is busy[1]
    assert outcome(refusal, fault) is fault
    assert outcome(refusal) is refusal


def test_a_cost_is_unknown_only_where_a_price_is_needed():
    assert cost_of(ModelTerms(), Usage(1, 0)) is None
    assert cost_of(ModelTerms(input_price=2.0), Usage(1_000_000, 0)) == 2.0
    assert cost_of(ModelTerms(input_price=2.0), Usage(1, 1)) is None


def _cancel() -> None:
    raise Cancelled
