"""An adopter's tasks: of whatever form, they have records; what is wrong with one is a sentence."""

import asyncio
import contextvars
import logging
import math
import signal
import sys
import threading
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery, Task, shared_task
from celery.exceptions import SoftTimeLimitExceeded
from pydantic import BaseModel

from config.settings import settings
from processors.errors import (
    Cancelled,
    ConfigurationError,
    InvalidArgument,
    PermanentError,
    TaskFailed,
    TransientError,
    UnknownQueue,
    UnknownTaskName,
    WorkError,
)
from processors.interfaces import Happened
from processors.results import Request
from processors.scheduling import CATEGORIES
from services.celery_app import celery_app
from services.celery_service import celery_service
from services.celery_tasks.base import RecordedTask
from services.coroutines import close_loop, run_to_result
from services.own_tasks import checked_arguments, import_task_modules, is_ours, queue_of, registered_task
from services.run_watch import RunInHand
from services.submission import category_of
from services.wiring import parts


class Customer(BaseModel):
    name: str
    orders: int = 0


class Invoice(Request):
    customer: str
    cents: int


class Counting(Task):
    """A class of an adopter's, on Celery's plain one."""

    abstract = True
    ended: list[str] = []

    def after_return(self, status: str, *_: Any) -> None:
        self.ended.append(status)


@celery_app.task(name="test.plain")
def plain(x: int, y: int = 1, *, z: int = 0) -> int:
    return x + y + z


@celery_app.task(name="test.bound", bind=True, category="invoices", queue="low_priority")
def bound(self: Any, x: int) -> dict[str, Any]:
    if not x:
        raise PermanentError("nothing to do")
    self.report(50, "half")
    return {"x": x, "id": self.request.id}


@shared_task(name="test.shared")
def shared(x: int) -> int:
    return 2 * x


@celery_app.task(name="test.counted", base=Counting)
def counted(x: int) -> int:
    return x


@celery_app.task(name="test.modelled", pydantic=True)
def modelled(customer: Customer) -> Customer:
    return Customer(name=customer.name, orders=customer.orders + 1)


@celery_app.task(name="test.modelled_async", pydantic=True)
async def modelled_async(customer: Customer) -> Customer:
    return Customer(name=customer.name, orders=customer.orders + 1)


@celery_app.task(name="test.requested", takes=Invoice)
def requested(invoice: Invoice) -> str:
    return f"{invoice.customer} owes {invoice.cents}"


@celery_app.task(name="test.waited_for", bind=True)
async def waited_for(self: Any, x: int) -> int:
    self.report(10, "began")
    await asyncio.sleep(0)
    return x + 1


@celery_app.task(name="test.reports", bind=True)
def reports(self: Any, percent: Any, text: Any) -> None:
    self.report(math.nan if percent == "not a number" else percent, text)  # no argument can be one


@celery_app.task(name="test.takes_options")
def takes_options(name: str, queue: str = "q", priority: str = "p") -> list[str]:
    return [name, queue, priority]


@celery_app.task(name="test.fails_async")
async def fails_async() -> None:
    await asyncio.sleep(0)
    raise PermanentError("it cannot be")


@celery_app.task(name="test.never_recorded", record=False)
def never_recorded() -> None:
    pass


class Classy(Task):
    name = "test.classy"

    async def run(self, x: int) -> int:
        return 3 * x


celery_app.register_task(Classy())


@pytest.mark.parametrize(
    ("name", "arguments", "result"),
    [
        ("test.plain", {"x": 1}, 2),
        ("test.plain", {"x": 1, "y": 2, "z": 3}, 6),
        ("test.shared", {"x": 4}, 8),
        ("test.counted", {"x": 5}, 5),
        ("test.classy", {"x": 2}, 6),
        ("test.modelled", {"customer": Customer(name="Ann")}, {"name": "Ann", "orders": 1}),
        ("test.modelled", {"customer": {"name": "Ann", "orders": 7}}, {"name": "Ann", "orders": 8}),
        ("test.modelled_async", {"customer": {"name": "Ann"}}, {"name": "Ann", "orders": 1}),
        ("test.requested", {"customer": "Ann", "cents": 100}, "Ann owes 100"),
        ("test.waited_for", {"x": 41}, 42),
    ],
)
def test_a_task_of_any_form_has_a_record_and_a_result(inline_service, name, arguments, result):
    task_id = celery_service.submit(name, **arguments)

    assert celery_service.get_task_result(task_id, timeout=0) == result
    status = celery_service.get_task_status(task_id)
    assert (status["status"], status["name"], status["queue"]) == ("SUCCESS", name, "default")


