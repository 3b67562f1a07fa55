"""A record as Celery's message: what all messages have in common is made once, the rest from the record."""

import json
from functools import lru_cache
from typing import Any, cast

from celery import signals
from celery.utils.nodenames import anon_nodename

from broker.bulk_publish import Message
from processors.errors import InvalidArgument
from processors.json_text import writing
from records.task_records import Draft, TaskRecord
from services.celery_app import PRIORITIES, QUEUES, celery_app

Publishable = Draft | TaskRecord

ATTEMPT_HEADER = "csai_attempt"
COMMON_HEADERS: dict[str, Any] = {
    "lang": "py",
    "shadow": None,
    "eta": None,
    "expires": None,
    "group": None,
    "group_index": None,
    "timelimit": [None, None],
    "ignore_result": False,
    "replaced_task_nesting": 0,
    "stamped_headers": None,
    "stamps": {},
}
"""The headers of Celery's second protocol that a record has only where they are not these."""

NO_FOLLOWERS: dict[str, Any] = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
PERSISTENT = 2

_text = writing(json.JSONEncoder(separators=(",", ":")))  # as arguments are measured


def message_of(record: Publishable) -> Message:
    """Return one record's message: the whole Celery message as it was kept, for the record's present attempt.

    Raises:
        InvalidArgument: no worker would ever get it.
    """
    priority = PRIORITIES.get(record.priority)
    if priority is None or record.queue not in QUEUES:
        raise InvalidArgument(
            f"Task {record.id} is for the queue {record.queue!r} with the priority {record.priority!r}; "
            f"there are the queues {', '.join(QUEUES)} and the priorities {', '.join(PRIORITIES)}."
        )
    kept = record.message
    headers = {
        **COMMON_HEADERS,
        "task": record.name,
        "id": record.id,
        "root_id": record.root_id or record.id,
        "parent_id": record.caller_id,
        "argsrepr": kept.get("argsrepr", "…"),
        "kwargsrepr": kept.get("kwargsrepr", "…"),
        "origin": _origin(),
        **kept.get("headers", {}),
        ATTEMPT_HEADER: record.attempt,
        "retries": record.attempt,
    }
    properties: dict[str, Any] = {
        "correlation_id": record.id,
        "reply_to": "",
        **kept.get("properties", {}),
        "delivery_mode": PERSISTENT,
        "priority": priority,
        "delivery_info": {},
    }
    followers = NO_FOLLOWERS | kept.get("embed", {})
    if signals.before_task_publish.receivers:
        body = (list(record.args), dict(record.kwargs), followers)
        signals.before_task_publish.send(
            sender=record.name,
            body=body,
            exchange="",
            routing_key=record.queue,
            declare=[],
            headers=headers,
            properties=properties,
            retry_policy={},
        )
        text = _text(body)
    else:  # nobody changes it: what is written already is not written again
        text = f"[{_text(record.args)},{record.kwargs_text or _text(dict(record.kwargs))},{_text(followers)}]"
    payload: dict[str, Any] = {
        "body": text,
        "content-type": "application/json",
        "content-encoding": "utf-8",
        "headers": headers,
        "properties": properties,
    }
    amqp = cast("Any", celery_app.amqp)
    place = amqp.priority_again(priority) if record.first else priority
    return Message(amqp.name_for(record.queue, place), place, payload, first=record.first)


def tell_published(record: Publishable, message: Message) -> None:
    """Tell who listens to Celery's signal that the broker has this message."""
    signals.after_task_publish.send(
        sender=record.name,
        body=(record.args, record.kwargs, {}),
        headers=message.payload["headers"],
        exchange="",
        routing_key=record.queue,
    )


def sent_event(record: Publishable, message: Message) -> dict[str, Any]:
    """Return the fields of Celery's event `task-sent`."""
    headers = message.payload["headers"]
    return {
        "uuid": record.id,
        "root_id": headers["root_id"],
        "parent_id": headers["parent_id"],
        "name": record.name,
        "args": headers["argsrepr"],
        "kwargs": headers["kwargsrepr"],
        "retries": headers["retries"],
        "eta": None,
        "expires": None,
        "queue": record.queue,
        "exchange": "",
        "routing_key": record.queue,
    }


@lru_cache(maxsize=1)
def _origin() -> str:
    return anon_nodename()
