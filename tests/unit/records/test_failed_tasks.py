"""What has failed is found without reading what has not."""

from datetime import UTC, datetime

import pytest
from sqlalchemy import Engine, event

from processors.scheduling import FailedTasks
from records import task_records
from records.database import Database
from records.task_moves import Failure, TaskMoves
from records.task_records import Draft, TaskRecords

END_OF_TIME = datetime.max.replace(tzinfo=UTC)


@pytest.fixture
def tasks(database: Database) -> TaskRecords:
    return TaskRecords(database)


def fail(tasks: TaskRecords, task_id: str, error: str = "it broke", error_type: str = "ValueError", **more) -> None:
    tasks.open(Draft(task_id, "email.send_email", "email", "email", **more))
    assert TaskMoves(tasks.database).fail_waiting(task_id, Failure(error, error_type))


def found(tasks: TaskRecords, **wanted) -> list[str]:
    return [record.id for record in tasks.failed(FailedTasks(**wanted), 100)]


def test_a_text_is_found_in_name_error_and_arguments_as_it_stands(tasks):
    fail(tasks, "error", "100% of the disk_space")
    fail(tasks, "kwargs", kwargs={"to": 'Jürgen "J" Müller', "path": "a\\b"})
    fail(tasks, "args", args=["one", {"two": "three"}])
    tasks.open(Draft("waits", "email.send_email", "email", "email", kwargs={"to": "Jürgen"}))

    assert sorted(found(tasks, search="SEND_EMAIL")) == ["args", "error", "kwargs"]
    assert found(tasks, search="100%") == found(tasks, search="DISK_") == ["error"]
    assert found(tasks, search='Jürgen "J"') == found(tasks, search="a\\b") == ["kwargs"]
    assert found(tasks, search="three") == ["args"]
    assert found(tasks, search="1000") == found(tasks, search="disk.") == []


def test_pages_go_on_behind_the_last_one_though_many_failed_at_once(database, tasks):
    for number in range(6):
        fail(tasks, f"t{number}")
    same = "UPDATE task_records SET finished_at = (SELECT max(finished_at) FROM task_records)"
    database.write(lambda c: c.exec_driver_sql(same))

    first = tasks.failed(FailedTasks(), 4)
    rest = tasks.failed(FailedTasks(), 4, first[-1])

    assert [record.id for record in [*first, *rest]] == ["t5", "t4", "t3", "t2", "t1", "t0"]


@pytest.mark.parametrize("at_once", [1, 2, 50])
def test_a_page_of_large_ones_ends_early_and_the_next_one_goes_on(tasks, monkeypatch, at_once):
    monkeypatch.setattr(task_records, "READ_AT_ONCE", at_once)
    for number in range(7):
        fail(tasks, f"t{number}", kwargs={"text": "x" * 1_000})
    for most_bytes, sizes in ((2_500, [2, 2, 2, 1]), (10, [1] * 7), (10**6, [7])):
        pages, last = list[list[str]](), None
        while page := tasks.failed(FailedTasks(), 100, last, most_bytes):
            pages.append([record.id for record in page])
            last = page[-1]
        assert [one for page in pages for one in page] == [f"t{number}" for number in range(6, -1, -1)]
        assert [len(page) for page in pages] == sizes
    assert len(tasks.failed(FailedTasks(), 3, None, 10**6)) == 3


def test_so_does_the_list_of_what_waits(tasks):
    for number in range(4):
        tasks.open(Draft(f"w{number}", "email.send_email", "email", "email", kwargs={"text": "x" * 1_000}))
    assert [record.id for record in tasks.active(100, 2_500)] == ["w0", "w1"]
    assert len(tasks.active(100, 10**6)) == len(tasks.active(100)) == 4
    assert len(tasks.active(3, 10**6)) == 3


def test_what_was_retried_or_is_a_member_is_listed_and_not_retried_with_many(tasks):
    for task_id, more in (("old", {}), ("new", {}), ("member", {"parent_id": "p"})):
        fail(tasks, task_id, **more)
    tasks.open_retries([Draft("again", "email.send_email", "email", "email", retry_of="old")])

    assert sorted(found(tasks)) == ["member", "new", "old"]
    assert [record.id for record in tasks.unretried(FailedTasks(), 10, END_OF_TIME)] == ["new"]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("wanted", [{}, {"search": "x"}, {"task_types": ["email"], "error_type": "ValueError"}])
def test_looking_for_failed_tasks_reads_them_alone_and_in_their_order(database, tasks, wanted):
    fail(tasks, "last")
    last, said = tasks.read("last"), []

    def note(_connection, _cursor, statement, parameters, *_):
        said.append((statement, parameters))

    event.listen(Engine, "before_cursor_execute", note)
    try:
        tasks.failed(FailedTasks(**wanted), 10)
        tasks.failed(FailedTasks(**wanted), 10, last)
        tasks.unretried(FailedTasks(**wanted), 10, END_OF_TIME)
    finally:
        event.remove(Engine, "before_cursor_execute", note)

    with database.engine().connect() as connection:
        looks = [one for one in said if one[0].startswith("SELECT")]
        plans = [
            " ".join(row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", values).all())
            for text, values in looks
        ]
    assert len(plans) == 3
    assert all("USING INDEX ix_task_records_failed" in plan for plan in plans), plans
    assert [plan for plan in plans if "TEMP B-TREE" in plan] == []
