"""Submitting a parent: its record, its tasks and (the last of) its members in one commit; the relay publishes them."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from celery.utils import uuid

from config.settings import settings
from processors.ai_interfaces import ProviderTerms
from processors.ai_packing import packed
from processors.ai_requests import GenerateEmbeddings
from processors.bulk_emails import ResendFailed, SendBulkEmails, check_bulk, ends_of_left
from processors.bulk_items import MAX_BULK
from processors.bulk_texts import check_texts
from processors.errors import InvalidArgument
from processors.results import Request
from records.members import WAITING
from records.parents import is_large
from records.task_records import Draft, TaskRecord
from services.ai_terms import default_embedding_model, first_terms
from services.enclosures import Enclosures
from services.parent_progress import BULK_EMAILS, MAIL_BATCH
from services.retrying import id_of_retry
from services.status import unknown_task
from services.submit_options import Options
from services.wiring import parts

MAIL_PRIORITY = "low"
"""Of a bulk of mails, unless told: a single mail in the same queue does not wait for it."""

PATIENCE_SECONDS = 5.0
"""How long sending again waits for what a cancelled run has in hand, which ends within a second or so."""

LOOK_SECONDS = 0.1
LISTED = 10

UNKNOWN_TERMS = ProviderTerms(name="", account="", models={}, max_inputs=256)
"""For parts whose provider this program does not know: the model that runs here, or one that its workers know."""


def submit_bulk_emails(emails: Any, request: SendBulkEmails, queue: str, options: Options) -> str:
    """Record a bulk with all its mails.

    Returns:
        Its id, or that of the bulk which was submitted with this idempotency key before.

    Raises:
        InvalidArgument: an item is bad, or the session; nothing was recorded.
        IdempotencyConflict: the key was given to other mails.
        ServiceUnavailable: nothing was recorded.
    """
    enclosures = Enclosures(settings.email_max_mb)
    items = list(check_bulk(_named(emails, enclosures)))
    if options.due_at is not None:
        _check_last(options.due_at, len(items), request)
    parent = parent_of(BULK_EMAILS, request, len(items), queue, options)
    batches = list(_batches(parent, len(items), request))
    return enclosures.submitted(parent.id, lambda: open_parent(parent, items, batches, options.session))


def resend_failed(task_id: str, wanted: ResendFailed) -> str:
    """Send those mails of an ended bulk again that are in the states that are wanted, as a new bulk.

    Whoever does so again gets the same new bulk.

    Returns:
        The id of the new bulk.

    Raises:
        InvalidArgument: it is no bulk of mails, has not ended, was resent with other states, has no such mail, or some
            of its mails are still being handed over.
        UnknownTask: no task has this id.
        ServiceUnavailable: nothing was recorded.
    """
    former = parts().tasks.read(task_id)
    if former is None:
        raise unknown_task(task_id)
    if former.name != BULK_EMAILS or not former.is_parent:  # what a stranger sends by this name has no mails
        raise InvalidArgument(f"task_id: task {task_id} is no bulk of mails, it is {former.name}; see replay_task.")
    if not former.final:
        raise InvalidArgument(f"task_id: bulk {task_id} has not ended; wait for it, or cancel it first.")
    new_id = id_of_retry(task_id)
    if former.retried_as is not None:
        return _resent_as(former, new_id, wanted)
    items = _resendable(former, set(wanted.states))
    if not items:
        raise InvalidArgument(f"states: bulk {task_id} has no mail that is {' or '.join(wanted.states)}.")
    request = SendBulkEmails.model_validate(former.kwargs | {"resent": wanted.states})
    options = Options(priority=former.priority, tenant=former.tenant, tags=tuple(former.tags or ()) or None)
    parent = replace(
        parent_of(BULK_EMAILS, request, len(items), former.queue, options),
        id=new_id,
        retry_of=former.id,
        retry_count=former.retry_count + 1,
        origin="retry",
    )
    enclosures = Enclosures(settings.email_max_mb)
    _named(items, enclosures)  # their files lie in the storage already, and are kept for the new bulk too
    batches = list(_batches(parent, len(items), request))
    enclosures.submitted(new_id, lambda: open_parent(parent, items, batches, None))
    return _resent_as(former, new_id, wanted)  # somebody may have been first


def _resent_as(former: TaskRecord, new_id: str, wanted: ResendFailed) -> str:
    """Return the bulk that a bulk was resent as, if that was with the same states: who came first has decided."""
    stored = parts().tasks.read(new_id)
    if stored is None or stored.kwargs["resent"] != wanted.states:
        why = "whose record was removed since" if stored is None else f"with {', '.join(stored.kwargs['resent'])}"
        raise InvalidArgument(f"task_id: bulk {former.id} was resent already, as {new_id}, {why}; resend that one.")
    return new_id


def _resendable(former: TaskRecord, states: set[str]) -> list[dict[str, Any]]:
    """Return the mails of an ended bulk that are in these states.

    Without those that repeat another one of it, and those of which it was found out since that somebody has got them.
    """
    _wait_for_hand_overs(former.id)
    members = parts().members
    ends = ends_of_left(members.left(former.id), parts().parents.unsuccessful(former.id))
    known = {end.position: end.state for end in ends} | dict.fromkeys(members.arrived(former.id), "sent")
    rows = members.outcomes(former.id, [WAITING, *states], MAX_BULK)
    found = [row["arguments"] for row in rows if known.get(row["position"], row["state"]) in states]
    return [item for item in found if "duplicate_of" not in item]


def _wait_for_hand_overs(bulk_id: str) -> None:
    """Wait a moment for the mails that a run still has in hand: nobody can say yet whether they are to be sent again.

    Raises:
        InvalidArgument: there are still some; which.
    """
    until = time.monotonic() + PATIENCE_SECONDS
    while going_on := sorted(parts().deliveries.handing(bulk_id)):
        if time.monotonic() >= until:
            some = ", ".join(map(str, going_on[:LISTED])) + (" and more" if len(going_on) > LISTED else "")
            raise InvalidArgument(
                f"task_id: of bulk {bulk_id}, the mails at {some} are being handed over; call again in a few minutes, "
                "when it is known what became of them."
            )
        time.sleep(LOOK_SECONDS)


def submit_bulk_embeddings(texts: Any, request: GenerateEmbeddings, queue: str, options: Options) -> str:
    """Record a bulk with all its texts.

    Returns:
        Its id, or that of the bulk which was submitted with this idempotency key before.

    Raises:
        InvalidArgument: a text is bad, or the session; nothing was recorded.
        IdempotencyConflict: the key was given to other texts, or another model.
        ServiceUnavailable: nothing was recorded.
    """
    items = list(check_texts(texts))
    parent = parent_of("ai_processing.generate_embeddings", request, len(items), queue, options)
    return open_parent(parent, items, list(_embedded_parts(parent, items, request)), options.session)


def _named(emails: Any, enclosures: Enclosures) -> Any:
    """Return the items with their files named by where they will lie; what is no list of dicts is left as it is."""
    if not isinstance(emails, (list, tuple)):
        return emails
    items = cast("Sequence[Any]", emails)
    return [
        enclosures.named(cast("Mapping[str, Any]", item), f"emails[{at}]: ") if isinstance(item, Mapping) else item
        for at, item in enumerate(items)
    ]


def parent_of(name: str, request: Request, total: int, queue: str, options: Options) -> Draft:
    """Return the draft of a parent with so many members."""
    return Draft(
        id=uuid(),
        name=name,
        category=name.partition(".")[0],
        queue=queue,
        priority=options.priority,
        kwargs=request.model_dump(mode="json"),
        delay=options.delay,
        due_at=options.due_at,
        expires_at=options.expires_at,
        is_parent=True,
        members_total=total,
        origin="facade",
        tenant=options.tenant,
        tags=options.tags,
        idempotency_key=options.idempotency_key,
    )


def open_parent(
    parent: Draft, items: Sequence[Mapping[str, Any]], tasks: Sequence[Draft], session: object | None
) -> str:
    """Write a parent with its members and its tasks; returns whose id its key has."""
    service = parts()
    if session is None:
        service.publisher.check()
        _write_before(parent, items)
    if parent.idempotency_key is None and session is None:
        service.parents.open(parent, items, tasks)
        return parent.id
    return service.submit_keys.open_parent(parent, items, tasks, session)


def _write_before(parent: Draft, items: Sequence[Mapping[str, Any]]) -> None:
    """Write most members of a large parent before it, on SQLite, where one transaction would keep all others waiting.

    Not those of a bulk that is sent again: somebody else may be writing for its id.
    """
    service = parts()
    alone = service.database.is_sqlite and is_large(parent) and parent.retry_of is None
    if alone and not (parent.idempotency_key and service.submit_keys.is_held(parent)):
        service.members.write_before(parent.id, items)


def part_of(parent: Draft, name: str, first: int, count: int, **more: Any) -> Draft:
    """Return the task for the members at positions first .. first + count - 1."""
    return Draft(
        id=uuid(),
        name=name,
        category=parent.category,
        queue=parent.queue,
        priority=parent.priority,
        kwargs={"bulk_id": parent.id, "first": first, "count": count} | more,
        parent_id=parent.id,
        root_id=parent.id,
        caller_id=parent.id,
        delay=parent.delay,
        due_at=parent.due_at,
        expires_at=parent.expires_at,
        relay_now=True,
        origin="facade",
        tenant=parent.tenant,
        tags=parent.tags,
    )


def _batches(parent: Draft, total: int, request: SendBulkEmails) -> Iterator[Draft]:
    """Return a task for every `batch_size` mails, each due a little later than the one before."""
    for number, first in enumerate(range(0, total, request.batch_size)):
        count = min(request.batch_size, total - first)
        batch = part_of(parent, MAIL_BATCH, first, count, max_failure_rate=request.max_failure_rate)
        yield replace(batch, delay=parent.delay + number * request.delay_between_batches)


def _embedded_parts(parent: Draft, items: Sequence[Mapping[str, str]], request: GenerateEmbeddings) -> Iterator[Draft]:
    """Return a task for as many texts as one request of the provider takes that is asked first."""
    terms = first_terms(request.model or default_embedding_model()) or UNKNOWN_TERMS
    first = 0
    while first < len(items):
        count = packed(terms, ([items[at]["text"]] for at in range(first, len(items))))
        yield part_of(parent, "ai_processing.embed_part", first, count, **parent.kwargs)
        first += count


def _check_last(due_at: datetime, total: int, request: SendBulkEmails) -> None:
    """Refuse a due time after which the last batch would have none."""
    last = timedelta(seconds=(total - 1) // request.batch_size * request.delay_between_batches)
    if last > datetime.max.replace(tzinfo=UTC) - due_at:
        raise InvalidArgument(
            f"due_at: the last batches would be due after the year 9999; got {due_at.isoformat()}, give an earlier one."
        )
