"""The one way in: check, record, commit, publish, mark. The facade, canvas, beat and the API all end here."""

import json
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, TypeVar, cast
from uuid import UUID, uuid5

from celery.utils import uuid
from kombu import Queue
from kombu.utils.json import dumps

from broker import rabbitmq
from broker.bulk_publish import Message
from broker.location import resolve
from broker.priority_queues import PriorityConsumer, PriorityQueues
from broker.prompt_connection import PromptAMQP
from config.log_setup import get_logger
from config.settings import settings
from processors.errors import InvalidArgument, ServiceUnavailable, SubmitUnknown
from processors.json_text import MOST_HEADER_LEVELS, MOST_LEVELS, JsonText, is_deeper, writing
from processors.redaction import redact, without_numbers
from records.task_records import Draft, TaskRecords
from services.beside import beside
from services.celery_app import PRIORITIES, celery_app, is_recorded
from services.failures import failure_of
from services.garbage import collector_paused
from services.limiting import in_turn, limit_keys_of
from services.positional_arguments import masked
from services.publisher import ids
from services.submit_options import NO_OPTIONS, Options
from services.task_messages import Publishable
from services.wiring import parts

Result = TypeVar("Result")

logger = get_logger()

MAX_ARGUMENT_BYTES = 1_000_000
MAX_MESSAGE_BYTES = 10_000_000
"""What Celery's own ways to submit may give: a message of 16 MB holds it in any coding."""

TOO_DEEP = f"An argument is nested over {MOST_LEVELS} levels deep; pass it flatter, or as a text."
REPR_CHARACTERS = 1_000
KEPT_HEADERS = (
    "group",
    "group_index",
    "root_id",
    "parent_id",
    "shadow",
    "timelimit",
    "origin",
    "ignore_result",
    "replaced_task_nesting",
    "stamped_headers",
    "stamps",
)
_strict = writing(json.JSONEncoder(separators=(",", ":"), allow_nan=False))
PRIORITY_NAMES = {number: name for name, number in PRIORITIES.items()}
RETRY_SECONDS = 1
_follows = ContextVar("follows", default=False)


class RecordingAMQP(PromptAMQP):
    """Celery's message factory, with a record behind every message that deserves one."""

    if rabbitmq.serves(resolve(settings).url):
        queues_cls = PriorityQueues
        Consumer = PriorityConsumer

    def as_task_v2(
        self, task_id: str, name: str, args: Any = None, kwargs: Any = None, *more: Any, **options: Any
    ) -> Any:
        """Make Celery's message; its arguments look as we show them, and Celery's own long way to a text is spared."""
        looks: dict[str, Any] = {"argsrepr": masked(name, args or ()), "kwargsrepr": kwargs or {}}
        options |= {look: shown(given) for look, given in looks.items() if options.get(look) is None}
        return super().as_task_v2(task_id, name, args, kwargs, *more, **options)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] - untyped

    def name_for(self, queue: str, priority: int | None) -> str:
        """Return the name of the broker's own queue for a queue of ours and a priority."""
        return self.queue_for(queue, priority).name if self.queues_cls is PriorityQueues else queue

    def queue_for(self, queue: Queue | str, priority: int | None) -> Queue:
        """Return the broker's own queue for a queue of ours and a priority."""
        logical = queue if isinstance(queue, Queue) else cast("Queue", self.queues[queue])
        return rabbitmq.queue_for(logical, priority) if self.queues_cls is PriorityQueues else logical

    def priority_again(self, priority: int) -> int:
        """Return the priority of a message whose task had begun before.

        It goes to the front of its queue; RabbitMQ has no such place, so that it goes one level up.
        """
        return rabbitmq.next_urgency(priority) if self.queues_cls is PriorityQueues else priority

    @cached_property
    def _send_unrecorded(self) -> Any:
        """Celery's own sender, to the broker's own queues."""
        send = self._create_task_sender()
        if self.queues_cls is not PriorityQueues:
            return send

        def send_by_priority(producer: Any, name: str, message: Any, queue: Any = None, **options: Any) -> Any:
            if queue is not None:
                queue = self.queue_for(queue, options.get("priority"))
            return send(producer, name, message, queue=queue, **options | {"mandatory": True})

        return send_by_priority

    @cached_property
    def send_task_message(self) -> Any:
        """Record, then publish; Celery's own tasks and those without records are published as they are."""
        send_unrecorded = self._send_unrecorded

        def record_then_send(producer: Any, name: str, message: Any, **options: Any) -> None:
            timing = options.pop("timing", None) or dict[str, Any]()
            extra = options.pop("record", None) or dict[str, Any]()
            if not is_recorded(name):
                send_unrecorded(producer, name, message, **options)
                return
            submit(draft_of(name, message, options, timing, extra))

        return record_then_send


