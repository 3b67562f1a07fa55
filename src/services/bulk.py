"""Submitting a parent: its record, its members' rows and its tasks in one commit; the relay publishes the tasks."""

from collections.abc import Iterator
from typing import Any

from celery.utils import uuid

from processors.bulk_emails import SendBulkEmails, check_bulk
from records.task_records import Draft
from services.wiring import parts


def submit_bulk_emails(emails: Any, request: SendBulkEmails, queue: str, priority: str) -> str:
    """Record a bulk with all its mails; returns its id.

    Raises:
        InvalidArgument: an item is bad; nothing was recorded.
        ServiceUnavailable: nothing was recorded.
    """
    items = list(check_bulk(emails))
    service = parts()
    service.publisher.check()
    parent = Draft(
        id=uuid(),
        name="email.send_bulk_emails",
        category="email",
        queue=queue,
        priority=priority,
        kwargs=request.model_dump(mode="json"),
        is_parent=True,
        members_total=len(items),
        origin="facade",
    )
    service.parents.open(parent, items, list(_batches(parent, len(items), request)))
    return parent.id


def _batches(parent: Draft, total: int, request: SendBulkEmails) -> Iterator[Draft]:
    """Return a task for every `batch_size` mails, each due a little later than the one before."""
    for number, first in enumerate(range(0, total, request.batch_size)):
        count = min(request.batch_size, total - first)
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
            delay=number * request.delay_between_batches,
            relay_now=True,
            origin="facade",
        )
