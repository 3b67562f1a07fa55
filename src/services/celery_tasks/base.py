"""The base of every task: a doorway whose runs are recorded, retried, reported and fenced."""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from inspect import isawaitable
from typing import Any, NoReturn, cast

from celery import Task
from celery.exceptions import InvalidTaskError, SoftTimeLimitExceeded
from celery.worker.strategy import default as default_strategy
from kombu.utils.imports import symbol_by_name
from pydantic import BaseModel

from processors.errors import (
    Cancelled,
    ConfigurationError,
    InvalidArgument,
    PermanentError,
    Postponed,
    TransientError,
)
from processors.interfaces import Reconcile
from processors.results import Request, Result
from records.task_records import TaskRecord, is_task_id
from services.celery_app import celery_app
from services.coroutines import run_to_result
from services.own_tasks import CONTEXT
from services.parent_tasks import parent_moved
from services.priority_order import PriorityOrder
from services.run_watch import RunInHand
from services.submission import moment
from services.task_run import TaskRun, run_unrecorded
from services.wiring import Parts, parts

NAMED = re.compile(r"[\w.]+:\w+")
"""How `takes` names a class that is imported later."""

DECIDED = (Cancelled, Postponed, PermanentError, SoftTimeLimitExceeded)
"""What says by itself what becomes of a task: to try it again would say something else."""