def submit_by_name(
    name: str,
    arguments: Mapping[str, Any],
    *,
    queue: str,
    origin: str,
    options: Options = NO_OPTIONS,
    task_id: str | None = None,
) -> str:
    """Record and publish one task that nothing follows, without Celery's way through its canvas; raises as `submit`.

    Args:
        name: the task's name.
        arguments: its keyword arguments, JSON values.
        queue: where it waits.
        origin: who submits it.
        options: what the submit says beside them.
        task_id: its id, where the caller has made one.

    Returns:
        The task's id, or that of the task which was submitted with this idempotency key before.
    """
    draft = draft_by_name(name, arguments, queue=queue, origin=origin, options=options, task_id=task_id)
    return submit(draft, options.session)


def draft_by_name(
    name: str,
    arguments: Mapping[str, Any],
    *,
    queue: str,
    origin: str,
    options: Options = NO_OPTIONS,
    task_id: str | None = None,
    text: JsonText | None = None,
) -> Draft:
    """Return the draft of a task that nothing follows; arguments as `submit_by_name`'s.

    `text` is what `check_size` has returned for them, where that was asked.

    Raises:
        InvalidArgument: an argument is no JSON value.
    """
    text = check_json(name, arguments) if text is None else text
    caller, task_id = cast("Any", celery_app).current_worker_task, task_id or uuid()
    return Draft(
        id=task_id,
        name=name,
        category=category_of(name),
        queue=queue,
        priority=options.priority,
        kwargs=arguments,
        written=(arguments, text),
        message={"argsrepr": "[]", "kwargsrepr": shown(arguments)},
        delay=options.delay,
        due_at=options.due_at,
        expires_at=options.expires_at,
        relay_now=options.session is not None,
        root_id=caller.request.root_id if caller else task_id,
        caller_id=caller.request.id if caller else None,
        origin=origin,
        tenant=options.tenant,
        tags=options.tags,
        idempotency_key=options.idempotency_key,
        limit_keys=limit_keys_of(name, arguments),
    )


def submit(draft: Draft, session: object | None = None) -> str:
    """Record a task durably, then publish it; where the broker is away the relay does so later.

    Args:
        draft: the task.
        session: an SQLAlchemy session of the record database that it is recorded through. Nothing is committed or
            published here then: the relay publishes the task once the caller has committed it.

    Returns:
        The task's id, or that of the task which was submitted with its idempotency key before.

    Raises:
        ConfigurationError: the broker belongs to another database; nothing was recorded.
        IdempotencyConflict: its idempotency key was given to other arguments.
        InvalidArgument: the session is none, or of another database.
        ServiceUnavailable: the record could not be written; nothing was sent.
        SubmitUnknown: it is not known whether the record was written.
    """
    if session is not None:
        return parts().submit_keys.open(draft, session)
    parts().publisher.check()
    in_task = celery_app.current_worker_task is not None
    [draft] = _in_turn([draft], draft.name, in_task=in_task)
    if draft.idempotency_key is None:
        new = _open(lambda tasks: tasks.open(draft), draft.name, in_task=in_task)
        task_id = draft.id
    else:
        task_id = _open(lambda _: parts().submit_keys.open(draft), draft.name, in_task=in_task)
        new = task_id == draft.id
    if new and not _waits(draft):
        publish([draft])
    return task_id


