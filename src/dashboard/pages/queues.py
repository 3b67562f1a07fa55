"""Queues: how full each is, and stopping, starting and emptying it, each after a page that names what it concerns."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus

from starlette.responses import Response

from dashboard import figures
from dashboard.counts import MORE_NOW, count_in
from dashboard.rendering import go_to, page
from dashboard.visits import Pages, Visit
from dashboard.words import number
from processors.errors import CountChanged, UnknownQueue
from services import acts
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
    """

    verb: str
    what: str
    act: Callable[[Visit, str], str]


def _pause(visit: Visit, queue: str) -> str:
    paused = acts.pause_queue(visit.caller, queue)
    return f"The queue {queue} is paused." if paused else f"The queue {queue} was paused before."


def _resume(visit: Visit, queue: str) -> str:
    resumed = acts.resume_queue(visit.caller, queue)
    return f"The queue {queue} goes on." if resumed else f"The queue {queue} was not paused."


def _drain(visit: Visit, queue: str) -> str:
    running = acts.drain_queue(visit.caller, queue)
    return f"The queue {queue} is paused, and {number(running)} of its tasks still run."


def _purge(visit: Visit, queue: str) -> str:
    cancelled = acts.purge_queue(visit.caller, queue, count_in(visit.form))
    return f"{number(cancelled)} tasks of the queue {queue} were cancelled."


PURGE = "purge"
ACTS = {
    "pause": QueueAct("Pause", "Nothing of it starts until it is resumed; what runs goes on.", _pause),
    "resume": QueueAct("Resume", "What waits in it starts again.", _resume),
    "drain": QueueAct("Drain", "It is paused, and you are told how many of its tasks still run.", _drain),
    PURGE: QueueAct(
        "Purge",
        "All that waits in it is cancelled, for good, also what waits for another attempt or a limit. What runs, or "
        "was scheduled for later, stays. Messages of other programs that nobody has recorded yet go as well.",
        _purge,
    ),
}


@pages.get("/queues", "read")
def queues(visit: Visit) -> Response:
    """List the queues, and the limits in force."""
    limits = celery_service.get_limits()
    return page(visit, "queues.html", statistics=figures.queues(), ours=QUEUES, acts=ACTS, limits=limits)


def ask(name: str, visit: Visit, status: int = 200, wrong: str = "") -> Response:
    """Ask whether this is to be done to a queue, naming how many tasks it concerns."""
    act, queue = ACTS[name], _queue(visit)
    found, purges = figures.queues().queues[queue], name == PURGE
    waiting = acts.count_purge(queue) if purges else found.depth
    lines = [act.what, f"{number(waiting)} tasks wait in it now, and {number(found.unacknowledged)} run."]
    return page(
        visit,
        "confirm.html",
        status,
        title=f"{act.verb} the queue {queue}?",
        lines=[wrong, *lines] if wrong else lines,
        button=f"{act.verb} {queue}" + (f": cancel {number(waiting)} tasks" if purges else ""),
        loses=purges,
        fields={"count": str(waiting)} if purges else {},
        back="/queues",
    )


def do(name: str, visit: Visit) -> Response:
    """Do it; where more tasks are meant by now than were confirmed, ask again."""
    try:
        return go_to(visit, "/queues", ACTS[name].act(visit, _queue(visit)))
    except CountChanged:
        return ask(name, visit, HTTPStatus.CONFLICT, MORE_NOW)


for one in ACTS:
    pages.add("GET", f"/queues/{{queue}}/{one}", "operate", partial(ask, one))
    pages.add("POST", f"/queues/{{queue}}/{one}", "operate", partial(do, one))


def _queue(visit: Visit) -> str:
    queue = visit.part("queue")
    if queue not in QUEUES:
        raise UnknownQueue(f"There is no queue {queue!r:.100}.")
    return queue