def test_a_class_of_the_adopters_keeps_its_own_ways_beside_the_record(inline_service):
    Counting.ended.clear()
    celery_service.submit("test.counted", x=1)
    assert Counting.ended == ["SUCCESS"]


def test_a_task_says_its_queue_and_category_itself(inline_service):
    task_id = celery_service.submit("test.bound", x=1)

    record = parts().tasks.read(task_id)
    assert (record.queue, record.category, record.result) == ("low_priority", "invoices", {"x": 1, "id": task_id})
    assert parts().tasks.read(bound.delay(2).id).queue == "low_priority"
    assert parts().tasks.read(celery_service.submit("test.bound", x=1, queue="email")).queue == "email"
    assert queue_of(registered_task("email.send_email")) == "email"
    assert queue_of(registered_task("monitoring.health_check")) == "default"


def test_an_async_body_that_fails_is_a_failure_and_a_coroutine_is_never_a_success(inline_service):
    task_id = celery_service.submit("test.fails_async")
    with pytest.raises(TaskFailed, match="it cannot be"):
        celery_service.get_task_result(task_id, timeout=0)


@celery_app.task(name="test.logs_async")
async def logs_async() -> None:
    logging.getLogger("shop").warning("from the body")
    await asyncio.create_task(log_more())


async def log_more() -> None:
    logging.getLogger("shop").warning("from a task of the body")


def test_what_a_coroutine_logs_is_kept_with_its_record(inline_service):
    first, second = (celery_service.submit("test.logs_async") for _ in range(2))
    parts().database.write(lambda _: None)
    for task_id in (first, second):
        texts = [line["text"] for line in celery_service.get_task_logs(task_id)]
        assert texts == ["from the body", "from a task of the body"]


def test_an_async_task_that_is_called_directly_is_its_callers_to_await():
    assert asyncio.run(modelled_async.run({"name": "Ann"})).orders == 1
    assert asyncio.run(fails_to_none()) is None


async def fails_to_none() -> None:
    with pytest.raises(PermanentError):
        await fails_async()


@celery_app.task(name="test.pays", bind=True)
async def pays(self: Any, how: str) -> Any:
    async def pay() -> str:
        return "paid"

    calls = {"plain": lambda: "paid", "coroutine": pay, "future": lambda: asyncio.ensure_future(pay())}
    return self.effect(f"{self.request.id}:pay", calls[how], deadline=5)


def test_an_effect_in_a_coroutine_is_a_plain_functions_and_a_coroutine_is_none(inline_service):
    paid, refused, unclear = (celery_service.submit("test.pays", how=how) for how in ("plain", "coroutine", "future"))

    assert celery_service.get_task_result(paid, timeout=0) == "paid"
    with pytest.raises(TaskFailed, match=r"call: must be a plain function .* coroutine pays.<locals>.pay") as failed:
        celery_service.get_task_result(refused, timeout=0)
    assert failed.value.error_type == "InvalidArgument"
    assert [(one["task_id"], one["state"]) for one in celery_service.get_effects_in_doubt()] == [(unclear, "intended")]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda s: s.submit("test.plan", x=1), r"no task is named 'test.plan'; did you mean test.plain"),
        (lambda s: s.submit("☃☃☃"), "no task is named .*; TASK_MODULES names the modules"),
        (lambda s: s.submit("celery.chord"), "no task is named 'celery.chord'"),
        (lambda s: s.submit(5), "name: must be the name of a task, got 5"),
        (lambda s: s.submit("email.send_bulk_emails"), "moved by its members' rows"),
        (lambda s: s.submit("test.never_recorded"), "record = False"),
        (lambda s: s.submit("test.plain"), "missing a required argument: 'x'; it takes x, y, z"),
        (lambda s: s.submit("test.plain", x=1, w=2), "unexpected keyword argument 'w'"),
        (lambda s: s.submit("test.bound", x=1, self=2), "'self'"),
        (lambda s: s.submit("test.plain", x=float("nan")), "must be JSON values"),
        (lambda s: s.submit("test.plain", x={1, 2}), "must be JSON values"),
        (lambda s: s.submit("test.plain", x="x" * 1_000_001), "at most 1000000 are accepted"),
        (lambda s: s.submit("test.requested", customer="Ann", cents="1"), "cents: .*valid integer; got '1'"),
        (lambda s: s.submit("test.requested", customer="Ann"), "cents: Field required"),
        (lambda s: s.submit("test.plain", x=1, queue="nowhere"), "no queue is named 'nowhere'"),
        (lambda s: s.submit("test.plain", x=1, priority="urgent"), "priority: must be low, normal or high"),
        (lambda s: s.submit("test.takes_options", name="n", priority="high"), r"priority: .*arguments=\{…\}"),
        (lambda s: s.submit("test.takes_options", name="n", queue="email"), r"queue: .*arguments=\{…\}"),
        (lambda s: s.submit("test.plain", {"x": 1}, y=2), "got dict and beside it y"),
        (lambda s: s.submit("test.plain", [1]), r"arguments: must be a dict of all .*; got list and beside it nothing"),
    ],
    ids=range(20),
)
def test_what_cannot_be_submitted_by_name_is_one_sentence_and_nothing_is_recorded(inline_service, call, words):
    with pytest.raises(InvalidArgument, match=words) as error:
        call(celery_service)
    assert "\n" not in str(error.value)
    assert parts().tasks.active(limit=10) == []


