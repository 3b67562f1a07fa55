"""Publishing what waits in records: what is due, and what a broker has lost."""

from collections.abc import Callable, Sequence
from typing import Any

from broker import parked_messages, rabbitmq
from broker.away import AWAY_ERRORS
from broker.waiting_messages import depths, message_ids
from config.log_setup import get_logger
from records.leadership import Lead
from records.task_moves import Place
from records.task_records import TaskRecord, TaskState, is_task_id
from services.celery_app import PRIORITIES, QUEUES, celery_app
from services.failures import follow_failure
from services.limiting import due_in_turn
from services.parent_tasks import settle_cancelled
from services.submission import publish
from services.wiring import parts

logger = get_logger()

PAGE = 500


def relay(limit: int, lead: Lead, may_publish: Callable[[], bool]) -> int:
    """Publish what is due and was not published yet, at most `limit`; returns how many have their place now.

    That is the broker, or the line of their tenants' turns.

    Args:
        limit: at most so many.
        lead: the lead that the caller has.
        may_publish: tells, last of all, whether the lead is still sure to be held.
    """
    due = claim_besides_full(limit, lead=lead)
    now = due_in_turn(due)
    if now and not may_publish():
        logger.warning("lead_unsure", claimed=len(due))
        return 0
    return len(due) - len(now) + (publish(now, wait=True) if now else 0)


def relay_by_hand(limit: int, categories: Sequence[str] | None) -> tuple[int, int]:
    """Publish as the leader does, beside it; returns how many were looked at, and how many of them the broker took.

    The others wait: for the broker, or in the line of their tenants' turns.

    Args:
        limit: at most so many.
        categories: of these alone.
    """
    examined = published = 0
    while due := claim_besides_full(min(PAGE, limit - examined), categories):
        now = due_in_turn(due)
        taken = publish(now, wait=True) if now else 0
        examined, published = examined + len(due), published + taken
        if taken < len(now) or examined == limit:
            break
    return examined, published


def claim_besides_full(
    limit: int, categories: Sequence[str] | None = None, *, lead: Lead | None = None
) -> list[TaskRecord]:
    """Claim what is due, but not what goes to a queue that was full a moment ago: it would hold up all else.

    Args:
        limit: at most so many.
        categories: of these alone.
        lead: only while this lead is held.
    """
    publisher = parts().publisher
    if publisher.is_away():
        return []
    besides = [place for name in publisher.full_queues() for place in _places(name)]
    return parts().moves.claim(limit, categories, besides=besides, lead=lead)


def _places(name: str) -> list[Place]:
    """Return the places whose records go to one of the broker's own queues."""
    queue = rabbitmq.logical_name(name)
    return [
        Place(queue, priority, again)
        for priority, number in PRIORITIES.items()
        for again in (False, True)
        if queue + rabbitmq.SUFFIXES[rabbitmq.next_urgency(number) if again else number] == name
    ]


def follow(limit: int, lead: Lead, may_publish: Callable[[], bool]) -> None:
    """Do what follows tasks whose process died after it wrote their end; a success is repeated by a worker.

    The members of parents that were cancelled are settled.

    Arguments as `relay`'s.
    """
    late = parts().moves.unfollowed(limit, lead)
    if late and not may_publish():
        logger.warning("lead_unsure", claimed=len(late))
        return
    for record in late:
        if record.state is not TaskState.SUCCESS and not record.is_parent:
            follow_failure(record.id)
    settle_cancelled([record for record in late if record.is_parent])
    publish([record for record in late if record.state is TaskState.SUCCESS])


def reconcile(older_than: float, meanwhile: Callable[[], object] = lambda: None, *, all_lost: bool = False) -> int:
    """Publish again what was published over `older_than` seconds ago, still waits, and is in no queue and no claim.

    A second message is harmless: the guarded start lets one in.

    Args:
        older_than: seconds.
        meanwhile: is called again and again, because where much waits this takes longer than a lease lasts.
        all_lost: the broker lost its data; where messages cannot be listed, each that still waits is published again.

    Returns:
        How many will be published again.
    """
    # First of all: what is published once the broker was looked at, by another leader too, would be taken for lost.
    pages = parts().moves.unstarted(older_than, PAGE)
    try:
        with celery_app.connection_for_write() as connection:
            present = message_ids(connection, QUEUES, meanwhile)
            waiting = depths(connection, QUEUES) if present is None and not all_lost else dict[str, int]()
            empty = {name for name in QUEUES if not waiting.get(name)}
    except AWAY_ERRORS as error:
        logger.warning("broker_away", error=str(error))
        return 0
    count = 0
    for page in pages:
        count += parts().moves.relay_again(_missing(page, present, empty))
        meanwhile()
    return count


def take_parked() -> int:
    """Publish again what RabbitMQ parked and still waits in its record; returns how many messages stay parked.

    What has no record stays: nothing else knows it.
    """
    stay = 0
    with celery_app.connection_for_write() as connection:
        for message in parked_messages.messages(connection):
            task_id = (message.headers or dict[str, Any]()).get("id")
            if is_task_id(task_id) and parts().tasks.read(task_id) is not None:
                parts().moves.relay_again([task_id])
                message.ack()
            else:
                stay += 1
    return stay


def _missing(page: Sequence[tuple[str, str]], present: set[str] | None, empty: set[str]) -> list[str]:
    """Return the ids whose messages are gone; where they cannot be listed, those of an empty queue."""
    if present is None:
        return [task_id for task_id, queue in page if queue in empty]
    return [task_id for task_id, _ in page if task_id not in present]
