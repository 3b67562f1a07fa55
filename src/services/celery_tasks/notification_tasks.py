"""Notifications: parents with a task for each channel."""

from collections.abc import Mapping
from typing import Any

from processors.emails import SendEmail
from processors.notification_delivery import ChannelTools
from processors.notification_delivery import send_channel as deliver
from processors.notifications import (
    ChannelSent,
    NotificationSent,
    Outcome,
    SendChannel,
    conclude_notification,
    skipped,
    utc_now,
)
from records.task_records import TaskRecord, TaskState
from services.celery_app import celery_app
from services.celery_tasks.base import ParentTask, RecordedTask, recorded_task
from services.celery_tasks.email_tasks import send_one
from services.contacts import KnownContacts
from services.notifications import PARENT, PART, channel_id
from services.wiring import parts


@recorded_task(PART, SendChannel)
def send_channel(task: RecordedTask, request: SendChannel) -> ChannelSent:
    """Deliver one channel of a notification."""
    return deliver(request, _tools(task, request), task.report)


class SendNotificationParent(ParentTask):
    """A notification: moved by the rows of its channels."""

    name = PARENT
    category = "notification"

    def result_of(self, record: TaskRecord, tally: Mapping[str, int], seconds: float) -> NotificationSent:  # noqa: ARG002 - the rows tell more
        """Return what the channels' rows add up to."""
        channels: list[str] = record.kwargs["channels"]
        ends = self.parts.members.ends(record.id, 0, len(channels))
        digest = record.kwargs["digest"] is not None and not record.kwargs["critical"]
        return conclude_notification(
            record.id,
            record.kwargs["user_id"],
            list(zip(channels, ends, strict=True)),
            lambda position: _without_outcome(channel_id(record.id, position)),
            len(self.parts.digests.close(record.id)) if digest else None,
        )


celery_app.register_task(SendNotificationParent())


def _tools(task: RecordedTask, request: SendChannel) -> ChannelTools:
    service, run = task.parts, task.current

    def mail(one: SendEmail, position: int) -> Outcome:
        return send_one(task, one, request.notification_id, position)

    return ChannelTools(
        contacts=KnownContacts(service),
        members=service.members,
        inbox=service.inbox,
        carriers=service.carriers,
        gathered=service.digests.close,
        mail=mail,
        effect=lambda key, call, deadline: task.effect(f"{run.id}:{key}", call, deadline=deadline),
        last_attempt=run.last_attempt(),
        clock=utc_now,
    )


def _without_outcome(task_id: str) -> Outcome:
    """Tell what became of a channel whose task ended before it had an outcome."""
    record = parts().tasks.read(task_id)
    if record is not None and record.state is TaskState.REVOKED:
        return skipped("cancelled")
    told: dict[str, Any] = {"status": "failed", "task_id": task_id}
    return told | {"error": record.error if record and record.error else "Its task ended without telling why."}
