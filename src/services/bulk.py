"""Submitting a parent: its record, its members' rows and its tasks in one commit; the relay publishes the tasks."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from celery.utils import uuid

from processors.bulk_emails import SendBulkEmails, check_bulk
from processors.errors import InvalidArgument
from records.task_records import Draft
from services.submit_options import Options
from services.wiring import parts


def submit_bulk_emails(emails: Any, request: SendBulkEmails, queue: str, options: Options) -> str:
    """Record a bulk with all its mails.

    Returns:
        Its id, or that of the bulk which was submitted with this idempotency key before.

    Raises:
        InvalidArgument: an item is bad, or the session; nothing was recorded.
        IdempotencyConflict: the key was given to other mails.
        ServiceUnavailable: nothing was recorded.
    """
    items = list(check_bulk(emails))
    if options.due_at is not None:
        _check_last(options.due_at, len(items), request)
    service = parts()
    if options.session is None:
        service.publisher.check()
    parent = Draft(
        id=uuid(),
        name="email.send_bulk_emails",
        category="email",
        queue=queue,
        priority=options.priority,
        kwargs=request.model_dump(mode="json"),
        delay=options.delay,
        due_at=options.due_at,
        expires_at=options.expires_at,
        is_parent=True,
        members_total=len(items),
        origin="facade",
        tenant=options.tenant,
        tags=options.tags,
        idempotency_key=options.idempotency_key,
    )
    batches = list(_batches(parent, len(items), request))
    if options.idempotency_key is None and options.session is None:
        service.parents.open(parent, items, batches)
        return parent.id
    return service.submit_keys.open_parent(parent, items, batches, options.session)


def _batches(parent: Draft, total: int, request: SendBulkEmails) -> Iterator[Draft]:
    """Return a task for every `batch_size` mails, each due a little later than the one before."""
    for number, first in enumerate(range(0, total, request.batch_size)):
        count = min(request.batch_size, total - first)
        later = number * request.delay_between_batches
        yield Draft(
            id=uuid(),
            name="email.send_batch",
            category="email",
            queue=parent.queue,
            priority=parent.priority,
            kwargs={"bulk_id": parent.id, "first": first, "count": count},
            parent_id=parent.id,
            root_id=parent.id,
            caller_id=parent.id,
            delay=parent.delay + later,
            due_at=parent.due_at,
            expires_at=parent.expires_at,
            relay_now=True,
            origin="facade",
            tenant=parent.tenant,
            tags=parent.tags,
        )


def _check_last(due_at: datetime, total: int, request: SendBulkEmails) -> None:
    """Refuse a due time after which the last batch would have none."""
    last = timedelta(seconds=(total - 1) // request.batch_size * request.delay_between_batches)
    if last > datetime.max.replace(tzinfo=UTC) - due_at:
        raise InvalidArgument(
            f"due_at: the last batches would be due after the year 9999; got {due_at.isoformat()}, give an earlier one."
        )
