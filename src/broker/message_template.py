"""Tasks' messages in the form in which they lie in Redis, with what is the same in many encoded once."""

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

from kombu.utils.json import JSONEncoder

from broker.delivery_tags import fresh_tag
from processors.json_text import writing

REPR_CHARACTERS = 1_024

_encode = writing(JSONEncoder())
_text = writing(json.JSONEncoder())

NO_FOLLOWERS = '{"callbacks": null, "errbacks": null, "chain": null, "chord": null}'


class MessageTemplate:
    """Messages of one task to one queue, by Celery's message protocol 2.

    Args:
        headers: the headers that all of them have; neither `id` nor the arguments' representations.
        queue: where they go.
        priority: 0 to 9, the smallest served first.

    See https://docs.celeryq.dev/en/stable/internals/protocol.html.
    """

    def __init__(self, headers: Mapping[str, Any], queue: str, priority: int) -> None:
        self._headers = _encode(dict(headers))[1:-1]
        properties = {
            "delivery_mode": 2,
            "delivery_info": {"exchange": "", "routing_key": queue},
            "priority": priority,
            "body_encoding": "base64",
        }
        self._properties = _encode(properties)[1:-1]

    def text(
        self,
        task_id: str,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        headers: Mapping[str, Any],
        reply_to: str = "",
    ) -> str:
        """Return one message.

        Args:
            task_id: the task's id.
            args: positional arguments.
            kwargs: named arguments.
            headers: the headers that are its own.
            reply_to: where Celery's `rpc` results go: each thread reads its own.

        Raises:
            TypeError: an argument is no JSON value, nor one that Kombu has a form for.
        """
        body = base64.b64encode(f"[{_encode(args)}, {_encode(kwargs)}, {NO_FOLLOWERS}]".encode()).decode()
        own = _encode(headers)[1:-1]
        return (
            f'{{"body": "{body}", "content-encoding": "utf-8", "content-type": "application/json", '
            f'"headers": {{{self._headers}, "id": {_text(task_id)}, {own}}}, '
            f'"properties": {{{self._properties}, "correlation_id": {_text(task_id)}, "reply_to": {_text(reply_to)}, '
            f'"delivery_tag": "{fresh_tag()}"}}}}'
        )


def shown(arguments: Any) -> str:
    """Return how arguments look in logs and events: their `repr`, cut where it is long."""
    text = repr(arguments)
    return text if len(text) <= REPR_CHARACTERS else text[:REPR_CHARACTERS] + "…"