def submit_retries(drafts: Sequence[Draft]) -> set[str]:
    """Record tasks that retry others, linked both ways, all or none, then publish them; raises as `submit`.

    Returns:
        The ids of those that are new; not of one whose former task was retried before.
    """
    parts().publisher.check()
    in_task, what = celery_app.current_worker_task is not None, f"{len(drafts)} retries"
    drafts = _in_turn(drafts, what, in_task=in_task)
    new = _open(lambda tasks: tasks.open_retries(drafts), what, in_task=in_task)
    if now := [draft for draft in drafts if draft.id in new and not _waits(draft)]:
        publish(now)
    return new


def submit_many(drafts: Sequence[Draft], session: object | None = None) -> list[str]:
    """Record many tasks durably, all or none, then publish them in few messages to the broker; raises as `submit`.

    Args:
        drafts: the tasks. Where the first one has an idempotency key it stands for all: they have the same name then,
            and the ids that `ids_from` makes of the first one's.
        session: as `submit` takes it.

    Returns:
        Their ids in order, or those of the tasks which were submitted with this key before.
    """
    if not drafts:
        return []
    if session is not None:
        return _ids_of(drafts, parts().submit_keys.open_many(drafts, session))
    parts().publisher.check()
    in_task, what = celery_app.current_worker_task is not None, f"{len(drafts)} tasks"
    drafts = _in_turn(drafts, what, in_task=in_task)
    now = [draft for draft in drafts if not _waits(draft)]
    keys = parts().submit_keys
    repeated = drafts[0].idempotency_key is not None and _open(lambda _: keys.is_held(drafts[0]), what, in_task=in_task)
    with collector_paused():
        write = _opening(drafts)
        written = beside(lambda: _open(write, what, in_task=in_task))
        messages = None if repeated else _prepared(now)
    first = written()
    if first == drafts[0].id:
        publish(now, messages)
    return _ids_of(drafts, first)


def ids_from(first: str, count: int) -> list[str]:
    """Return the ids of so many tasks that are submitted together: all follow from the first, which a key's row has."""
    if count == 1:
        return [first]
    space = UUID(first)
    return [first, *(str(uuid5(space, str(place))) for place in range(1, count))]


def _ids_of(drafts: Sequence[Draft], first: str) -> list[str]:
    return [draft.id for draft in drafts] if first == drafts[0].id else ids_from(first, len(drafts))


def _opening(drafts: Sequence[Draft]) -> Callable[[TaskRecords], str]:
    """Return what writes these, with the key of the first where it has one, and returns the first one's id."""
    if drafts[0].idempotency_key is not None:
        return lambda _: parts().submit_keys.open_many(drafts)
    opening = parts().tasks.opening(drafts)

    def write(tasks: TaskRecords) -> str:
        tasks.open_many(opening)
        return drafts[0].id

    return write


def _prepared(drafts: Sequence[Draft]) -> list[Message] | None:
    """Return the messages of these; None where one cannot be made: `publish` finds out which, and lets it fail."""
    try:
        return parts().publisher.prepare(drafts)
    except InvalidArgument:
        return None


def _waits(draft: Draft) -> bool:
    return draft.delay > 0 or draft.due_at is not None or draft.relay_now or draft.hold is not None


def _in_turn(drafts: Sequence[Draft], what: str, *, in_task: bool) -> Sequence[Draft]:
    """Return these with what tenants' tasks wait for; without a tenant nothing is asked."""
    if all(draft.tenant is None for draft in drafts):
        return drafts
    return _open(lambda _: in_turn(drafts), what, in_task=in_task)


def publish(drafts: Sequence[Publishable], messages: Sequence[Message] | None = None, *, wait: bool = False) -> int:
    """Publish what is recorded and mark it, at once where `wait` is said; returns how many the broker took.

    What is too large for any worker fails: nobody could ever run it.

    Args:
        drafts: records, or what they were made of.
        messages: their messages, where they were prepared before.
        wait: return only once the marks are kept.
    """
    service = parts()
    try:
        taken = service.publisher.publish(drafts, messages)
    except InvalidArgument as error:
        if len(drafts) > 1:
            return sum(publish([draft], wait=wait) for draft in drafts)
        logger.warning("not_sendable", task_id=drafts[0].id, error=str(error))
        service.moves.fail_waiting(drafts[0].id, failure_of(error))
        return 0
    if len(taken) > 1 and not wait:
        with collector_paused():
            service.moves.published(ids(taken))
    elif taken:
        service.moves.published(ids(taken), wait=wait)
    return len(taken)


