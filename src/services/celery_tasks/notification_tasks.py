"""Notifications: parents with a task for each channel."""

from __future__ import annotations  # the modules that these name are imported on first use

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from records.task_records import TaskRecord, TaskState
from services.celery_app import celery_app
from services.celery_tasks.base import ParentTask, RecordedTask, recorded_task
from services.celery_tasks.email_tasks import send_one
from services.on_first_use import on_first_use
from services.wiring import parts

if TYPE_CHECKING:
    from processors import emails, notification_delivery, notifications
    from services import contacts
    from services import notifications as submitting
else:
    notification_delivery, notifications = on_first_use("processors", "notification_delivery", "notifications")
    contacts, submitting = on_first_use("services", "contacts", "notifications")


@recorded_task("notification.send_channel", "processors.notifications:SendChannel")
def send_channel(task: RecordedTask, request: notifications.SendChannel) -> notifications.ChannelSent:
    """Deliver one channel of a notification."""
    return notification_delivery.send_channel(request, _tools(task, request), task.report)


class SendNotificationParent(ParentTask):
    """A notification: moved by the rows of its channels."""

    name = "notification.send_notification"
    category = "notification"

    def settle(self, record: TaskRecord, until: float) -> bool:  # noqa: ARG002 - a few at most
        """Say what became of those who wait for the mail of a channel whose task has ended without an outcome."""
        for member in self.parts.members.waiting(record.id, 0, len(record.kwargs["channels"])):
            if member.arguments["channel"] == "email":
                sender = submitting.channel_id(record.id, member.position)
                self.parts.deliveries.end_mail(record.id, member.position, sender)
        return True

    def result_of(self, record: TaskRecord, tally: Mapping[str, int], seconds: float) -> notifications.NotificationSent:  # noqa: ARG002 - the rows tell more
        """Return what the channels' rows add up to."""
        channels: list[str] = record.kwargs["channels"]
        ends = self.parts.members.ends(record.id, 0, len(channels))
        digest = record.kwargs["digest"] is not None and not record.kwargs["critical"]
        return notifications.conclude_notification(
            record.id,
            record.kwargs["user_id"],
            list(zip(channels, ends, strict=True)),
            lambda position: _without_outcome(submitting.channel_id(record.id, position)),
            len(self.parts.digests.close(record.id)) if digest else None,
        )


celery_app.register_task(SendNotificationParent())


def _tools(task: RecordedTask, request: notifications.SendChannel) -> notification_delivery.ChannelTools:
    service, run = task.parts, task.current

    def mail(one: emails.SendEmail, position: int) -> notifications.Outcome:
        return send_one(task, one, request.notification_id, position)

    return notification_delivery.ChannelTools(
        contacts=contacts.KnownContacts(service),
        members=service.members,
        inbox=service.inbox,
        carriers=service.carriers,
        gathered=service.digests.close,
        mail=mail,
        effect=lambda key, call, deadline: task.effect(f"{run.id}:{key}", call, deadline=deadline),
        last_attempt=run.last_attempt(),
        run=run.fence,
        clock=notifications.utc_now,
    )


def _without_outcome(task_id: str) -> notifications.Outcome:
    """Tell what became of a channel whose task ended before it had an outcome."""
    record = parts().tasks.read(task_id)
    if record is not None and record.state is TaskState.REVOKED:
        return notifications.skipped("cancelled")
    told: dict[str, Any] = {"status": "failed", "task_id": task_id}
    return told | {"error": record.error if record and record.error else "Its task ended without telling why."}
