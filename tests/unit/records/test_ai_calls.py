"""AI accounts: pauses, trials, budgets and learned limits; and what calls took is told."""

from datetime import UTC, datetime, time, timedelta

import pytest
from sqlalchemy import event, select, update

from ai_ledger import AiClock, plan, settled, share
from processors.ai_gateway import NOTHING
from processors.ai_interfaces import Leave, LimitNews, NoRoom, Usage
from processors.errors import AiError
from processors.interfaces import Run
from records import schema, upgrading
from records.ai_accounts import ai_accounts
from records.ai_answers import AiAnswers
from records.ai_calls import AiCalls
from records.ai_window import ai_calls, columns
from records.database import Database
from records.task_records import Draft, TaskRecords


@pytest.fixture
def ledger(database: Database) -> AiCalls:
    return AiCalls(database)


@pytest.fixture
def passing(database: Database) -> AiClock:
    return AiClock(database)


def test_a_pause_holds_for_its_time_and_is_spread_by_a_tenth(ledger, passing):
    ledger.pause("openai:1", "provider_rate_limited", 100, "openai asks for a pause.")
    ledger.pause("openai:1", "provider_unavailable", 5, "a shorter one")
    told = [ledger.ask(plan(f"t{number}")) for number in range(9)]
    assert {(one.why, one.text) for one in told} == {("provider_rate_limited", "openai asks for a pause.")}
    assert all(99 < one.seconds <= 110 for one in told)
    assert len({round(one.seconds, 3) for one in told}) > 1
    passing.pass_by(100)
    assert isinstance(ledger.ask(plan("a")), Leave)


def test_after_a_pause_one_call_at_a_time_tries_until_one_is_answered(ledger, passing):
    ledger.pause("openai:1", "provider_auth", 10, "The key is refused.")
    passing.pass_by(10)
    many = {"requests_per_minute": 100}
    first = ledger.ask(plan("a", **many))
    told = ledger.ask(plan("b", **many))
    assert (told.why, told.text) == ("provider_auth", "The key is refused.")
    assert told.seconds < 5

    ledger.release(first)
    second = ledger.ask(plan("b", **many))
    assert isinstance(ledger.ask(plan("c", **many)), NoRoom)
    assert failed(ledger) == 1
    third = ledger.ask(plan("c", **many))
    assert isinstance(ledger.ask(plan("d", **many)), NoRoom)
    passing.pass_by(20)
    fourth = ledger.ask(plan("d", **many))
    assert isinstance(ledger.ask(plan("e", **many)), NoRoom)

    ledger.settle(fourth, [share("d")])
    assert all(isinstance(ledger.ask(plan(f"t{number}", **many)), Leave) for number in range(3))
    assert all(isinstance(one, Leave) for one in (second, third))
    assert ledger.accounts()[0].why is None


def test_an_answer_from_before_a_pause_does_not_end_it(ledger):
    before = ledger.ask(plan("a"))
    ledger.pause("openai:1", "provider_rate_limited", 30, "Too many.")
    ledger.settle(before, [share("a")])
    assert ledger.ask(plan("b")).why == "provider_rate_limited"


def test_a_call_that_failed_counts_as_a_request_for_a_minute_and_took_nothing(ledger, passing):
    leave = ledger.ask(plan("a", requests_per_minute=1, budget_per_day=1.0))
    passing.pass_by(10)
    ledger.fail(leave, [share("a", NOTHING, 0)])
    ledger.fail(leave, [share("a", NOTHING, 0)])
    (account,) = ledger.accounts()
    assert (account.requests, account.tokens, account.cost_today) == (1, 0, 0.0)
    waiting = ledger.ask(plan("b", requests_per_minute=1, budget_per_day=0.5))
    assert 59 < waiting.seconds <= 60
    passing.pass_by(61)
    assert isinstance(ledger.ask(plan("b", requests_per_minute=1)), Leave)


def test_a_call_that_may_have_been_charged_takes_what_was_planned(ledger, passing):
    limits = {"requests_per_minute": None, "tokens_per_minute": 100, "budget_per_day": 1.0}
    leave = ledger.ask(plan("a", tokens=60, cost=0.6, **limits))
    passing.pass_by(10)
    shares = [share("a", Usage(40, estimated=True), 0.4), share("c", Usage(20, estimated=True), 0.2)]
    ledger.fail(leave, shares)
    ledger.fail(leave, shares)
    (account,) = ledger.accounts()
    assert (account.requests, account.tokens, account.cost_today) == (1, 60, pytest.approx(0.6))
    assert [(line.calls, line.cost, line.estimated) for line in ledger.of_task("a")] == [(1, 0.4, 1.0)]
    assert [(line.calls, line.cost, line.estimated) for line in ledger.of_task("c")] == [(0, 0.2, 1.0)]
    with pytest.raises(AiError, match=r"openai has cost 0\.6000 today"):
        ledger.ask(plan("b", cost=0.5, **limits))
    assert 59 < ledger.ask(plan("b", tokens=50, cost=0.1, **limits)).seconds <= 60


