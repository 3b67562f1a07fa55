"""A message as it lies in Redis: Kombu's JSON envelope around the body."""

import base64
import json
from collections.abc import Mapping
from typing import Any, cast
from uuid import uuid4

from kombu.exceptions import SerializationError, SerializerNotInstalled

from processors.json_text import MOST_HEADER_LEVELS, is_deeper

PARKED_QUEUE = "csai.parked"
"""Where a message goes that no worker can use."""

DELIVERY_COUNT = "x-delivery-count"
"""Header: deliveries that ended with the death of their worker, or with a rejection; RabbitMQ's own name."""

MOST_COUNTED = 1_000_000
"""Above any limit; a stranger's count of 4 300 digits could be read, and one more not be written."""

DEATH_REASON = "x-first-death-reason"
DEATH_QUEUE = "x-first-death-queue"
"""Headers of a parked message; RabbitMQ's own names."""

MESSAGE_BYTES = 16_000_000
"""What a message may have, as it lies at the broker and once it is decompressed."""

MARK_BYTES = 64_000
"""Of a message that comes again, for what was marked on it and the way in which it is written anew."""

UNDECODABLE = (SerializationError, SerializerNotInstalled)
"""What Kombu raises over a body that is not what its content type says, or of a type that is refused."""

MALFORMED = (TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RecursionError)
"""What is raised over a message whose parts are not what they should be, such as an id that is a list, or a time that
another zone puts before the year 1."""


def task_id_of(properties: Mapping[str, Any]) -> str:
    """Return what a message's properties name as its task; an empty text where they name none."""
    return properties.get("correlation_id") or ""


def opened(raw: bytes | str) -> dict[str, Any] | None:
    """Return the envelope, or None for what is no message."""
    try:
        found: Any = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or is_too_deep(raw, found):
        return None
    envelope = cast("dict[str, Any]", found)
    info: Any = envelope.get("properties")
    return envelope if isinstance(info, dict) and isinstance(envelope.get("headers"), dict) else None


def is_too_deep(raw: bytes | str, envelope: Any) -> bool:
    """Tell whether an envelope that was just read is too deep to be written again, or for its headers to be used."""
    return is_deeper(envelope, raw, MOST_HEADER_LEVELS + 1)


def redelivered(raw: bytes | str, *, lost: bool) -> tuple[bytes | str, int]:
    """Mark a message as delivered before; returns it, and how often its delivery was lost."""
    envelope = opened(raw)
    if envelope is None:
        return raw, 0
    headers = envelope["headers"]
    count = _whole(headers.get(DELIVERY_COUNT)) + int(lost)
    headers["redelivered"] = True
    if count:
        headers[DELIVERY_COUNT] = count
    info = envelope["properties"].get("delivery_info")
    if isinstance(info, dict):
        info["redelivered"] = True
    return json.dumps(envelope), count


def parked(raw: bytes | str, queue: str, reason: str, *, message: bool = True) -> str:
    """Return what lies among the parked messages: why, from where, and whole; what is no message becomes a body."""
    envelope = (opened(raw) if message else None) or _wrapped(raw)
    envelope["headers"].setdefault(DEATH_REASON, reason)
    envelope["headers"].setdefault(DEATH_QUEUE, queue)
    envelope["properties"]["delivery_tag"] = str(uuid4())
    return json.dumps(envelope)


def _wrapped(raw: bytes | str) -> dict[str, Any]:
    return {
        "body": base64.b64encode(raw if isinstance(raw, bytes) else raw.encode()).decode(),
        "content-encoding": "binary",
        "content-type": "application/octet-stream",
        "headers": {},
        "properties": {"body_encoding": "base64", "delivery_info": {}, "priority": 0},
    }


def _whole(value: Any) -> int:
    return max(0, min(value, MOST_COUNTED)) if isinstance(value, int) else 0