class RecordedTask(cast("Any", Task)):
    """Celery's task, with a record behind every run.

    Attributes:
        record: False for a task that needs no record.
        takes: the request model that the message's keyword arguments are checked against, and the body gets; named as
            `module:Class`, it is imported when it is first needed.
        category: one of the categories; by default the first word of the name.
        queue: where it waits; by default its category's queue, or `default`.
        wrapping: what a class with a `__call__` of its own puts around the function.
        is_parent: whether its record is moved by the rows of its members, and no worker runs it.
        limited_by: returns, for the message's keyword arguments, the keys that its starts are limited by beside its
            queue, category, name and tenant, such as `["provider:openai"]`.
    """

    abstract = True
    record = True
    wrapping: Callable[..., Any] | None = None
    is_parent = False
    takes: type[BaseModel] | str | None = None
    category: str | None = None
    queue: str
    limited_by: Callable[[dict[str, Any]], Sequence[str]] | None = None
    max_retries: int | None = None
    typing = False
    Request = "services.late_ends:RecordedRequest"
    Strategy = "services.celery_tasks.base:strategy"

    @classmethod
    def bind(cls, app: Any) -> Any:
        """Take the settings that the task does not set itself; the soft limit is never later than the hard one.

        Raises:
            ConfigurationError: `takes` is no request model and names none, or `category` is no text.
        """
        _check_declared(cls)
        queue = cls.__dict__.get("queue")
        if queue is not None:
            del cls.queue  # Celery warns of such an attribute; here it is the task's route
        super().bind(app)  # pyright: ignore[reportUnknownMemberType] - Celery's class has no types
        if queue is not None:
            cls.queue = queue
        if cls.time_limit and cls.soft_time_limit:
            cls.soft_time_limit = min(cls.soft_time_limit, cls.time_limit)
        return app

    @cached_property
    def request_model(self) -> type[BaseModel] | None:
        """What `takes` says, imported where it is a name.

        Raises:
            ConfigurationError: it names nothing that can be imported, or no request model.
        """
        if not isinstance(self.takes, str):
            return self.takes
        try:
            found = symbol_by_name(self.takes)
        except (ImportError, AttributeError) as error:
            raise ConfigurationError(
                f"{self.name}: takes names {self.takes!r:.100}, which is not there: {error}."
            ) from error
        return _checked_model(self.name, found)

    @property
    def parts(self) -> Parts:
        """What the work needs from outside: records, adapters, engines."""
        return parts()

    @property
    def current(self) -> TaskRun:
        """The run that goes on."""
        return cast("TaskRun", self.request.run)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the task; in a worker through its record, elsewhere directly."""
        request = self.request
        if request.get("inside"):  # it calls itself, or its class calls on what it has wrapped
            return cast("Any", self).run(*args, **kwargs)
        if request.called_directly:
            return self._called_directly(*args, **kwargs)
        request.inside = True
        if not self.record:
            return run_unrecorded(self, args, kwargs)
        run = TaskRun(self, args, kwargs)
        request.run = run
        return run.execute()

    def run_checked(self, args: tuple[Any, ...], kwargs: dict[str, Any], hand: RunInHand) -> Any:
        """Call the body with its request, checked; or with the message's own arguments where it takes no request."""
        if self.request_model is None:
            return _result(self._body(*args, **kwargs), hand)
        return _result(self._body(self.request_model.model_validate(kwargs, context=CONTEXT)), hand)

    def _body(self, *args: Any, **kwargs: Any) -> Any:
        return (self.wrapping or cast("Any", self).run)(*args, **kwargs)

    def _called_directly(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function as any other one; a coroutine is its caller's to await."""
        self.push_request(args=args, kwargs=kwargs, inside=True)
        try:
            return self._body(*args, **kwargs)
        finally:
            self.pop_request()

    def report(self, percent: float, text: str, partial: str | None = None) -> None:
        """Tell how far the task is. Without a record nobody is told.

        Args:
            percent: 0 to 100; what lies beyond is shown as the nearer of the two.
            text: what is going on, for people.
            partial: what there is so far of the text that the result will have.

        Raises:
            Cancelled: the task was cancelled.
            InvalidArgument: `percent` is no number, or `text` or `partial` no text.
        """
        run: TaskRun | None = self.request.get("run")
        if run is not None:
            run.report(percent, text, partial)

    def effect(self, key: str, call: Callable[[], Any], *, deadline: float, reconcile: Reconcile | None = None) -> Any:
        """Change the outside world once, however often this runs: a charge, a call, an order.

        Args:
            key: names the effect for ever in this database, 1 to 255 characters: `f"{self.request.id}:charge"`, which
                also holds for a retry by hand, or a name of the business such as `invoice:4711`.
            call: does it, and returns a JSON value. It ends within `deadline`, in whatever way, and raises
                `TransientError`, `PermanentError` or `InvalidArgument` only where nothing happened.
            deadline: seconds, at most 3600.
            reconcile: gets the key where a former call left open what it did, once that cannot be going on any more;
                returns `Happened(outcome)`, `Absent()` or `Unknown(why)`, and changes nothing.

        Returns:
            The outcome as it is stored; that of a former run or of another task where the key's effect is done. What is
            no JSON value is stored as its text.

        Raises:
            Cancelled: the task was cancelled.
            EffectInDoubt: to be let through: the task looks again by itself, which is not counted as an attempt.
            EffectUnknown: nobody can tell whether it happened; a person calls `settle_effect`.
            TransientError: it did not happen now.
            InvalidArgument: the key or the deadline is not acceptable.
            Exception: what `call` raises where nothing happened.
        """
        run: TaskRun | None = self.request.get("run")
        if run is None:
            raise InvalidArgument(
                f"effect: {self.name} runs without a record, which would remember {key!r:.100}; submit it, and do not "
                "say record = False."
            )
        return run.effect(key, call, deadline=deadline, reconcile=reconcile)

    def check_cancelled(self) -> None:
        """Let the task go on; raises `Cancelled` once it was cancelled, `SoftTimeLimitExceeded` once it is to end."""
        run: TaskRun | None = self.request.get("run")  # a task without a record has none
        if run is not None:
            run.check_cancelled()

    def retry(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        exc: Exception | None = None,
        throw: bool = True,  # noqa: ARG002, FBT001, FBT002 - Celery's signature
        eta: Any = None,
        countdown: float | None = None,
        max_retries: int | None = None,
        **_: Any,
    ) -> NoReturn:
        """Try again by the record: a new due time, never a message that waits in a worker.

        An error that says itself what becomes of the task goes on as it is, also where Celery's `autoretry_for` caught
        it; at the last attempt every other one does.

        Raises:
            InvalidArgument: it asks for other arguments: a record keeps those that it was accepted for.
            TransientError: the task is tried again.
        """
        request, run = self.request, cast("TaskRun | None", self.request.get("run"))
        if exc is not None and exc is request.get("asked"):
            raise exc  # this has raised it: `autoretry_for` caught it on its way
        others = args is not None and list(args) != list(request.args or ())
        if others or (kwargs is not None and dict(kwargs) != dict(request.kwargs or {})):
            request.asked = InvalidArgument(
                f"retry: {self.name} cannot be tried again with other arguments; submit a new task."
            )
            raise request.asked
        if run is not None and max_retries is not None:
            run.max_retries = max_retries
        if eta is not None:
            countdown = (cast("datetime", moment(eta)) - datetime.now(UTC)).total_seconds()
        decided = isinstance(exc, DECIDED) or (isinstance(exc, TransientError) and countdown is None)
        if exc is not None and (decided or (run is not None and run.last_attempt())):
            raise exc
        request.asked = TransientError(str(exc or "The task asked to be tried again."), retry_after=countdown)
        raise request.asked from exc

    def replace(self, *_: Any, **__: Any) -> NoReturn:
        """Refuse before anything was submitted: a record stays that of the task it was accepted for."""
        raise PermanentError(
            f"{self.name} cannot replace itself: link what is to follow in a chain or chord, or submit it by itself."
        )

    def success_recorded(self, run: TaskRun) -> None:
        """Do nothing: called once a run's success stands in its record, perhaps in another thread."""

    def parent_moved(self, parent_id: str) -> None:
        """Look whether a parent is done, after one of its tasks ended."""
        parent_moved(parent_id)


def _check_declared(task: type[RecordedTask]) -> None:
    """Raise where a task's declaration would only be found wrong when it is submitted."""
    takes, category = cast("Any", task.takes), cast("Any", task.category)
    if takes is not None and not (isinstance(takes, str) and NAMED.fullmatch(takes)):
        _checked_model(task.name, takes)
    if category is not None and not (isinstance(category, str) and category):
        raise ConfigurationError(f"{task.name}: category must be a word such as 'invoices', got {category!r:.100}.")


def _checked_model(name: str, takes: Any) -> type[BaseModel]:
    if not (isinstance(takes, type) and issubclass(takes, BaseModel)):
        raise ConfigurationError(f"{name}: takes must be a pydantic model's class, or name one, got {takes!r:.100}.")
    return takes


def _result(returned: Any, hand: RunInHand) -> Any:
    """Return what the body returned, or what the coroutine that it returned comes to."""
    return run_to_result(returned, hand) if returned is not None and isawaitable(returned) else returned


class ParentTask(RecordedTask):
    """A record without a body: the rows of its members move it, and `result_of` adds them up."""

    abstract = True
    is_parent = True

    def settle(self, record: TaskRecord, until: float) -> bool:  # noqa: ARG002 - for whoever has something to settle
        """Say what became of members that no task has ended; called before `result_of`, and after a cancellation.

        Args:
            record: the parent's, whose tasks are all final.
            until: by `time.monotonic`, when to stop and go on at the next call.

        Returns:
            False where something is left, or not known yet.
        """
        return True

    def result_of(self, record: TaskRecord, tally: Mapping[str, int], seconds: float) -> Result:
        """Return what a parent's rows add up to.

        Args:
            record: the parent's.
            tally: how many members stand in each state.
            seconds: since it was submitted.
        """
        raise NotImplementedError

    def run(self, *_: Any, **__: Any) -> NoReturn:
        """Refuse a message: a parent's items belong into rows."""
        raise PermanentError(
            f"{self.name} has no message: submit it through celery_service, which keeps its items in rows."
        )


def recorded_task(name: str, takes: type[Request] | str, **policy: Any) -> Callable[[Callable[..., Any]], RecordedTask]:
    """Declare a task whose body gets itself and its checked request: the doorway to one processor.

    Args:
        name: the stable name, `category.verb`.
        takes: the request model, or its name as `module:Class`.
        policy: more of Celery's task attributes, such as a time limit.
    """
    return cast("Any", celery_app).task(name=name, takes=takes, bind=True, **policy)


def strategy(task: RecordedTask, app: Any, consumer: Any) -> Callable[..., Any]:
    """Take the due time out of a stranger's message, so that it waits in its record and not in this worker.

    On RabbitMQ, look for the most urgent message that is held whenever one was answered.
    """
    handle = default_strategy(task, app, consumer)
    order: PriorityOrder | None = getattr(consumer.controller, "priority_order", None)
    if order is None and not task.record:
        return handle

    def handle_message(message: Any, body: Any, ack: Any, reject: Any, callbacks: Any, **options: Any) -> Any:
        task_id = (body or message.headers).get("id")  # `body` is only given in protocol 1
        if task.record and not is_task_id(task_id):
            raise InvalidTaskError(f"no record can have the id {task_id!r:.100}")
        if task.record and message.headers.get("eta"):
            message.headers["due"], message.headers["eta"] = message.headers["eta"], None
        if order is not None:
            ack, reject = (order.watched(message.delivery_info, answer) for answer in (ack, reject))
        return handle(message, body, ack, reject, callbacks, **options)

    return handle_message
