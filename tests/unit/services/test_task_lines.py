"""What a task logs is gathered while it runs and kept with its record, up to a limit; no line is no cost."""

import logging
import threading
from contextvars import copy_context

import pytest
from celery.utils import uuid

from config.log_setup import kept_by
from records.task_logs import ROW_BYTES
from records.task_records import Draft
from services import task_lines
from services.celery_service import celery_service
from services.task_lines import DROPPED, LINE_BYTES, TASK_BYTES, TaskLines
from services.wiring import parts
from waiting import until


@pytest.fixture
def task_id() -> str:
    """The id of a record."""
    draft = Draft(uuid(), "test.add", "test", "low_priority", delay=3600)
    parts().tasks.open(draft)
    return draft.id


def say(text: str, level: int = logging.INFO) -> None:
    """Log as the handler would that hands lines to who keeps them."""
    keeper = kept_by.get()
    if keeper is not None and not keeper.full:
        keeper.keep(logging.LogRecord("csai.my.tasks", level, "", 0, text, None, None), text)


def texts(task_id: str) -> list[str]:
    return [line["text"] for line in celery_service.get_task_logs(task_id, limit=20_000)]


def test_the_lines_of_a_run_stand_in_the_record_after_its_end(task_id):
    with TaskLines(task_id, 1):
        say("one")
        say("two", logging.ERROR)
    say("after the end")

    lines = until(lambda: celery_service.get_task_logs(task_id), what="the lines are there")
    assert [(one["text"], one["level"], one["logger"], one["run"]) for one in lines] == [
        ("one", "INFO", "my.tasks", 1),
        ("two", "ERROR", "my.tasks", 1),
    ]


def test_a_line_of_a_run_that_goes_on_is_kept_soon(task_id):
    with TaskLines(task_id, 1):
        say("at work")
        until(lambda: texts(task_id) == ["at work"], what="the line is there while its task runs")
        say("still at work")
        until(lambda: len(texts(task_id)) == 2, what="the next one as well")


def test_a_run_that_logs_nothing_writes_nothing_and_starts_no_thread(task_id, monkeypatch):
    monkeypatch.setattr(parts().database, "write_later", lambda _: pytest.fail("something was written"))
    monkeypatch.setattr(task_lines, "flusher", task_lines.Flusher())

    with TaskLines(task_id, 1):
        pass

    assert task_lines.flusher._thread is None


def test_what_is_kept_of_a_task_has_a_limit_and_its_last_line_says_so(task_id):
    with TaskLines(task_id, 1) as lines:
        for number in range(100_000):
            say(f"line {number}")
            if lines.full:
                break

    kept = until(lambda: (found := texts(task_id)) and found[-1] == DROPPED and found, what="the last line is there")
    assert kept[:2] == ["line 0", "line 1"]
    assert kept.count(DROPPED) == 1
    assert parts().task_logs.kept_bytes(task_id) <= TASK_BYTES + ROW_BYTES + len(DROPPED)
    assert parts().task_logs.kept_bytes(task_id) > TASK_BYTES - 1000


def test_a_long_line_is_cut_off_whatever_its_characters(task_id):
    with TaskLines(task_id, 1):
        say("x" * LINE_BYTES)
        say("x" * (LINE_BYTES + 1))
        say("ä" * LINE_BYTES)
        say("\ud800" * LINE_BYTES)

    whole, cut, wide, odd = until(lambda: (found := texts(task_id)) and len(found) == 4 and found)
    assert whole == "x" * LINE_BYTES
    assert cut == "x" * LINE_BYTES + "…"
    assert wide == "ä" * (LINE_BYTES // 2) + "…"
    assert len(odd.encode()) <= LINE_BYTES + 3


def test_the_runs_of_a_task_share_its_limit(task_id, monkeypatch):
    monkeypatch.setattr(task_lines, "TASK_BYTES", 10 * (ROW_BYTES + 6))
    for run in (1, 2, 3):
        with TaskLines(task_id, run):
            for number in range(6):
                say(f"{run} {number:04}")
        until(lambda run=run: (found := celery_service.get_task_logs(task_id)) and found[-1]["run"] == run)

    assert texts(task_id) == [*(f"1 {n:04}" for n in range(6)), *(f"2 {n:04}" for n in range(4)), DROPPED, DROPPED]


def test_lines_that_cannot_be_written_fail_no_task(task_id, monkeypatch):
    def refuse(_lines):
        raise RuntimeError("no")

    monkeypatch.setattr(parts().task_logs, "keep", refuse)
    with TaskLines(task_id, 1):
        say("lost")


def test_threads_that_run_tasks_keep_each_its_own_lines_and_a_child_thread_those_of_its_context(task_id):
    other = Draft(uuid(), "test.add", "test", "low_priority", delay=3600)
    parts().tasks.open(other)
    both = threading.Barrier(2)

    def run(its_id: str) -> None:
        with TaskLines(its_id, 1):
            both.wait(20)
            for number in range(50):
                say(f"{its_id} {number}")
            child = threading.Thread(target=copy_context().run, args=(say, f"{its_id} child"))
            child.start()
            child.join(20)

    threads = [threading.Thread(target=run, args=(one,)) for one in (task_id, other.id)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    for one in (task_id, other.id):
        wanted = [*(f"{one} {number}" for number in range(50)), f"{one} child"]
        until(lambda one=one, wanted=wanted: texts(one) == wanted, what="each has its own lines")


def test_a_line_that_is_logged_while_another_one_is_taken_holds_up_neither(task_id):
    class Ending:
        """Says something as it goes, as what the garbage collector finds may."""

        def __getitem__(self, _):
            say("inner")
            return "INFO"

    def run() -> None:
        with TaskLines(task_id, 1) as lines:
            record = logging.LogRecord("my.tasks", logging.INFO, "", 0, "outer", None, None)
            record.levelname = Ending()
            lines.keep(record, "outer")

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(20)

    assert not thread.is_alive()
    until(lambda: sorted(texts(task_id)) == ["inner", "outer"], what="both are kept")
