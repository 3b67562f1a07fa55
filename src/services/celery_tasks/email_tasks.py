"""E-mail: one mail, and bulks as parents with small tasks."""

from functools import partial
from typing import Any

from config.settings import settings
from processors import bulk_emails
from processors.bulk_emails import LISTED_STATES, SendBatch
from processors.composition import Composer
from processors.email_delivery import Post, deliver
from processors.emails import EmailSent, SendEmail
from processors.mail_preview import EmailPreview, preview
from services.attachment_files import AttachmentFiles
from services.celery_app import celery_app
from services.celery_tasks.base import ParentTask, RecordedTask, recorded_task
from services.until_written import until_written


@recorded_task("email.send_email", SendEmail)
def send_email(task: RecordedTask, request: SendEmail) -> EmailSent | EmailPreview:
    """Send one mail, or show what would be sent."""
    if request.preview:
        run, sender = task.current, task.parts.email_from
        return preview(
            request, composer(task, run.id), task.report, mail_id=f"{run.id}-0", date=run.created_at, sender=sender
        )
    return deliver(request, post(task, task.current.id), task.report)


@recorded_task("email.send_batch", SendBatch)
def send_batch(task: RecordedTask, request: SendBatch) -> dict[str, Any]:
    """Send a part of a bulk."""
    return dict(bulk_emails.deliver_batch(request, task.parts.members, post(task, request.bulk_id), task.report))


def send_one(task: RecordedTask, request: SendEmail, mail_of: str, position: int) -> dict[str, Any]:
    """Send the mail at a position of another task's work, and return what became of it."""
    return deliver(request, post(task, mail_of), task.report, position).as_json()


class SendBulkEmailsParent(ParentTask):
    """A bulk: moved by the rows of its mails."""

    name = "email.send_bulk_emails"
    category = "email"
    listed_states = LISTED_STATES
    conclude = staticmethod(bulk_emails.conclude_bulk)


celery_app.register_task(SendBulkEmailsParent())


def composer(task: RecordedTask, mail_of: str) -> Composer:
    """Return what makes mails; files in the storage are kept for the task whose mails they are."""
    return Composer(AttachmentFiles(task.parts, mail_of), settings.email_max_mb, task.parts.signer)


def post(task: RecordedTask, mail_of: str) -> Post:
    """Return what a delivery needs; the mails of a bulk are the bulk's, whichever task sends them."""
    run = task.current
    return Post(
        composer=composer(task, mail_of),
        mailer=task.parts.mailer,
        deliveries=task.parts.deliveries,
        task_id=mail_of,
        created_at=run.created_at,
        sender=task.parts.email_from,
        last_attempt=run.last_attempt(),
        run=run.fence,
        persist=partial(until_written, run.id),
        resend=settings.email_on_doubt == "resend",
        suppressions=task.parts.suppressions,
        unsubscribe_url=partial(_unsubscribe_url, task),
    )


def _unsubscribe_url(task: RecordedTask, address: str, list_name: str) -> str | None:
    """Return where one address leaves a list with one click; None where WEBHOOK_BASE_URL is no https address."""
    unsubscribing = task.parts.unsubscribing
    return unsubscribing.url(address, list_name) if unsubscribing.one_click else None