def test_unknown_names_and_queues_are_told_apart(inline_service):
    with pytest.raises(UnknownTaskName):
        celery_service.submit("test.plan")
    with pytest.raises(UnknownQueue):
        celery_service.submit("test.plain", x=1, queue="nowhere")


def test_arguments_that_are_named_like_options_go_as_a_dict_and_options_beside_it(inline_service):
    task_id = celery_service.submit("test.takes_options", {"name": "n", "priority": "mine"}, priority="high")

    assert celery_service.get_task_result(task_id, timeout=0) == ["n", "q", "mine"]
    assert celery_service.get_task_status(task_id)["priority"] == "high"
    assert celery_service.get_task_result(celery_service.submit("test.takes_options", name="n"), 0) == ["n", "q", "p"]


def test_failed_tasks_are_retried_by_an_adopters_category(inline_service):
    failed = celery_service.submit("test.bound", x=0)
    assert celery_service.get_task_status(failed)["info"]["error"] == "nothing to do"
    other = celery_service.retry_failed_tasks(task_types=["test"])
    assert celery_service.get_task_result(other, timeout=0)["retried"] == []
    own = celery_service.retry_failed_tasks(task_types=["invoices", "email"])
    assert len(celery_service.get_task_result(own, timeout=0)["retried"]) == 1
    assert celery_service.get_task_status(failed)["retried_as"]
    with pytest.raises(InvalidArgument, match=r"task_types: must be of email, .*invoices.*; got 'nothing'"):
        celery_service.retry_failed_tasks(task_types=["nothing"])


attempts: list[Any] = []


@celery_app.task(
    name="test.retried_by_celery", bind=True, autoretry_for=(Exception,), retry_kwargs={"max_retries": 1}, max_retries=3
)
def retried_by_celery(self: Any, how: str) -> Any:
    attempts.append(how)
    if how == "doubt":
        return self.effect("test.retried", _charge, deadline=1, reconcile=lambda _: Happened("charged"))
    raise {"soft": SoftTimeLimitExceeded(), "never": PermanentError("never"), "value": ValueError("odd")}[how]


def _charge() -> None:
    raise ConnectionError("no answer")


@pytest.mark.parametrize(
    ("how", "runs", "error_type"),
    [("soft", 1, "TimeLimitExceeded"), ("never", 1, "PermanentError"), ("value", 2, "ValueError")],
)
def test_celerys_own_retries_leave_an_error_what_it_is_and_count_as_they_were_told(
    inline_service, how, runs, error_type
):
    attempts.clear()
    task_id = celery_service.submit("test.retried_by_celery", how=how)

    assert celery_service.get_task_status(task_id)["info"]["error_type"] == error_type
    assert len(attempts) == runs


def test_celerys_own_retries_leave_a_doubt_to_be_waited_for(inline_service):
    task_id = celery_service.submit("test.retried_by_celery", how="doubt")
    assert celery_service.get_task_status(task_id)["info"]["error_type"] == "EffectInDoubt"
    inline_service.advance(60)

    assert celery_service.get_task_result(task_id, timeout=0) == "charged"


