"""Submitting a notification: a parent with a task for each channel, or an addition to a digest."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast
from uuid import NAMESPACE_OID, uuid4, uuid5

from celery.utils import uuid

from config.settings import settings
from processors.contacts import Channel
from processors.digests import Gathered
from processors.errors import InvalidArgument
from processors.notifications import SendChannel, SendNotification
from records.digests import Gathering
from records.task_records import Draft, TaskRecord
from services.parent_progress import CHANNEL, NOTIFICATION
from services.submit_options import Options
from services.wiring import parts


def submit_notification(request: SendNotification, queue: str, options: Options) -> str:
    """Record a notification with a task for each of its channels.

    Returns:
        Its id; that of the notification which was submitted with this idempotency key before; of a digest, the id of
        the one notification that goes out when its window closes.

    Raises:
        InvalidArgument: the options contradict a digest, or the session is bad; nothing was recorded.
        IdempotencyConflict: the key was given to another notification.
        ServiceUnavailable: nothing was recorded.
    """
    request = request.model_copy(update={"critical": request.critical or _is_critical(request.notification_type)})
    if options.session is None:
        parts().publisher.check()
    if request.digest is not None and not request.critical:
        return _gather(request, request.digest, queue, options)
    parent = _parent(uuid(), request.model_dump(mode="json"), queue, options)
    members, tasks = _members(request), _channels(parent, request)
    if options.idempotency_key is None and options.session is None:
        parts().parents.open(parent, members, tasks)
        return parent.id
    return parts().submit_keys.open_parent(parent, members, tasks, options.session)


def open_retry(former: TaskRecord, new_id: str, arguments: Mapping[str, Any]) -> None:
    """Record a notification that retries another one, unless that was recorded before.

    Args:
        former: the other one.
        new_id: the id of this one.
        arguments: its own, and as `first_id` the first one of those that retry each other.

    Raises:
        ServiceUnavailable: nothing was recorded.
    """
    parts().publisher.check()
    first_id = arguments["first_id"]
    request = SendNotification.model_validate({name: one for name, one in arguments.items() if name != "first_id"})
    options = Options(priority=former.priority, tenant=former.tenant, tags=tuple(former.tags or ()) or None)
    parent = replace(
        _parent(new_id, dict(arguments), former.queue, options),
        retry_of=former.id,
        retry_count=former.retry_count + 1,
        origin="retry",
    )
    parts().parents.open(parent, _members(request), _channels(parent, request, first_id=first_id))


def channel_id(notification_id: str, position: int) -> str:
    """Return the id of the task that delivers a channel: made from the notification's own, so that both find it."""
    return str(uuid5(NAMESPACE_OID, f"{notification_id}:{position}"))


def _is_critical(notification_type: str) -> bool:
    return notification_type in settings.notification_critical_types


def _gather(request: SendNotification, seconds: int, queue: str, options: Options) -> str:
    if options.delay or options.due_at is not None or options.expires_at is not None:
        raise InvalidArgument(
            "digest: goes out when its window closes; leave out delay_seconds, due_at and expires_at, or digest."
        )
    # What does not change from one submit of a window to the next; the words are the entries'.
    arguments = request.model_dump(mode="json", exclude={"title", "message", "url"})
    gathering = Gathering(
        name=json.dumps([options.tenant, request.user_id, request.notification_type, request.channels, seconds]),
        seconds=seconds,
        key=str(uuid4()),
        entry=Gathered(request.title, request.message, request.url),
        members=_members(request),
        tasks_of=lambda parent: _channels(parent, request, gathered=True),
    )
    return parts().submit_keys.gather(_parent("", arguments, queue, options), gathering, options.session)


def _parent(task_id: str, arguments: dict[str, Any], queue: str, options: Options) -> Draft:
    return Draft(
        id=task_id,
        name=NOTIFICATION,
        category="notification",
        queue=queue,
        priority=options.priority,
        kwargs=arguments,
        delay=options.delay,
        due_at=options.due_at,
        expires_at=options.expires_at,
        is_parent=True,
        members_total=len(arguments["channels"]),
        origin="facade",
        tenant=options.tenant,
        tags=options.tags,
        idempotency_key=options.idempotency_key,
    )


def _members(request: SendNotification) -> list[dict[str, str]]:
    return [{"channel": channel} for channel in request.channels or ()]


def _channels(
    parent: Draft, request: SendNotification, *, gathered: bool = False, first_id: str | None = None
) -> Sequence[Draft]:
    """Return the task of each channel."""
    return [
        replace(
            parent,
            id=channel_id(parent.id, position),
            name=CHANNEL,
            kwargs=_channel(parent, position, channel, request, gathered=gathered, first_id=first_id).model_dump(
                mode="json"
            ),
            is_parent=False,
            members_total=None,
            parent_id=parent.id,
            root_id=parent.id,
            caller_id=parent.id,
            relay_now=True,
            idempotency_key=None,
            retry_of=None,
            retry_count=0,
        )
        for position, channel in enumerate(request.channels or ())
    ]


def _channel(
    parent: Draft, position: int, channel: str, request: SendNotification, *, gathered: bool, first_id: str | None
) -> SendChannel:
    return SendChannel(
        notification_id=parent.id,
        position=position,
        channel=cast("Channel", channel),
        user_id=request.user_id,
        notification_type=request.notification_type,
        title="" if gathered else request.title,
        message="" if gathered else request.message,
        url=None if gathered else request.url,
        critical=request.critical,
        gathered=gathered,
        expires_at=parent.expires_at.isoformat() if parent.expires_at else None,
        first_id=first_id,
    )
