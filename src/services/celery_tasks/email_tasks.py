"""E-mail: one mail, and bulks as parents with small tasks."""

from __future__ import annotations  # the modules that these name are imported on first use

import time
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from config.settings import settings
from records.task_records import TaskRecord
from services.celery_app import celery_app
from services.celery_tasks.base import ParentTask, RecordedTask, recorded_task
from services.on_first_use import on_first_use
from services.until_written import until_written

if TYPE_CHECKING:
    from processors import bulk_emails, composition, email_delivery, emails, mail_preview
    from services import attachment_files
else:
    bulk_emails, composition, email_delivery = on_first_use(
        "processors", "bulk_emails", "composition", "email_delivery"
    )
    emails, mail_preview = on_first_use("processors", "emails", "mail_preview")
    attachment_files = on_first_use("services", "attachment_files")

CLOSED_AT_ONCE = 2_000
"""Others have to write between."""


@recorded_task("email.send_email", "processors.emails:SendEmail")
def send_email(task: RecordedTask, request: emails.SendEmail) -> emails.EmailSent | mail_preview.EmailPreview:
    """Send one mail, or show what would be sent."""
    if request.preview:
        run, sender = task.current, task.parts.email_from
        return mail_preview.preview(
            request,
            composer(task, run.id),
            task.report,
            mail_id=f"{run.id}-0",
            date=run.first_due,
            sender=sender,
            unsubscribe_url=partial(_unsubscribe_url, task),
        )
    return email_delivery.deliver(request, post(task, task.current.id), task.report)


@recorded_task("email.send_batch", "processors.bulk_emails:SendBatch")
def send_batch(task: RecordedTask, request: bulk_emails.SendBatch) -> dict[str, Any]:
    """Send a part of a bulk."""
    return dict(
        bulk_emails.deliver_batch(
            request, task.parts.members, post(task, request.bulk_id), task.report, _brake(task, request)
        )
    )


def send_one(task: RecordedTask, request: emails.SendEmail, mail_of: str, position: int) -> dict[str, Any]:
    """Send the mail at a position of another task's work, and return what became of it."""
    return email_delivery.deliver(request, post(task, mail_of), task.report, position).as_json()


class SendBulkEmailsParent(ParentTask):
    """A bulk: moved by the rows of its mails."""

    name = "email.send_bulk_emails"
    category = "email"

    def result_of(self, record: TaskRecord, tally: Mapping[str, int], seconds: float) -> bulk_emails.BulkEmailsSent:
        """Return what the mails' rows add up to."""
        return bulk_emails.conclude_bulk(
            tally=tally,
            by_code=bulk_emails.counted_by_code(self.parts.members.ended_in(record.id, bulk_emails.LISTED_STATES)),
            failures=self.parts.members.outcomes(record.id, bulk_emails.LISTED_STATES, bulk_emails.LISTED_FAILURES),
            seconds=seconds,
            bulk_id=record.id,
            batch_size=record.kwargs["batch_size"],
        )

    def settle(self, record: TaskRecord, until: float) -> bool:
        """Say of each mail that no task has ended whether it was sent, expired, was cancelled, or could not be sent."""
        going_on, left = self.parts.deliveries.handing(record.id), False
        tasks, last = self.parts.parents.unsuccessful(record.id), -1
        while page := self.parts.members.left(record.id, last, CLOSED_AT_ONCE):
            if time.monotonic() >= until:
                return False
            known = [one for one in page if one[0] not in going_on]
            left = left or len(known) < len(page)
            self.parts.members.close_left(record.id, bulk_emails.ends_of_left(known, tasks))
            last = page[-1][0]
        return not left


celery_app.register_task(SendBulkEmailsParent())


def composer(task: RecordedTask, mail_of: str) -> composition.Composer:
    """Return what makes mails; files in the storage are kept for the task whose mails they are."""
    parts = task.parts
    files = attachment_files.AttachmentFiles(parts, mail_of)
    return composition.Composer(files, settings.email_max_mb, parts.signer, lambda: parts.templates)


def post(task: RecordedTask, mail_of: str) -> email_delivery.Post:
    """Return what a delivery needs; the mails of a bulk are the bulk's, whichever task sends them."""
    run = task.current
    return email_delivery.Post(
        composer=composer(task, mail_of),
        mailer=task.parts.mailer,
        deliveries=task.parts.deliveries,
        task_id=mail_of,
        date=run.first_due,
        sender=task.parts.email_from,
        last_attempt=run.last_attempt(),
        run=run.fence,
        persist=partial(until_written, run.id),
        fault_wait=email_delivery.fault_wait(run.attempt, settings.celery_task_retry_max_delay),
        resend=settings.email_on_doubt == "resend",
        suppressions=task.parts.suppressions,
        unsubscribe_url=partial(_unsubscribe_url, task),
    )


def _brake(task: RecordedTask, request: bulk_emails.SendBatch) -> bulk_emails.BulkBrake:
    """Return what stops a batch; only what ended after the last pause counts against its bulk."""
    pause = task.parts.task_pauses.last(request.bulk_id)
    since = pause.resumed_at if pause else None
    last = task.parts.members.last_states(request.bulk_id, bulk_emails.LOOKED_BACK, since)
    return bulk_emails.BulkBrake(request.bulk_id, request.max_failure_rate, task.parts.task_pauses, last)


def _unsubscribe_url(task: RecordedTask, address: str, list_name: str) -> str | None:
    """Return where one address leaves a list with one click; None where WEBHOOK_BASE_URL is no https address."""
    unsubscribing = task.parts.unsubscribing
    return unsubscribing.url(address, list_name) if unsubscribing.one_click else None
