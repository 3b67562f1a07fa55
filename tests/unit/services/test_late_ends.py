"""A message is acknowledged once the end of its task is kept, and not before."""

import threading
from types import SimpleNamespace

import pytest

from processors.errors import ServiceUnavailable
from records.task_moves import TaskMoves
from records.task_records import Draft, TaskRecords
from records.workers import Workers
from services import late_ends as module
from services.late_ends import LateEnds
from waiting import until


@pytest.fixture
def moves(database, monkeypatch):
    Workers(database).start("w1", "io@host", "host", 1, 0)
    TaskRecords(database).open(Draft("t", "x", "x", "default"))
    moves = TaskMoves(database)
    moves.start("t", 0, "w1", "io@host", 60)
    monkeypatch.setattr(module, "parts", lambda: SimpleNamespace(moves=moves))
    return moves


class Answers:
    """Notes what was told, and in which state the record was then."""

    def __init__(self, database) -> None:
        self.records = TaskRecords(database)
        self.kept: list[bool] = []
        self.acknowledged: list[str] = []

    def keep(self, moved: bool) -> None:
        self.kept.append(moved)

    def acknowledge(self) -> None:
        self.acknowledged.append(self.records.read("t").state)


def test_a_message_waits_for_the_end_that_is_being_kept(database, moves):
    ends, answers = LateEnds(), Answers(database)
    held = database._one_writer()
    assert held._committing.acquire(timeout=20)
    try:
        ends.succeed("t", 1, [1, 2], answers.keep)
        assert ends.after("t", answers.acknowledge)
        assert answers.acknowledged == []
        assert answers.records.read("t").state == "STARTED"
    finally:
        held._committing.release()

    ends.wait()

    assert (answers.kept, answers.acknowledged) == ([True], ["SUCCESS"])
    assert answers.records.read("t").result == [1, 2]
    assert not ends.after("t", answers.acknowledge), "nothing is under way any more"


def test_an_end_is_written_again_until_the_database_is_back(database, moves, monkeypatch):
    ends, answers, away = LateEnds(), Answers(database), [True, True, True]
    write = moves.database.write_then

    def write_while_away(work, then):
        if away:
            away.pop()
            threading.Thread(target=then, args=([], ServiceUnavailable("gone"))).start()
        else:
            write(work, then)

    monkeypatch.setattr(moves.database, "write_then", write_while_away)
    monkeypatch.setattr(module, "AGAIN_SECONDS", 0.5)
    ends.succeed("t", 1, None, answers.keep)
    assert ends.after("t", answers.acknowledge)
    monkeypatch.setattr(module, "AGAIN_SECONDS", 0.01)

    until(lambda: answers.acknowledged, 20)
    assert (away, answers.kept, answers.acknowledged) == ([], [True], ["SUCCESS"])


def test_an_acknowledgement_that_fails_harms_no_other(database, moves):
    ends, answers, held = LateEnds(), Answers(database), database._one_writer()

    def fail() -> None:
        raise RuntimeError("this connection is gone")

    assert held._committing.acquire(timeout=20)
    try:
        ends.succeed("t", 1, None, answers.keep)
        ends.after("t", fail)
        ends.after("t", answers.acknowledge)
    finally:
        held._committing.release()
    ends.wait()

    assert answers.acknowledged == ["SUCCESS"]


def test_an_end_of_a_run_that_others_took_over_is_refused_and_its_message_goes(database, moves):
    ends, answers = LateEnds(), Answers(database)
    moves.give_back("t", 1)
    held = database._one_writer()
    assert held._committing.acquire(timeout=20)
    try:
        ends.succeed("t", 1, None, answers.keep)
        ends.after("t", answers.acknowledge)
    finally:
        held._committing.release()
    ends.wait()

    assert (answers.kept, answers.acknowledged) == ([False], ["PENDING"])


def test_a_worker_that_ends_waits_for_its_ends_but_not_for_ever(database, moves, monkeypatch):
    monkeypatch.setattr(module, "LEAVE_SECONDS", 0.05)
    ends = LateEnds()
    held = database._one_writer()
    assert held._committing.acquire(timeout=20)
    try:
        ends.succeed("t", 1, None, lambda moved: None)
        ends.wait()
        assert ends.after("t", lambda: None), "it is still under way"
    finally:
        held._committing.release()
    until(lambda: not ends.after("t", lambda: None), 10)


def test_an_end_that_no_database_takes_is_a_failure_before_its_message_goes(database, moves, monkeypatch):
    ends, answers = LateEnds(), Answers(database)
    write = moves.database.write_then
    refusals = [ValueError("no database takes this")]

    def refuse_first(work, then):
        if refusals:
            threading.Thread(target=then, args=([], refusals.pop())).start()
        else:
            write(work, then)

    monkeypatch.setattr(moves.database, "write_then", refuse_first)
    held = database._one_writer()
    assert held._committing.acquire(timeout=20)
    try:
        ends.succeed("t", 1, None, answers.keep)
        assert ends.after("t", answers.acknowledge)
    finally:
        held._committing.release()
    ends.wait()

    assert answers.acknowledged == ["FAILURE"]
    assert "no database takes this" in answers.records.read("t").error


def test_an_end_that_cannot_be_handed_over_leaves_no_message_behind(database, moves):
    ends = LateEnds()
    with pytest.raises(ValueError, match="digits"):
        ends.succeed("t", 1, 10**5000, lambda moved: None)
    assert not ends.after("t", lambda: None)


def test_a_hook_that_fails_harms_neither_the_message_nor_the_writer(database, moves):
    ends, answers, held = LateEnds(), Answers(database), database._one_writer()

    def fail(_moved) -> None:
        raise RuntimeError("the disk is full")

    assert held._committing.acquire(timeout=20)
    try:
        ends.succeed("t", 1, None, fail)
        ends.after("t", answers.acknowledge)
    finally:
        held._committing.release()
    ends.wait()

    assert answers.acknowledged == ["SUCCESS"]
    assert TaskRecords(database).open(Draft("u", "x", "x", "default"))