def test_a_call_that_nobody_heard_of_is_told_once_it_counts_no_more(ledger, passing):
    ledger.ask(plan("a", cost=0.6, seconds=20))
    passing.pass_by(79)
    assert ledger.of_task("a") == []
    passing.pass_by(2)
    assert [(line.calls, line.cost, line.estimated) for line in ledger.of_task("a")] == [(1, 0.6, 1.0)]


def test_a_call_that_tries_and_has_no_answer_lets_the_next_one_try(ledger, passing):
    ledger.pause("openai:1", "provider_unavailable", 1, "It is down.")
    passing.pass_by(2)
    trial = ledger.ask(plan("a", requests_per_minute=9))
    assert isinstance(ledger.ask(plan("b", requests_per_minute=9)), NoRoom)
    ledger.fail(trial, [share("a", NOTHING, 0)])
    assert isinstance(ledger.ask(plan("b", requests_per_minute=9)), Leave)
    assert ledger.accounts()[0].why == "provider_unavailable"


def failed(ledger: AiCalls, pause: float = 0.0) -> int:
    ledger.count_failure("openai:1", "It is down.", lambda _failures: pause)
    return ledger.accounts()[0].failures


def test_calls_that_fail_together_are_one_pause(ledger, passing):
    assert [failed(ledger, pause) for pause in (0, 10, 20, 40)] == [1, 2, 2, 2]
    assert ledger.ask(plan("a")).seconds <= 11
    passing.pass_by(12)
    assert isinstance(ledger.ask(plan("b")), Leave)
    assert failed(ledger, 20) == 3
    paused = ledger.ask(plan("a"))
    assert (paused.why, paused.text, paused.seconds > 19) == ("provider_unavailable", "It is down.", True)


def test_failures_are_counted_in_a_row(ledger):
    assert [failed(ledger) for _ in range(3)] == [1, 2, 3]
    settled(ledger, plan())
    assert failed(ledger) == 1


def test_a_budget_counts_what_is_under_way_and_what_was_really_paid(ledger):
    limits = {"requests_per_minute": None, "budget_per_day": 1.0}
    first = ledger.ask(plan("a", cost=0.6, **limits))
    with pytest.raises(
        AiError, match=r"openai has cost 0\.6000 today .*up to 0\.5000 .*1\.0000.*AI_PROVIDERS"
    ) as refused:
        ledger.ask(plan("b", cost=0.5, **limits))
    assert refused.value.code == "budget_exceeded"

    ledger.settle(first, [share("a", cost=0.1), share("b", cost=0.2)])
    assert isinstance(ledger.ask(plan("b", cost=0.7, **limits)), Leave)
    with pytest.raises(AiError):
        ledger.ask(plan("c", cost=0.01, **limits))


def test_the_call_of_a_dead_worker_may_have_been_paid(ledger, passing):
    limits = {"requests_per_minute": None, "budget_per_day": 1.0, "seconds": 0.5}
    lost = ledger.ask(plan("a", cost=0.6, **limits))
    passing.pass_by(61)
    with pytest.raises(AiError):
        ledger.ask(plan("b", cost=0.5, **limits))
    ledger.ask(plan("b", cost=0.3, **limits))
    assert ledger.accounts()[0].cost_today == 0.6
    assert [(line.calls, line.cost, line.estimated) for line in ledger.of_task("a")] == [(1, 0.6, 1.0)]

    ledger.settle(lost, [share("a", cost=0.2)])
    assert ledger.accounts()[0].cost_today == pytest.approx(0.2)
    assert [(line.calls, line.cost, line.estimated) for line in ledger.of_task("a")] == [(1, 0.2, 0.0)]


def test_a_budget_is_whole_again_after_midnight_of_utc(ledger, database, passing):
    limits = {"requests_per_minute": None, "budget_per_day": 1.0}
    ledger.settle(ledger.ask(plan("a", cost=0.9, **limits)), [share("a", cost=0.9)])
    with pytest.raises(AiError):
        ledger.ask(plan("b", cost=0.9, **limits))

    midnight = datetime.combine(passing.now().date(), time(), UTC)
    before = update(ai_accounts).values(spent_at=midnight - timedelta(microseconds=1))
    database.write(lambda c: c.execute(before))

    assert ledger.accounts()[0].cost_today == 0
    ledger.settle(ledger.ask(plan("b", cost=0.9, **limits)), [share("b", cost=0.8)])
    assert ledger.accounts()[0].cost_today == 0.8


