"""What tasks logged is found with its record, and goes with it."""

from datetime import UTC, datetime, timedelta

import pytest

from records.database import Database
from records.task_logs import ROW_BYTES, TaskLogs
from records.task_moves import TaskMoves
from records.task_records import Draft, TaskRecords
from waiting import until

NOW = datetime.now(UTC)


@pytest.fixture
def logs(database: Database) -> TaskLogs:
    for task_id in ("t", "u"):
        TaskRecords(database).open(Draft(task_id, "x", "x", "default"))
    return TaskLogs(database)


def line(number: int, text: str = "a line", task_id: str = "t", run: int = 1, level: str = "INFO", age: float = 0):
    at = NOW - timedelta(hours=age)
    return {"task_id": task_id, "run": run, "number": number, "at": at, "level": level, "logger": "my", "text": text}


def kept(logs: TaskLogs, *lines) -> None:
    """Keep these, and wait until they are there."""
    logs.keep(lines)
    for task_id in {one["task_id"] for one in lines}:
        its = sum(one["task_id"] == task_id for one in lines)
        until(lambda task_id=task_id, its=its: len(logs.of(task_id, 10_000)) >= its, what="the lines are there")


@pytest.mark.parametrize("count", [1, 3, 1200])
def test_lines_are_read_back_in_their_order_with_all_they_say(logs, count):
    kept(logs, *(line(number, f"line {number}") for number in range(count)))

    found = logs.of("t", 10_000)

    assert [one.text for one in found] == [f"line {number}" for number in range(count)]
    assert (found[0].task_id, found[0].run, found[0].level, found[0].logger, found[0].at) == ("t", 1, "INFO", "my", NOW)


def test_the_last_lines_are_returned_where_there_are_more_over_all_runs(logs):
    kept(logs, line(0), line(1), line(0, run=2), line(1, run=2))

    assert [(one.run, one.number) for one in logs.of("t", 3)] == [(1, 1), (2, 0), (2, 1)]


def test_lines_behind_a_place_are_found_by_the_place_of_the_last_one(logs):
    assert logs.last_places(["t", "u", "never"]) == {}
    kept(logs, line(0), line(1), line(0, run=3), line(7, task_id="u"))
    first, second, third = logs.of("t", 10)

    assert logs.last_places(["t", "u", "never"]) == {"t": third.place, "u": logs.of("u", 10)[0].place}
    assert logs.of("t", 10, after=first.place) == [second, third]
    assert logs.of("t", 1, after=first.place) == [third]
    assert logs.of("t", 10, after=second.place) == [third]
    assert logs.of("t", 10, after=third.place) == []


def test_a_text_of_any_characters_is_kept(logs):
    kept(logs, line(0, "NUL \0 lone \ud800 grüße 日本"), line(1, "two\nlines"))

    assert [one.text for one in logs.of("t", 10)] == ["NUL \\x00 lone \\ud800 grüße 日本", "two\nlines"]


def test_lines_are_found_by_their_text_as_it_stands_and_by_their_level(logs):
    kept(logs, line(0, "100% done"), line(1, "1000 done"), line(2, "a_b", level="ERROR"), line(3, "AxB", level="DEBUG"))

    def found(search=None, levels=None):
        return [one.number for one in logs.of("t", 10, search, levels)]

    assert found("100%") == [0]
    assert found("DONE") == [0, 1]
    assert found("a_b") == [2]
    assert found(levels=["ERROR", "CRITICAL"]) == [2]
    assert found("b", ["DEBUG"]) == [3]


def test_lines_of_all_tasks_are_found_the_newest_first(logs):
    kept(logs, line(0, "disk full", age=2), line(1, "disk full", age=30), line(2, "all good"))
    kept(logs, line(0, "Disk full", task_id="u", age=1))

    assert [(one.task_id, one.number) for one in logs.search("disk", 24, 10)] == [("u", 0), ("t", 0)]
    assert [one.task_id for one in logs.search("disk", 24, 1)] == ["u"]


def test_lines_of_a_record_that_is_gone_are_not_written_and_hold_up_no_others(database, logs):
    logs.keep([line(0, task_id="gone")])
    logs.keep([line(number, task_id=task_id) for number in range(3) for task_id in ("gone", "t")])

    until(lambda: len(logs.of("t", 10)) == 3, what="the others are there")
    assert logs.of("gone", 10) == []


def test_lines_go_with_their_record(database, logs):
    kept(logs, line(0), line(0, task_id="u"))
    moves = TaskMoves(database)
    moves.revoke("t")

    assert moves.remove(["t", "u"]) == 1

    assert (logs.of("t", 10), len(logs.of("u", 10))) == ([], 1)


def test_what_the_lines_of_a_task_take_is_counted_in_bytes(logs):
    assert logs.kept_bytes("t") == 0
    kept(logs, line(0, "ä" * 10), line(1, "a\\b"))

    assert logs.kept_bytes("t") == 2 * ROW_BYTES + 20 + 3
