"""A pytest fixture for programs that use the service: their tasks run at once, in the process of the test.

`pytest_plugins = ["services.testing"]` in a `conftest.py` makes `inline_service` known; docs/testing.md says the rest.
"""

import json
import os
from collections import deque
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache, cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple, cast

import pytest
from celery import _state
from celery.app.trace import build_tracer
from kombu.utils.json import dumps

from broker.bulk_publish import Message
from config.log_setup import tasks_lines_kept
from config.settings import ensure_folders, settings
from processors.errors import InvalidArgument, UnknownTaskName
from processors.redaction import redact_shown
from records import schema
from records.database import Database
from records.leadership import Lead
from records.parents import Parents
from records.passing_time import PassingTime
from records.submit_keys import SubmitKeys
from records.task_moves import Failure, TaskMoves
from records.task_records import Draft, TaskState
from services import task_run
from services.celery_app import celery_app, is_recorded
from services.coroutines import close_loop
from services.failures import follow_failure
from services.late_ends import late_ends
from services.own_tasks import import_task_modules
from services.parent_tasks import conclude
from services.publisher import Publisher
from services.relay import relay_by_hand
from services.submit_options import MAX_DELAY_SECONDS
from services.task_messages import Publishable, message_of, tell_published
from services.wiring import Parts, parts, parts_replaced
from services.working_process import WorkingProcess

WORKER = "inline@here"
BATCH = 500
OUTCOMES = (pytest.fail.Exception, pytest.skip.Exception, pytest.exit.Exception)
"""What a task ends a test with, by a failed check in it perhaps."""

MOMENT_SECONDS = 0.001
"""SQLite's clock counts milliseconds: what is due after that is due."""

UNLIMITED = ("limit_default", "limit_high_priority", "limit_ai_processing", "limit_file_processing")


class InlineService:
    """What a test does beside calling the facade.

    Attributes:
        outbox: where mail is written, a file for each.
        database_url: the records, for who submits in a session of their own.
    """

    def __init__(self, service: "_InlineParts") -> None:
        self.outbox = settings.outbox_dir
        self.database_url = settings.sqlalchemy_url
        self._service = service
        self._time = PassingTime(service.database)

    def run_due(self) -> int:
        """Run what is due by now, and what follows of it; returns how many tasks were begun by it."""
        for task_id in self._service.moves.expire():
            follow_failure(task_id)
        begun = _run_due()
        for parent in self._service.parents.done():
            conclude(parent)
        return begun

    def advance(self, seconds: float) -> int:
        """Let so many seconds pass, and run what becomes due meanwhile, in its order; returns how many that were.

        Raises:
            InvalidArgument: time does not run backwards, and no further than a delay may reach.
        """
        if not 0 <= seconds <= MAX_DELAY_SECONDS:
            raise InvalidArgument(f"seconds: must be 0 to {MAX_DELAY_SECONDS}; got {seconds!r}.")
        begun, left = self.run_due(), float(seconds)
        while left > 0:
            due = self._time.until_due()
            step = left if due is None else min(left, due + MOMENT_SECONDS)
            self._time.pass_by(step)
            left -= step
            begun += self.run_due()
        return begun


@pytest.fixture
def inline_service(tmp_path_factory: pytest.TempPathFactory) -> Generator[InlineService]:
    """Run every task of this test in its own process, with records of its own and no broker."""
    with running_inline(tmp_path_factory.mktemp("service")) as service:
        yield service


@contextmanager
def running_inline(folder: Path) -> Generator[InlineService]:
    """Do what the fixture does, for whoever has no pytest fixture to ask for.

    Args:
        folder: an empty folder, for records, mail and artefacts.
    """
    import_task_modules()
    kept = tasks_lines_kept(redact_shown, settings.task_log_level)
    with _settings_for(folder), kept, pytest.MonkeyPatch.context() as patch:
        ensure_folders(settings)
        (folder / "records.db").write_bytes(_empty_database())
        database = Database(settings.sqlalchemy_url)
        service = _InlineParts(database)
        patch.setattr(task_run, "working_process", _InlineProcess())
        patch.setattr(late_ends, "possible", False)
        patch.setitem(vars(celery_app.amqp), "send_task_message", service.publisher.send)
        # Groups that name no application are made of the current one's tasks; another one's would need a broker.
        patch.setattr(cast("Any", _state)._tls, "current_app", celery_app)  # noqa: SLF001 - no public way back
        # What connects to the broker of the settings is the program's own, before and after.
        patch.setattr(celery_app, "_pool", None)
        patch.setattr(celery_app.amqp, "_producer_pool", None)
        try:
            with parts_replaced(service):
                yield InlineService(service)
        finally:
            close_loop()
            database.close()


class _Waiting(NamedTuple):
    """A message as a worker would get it."""

    name: str
    headers: Mapping[str, Any]
    body: Sequence[Any]
    queue: str