def test_a_call_that_was_given_up_yesterday_and_is_answered_today_adds_nothing_to_todays_budget(
    ledger, database, passing
):
    limits = {"requests_per_minute": None, "budget_per_day": 1.0, "seconds": 0.5}
    lost = ledger.ask(plan("a", cost=0.9, **limits))
    passing.pass_by(61)
    ledger.ask(plan("b", cost=0.1, **limits))
    yesterday = update(ai_accounts).values(spent_at=passing.now() - timedelta(days=1))
    database.write(lambda c: c.execute(yesterday))
    ledger.settle(lost, [share("a", cost=0.2)])
    assert ledger.accounts()[0].cost_today == 0.0


def test_limits_that_are_not_set_are_learned(ledger):
    free = {"requests_per_minute": None}
    leave = ledger.ask(plan("a", **free))
    assert isinstance(ledger.ask(plan("b", **free)), Leave)
    ledger.settle(leave, [share("a")], LimitNews(requests_per_minute=2))
    assert isinstance(ledger.ask(plan("c", **free)), NoRoom)
    assert isinstance(ledger.ask(plan("d", requests_per_minute=9)), NoRoom), "it stands behind who waits"

    settled(ledger, plan("x", account="other", **free))
    ledger.settle(ledger.ask(plan("y", account="other")), [share("y")], LimitNews(tokens_per_minute=40))
    with pytest.raises(AiError, match="more than the 40"):
        ledger.ask(plan("z", account="other", tokens=41))


def test_the_shares_of_one_call_are_one_request_with_all_their_tokens(ledger, passing):
    leave = ledger.ask(plan("a", requests_per_minute=5, tokens_per_minute=100))
    shares = [share("a", Usage(30, 5), 0.3, "acme"), share("b", Usage(20, 5, estimated=True), 0.1, "other")]
    ledger.settle(leave, shares)
    ledger.settle(leave, shares)

    (account,) = ledger.accounts()
    assert (account.requests, account.tokens, account.cost_today) == (1, 60, 0.4)
    (first,), (second,) = ledger.of_task("a"), ledger.of_task("b")
    assert (first.calls, first.input_tokens, first.output_tokens, first.cost, first.estimated) == (1, 30, 5, 0.3, 0.0)
    assert (second.calls, second.input_tokens, second.output_tokens, second.cost, second.estimated) == (
        0,
        20,
        5,
        0.1,
        1.0,
    )
    assert (first.provider, first.model, first.kind, first.day) == ("openai", "small", "chat", None)
    assert isinstance(ledger.ask(plan("c", tokens=41, requests_per_minute=5, tokens_per_minute=100)), NoRoom)


def test_whom_another_account_refused_keeps_its_place_in_line(ledger, passing):
    settled(ledger, plan("a", requests_per_minute=1))
    assert isinstance(ledger.ask(plan("b", requests_per_minute=1)), NoRoom)
    refused = ledger.ask(plan("b", account="other"))
    ledger.settle(refused, [share("b", Usage(), 0)])
    passing.pass_by(61)
    assert isinstance(ledger.ask(plan("c", requests_per_minute=1)), NoRoom)
    assert isinstance(ledger.ask(plan("b", requests_per_minute=1)), Leave)


def test_those_who_were_answered_elsewhere_leave_the_room_to_others(ledger, passing):
    settled(ledger, plan("a", requests_per_minute=1))
    for task in ("b", "c", "d"):
        assert isinstance(ledger.ask(plan(task, requests_per_minute=1)), NoRoom)
        settled(ledger, plan(task, account="other", requests_per_minute=9))
    passing.pass_by(61)
    assert isinstance(ledger.ask(plan("e", requests_per_minute=1)), Leave)


@pytest.mark.parametrize("others", [[], ["x", "y"]])
def test_a_late_answer_to_a_run_that_is_over_leaves_the_next_runs_place(ledger, passing, others):
    under_way = ledger.ask(plan("b", account="other", requests_per_minute=9))
    settled(ledger, plan("a", requests_per_minute=1))
    assert isinstance(ledger.ask(plan("b", run=2, requests_per_minute=1)), NoRoom)
    ledger.settle(under_way, [share(task) for task in ["b", *others]])
    passing.pass_by(61)
    assert isinstance(ledger.ask(plan("c", requests_per_minute=1)), NoRoom)
    assert isinstance(ledger.ask(plan("b", run=2, requests_per_minute=1)), Leave)


def test_a_released_call_cannot_be_settled(ledger):
    leave = ledger.ask(plan())
    ledger.release(leave)
    ledger.settle(leave, [share()])
    assert ledger.of_task("t") == []


