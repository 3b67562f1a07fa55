"""Queues: how full each is, and stopping, starting and emptying it, each after a page that names what it concerns."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from starlette.responses import Response

from dashboard import figures
from dashboard.rendering import go_to, page
from dashboard.visits import Pages, Visit
from dashboard.words import number
from processors.errors import UnknownQueue
from services.audit import record_act
from services.celery_app import QUEUES
from services.celery_service import celery_service

pages = Pages()


@dataclass(frozen=True, slots=True)
class QueueAct:
    """What can be done to a queue.

    Attributes:
        verb: what the button says.
        what: what comes of it.
        act: does it, and says what came of it.
        loses: whether work is lost by it.
    """

    verb: str
    what: str
    act: Callable[[Visit, str], str]
    loses: bool = False


def _pause(visit: Visit, queue: str) -> str:
    if not celery_service.pause_queue(queue):
        return f"The queue {queue} was paused before."
    record_act(visit.caller, "queue.pause", target=("queue", queue))
    return f"The queue {queue} is paused."


def _resume(visit: Visit, queue: str) -> str:
    if not celery_service.resume_queue(queue):
        return f"The queue {queue} was not paused."
    record_act(visit.caller, "queue.resume", target=("queue", queue))
    return f"The queue {queue} goes on."


def _drain(visit: Visit, queue: str) -> str:
    running = celery_service.drain(queue)
    record_act(visit.caller, "queue.drain", target=("queue", queue))
    return f"The queue {queue} is paused, and {number(running)} of its tasks still run."


def _purge(visit: Visit, queue: str) -> str:
    cancelled = celery_service.purge_queue(queue)
    record_act(visit.caller, "queue.purge", target=("queue", queue), count=cancelled)
    return f"{number(cancelled)} tasks of the queue {queue} were cancelled."


ACTS = {
    "pause": QueueAct("Pause", "Nothing of it starts until it is resumed; what runs goes on.", _pause),
    "resume": QueueAct("Resume", "What waits in it starts again.", _resume),
    "drain": QueueAct("Drain", "It is paused, and you are told how many of its tasks still run.", _drain),
    "purge": QueueAct(
        "Purge",
        "All that waits in it when you confirm is cancelled, for good. What runs, or is due later, stays.",
        _purge,
        loses=True,
    ),
}


@pages.get("/queues", "read")
def queues(visit: Visit) -> Response:
    """List the queues."""
    return page(visit, "queues.html", statistics=figures.queues(), ours=QUEUES, acts=ACTS)


def ask(name: str, visit: Visit) -> Response:
    """Ask whether this is to be done to a queue, naming how many tasks it concerns."""
    act, queue = ACTS[name], _queue(visit)
    found = figures.queues().queues[queue]
    lines = [act.what, f"{number(found.depth)} tasks wait in it now, and {number(found.unacknowledged)} run."]
    button = f"{act.verb} {queue}" + (f": cancel {number(found.depth)} tasks" if act.loses else "")
    return page(
        visit,
        "confirm.html",
        title=f"{act.verb} the queue {queue}?",
        lines=lines,
        button=button,
        loses=act.loses,
        fields={},
        back="/queues",
    )


def do(name: str, visit: Visit) -> Response:
    """Do it."""
    return go_to(visit, "/queues", ACTS[name].act(visit, _queue(visit)))


for one in ACTS:
    pages.add("GET", f"/queues/{{queue}}/{one}", "operate", partial(ask, one))
    pages.add("POST", f"/queues/{{queue}}/{one}", "operate", partial(do, one))


def _queue(visit: Visit) -> str:
    queue = visit.part("queue")
    if queue not in QUEUES:
        raise UnknownQueue(f"There is no queue {queue!r:.100}.")
    return queue