def _open(write: Callable[[TaskRecords], Result], what: str, *, in_task: bool) -> Result:
    """Write records; inside a running task wait for the database, because what follows a task must not be lost."""
    while True:
        try:
            return write(parts().tasks)
        except ServiceUnavailable as error:
            if isinstance(error, SubmitUnknown) or not in_task:
                raise
            logger.warning("database_away", submitting=what, error=str(error))
            time.sleep(RETRY_SECONDS)


def draft_of(
    name: str,
    message: Any,
    options: Mapping[str, Any],
    timing: Mapping[str, Any],
    extra: Mapping[str, Any],
) -> Draft:
    """Turn a Celery message and its options into the draft of a record.

    Raises:
        InvalidArgument: an argument is no JSON value, nor is a header, or what follows the task.
    """
    headers, (args, kwargs, embed) = message.headers, message.body
    check_json(name, [args, kwargs])
    queue = options.get("queue")
    delay, due_at = due_of(timing)
    return Draft(
        id=headers["id"],
        name=name,
        category=category_of(name),
        queue=queue.name if isinstance(queue, Queue) else queue or options.get("routing_key") or "default",
        priority=PRIORITY_NAMES.get(options.get("priority", -1), "normal"),
        args=list(args),
        kwargs=dict(kwargs),
        message=_kept(name, headers, embed, headers["argsrepr"], headers["kwargsrepr"], options.get("headers")),
        delay=delay,
        due_at=due_at,
        expires_at=moment(timing.get("expires")),
        root_id=headers.get("root_id"),
        caller_id=headers.get("parent_id"),
        group_id=headers.get("group"),
        limit_keys=limit_keys_of(name, kwargs),
        **{"origin": headers.get("origin"), **extra},
    )


def json_size(name: str, arguments: Any) -> int:
    """Return how many bytes a task's arguments have; raises as `json_text`."""
    return len(json_text(f"The arguments of {name}", arguments))


def json_text(what: str, values: Any, levels: int = MOST_LEVELS) -> JsonText:
    """Return what a record keeps of a submit as JSON.

    Args:
        what: what it is, for the error.
        values: one or more.
        levels: how deep they may be nested.

    Raises:
        InvalidArgument: one is no JSON value, or so deep that others could not read what was written here.
    """
    try:
        text = JsonText(_strict(values))
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidArgument(
            f"{what} must be JSON values: {error}; pass a date as a text, a set as a list."
        ) from error
    if is_deeper(values, text, levels):
        raise InvalidArgument(f"{what} are nested over {levels} levels deep; pass them flatter, or as a text.")
    return text


def check_size(name: str, arguments: Any) -> JsonText:
    """Return arguments as JSON.

    Raises:
        InvalidArgument: one is no JSON value, or all of them are larger than a submit takes.
    """
    text = json_text(f"The arguments of {name}", arguments)
    size = len(text)
    if size > MAX_ARGUMENT_BYTES:
        sizes = {key: json_size(name, value) for key, value in _by_name(arguments).items()}
        largest = max(sizes, key=lambda key: sizes[key])
        raise InvalidArgument(
            f"{largest}: has {sizes[largest]} of the {size} bytes of all arguments, at most {MAX_ARGUMENT_BYTES} are "
            "accepted; pass files by path."
        )
    return text


def _by_name(arguments: Any) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", arguments) if isinstance(arguments, Mapping) else {"arguments": arguments}


@contextmanager
def following() -> Generator[None]:
    """Submit what follows a task as its worker would, however large: the leader may have to do so in its place."""
    token = _follows.set(True)
    try:
        yield
    finally:
        _follows.reset(token)


def check_json(name: str, arguments: Any) -> JsonText:
    """Return arguments as JSON.

    Raises:
        InvalidArgument: one is no JSON value, or all of them are too large for a message.
    """
    text = json_text(f"The arguments of {name}", arguments)
    size = len(text)
    # What follows a task has nobody to tell: it is recorded, and its record says that it could not be sent.
    if size > MAX_MESSAGE_BYTES and not _follows.get() and celery_app.current_worker_task is None:
        raise InvalidArgument(
            f"The arguments of {name} have {size} bytes, at most {MAX_MESSAGE_BYTES} are accepted; "
            "put large data into a file or a database and pass its name."
        )
    return text