def test_usage_is_told_by_what_is_asked_for(ledger, database, passing):
    free = {"requests_per_minute": None}
    for task, model, tenant in (("a", "small", "acme"), ("b", "small", None), ("c", "large", "acme")):
        ledger.settle(ledger.ask(plan(task, model=model, **free)), [share(task, tenant=tenant)])
    database.write(
        lambda c: c.execute(
            update(ai_calls).values(at=datetime(2026, 3, 1, 23, 59, 59, tzinfo=UTC)).where(columns.task_id == "c")
        )
    )
    ledger.ask(plan("under way", **free))
    since, until = datetime(2026, 3, 1, tzinfo=UTC), passing.now() + timedelta(seconds=1)
    today = str((until - timedelta(seconds=1)).date())

    days = ledger.usage(since, until, ["day"])
    assert [(line.day, line.calls, line.input_tokens) for line in days] == [("2026-03-01", 1, 6), (today, 2, 12)]
    models = ledger.usage(since, until, ["model", "tenant"])
    assert {(line.model, line.tenant, line.calls) for line in models} == {
        ("large", "acme", 1),
        ("small", "acme", 1),
        ("small", None, 1),
    }
    (whole,) = ledger.usage(since, until, [])
    assert (whole.calls, whole.output_tokens, whole.cached_tokens, whole.reasoning_tokens) == (3, 6, 3, 3)
    assert (whole.cost, whole.estimated) == (0.75, 0.0)
    assert ledger.usage(since, datetime(2026, 3, 1, 23, 59, 59, tzinfo=UTC)) == []


def test_costs_of_different_currencies_are_never_summed(ledger, passing):
    settled(ledger, plan("a"))
    euros = ledger.ask(plan("a", account="mistral:1", provider="mistral", currency="EUR"))
    ledger.settle(euros, [share("a", cost=0.1), share("b", cost=0.2)])
    today = passing.now()
    lines = ledger.usage(today - timedelta(hours=1), today + timedelta(hours=1), [])
    assert [(line.currency, line.calls, line.cost) for line in lines] == [
        ("EUR", 1, pytest.approx(0.3)),
        ("USD", 1, 0.25),
    ]
    assert [(line.provider, line.currency) for line in ledger.of_task("a")] == [("mistral", "EUR"), ("openai", "USD")]


def test_what_the_parts_of_a_bulk_took_is_told_as_the_bulks(ledger, database):
    tasks = TaskRecords(database)
    tasks.open(Draft("bulk", "ai_processing.generate_embeddings", "ai_processing", "ai_processing", is_parent=True))
    for part in ("part 1", "part 2"):
        tasks.open(Draft(part, "ai_processing.embed_part", "ai_processing", "ai_processing", parent_id="bulk"))
        settled(ledger, plan(part, requests_per_minute=None))
    settled(ledger, plan("of another", requests_per_minute=None))
    assert [(line.calls, line.cost) for line in ledger.of_task("bulk")] == [(2, 0.5)]
    assert [(line.calls, line.cost) for line in ledger.of_task("part 1")] == [(1, 0.25)]


def test_old_calls_are_pruned(ledger, passing):
    settled(ledger, plan("a"))
    passing.pass_by(3 * 86_400)
    settled(ledger, plan("b"))
    assert ledger.prune(days=2) == 1
    assert (len(ledger.of_task("a")), len(ledger.of_task("b"))) == (0, 1)


def test_the_state_of_an_account_is_told(ledger):
    ledger.ask(plan("a", tokens=10))
    settled(ledger, plan("b", tokens=10))
    ledger.ask(plan("kept"))
    failed(ledger)
    ledger.pause("openai:1", "provider_unavailable", 30, "It is down.")
    (account,) = ledger.accounts()
    assert (account.account, account.why, account.text) == ("openai:1", "provider_unavailable", "It is down.")
    assert 25 < account.seconds <= 30
    assert (account.failures, account.requests, account.tokens, account.cost_today) == (1, 2, 18, 0.25)


def test_no_call_waits_for_the_disk_of_a_server_and_other_writes_do(postgresql):
    database = Database(postgresql.fresh_database())
    upgrading.upgrade(database, schema.VERSION)
    commits: list[str] = []
    event.listen(
        database.engine(),
        "commit",
        lambda connection: commits.append(connection.exec_driver_sql("SHOW synchronous_commit").scalar()),
    )
    ledger, answers, run = AiCalls(database), AiAnswers(database), Run("a", 1)
    answers.begin("d", run, datetime.now(UTC), 0)
    leave = ledger.ask(plan("a"))
    ledger.settle(leave, [share("a")])
    answers.finish("d", run, "answer")
    assert commits == ["off"] * 4

    database.write(lambda connection: connection.execute(select(ai_calls.c.id)))
    assert commits[4:] == ["on"]
    database.close()
