"""Retrying a notification by hand: a new one of those channels alone that did not deliver.

What reached somebody is carried over, so that nobody is told twice by a channel.
"""

from collections.abc import Iterator, Mapping
from typing import Any, cast

from pydantic import ValidationError

from processors.digests import as_one
from processors.errors import InvalidArgument
from processors.notifications import DELIVERED_WHOLE, UNWANTED, SendNotification
from processors.results import sentence_of
from records.task_records import TaskRecord
from services.notifications import channel_id, open_retry
from services.wiring import parts

REPLACEABLE = frozenset({"title", "message", "url", "critical", "channels"})
NOT_SENT = frozenset({"gone", "refused"})
"""What came of an endpoint that may be asked again."""


def reason_to_refuse(record: TaskRecord) -> str | None:
    """Tell in a few words why a notification that has ended cannot be retried, or None."""
    if not _has_channels(record):
        return "it has no channels: something sent it by its name; use send_notification"
    left = list(_undelivered(record))
    if not left:
        return "each of its channels delivered, or was left out as was wished"
    if parts().deliveries.in_doubt(record.id):
        return "it is in doubt whether its mail arrived: see get_effects_in_doubt"
    for position, channel in left:
        if parts().effects.in_doubt(channel_id(record.id, position)):
            return f"it is in doubt whether its channel {channel} delivered: see get_effects_in_doubt"
    return None


def arguments_of(record: TaskRecord, edits: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of the notification that retries another one.

    Args:
        record: that one.
        edits: by name, what replaces its own.

    Raises:
        InvalidArgument: they cannot be replaced, are not acceptable, or name a channel that has delivered.
    """
    if unknown := sorted(set(edits) - REPLACEABLE):
        raise InvalidArgument(
            f"arguments: of a notification {', '.join(sorted(REPLACEABLE))} can be replaced; got {unknown[0]!r:.100}: "
            "send another notification."
        )
    stored = {name: value for name, value in record.kwargs.items() if name != "first_id"}
    if _is_digest(record):
        gathered = as_one(parts().digests.close(record.id), record.kwargs["notification_type"])
        stored |= {"title": gathered.title, "message": gathered.message, "url": gathered.url, "digest": None}
    left = [channel for _, channel in _undelivered(record)]
    try:
        request = SendNotification.model_validate(stored | {"channels": left} | dict(edits))
    except ValidationError as error:
        raise InvalidArgument(sentence_of(error)) from error
    tried = _tried(record)
    for channel in request.channels or ():
        if channel in tried and channel not in [name for _, name in _undelivered(tried[channel][0])]:
            raise InvalidArgument(f"channels: {channel} delivered, or was left out as was wished; leave it out.")
    return request.model_dump(mode="json") | {"first_id": record.kwargs.get("first_id") or record.id}


def submit(record: TaskRecord, arguments: Mapping[str, Any], new_id: str) -> bool:
    """Record the notification that retries another one, unless that was retried before; returns whether it was not.

    Args:
        record: that one.
        arguments: as `arguments_of` returns them.
        new_id: the id of the new one.
    """
    if record.retried_as is not None:
        return False
    tried = _tried(record)
    for position, channel in enumerate(arguments["channels"]):
        if channel in tried:
            last, before = tried[channel]
            former, new = channel_id(last.id, before), channel_id(new_id, position)
            effects = parts().effects
            refused = [key for key, outcome in effects.done(former).items() if _state(outcome) in NOT_SENT]
            effects.carry_over(former, new, refused)
            parts().deliveries.carry_over(last.id, new_id, (before, position))
    open_retry(record, new_id, arguments)
    return True


def _tried(record: TaskRecord) -> dict[str, tuple[TaskRecord, int]]:
    """Return of each channel who had it last, this notification or one that it retries, and its position there."""
    found: dict[str, tuple[TaskRecord, int]] = {}
    one: TaskRecord | None = record
    while one is not None:
        for position, channel in enumerate(one.kwargs["channels"]):
            found.setdefault(channel, (one, position))
        one = parts().tasks.read(one.retry_of) if one.retry_of else None
    return found


def _has_channels(record: TaskRecord) -> bool:
    """Tell whether it is a notification of the facade's; what a stranger sends by this name has any arguments."""
    channels: Any = record.kwargs.get("channels")
    return isinstance(channels, list) and bool(parts().members.ends(record.id, 0, 1))


def _undelivered(record: TaskRecord) -> Iterator[tuple[int, str]]:
    """Yield position and name of the channels that did not deliver and were not left out as was wished."""
    channels: list[str] = record.kwargs["channels"]
    told = (record.result or dict[str, Any]()).get("channels", {})
    ends = parts().members.ends(record.id, 0, len(channels))
    for end, channel in zip(ends, channels, strict=True):
        outcome = told.get(channel) or end.outcome or {}
        if outcome.get("status") not in DELIVERED_WHOLE and outcome.get("reason") not in UNWANTED:
            yield end.position, channel


def _is_digest(record: TaskRecord) -> bool:
    return record.kwargs["digest"] is not None and not record.kwargs["critical"]


def _state(outcome: Any) -> Any:
    return cast("dict[str, Any]", outcome).get("state") if isinstance(outcome, dict) else None