def storable(value: Any) -> Any:
    """Return a stranger's arguments in the JSON form in which Celery sends dates, UUIDs and the like.

    Raises:
        InvalidArgument: it holds NaN or an infinity, which JSON has not, or is too deep for others to read.
    """

    def refuse(constant: str) -> None:
        raise InvalidArgument(f"An argument holds {constant}, which is no JSON value; pass a text or null.")

    try:
        text = dumps(value)
        found = json.loads(text, parse_constant=refuse)
    except RecursionError as error:
        raise InvalidArgument(TOO_DEEP) from error
    if is_deeper(found, text, MOST_LEVELS):
        raise InvalidArgument(TOO_DEEP)
    return found


def kept_message(
    name: str,
    headers: Mapping[str, Any],
    embed: Mapping[str, Any],
    args: Any,
    kwargs: Any,
    custom: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return what a retry needs of a message beside its arguments.

    Raises:
        InvalidArgument: a header, or what follows the task, is no JSON value, or too deep for others to read.
    """
    return _kept(name, headers, embed, shown(masked(name, args)), shown(kwargs), custom)


def _kept(
    name: str,
    headers: Mapping[str, Any],
    embed: Mapping[str, Any],
    argsrepr: str,
    kwargsrepr: str,
    custom: Mapping[str, Any] | None,
) -> dict[str, Any]:
    own = {key: headers[key] for key in KEPT_HEADERS if headers.get(key) not in (None, [], {}, False, 0)}
    whole = {
        "headers": own | dict(custom or {}),
        "embed": {key: value for key, value in embed.items() if value},
        "argsrepr": argsrepr,
        "kwargsrepr": kwargsrepr,
    }
    kept = {part: value for part, value in whole.items() if value}
    if "headers" in kept:
        json_text(f"The headers of {name}", kept["headers"], MOST_HEADER_LEVELS)
    if "embed" in kept:
        json_text(f"The arguments of what follows {name}", kept["embed"])
    return kept


def shown(arguments: Any) -> str:
    """Return how arguments look in logs, events and message representations: redacted and short."""
    text = without_numbers(repr(redact(arguments))) if arguments else repr(arguments)
    return text if len(text) <= REPR_CHARACTERS else text[:REPR_CHARACTERS] + "…"


def category_of(name: str) -> str:
    """Return a task's category: the first word of its name, or `default` for an adopter's plain name."""
    task = cast("Any", celery_app)._tasks.get(name)  # noqa: SLF001 - `tasks` would load every task module here
    given = getattr(task, "category", None)
    return given or (name.split(".", 1)[0] if "." in name else "default")


def due_of(timing: Mapping[str, Any]) -> tuple[float, datetime | None]:
    """Return the delay or the due moment that Celery's `countdown` or `eta` mean.

    A delay is counted from now by the database's clock, whatever this machine's says.
    """
    countdown = timing.get("countdown")
    due_at = moment(countdown or timing.get("eta"))
    return (max(0.0, countdown), None) if countdown and isinstance(countdown, (int, float)) else (0.0, due_at)


def moment(value: Any) -> datetime | None:
    """Return the moment that Celery's forms of time mean, in UTC; a naive one is UTC.

    What lies beyond the years that a database knows, as the last moment of a zone west of Greenwich, is their end.
    """
    if value is None:
        return None
    try:
        if isinstance(value, (int, float)):
            return datetime.now(UTC) + timedelta(seconds=value)
        found = datetime.fromisoformat(value) if isinstance(value, str) else cast("datetime", value)
        return _in_utc(found if found.tzinfo else found.replace(tzinfo=UTC))
    except (ValueError, OverflowError, TypeError) as error:
        raise InvalidArgument(f"A time must be seconds, a datetime or ISO 8601 text; got {value!r}.") from error


def _in_utc(found: datetime) -> datetime:
    try:
        return found.astimezone(UTC)
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC) if found.year > 1 else datetime.min.replace(tzinfo=UTC)