@celery_app.task(name="test.asks_for_a_retry", bind=True)
def asks_for_a_retry(self: Any, options: dict[str, Any]) -> Any:
    if options.pop("eta", None):
        options["eta"] = datetime.now(UTC) + timedelta(hours=5)
    raise self.retry(**options)


def test_other_arguments_for_a_retry_are_refused_and_the_same_ones_are_taken(inline_service):
    other = celery_service.submit("test.asks_for_a_retry", options={"kwargs": {"options": {}}})
    assert "with other arguments" in celery_service.get_task_status(other)["info"]["error"]

    same = celery_service.submit("test.asks_for_a_retry", options={"args": [], "max_retries": 0})
    assert celery_service.get_task_status(same)["info"]["error"] == "The task asked to be tried again."


@celery_app.task(name="test.asks_twice", bind=True, autoretry_for=(Exception,), retry_backoff=True)
def asks_twice(self: Any, options: dict[str, Any]) -> Any:
    attempts.append(options)
    raise self.retry(**options)


@pytest.mark.parametrize(
    ("options", "raised"),
    [({"countdown": 3600}, TransientError), ({"kwargs": {"options": {}}}, InvalidArgument)],
    ids=["due later", "other arguments"],
)
def test_what_a_body_asks_a_retry_for_is_not_replaced_by_celerys_own_back_off(options, raised):
    asks_twice.push_request(args=[], kwargs={"options": options}, run=SimpleNamespace(last_attempt=lambda: False))
    try:
        with pytest.raises(raised) as asked:
            asks_twice.run(options)
    finally:
        asks_twice.pop_request()
    assert getattr(asked.value, "retry_after", None) == options.get("countdown")


def test_a_retry_may_say_when_it_is_due():
    run = SimpleNamespace(last_attempt=lambda: False)
    asks_for_a_retry.push_request(args=[], kwargs={}, run=run)
    try:
        with pytest.raises(TransientError) as raised:
            asks_for_a_retry.run({"eta": True})
    finally:
        asks_for_a_retry.pop_request()
    assert raised.value.retry_after == pytest.approx(5 * 3600, abs=60)


class Wrapping(Task):
    """A class that puts something around each run, as one does to give it a web framework's context."""

    abstract = True
    seen: list[str] = []

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.seen.append("in")
        try:
            return self.run(*args, **kwargs)
        finally:
            self.seen.append("out")


class WrappingAgain(Wrapping):
    abstract = True

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.seen.append("first in")
        return super().__call__(*args, **kwargs)


class WrappingOurs(RecordedTask):
    abstract = True

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        Wrapping.seen.append("ours")
        return super().__call__(*args, **kwargs)


class WrappingPlain(Task):
    abstract = True

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        Wrapping.seen.append("plain")
        return super().__call__(*args, **kwargs)


def noted(x: int) -> int:
    Wrapping.seen.append("run")
    return x


@pytest.mark.parametrize("recorded", [True, False])
@pytest.mark.parametrize(
    ("base", "seen"),
    [
        (Wrapping, ["in", "run", "out"]),
        (WrappingAgain, ["first in", "in", "run", "out"]),
        (WrappingOurs, ["ours", "run"]),
        (WrappingPlain, ["plain", "run"]),
    ],
)
def test_what_a_class_puts_around_its_runs_is_inside_the_record_and_happens_once(inline_service, base, seen, recorded):
    name = f"test.wrapped_{base.__name__}_{recorded}"
    task = celery_app.task(name=name, base=base, lazy=False, record=recorded)(noted)
    Wrapping.seen.clear()

    submitted = task.delay(5)

    assert Wrapping.seen == seen
    status = celery_service.get_task_status(submitted.id)
    assert (status["status"], status["info"]) == (("SUCCESS", 5) if recorded else ("UNKNOWN", None))
    Wrapping.seen.clear()
    assert task(6) == 6
    assert Wrapping.seen == seen, "called directly it does the same"


@celery_app.task(name="test.factorial")
def factorial(n: int) -> int:
    return n * factorial(n - 1) if n else 1


@celery_app.task(name="test.calls_another")
def calls_another(n: int) -> int:
    return factorial(n) + plain(n)


def test_a_task_may_call_itself_and_others_as_functions(inline_service):
    assert celery_service.get_task_result(celery_service.submit("test.factorial", n=5), timeout=0) == 120
    assert celery_service.get_task_result(celery_service.submit("test.calls_another", n=3), timeout=0) == 10
    assert factorial(4) == 24
    assert bound(7) == {"x": 7, "id": None}, "it reports to nobody"


