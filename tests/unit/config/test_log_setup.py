"""Logs: one line an event, the task's id on it, no secret, and no line lost while files are rotated."""

import fcntl
import json
import logging
import os
import sqlite3
import subprocess
import sys
import threading
from collections import OrderedDict, defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import structlog

from config.log_setup import (
    NOT_OF_TASKS,
    OF_TASKS,
    SharedFileHandler,
    bind_task,
    clear_task,
    configure,
    get_logger,
    kept_by,
    tasks_lines_kept,
)
from processors.redaction import redact_shown
from records.sqlite import LastingPool

WRITER = """
import logging, sys
from pathlib import Path
from config import log_setup
log_setup.CHECK_SECONDS = 0.0
handler = log_setup.SharedFileHandler(Path(sys.argv[1]), max_bytes=1000)
for number in range(500):
    handler.emit(logging.LogRecord("x", 20, "", 0, f"{sys.argv[2]} {number}", None, None))
handler.close()
"""


@pytest.fixture
def log(tmp_path):
    """Logging set up into a file, and what it holds."""
    root, before = logging.getLogger(), (logging.getLogger().handlers, logging.getLogger().level)
    configure("worker", "INFO", redact=redact_shown, folder=tmp_path)
    yield (tmp_path / "worker.log").read_text
    for handler in root.handlers:
        handler.close()
    root.handlers, root.level = before
    structlog.reset_defaults()


def test_every_line_of_a_task_carries_its_id_whoever_logs(log):
    bind_task("t-1", "email.send_email")
    structlog.get_logger().info("sent", recipients=2)
    logging.getLogger("some.library").warning("a %s of another", "line")
    clear_task()
    structlog.get_logger().info("after")
    first, second, third = log().splitlines()
    assert "sent recipients=2" in first
    assert {"task_id=t-1", "task=email.send_email"} <= set(first.split())
    assert "warning  a line of another" in second
    assert "task_id=t-1" in second
    assert "task_id" not in third


def test_secrets_are_masked_wherever_they_stand(log):
    structlog.get_logger().info("login", password="planted", arguments={"api_key": "planted"}, url="smtp://u:planted@h")
    assert "planted" not in log()


def test_a_value_with_line_breaks_stays_one_line_and_a_traceback_follows_its_line(log):
    structlog.get_logger().info("odd", text="a\nb", empty="")
    logging.getLogger("x").error("failed", exc_info=ValueError("why"))
    lines = log().splitlines()
    assert r"text=a\nb" in lines[0]
    assert "failed" in lines[1]
    assert lines[-1] == "ValueError: why"


def test_four_processes_that_rotate_one_file_lose_no_line(tmp_path):
    path = tmp_path / "worker.log"
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(path), name], env=dict(os.environ)) for name in "abcd"
    ]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0, 0]
    files = list(tmp_path.glob("*.log"))
    lines = [line for file in files for line in file.read_text().splitlines()]
    assert sorted(lines) == sorted(f"{name} {number}" for name in "abcd" for number in range(500))
    assert len(files) > 3


def test_a_file_of_another_day_is_moved_away(tmp_path):
    path = tmp_path / "beat.log"
    path.write_text("of yesterday\n")
    yesterday = (datetime.now(UTC) - timedelta(days=1)).timestamp()
    os.utime(path, (yesterday, yesterday))
    handler = SharedFileHandler(path)
    handler.emit(logging.LogRecord("x", 20, "", 0, "today", None, None))
    handler.close()
    assert path.read_text() == "today\n"
    assert [file.read_text() for file in tmp_path.glob("beat-*.log")] == ["of yesterday\n"]


