"""The one way in: check, record, commit, publish, mark. The facade, canvas, beat and the API all end here."""

import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, cast

from celery.app.amqp import AMQP
from kombu import Queue
from kombu.utils.json import dumps

from broker import rabbitmq
from broker.location import resolve
from broker.priority_queues import PriorityConsumer, PriorityQueues
from config.log_setup import get_logger
from config.settings import settings
from processors.errors import InvalidArgument, ServiceUnavailable, SubmitUnknown
from processors.redaction import redact
from records.task_records import Draft
from services.celery_app import PRIORITIES, celery_app, is_recorded
from services.publisher import ids
from services.wiring import parts

logger = get_logger()

MAX_ARGUMENT_BYTES = 1_000_000
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
PRIORITY_NAMES = {number: name for name, number in PRIORITIES.items()}
RETRY_SECONDS = 1


class RecordingAMQP(cast("Any", AMQP)):
    """Celery's message factory, with a record behind every message that deserves one."""

    if rabbitmq.serves(resolve(settings).url):
        queues_cls = PriorityQueues
        Consumer = PriorityConsumer

    @cached_property
    def send_unrecorded(self) -> Any:
        """Celery's own sender: what the publisher uses once the record stands."""
        send = self._create_task_sender()
        if self.queues_cls is not PriorityQueues:
            return send

        def send_by_priority(producer: Any, name: str, message: Any, queue: Any = None, **options: Any) -> Any:
            if queue is not None:
                logical = queue if isinstance(queue, Queue) else self.queues[queue]
                queue = rabbitmq.queue_for(logical, options.get("priority"))
            return send(producer, name, message, queue=queue, **options | {"mandatory": True})

        return send_by_priority

    @cached_property
    def send_task_message(self) -> Any:
        """Record, then publish; Celery's own tasks and those without records are published as they are."""

        def record_then_send(producer: Any, name: str, message: Any, **options: Any) -> None:
            timing = options.pop("timing", None) or dict[str, Any]()
            extra = options.pop("record", None) or dict[str, Any]()
            if not is_recorded(name):
                self.send_unrecorded(producer, name, message, **options)
                return
            submit(draft_of(name, message, options, timing, extra))

        return record_then_send


def submit(draft: Draft) -> None:
    """Record a task durably, then publish it; where the broker is away the relay does so later.

    Raises:
        ConfigurationError: the broker belongs to another database; nothing was recorded.
        ServiceUnavailable: the record could not be written; nothing was sent.
        SubmitUnknown: it is not known whether the record was written.
    """
    service = parts()
    service.publisher.check()
    new = _open(draft)
    waits = draft.delay > 0 or draft.due_at is not None or draft.relay_now
    if new and not waits:
        publish([draft])


def publish(drafts: list[Any], *, wait: bool = False) -> int:
    """Publish what is recorded and mark it, at once where `wait` is said; returns how many the broker took."""
    service = parts()
    taken = service.publisher.publish(drafts)
    if taken:
        service.moves.published(ids(taken), wait=wait)
    return len(taken)


def _open(draft: Draft) -> bool:
    """Write the record; inside a running task wait for the database, because what follows a task must not be lost."""
    while True:
        try:
            return parts().tasks.open(draft)
        except ServiceUnavailable as error:
            if isinstance(error, SubmitUnknown) or celery_app.current_worker_task is None:
                raise
            logger.warning("database_away", submitting=draft.name, error=str(error))
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
        InvalidArgument: an argument is no JSON value.
    """
    headers, (args, kwargs, embed) = message.headers, message.body
    _check_json(name, [args, kwargs])
    queue = options.get("queue")
    return Draft(
        id=headers["id"],
        name=name,
        category=category_of(name),
        queue=queue.name if isinstance(queue, Queue) else queue or options.get("routing_key") or "default",
        priority=PRIORITY_NAMES.get(options.get("priority", -1), "normal"),
        args=list(args),
        kwargs=dict(kwargs),
        message=kept_message(headers, embed, args, kwargs, options.get("headers")),
        due_at=due_moment(timing),
        expires_at=moment(timing.get("expires")),
        root_id=headers.get("root_id"),
        caller_id=headers.get("parent_id"),
        group_id=headers.get("group"),
        **{"origin": headers.get("origin"), **extra},
    )


def _check_json(name: str, arguments: list[Any]) -> None:
    try:
        json.dumps(arguments, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidArgument(
            f"The arguments of {name} must be JSON values: {error}; pass a date as a text, a set as a list."
        ) from error


def storable(value: Any) -> Any:
    """Return a stranger's arguments in the JSON form in which Celery sends dates, UUIDs and the like.

    Raises:
        InvalidArgument: it holds NaN or an infinity, which JSON has not.
    """

    def refuse(constant: str) -> None:
        raise InvalidArgument(f"An argument holds {constant}, which is no JSON value; pass a text or null.")

    return json.loads(dumps(value), parse_constant=refuse)


def kept_message(
    headers: Mapping[str, Any],
    embed: Mapping[str, Any],
    args: Any,
    kwargs: Any,
    custom: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return what a retry needs of a message beside its arguments."""
    kept = {key: headers[key] for key in KEPT_HEADERS if headers.get(key) not in (None, [], {}, False, 0)}
    return {
        "headers": kept | dict(custom or {}),
        "embed": {key: value for key, value in embed.items() if value},
        "argsrepr": shown(args),
        "kwargsrepr": shown(kwargs),
    }


def shown(arguments: Any) -> str:
    """Return how arguments look in logs, events and message representations: redacted and short."""
    text = repr(redact(arguments))
    return text if len(text) <= REPR_CHARACTERS else text[:REPR_CHARACTERS] + "…"


def category_of(name: str) -> str:
    """Return a task's category: the first word of its name, or `default` for an adopter's plain name."""
    task = cast("Any", celery_app)._tasks.get(name)  # noqa: SLF001 - `tasks` would load every task module here
    given = getattr(task, "category", None)
    return given or (name.split(".", 1)[0] if "." in name else "default")


def due_moment(timing: Mapping[str, Any]) -> datetime | None:
    """Return when a task is due by Celery's `countdown` or `eta`, or None for now."""
    countdown = timing.get("countdown")
    return moment(countdown or timing.get("eta"))


def moment(value: Any) -> datetime | None:
    """Return the moment that Celery's forms of time mean; a naive one is UTC."""
    if value is None:
        return None
    try:
        if isinstance(value, (int, float)):
            return datetime.now(UTC) + timedelta(seconds=value)
        found = datetime.fromisoformat(value) if isinstance(value, str) else cast("datetime", value)
        return found if found.tzinfo else found.replace(tzinfo=UTC)
    except (ValueError, OverflowError, TypeError) as error:
        raise InvalidArgument(f"A time must be seconds, a datetime or ISO 8601 text; got {value!r}.") from error