@pytest.fixture
def _loop():
    yield
    close_loop()


def hand() -> RunInHand:
    return RunInHand("task", 1)


@pytest.mark.usefixtures("_loop")
def test_what_a_coroutine_starts_as_it_is_cancelled_does_not_outlive_it_either():
    seen: list[str] = []

    async def late() -> None:
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        seen.append("late")

    async def left() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            started.append(asyncio.create_task(late()))

    async def body() -> None:
        started.append(asyncio.create_task(left()))
        await asyncio.sleep(0)

    started: list[Any] = []
    run_to_result(body(), hand())
    assert len(started) == 2
    assert all(one.done() for one in started)

    run_to_result(asyncio.sleep(0.01), hand())
    assert seen == []


@pytest.mark.usefixtures("_loop")
def test_one_thread_runs_its_bodies_on_one_loop_and_each_in_a_context_of_its_own():
    told = contextvars.ContextVar("told", default="nobody")

    async def body(word: str) -> tuple[Any, str]:
        before = told.get()
        told.set(word)
        return asyncio.get_running_loop(), before

    first, second = (run_to_result(body(word), hand()) for word in ("one", "two"))

    assert first[0] is second[0]
    assert (first[1], second[1], told.get()) == ("nobody", "nobody", "nobody")
    assert not first[0].get_debug()


def test_threads_run_their_bodies_at_the_same_time():
    meeting, met = threading.Barrier(2, timeout=30), []

    async def body() -> None:
        met.append(await asyncio.to_thread(meeting.wait))

    def run() -> None:
        run_to_result(body(), hand())
        close_loop()

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(met) == [0, 1]


@pytest.mark.usefixtures("_loop")
def test_what_a_body_leaves_running_is_cancelled_and_has_ended_before_its_result_is_there():
    ended = []

    async def leftover() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep(0)
            ended.append("leftover")

    async def body() -> str:
        body.task = asyncio.create_task(leftover())
        await asyncio.sleep(0)
        return "done"

    assert run_to_result(body(), hand()) == "done"
    assert ended == ["leftover"]


@pytest.mark.usefixtures("_loop")
@pytest.mark.parametrize("lost_before", [True, False])
def test_a_body_whose_run_is_lost_is_cancelled_from_another_thread_and_may_clean_up(lost_before):
    mine, began, cleaned = hand(), threading.Event(), []

    async def body() -> None:
        began.set()
        try:
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep(0)
            cleaned.append(True)

    def lose() -> None:
        began.wait(30)
        mine.lose()

    thread = threading.Thread(target=lose)
    if lost_before:
        mine.lose()
    else:
        thread.start()
    with pytest.raises(Cancelled, match="task was cancelled while it ran"):
        run_to_result(body(), mine)
    if thread.ident:
        thread.join()
    assert cleaned == [True]


@pytest.mark.usefixtures("_loop")
def test_a_body_that_is_cancelled_from_within_is_an_error_and_no_cancellation():
    async def body() -> None:
        raise asyncio.CancelledError

    with pytest.raises(WorkError, match="not by the service") as error:
        run_to_result(body(), hand())
    assert not isinstance(error.value, Cancelled)


@pytest.mark.usefixtures("_loop")
def test_a_body_that_a_signal_interrupts_cleans_up_and_the_next_one_finds_a_sound_loop():
    cleaned = []

    async def body() -> None:
        signal.raise_signal(signal.SIGUSR2) if not body.waits else signal.setitimer(signal.ITIMER_REAL, 0.05)
        try:
            await asyncio.sleep(3600)
        finally:
            cleaned.append(True)

    def too_long(*_: Any) -> None:
        raise SoftTimeLimitExceeded

    async def next_one() -> str:
        await asyncio.sleep(0)
        return "sound"

    before = signal.signal(signal.SIGALRM, too_long), signal.signal(signal.SIGUSR2, too_long)
    try:
        for body.waits in (True, False):
            with pytest.raises(SoftTimeLimitExceeded):
                run_to_result(body(), hand())
            assert run_to_result(next_one(), hand()) == "sound"
    finally:
        signal.signal(signal.SIGALRM, before[0])
        signal.signal(signal.SIGUSR2, before[1])
    assert cleaned == [True], "the one that was asleep; the other never came to its try"


