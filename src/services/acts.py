"""What somebody does to one queue, over HTTP, in the dashboard or at a terminal: it is done, and written down.

What changed nothing is written down nowhere.
"""

from processors.errors import CountChanged, UnknownQueue
from services.access import Caller
from services.audit import record_act
from services.celery_app import QUEUES
from services.celery_service import celery_service
from services.wiring import parts


def pause_queue(caller: Caller, queue: str) -> bool:
    """Let nothing of a queue start until it is resumed; False where it was so before."""
    return _noted(caller, "queue.pause", ("queue", queue), changed=celery_service.pause_queue(queue))


def resume_queue(caller: Caller, queue: str) -> bool:
    """Let a paused queue's tasks start again; False where it was not paused."""
    return _noted(caller, "queue.resume", ("queue", queue), changed=celery_service.resume_queue(queue))


def drain_queue(caller: Caller, queue: str) -> int:
    """Pause a queue; returns how many of its tasks still run."""
    running = celery_service.drain(queue)
    record_act(caller, "queue.drain", target=("queue", queue))
    return running


def count_purge(queue: str) -> int:
    """Return how many tasks a purge would cancel now: all that wait for a worker, a limit or another attempt.

    Raises:
        UnknownQueue: there is no such queue.
    """
    if queue not in QUEUES:
        raise UnknownQueue(f"queue: no queue is named {queue!r:.100}; the queues are {', '.join(QUEUES)}.")
    return parts().moves.count_waiting(queue)


def purge_queue(caller: Caller, queue: str, confirmed: int | None = None) -> int:
    """Cancel all that waits in a queue, but not what is scheduled for later; returns how many tasks that were.

    Messages of other programs that nobody has recorded yet go as well: no count knows them before.

    Args:
        caller: who wants it.
        queue: which.
        confirmed: how many they were told that there are; None: however many.

    Raises:
        CountChanged: there are more than were confirmed.
        UnknownQueue: there is no such queue.
    """
    count = 0 if confirmed is None else count_purge(queue)
    if confirmed is not None and count > confirmed:
        raise CountChanged(f"count: {confirmed} tasks were confirmed, and {count} wait now; ask again.", count)
    cancelled = celery_service.purge_queue(queue)
    record_act(caller, "queue.purge", target=("queue", queue), count=cancelled)
    return cancelled


def _noted(caller: Caller, act: str, target: tuple[str, str], *, changed: bool) -> bool:
    if changed:
        record_act(caller, act, target=target)
    return changed