class _InlinePublisher(Publisher):
    """Runs what it is given instead of publishing it, one task after the other, each to its end."""

    def __init__(self, database_id: str) -> None:
        super().__init__(database_id)
        self._waiting = deque[_Waiting]()
        self._runs = False
        self._send_recorded: Any = cast("Any", celery_app.amqp).send_task_message

    def check(self) -> None:
        """Find nothing wrong with a broker that is not needed."""

    def publish(
        self, records: Sequence[Publishable], messages: Sequence[Message] | None = None
    ) -> Sequence[Publishable]:
        """Run these, or let them run after the task that submits them; returns all of them."""
        for record, message in zip(records, messages or self.prepare(records), strict=True):
            tell_published(record, message)
            self._take(record.name, message.payload["headers"], json.loads(message.payload["body"]), record.queue)
        self._run_all()
        return records

    def send(self, producer: Any, name: str, message: Any, **options: Any) -> None:
        """Take a message as Celery sends it; one without a record runs without one."""
        if is_recorded(name):
            self._send_recorded(producer, name, message, **options)
            return
        self._take(name, message.headers, json.loads(dumps(message.body)), "default")
        self._run_all()

    def _take(self, name: str, headers: Mapping[str, Any], body: Sequence[Any], queue: str) -> None:
        if name not in celery_app.tasks:
            raise UnknownTaskName(f"name: no task is named {name!r:.100}; import its module in the test.")
        self._waiting.append(_Waiting(name, headers, body, queue))

    def _run_all(self) -> None:
        if self._runs:
            return
        self._runs = True
        try:
            while self._waiting:
                self._run(self._waiting.popleft())
        finally:
            self._runs = False

    def _run(self, one: _Waiting) -> None:
        """Run a task as a worker does, with what follows it; one that is to be tried again waits for nothing."""
        args, kwargs, embed = cast("tuple[Any, Any, Any]", one.body)
        task_id = one.headers["id"]
        request: dict[str, Any] = {
            **one.headers,
            **(embed or {}),
            "args": args,
            "kwargs": kwargs,
            "hostname": WORKER,
            "is_eager": False,
            "delivery_info": {"exchange": "", "routing_key": one.queue, "priority": None},
            "reply_to": "",
            "correlation_id": task_id,
        }
        task = celery_app.tasks[one.name]
        build_tracer(one.name, task, celery_app.loader, WORKER, app=celery_app)(task_id, args, kwargs, request)
        record = parts().tasks.read(task_id)
        again = record is not None and record.state is TaskState.RETRY and not record.held
        if record is not None and again and record.due_at <= datetime.now(UTC):
            message = message_of(record)
            self._take(record.name, message.payload["headers"], json.loads(message.payload["body"]), record.queue)


class _InlineMoves(TaskMoves):
    def try_again(self, task_id: str, run: int, delay: float, failure: Failure, *, counted: bool = True) -> bool:
        # What is not counted waits for something to be known, and would be tried again for ever.
        return super().try_again(task_id, run, 0.0 if counted else delay, failure, counted=counted)


class _InlineParents(Parents):
    def open(self, parent: Draft, members: Sequence[Mapping[str, Any]], tasks: Sequence[Draft]) -> None:
        super().open(parent, members, tasks)
        _run_due()


class _InlineKeys(SubmitKeys):
    def open_parent(
        self,
        parent: Draft,
        members: Sequence[Mapping[str, Any]],
        tasks: Sequence[Draft],
        session: object | None = None,
    ) -> str:
        task_id = super().open_parent(parent, members, tasks, session)
        _run_due()
        return task_id


def _run_due() -> int:
    """Run what is due and what follows of it; returns how many tasks were begun by it."""
    begun = 0
    lead = Lead(WORKER, parts().leadership.take(WORKER, WORKER, os.getpid()) or 0)
    while parts().holds.let_go(lead).count + sum(relayed := relay_by_hand(BATCH, None)):
        begun += relayed[1]
    return begun


class _InlineParts(Parts):
    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.moves = _InlineMoves(database, self.default_limits)
        self.parents = _InlineParents(database)
        self.submit_keys = _InlineKeys(database)

    @cached_property
    def publisher(self) -> _InlinePublisher:
        return _InlinePublisher(self.database_id)


class _InlineProcess(WorkingProcess):
    """A working process whose heart does not beat: no thread of a test outlives it."""

    def ends_by(self, error: BaseException) -> bool:
        return super().ends_by(error) or isinstance(error, OUTCOMES)

    def enter(self, name: str) -> str:
        if self._id is None:
            self._name = name
            self._announce()
        return self._id or ""


@contextmanager
def _settings_for(folder: Path) -> Generator[None]:
    """Let the settings name this folder, no broker, no server and no limit; all is as before afterwards."""
    values, named = dict(vars(settings)), settings.model_fields_set.copy()
    ours: dict[str, Any] = {
        "data_dir": folder,
        "log_dir": None,
        "database_url": None,
        "storage_url": None,
        "email_url": "outbox://",
        "celery_broker_url": "memory://localhost/",
        **dict.fromkeys(UNLIMITED, "none"),
    }
    vars(settings).update(ours)
    settings.model_fields_set.add("celery_broker_url")
    try:
        yield
    finally:
        vars(settings).update(values)
        settings.model_fields_set.intersection_update(named)


@cache
def _empty_database() -> bytes:
    """Return a database without a record; made once, because that takes longer than most tests."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "records.db"
        database = Database(f"sqlite:///{path}")
        schema.prepare(database)
        database.close()
        return path.read_bytes()