def test_an_async_body_inside_a_running_loop_is_refused_with_the_cure():
    async def body() -> None:
        pass

    async def test() -> None:
        run_to_result(body(), hand())

    with pytest.raises(PermanentError, match=r"asyncio\.to_thread"):
        asyncio.run(test())


def test_a_lost_run_tells_each_who_wants_to_know_once():
    mine, told = hand(), []
    mine.when_lost(lambda: told.append(1))
    mine.lose()
    mine.lose()
    mine.when_lost(lambda: told.append(2))
    assert told == [1, 2]


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        (None, "ModuleNotFoundError: No module named 'adopters_module'"),
        ("import nothing_of_this_name", "ModuleNotFoundError: No module named 'nothing_of_this_name'"),
        ("def f(:", "SyntaxError: invalid syntax"),
        ("raise ValueError('two\\nlines')", "ValueError: two lines"),
    ],
)
def test_a_module_that_cannot_be_imported_is_one_line_with_its_cause(monkeypatch, tmp_path, text, cause):
    monkeypatch.setattr(settings, "task_modules", ["adopters_module"])
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(tmp_path)
    if text is not None:
        (tmp_path / "adopters_module.py").write_text(text)

    with pytest.raises(ConfigurationError, match="TASK_MODULES names 'adopters_module'") as error:
        celery_app.loader.import_task_module("adopters_module")

    assert cause in str(error.value)
    assert "\n" not in str(error.value)
    with pytest.raises(ConfigurationError):
        celery_service.submit("adopters_module.task")


@pytest.mark.parametrize(
    ("declared", "words"),
    [
        ({"takes": 5}, "test.ill: takes must be a pydantic model's class, or name one, got 5"),
        ({"takes": "processors.emails.SendEmail"}, "test.ill: takes must be .*, got 'processors.emails.SendEmail'"),
        ({"takes": Invoice(customer="Ada", cents=1)}, "test.ill: takes must be"),
        ({"category": 5}, "test.ill: category must be a word such as 'invoices', got 5"),
        ({"category": ""}, "test.ill: category must be"),
    ],
)
def test_a_declaration_that_no_submit_could_serve_is_refused_where_it_stands(declared, words):
    def ill() -> None: ...

    app = Celery("another", task_cls=RecordedTask, set_as_current=False)
    with pytest.raises(ConfigurationError, match=words):
        app.task(name="test.ill", lazy=False, shared=False, **declared)(ill)


@pytest.mark.parametrize("named", ["processors.emails:SendMail", "processors.mailing:SendEmail"])
def test_a_request_model_that_is_named_and_not_there_is_told_in_one_sentence(named):
    def misnamed() -> None: ...

    app = Celery("another", task_cls=RecordedTask, set_as_current=False)
    task = app.task(name="test.misnamed", lazy=False, shared=False, takes=named)(misnamed)
    with pytest.raises(ConfigurationError, match=f"test.misnamed: takes names '{named}', which is not there: "):
        checked_arguments(task, {})


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("half", "x"), "percent must be a number from 0 to 100, got 'half'"),
        ((None, "x"), "percent must be"),
        (("not a number", "x"), "got nan"),
        ((50, 7), "text must be a text, got 7"),
    ],
)
def test_progress_that_nobody_could_read_is_the_tasks_error_in_one_sentence(inline_service, arguments, words):
    task_id = celery_service.submit("test.reports", percent=arguments[0], text=arguments[1])
    with pytest.raises(TaskFailed, match=words):
        celery_service.get_task_result(task_id, timeout=0)


def test_a_module_that_ends_its_program_as_it_is_imported_ends_no_one_else(monkeypatch, tmp_path):
    (tmp_path / "adopters_program.py").write_text("import sys\nsys.exit('usage: …')\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(settings, "task_modules", ["adopters_program"])

    with pytest.raises(ConfigurationError, match=r"TASK_MODULES names 'adopters_program'.*SystemExit: usage"):
        celery_service.submit("adopters_program.task")


def test_another_application_of_the_process_gets_none_of_our_tasks():
    other = Celery("other", set_as_current=False)

    assert "test.shared" in other.tasks
    assert [name for name in other.tasks if name in ("test.bound", "test.plain", "email.send_email")] == []


def test_every_category_of_the_services_own_tasks_is_known_to_lists_and_filters():
    import_task_modules()
    ours = {category_of(name) for name in celery_app.tasks if is_ours(name)}
    assert ours == set(CATEGORIES)