def test_a_process_that_is_frozen_while_it_rotates_holds_up_nobody_elses_lines(tmp_path):
    handler = SharedFileHandler(tmp_path / "x.log", max_bytes=1)
    with (tmp_path / "x.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for word in ("first", "second"):
            handler._checked = 0.0
            record = logging.LogRecord("x", 20, "", 0, word, None, None)
            writer = threading.Thread(target=handler.handle, args=(record,), daemon=True)
            writer.start()
            writer.join(20)
            assert not writer.is_alive()
    handler.close()
    assert (tmp_path / "x.log").read_text().split() == ["first", "second"]


def test_a_full_disk_does_not_stop_the_work(monkeypatch, tmp_path, capsys):
    handler = SharedFileHandler(tmp_path / "x.log")
    with Path("/dev/full").open("ab", buffering=0) as full:
        monkeypatch.setattr(handler, "_ready", lambda: full)
        handler.emit(logging.LogRecord("x", 20, "", 0, "line", None, None))
    assert "No space left" in capsys.readouterr().err


def test_a_thread_leaves_its_line_to_the_one_that_writes_and_goes_on(tmp_path, monkeypatch):
    handler, writing, gate = SharedFileHandler(tmp_path / "x.log"), threading.Event(), threading.Event()
    write = handler.write

    def slow(text: str) -> None:
        writing.set()
        gate.wait(20)
        write(text)

    monkeypatch.setattr(handler, "write", slow)
    first = threading.Thread(target=lambda: handler.handle(logging.LogRecord("x", 20, "", 0, "first", None, None)))
    first.start()
    writing.wait(20)
    for number in range(3):
        handler.handle(logging.LogRecord("x", 20, "", 0, f"{number}", None, None))
    gate.set()
    first.join(20)
    handler.close()

    assert (tmp_path / "x.log").read_text().split() == ["first", "0", "1", "2"]


class Kept:
    """Keeps what a task logs in a list."""

    def __init__(self) -> None:
        self.full, self.lines = False, []

    def keep(self, record: logging.LogRecord, text: str) -> None:
        self.lines.append((record.levelname, record.name.removeprefix("csai."), text))


@pytest.fixture
def tasks_log(tmp_path):
    """Logging set up from warnings on into a file, and from INFO on for tasks; and what the file holds."""
    root = logging.getLogger()
    names = ["", *NOT_OF_TASKS, *OF_TASKS]
    before, levels = root.handlers, {name: logging.getLogger(name).level for name in names}
    configure("worker", "WARNING", redact=redact_shown, folder=tmp_path, task_level="INFO")
    yield (tmp_path / "worker.log").read_text
    for handler in root.handlers:
        handler.close()
    root.handlers = before
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
    structlog.reset_defaults()


@pytest.fixture
def kept(tasks_log):
    """What a task that runs here logs."""
    keeper = Kept()
    bind_task("t-1", "my.task")
    token = kept_by.set(keeper)
    yield keeper
    kept_by.reset(token)
    clear_task()


def test_what_a_task_logs_by_any_means_is_kept_as_it_said_it(kept, tasks_log):
    logging.getLogger("my.module").info("a %s of mine", "line")
    structlog.get_logger("my.other").info("sent", recipients=2, to="a b")
    get_logger().warning("slow", seconds=3)
    logging.getLogger("my.module").debug("too quiet")

    assert kept.lines == [
        ("INFO", "my.module", "a line of mine"),
        ("INFO", "my.other", "sent recipients=2 to='a b'"),
        ("WARNING", __name__, "slow seconds=3"),
    ]
    assert [line.split()[1:3] for line in tasks_log().splitlines()] == [["warning", "slow"]]


def test_what_the_service_and_its_libraries_log_in_a_tasks_run_is_not_the_tasks(kept):
    for name in ("csai.services.submission", "csai.records.grouped_writes", "celery.app.trace", "kombu.connection"):
        logging.getLogger(name).error("not yours")
    for name in ("csai.services.celery_tasks.email_tasks", "celery.task", "servicesque", "PIL.Image"):
        logging.getLogger(name).info("yours")

    assert [name for _, name, _ in kept.lines] == [
        "services.celery_tasks.email_tasks",
        "celery.task",
        "servicesque",
        "PIL.Image",
    ]


def test_what_the_pool_of_the_record_database_does_is_not_the_tasks(kept):
    pool = LastingPool(lambda: sqlite3.connect(":memory:"))
    pool.connect().invalidate()
    pool.dispose()

    assert kept.lines == []


def test_keeping_what_tasks_log_makes_nobody_else_say_more(kept):
    assert not logging.getLogger("csai.services.task_run").isEnabledFor(logging.INFO)
    assert not logging.getLogger("celery.worker").isEnabledFor(logging.INFO)
    assert not logging.getLogger("kombu").isEnabledFor(logging.INFO)
    assert logging.getLogger("csai.services.celery_tasks.email_tasks").isEnabledFor(logging.INFO)
    assert logging.getLogger("celery.task").isEnabledFor(logging.INFO)


def test_secrets_are_masked_in_what_is_kept(kept):
    logging.getLogger("x").info("smtp://u:planted@h")
    structlog.get_logger("y").info("login", password="planted", url="smtp://u:planted@h")
    logging.getLogger("x").error("it broke", exc_info=ValueError("http://u:planted@h"))

    texts = [text for _, _, text in kept.lines]
    assert "planted" not in "".join(texts)
    assert texts[2] == "it broke\nValueError: http://u:***@h"


HIDDEN = {"password": "planted", "to": "ann"}
FILLED_IN = [
    (("args %s", HIDDEN), "args {'password': '***', 'to': 'ann'}"),
    (("args %r of %s", HIDDEN, "x"), "args {'password': '***', 'to': 'ann'} of x"),
    (
        ("lists %s %s", [HIDDEN], (1, HIDDEN)),
        "lists [{'password': '***', 'to': 'ann'}] [1, {'password': '***', 'to': 'ann'}]",
    ),
    (("%(to)s by %(password)s", HIDDEN), "ann by ***"),
    (("%(inner)s", {"inner": {"api_key": "planted"}}), "{'api_key': '***'}"),
    (("of another kind %s", OrderedDict(token="planted")), "of another kind {'token': '***'}"),
    ((f"a text of one {HIDDEN}",), "a text of one {'password': '***', 'to': 'ann'}"),
    ((f"as JSON {json.dumps(HIDDEN)}",), """as JSON {"password": '***', "to": "ann"}"""),
    (("nothing %s to hide %s %d", (1, 2), [3], 4), "nothing (1, 2) to hide [3] 4"),
    (("a default '%(absent)s'", defaultdict(str, to="ann")), "a default ''"),
]
LOGGERS = {"logging": logging.getLogger, "structlog": structlog.get_logger, "ours": lambda _: get_logger()}


@pytest.mark.parametrize(("said", "text"), FILLED_IN)
@pytest.mark.parametrize("logger", LOGGERS.values(), ids=LOGGERS)
def test_secrets_are_masked_in_what_a_line_is_filled_in_with(logger, said, text, kept, tasks_log):
    logger("shop").warning(*said)

    assert [line for _, _, line in kept.lines] == [text]
    assert tasks_log().split("warning  ")[1].startswith(text)


def test_secrets_are_masked_in_a_dictionary_logged_for_itself_and_in_texts_of_fields(kept, tasks_log):
    logging.getLogger("shop").warning(HIDDEN)
    structlog.get_logger("shop").warning("got", body=json.dumps(HIDDEN))
    logging.getLogger("shop").error("broke", exc_info=ValueError(HIDDEN))

    assert "planted" not in "".join(text for _, _, text in kept.lines) + tasks_log()
    assert len(kept.lines) == 3


def test_what_other_handlers_get_is_what_was_logged(kept, caplog):
    logging.getLogger("shop").warning("args %s", HIDDEN)

    assert caplog.records[0].args is HIDDEN


class Unreadable(dict):
    """A mapping that cannot be looked at."""

    def items(self):
        raise RuntimeError("planted")


@pytest.mark.parametrize("said", [("pin %(pin)d", {"pin": 4711}), ("got %s", Unreadable(a=1)), ("%d of %s", "4711")])
def test_values_that_cannot_be_masked_or_filled_in_fail_nobody_and_are_not_shown(said, kept, tasks_log, monkeypatch):
    monkeypatch.setattr(logging, "raiseExceptions", False)
    record = logging.getLogger("shop").makeRecord("shop", logging.WARNING, "/my.py", 7, said[0], said[1:], None)
    for handler in logging.getLogger().handlers:
        if type(handler).__module__ == "config.log_setup":
            handler.handle(record)
    structlog.get_logger("shop").warning(*said)

    assert [text for _, _, text in kept.lines][1] == said[0]
    assert kept.lines[0][2].startswith("a line could not be made, at /my.py:7: ")
    assert "4711" not in tasks_log()


@pytest.mark.parametrize("mine", [None, {"processors": [], "cache_logger_on_first_use": False}])
def test_where_only_tasks_lines_are_kept_structlog_is_set_up_meanwhile_and_as_before_afterwards(mine):
    keeper = Kept()
    if mine is not None:
        structlog.configure(**mine)
    before = structlog.is_configured(), structlog.get_config()
    token = kept_by.set(keeper)
    logger = structlog.get_logger("shop")
    try:
        with tasks_lines_kept(redact_shown, "INFO"):
            logger.info("got", arguments=HIDDEN)
            get_logger().info("got %s", HIDDEN)
        assert (structlog.is_configured(), structlog.get_config()) == before
    finally:
        kept_by.reset(token)
        structlog.reset_defaults()

    assert [text for _, _, text in keeper.lines] == [
        "got arguments=\"{'password': '***', 'to': 'ann'}\"",
        "got {'password': '***', 'to': 'ann'}",
    ]


def test_a_line_whose_words_do_not_fit_its_values_fails_nobody_and_shows_none_of_them(kept, tasks_log):
    record = logging.LogRecord("x", logging.WARNING, "/my.py", 7, "%d of %s", ("planted",), None)
    for handler in logging.getLogger().handlers:
        if type(handler).__module__ == "config.log_setup":
            handler.handle(record)

    assert kept.lines == [("WARNING", "x", "a line could not be made, at /my.py:7: TypeError")]
    assert tasks_log() == "a line could not be made, at /my.py:7: TypeError\n"


def test_nothing_is_kept_where_no_task_runs_in_this_thread_or_its_keeper_is_full(kept):
    thread = threading.Thread(target=lambda: logging.getLogger("x").info("elsewhere"))
    thread.start()
    thread.join(20)
    kept.full = True
    logging.getLogger("x").info("too much")
    structlog.get_logger("y").info("too much")

    assert kept.lines == []
