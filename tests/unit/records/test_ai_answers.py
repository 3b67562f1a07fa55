"""Answers to AI requests: equal requests are paid once, whoever asks at once and whoever dies."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from ai_ledger import AiClock
from processors.ai_answers import Answered, Asked
from processors.interfaces import Run
from records.ai_answers import LONGEST_ANSWER, AiAnswers
from records.database import Database
from records.task_moves import Failure, TaskMoves
from records.task_records import Draft, TaskRecords
from records.workers import Workers

FIRST, SECOND, OTHER = Run("t", 1), Run("t", 2), Run("u", 1)
NEVER = datetime(2100, 1, 1, tzinfo=UTC)
FAILURE = Failure("it broke", "ValueError")


@pytest.fixture
def moves(database: Database) -> TaskMoves:
    """Two tasks run: `t` and `u`."""
    Workers(database).start("w", "ai@host", "host", 1, 0)
    moves, tasks = TaskMoves(database), TaskRecords(database)
    for run in (FIRST, OTHER):
        tasks.open(Draft(run.task_id, "ai_processing.process_chat", "ai_processing", "ai_processing"))
        assert moves.start(run.task_id, 0, "w", "ai@host", None).run == run.number
    return moves


@pytest.fixture
def answers(database: Database, moves: TaskMoves) -> AiAnswers:
    return AiAnswers(database)


def begin(answers: AiAnswers, run: Run, since: datetime = NEVER, max_age: float = 0) -> Answered | Asked | None:
    return answers.begin("d", run, since, max_age)


def test_one_run_asks_and_another_one_waits_for_its_answer(answers):
    assert begin(answers, FIRST) is None
    assert begin(answers, OTHER) == Asked("t")
    answers.finish("d", FIRST, {"text": "NUL \0 surrogate \ud800", "vector": [0.5]})
    since = datetime.now(UTC) - timedelta(minutes=1)
    assert begin(answers, OTHER, since) == Answered({"text": "NUL \0 surrogate \ud800", "vector": [0.5]}, "t")
    assert answers.begin("another", OTHER, since, 0) is None


def test_an_answer_does_that_is_new_enough_or_young_enough_or_ones_own(answers, database):
    begin(answers, FIRST)
    answers.finish("d", FIRST, 1)
    AiClock(database).pass_by(100)
    answered = datetime.now(UTC) - timedelta(seconds=100)

    assert begin(answers, OTHER, answered - timedelta(seconds=20)) == Answered(1, "t")
    assert begin(answers, OTHER, NEVER, 120) == Answered(1, "t")
    assert begin(answers, SECOND) == Answered(1, "t")
    assert begin(answers, OTHER, answered + timedelta(seconds=20), 90) is None
    assert begin(answers, FIRST) == Asked("u")


def test_a_run_that_asks_may_ask_again(answers):
    assert begin(answers, FIRST) is None
    assert begin(answers, FIRST) is None


@pytest.mark.parametrize("how", ["died", "failed", "succeeded", "cancelled", "taken over"])
def test_a_run_that_is_over_holds_nobody_back_and_keeps_no_answer_any_more(answers, moves, how):
    begin(answers, FIRST)
    if how in ("died", "taken over"):
        assert moves.give_back("t", 1)
    if how == "taken over":
        assert moves.start("t", 0, "w", "ai@host", None).run == SECOND.number
    if how == "failed":
        moves.fail("t", 1, FAILURE)
    if how == "succeeded":
        moves.succeed("t", 1, None)
    if how == "cancelled":
        moves.revoke("t")

    assert begin(answers, OTHER) is None
    answers.finish("d", FIRST, "late")
    answers.give_up("d", FIRST)
    if how == "taken over":
        assert begin(answers, SECOND) == Asked("u")
    answers.finish("d", OTHER, "in time")
    assert begin(answers, OTHER) == Answered("in time", "u")


def test_a_request_that_was_given_up_is_anybodys_and_an_answer_cannot_be(answers):
    begin(answers, FIRST)
    answers.give_up("d", OTHER)
    assert begin(answers, OTHER) == Asked("t")
    answers.give_up("d", FIRST)
    assert begin(answers, OTHER) is None
    answers.finish("d", OTHER, None)
    answers.give_up("d", OTHER)
    assert begin(answers, OTHER) == Answered(None, "u")


def test_an_answer_that_is_too_long_is_asked_for_again(answers):
    begin(answers, FIRST)
    answers.finish("d", FIRST, "x" * LONGEST_ANSWER)
    assert begin(answers, OTHER) is None
    answers.finish("d", OTHER, "x" * (LONGEST_ANSWER - 2))
    assert isinstance(begin(answers, OTHER), Answered)


def test_of_many_threads_of_several_processes_one_asks(answers, database_url):
    others = [Database(database_url) for _ in range(3)]
    all_of_them = [answers, *(AiAnswers(one) for one in others)]
    runs = [Run(task, 1) for task in ("t", "u")]

    def ask(number: int) -> bool:
        digest, run = f"d{number // 8}", runs[number % 2]
        return all_of_them[number % 4].begin(digest, run, NEVER, 0) is None

    with ThreadPoolExecutor(8) as pool:
        told = list(pool.map(ask, range(80)))
    for other in others:
        other.close()

    for first in range(0, 80, 8):
        by_run = told[first : first + 8 : 2], told[first + 1 : first + 8 : 2]
        assert sorted(sum(own) for own in by_run) == [0, 4], "one run asks, with all its threads"


def test_old_answers_are_pruned_and_so_are_requests_that_nobody_answered(answers, database):
    begin(answers, FIRST)
    answers.finish("d", FIRST, 1)
    answers.begin("never answered", FIRST, NEVER, 0)
    AiClock(database).pass_by(3 * 3600)
    answers.begin("new", FIRST, NEVER, 0)
    assert answers.prune(2) == 2
    assert begin(answers, OTHER, datetime(2000, 1, 1, tzinfo=UTC)) is None
    assert answers.begin("new", OTHER, NEVER, 0) == Asked("t")


def test_answers_go_with_the_record_of_their_task(answers, moves):
    begin(answers, FIRST)
    answers.finish("d", FIRST, 1)
    answers.begin("other", OTHER, NEVER, 0)
    moves.succeed("t", 1, {})
    assert moves.remove(["t"]) == 1
    assert begin(answers, OTHER, datetime(2000, 1, 1, tzinfo=UTC)) is None
    assert answers.begin("other", Run("v", 1), NEVER, 0) == Asked("u")
