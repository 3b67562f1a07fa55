"""Schedules: what runs again and again, stopped, started, and run at once.

A schedule's name may hold any sign, `/` and `..` too, so that it is no part of a path here.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from starlette.responses import Response

from dashboard.rendering import go_to, page
from dashboard.visits import Pages, Visit
from dashboard.words import segment
from processors.errors import UnknownSchedule
from services.audit import record_act
from services.celery_service import celery_service

pages = Pages()


@dataclass(frozen=True, slots=True)
class ScheduleAct:
    """What can be done to a schedule.

    Attributes:
        verb: what the button says.
        what: what comes of it.
        act: does it, and leads on.
    """

    verb: str
    what: str
    act: Callable[[Visit, str], Response]


def _pause(visit: Visit, name: str) -> Response:
    celery_service.pause_schedule(name)
    record_act(visit.caller, "schedule.pause", target=("schedule", name))
    return go_to(visit, "/schedules", f"The schedule {name} is paused.")


def _resume(visit: Visit, name: str) -> Response:
    celery_service.resume_schedule(name)
    record_act(visit.caller, "schedule.resume", target=("schedule", name))
    return go_to(visit, "/schedules", f"The schedule {name} goes on.")


def _run(visit: Visit, name: str) -> Response:
    task_id = celery_service.run_schedule_now(name)
    record_act(visit.caller, "schedule.run", target=("schedule", name), details={"task_id": task_id})
    return go_to(visit, f"/tasks/{segment(task_id)}", f"The task of the schedule {name} was submitted: this one.")


ACTS = {
    "pause": ScheduleAct("Pause", "It does not fire until it is resumed; its tasks that wait or run stay.", _pause),
    "resume": ScheduleAct("Resume", "It goes on with its next fire time.", _resume),
    "run": ScheduleAct("Run now", "One task of it is submitted at once, beside its fire times.", _run),
}


@pages.get("/schedules", "read")
def schedules(visit: Visit) -> Response:
    """List the schedules."""
    return page(visit, "schedules.html", schedules=celery_service.list_schedules(), acts=ACTS)


def ask(name: str, visit: Visit) -> Response:
    """Ask whether this is to be done to a schedule, naming what it runs."""
    act, schedule = ACTS[name], _schedule(visit.asked("name"))
    return page(
        visit,
        "confirm.html",
        title=f"{act.verb}: {schedule['name']}?",
        lines=[act.what, f"It runs {schedule['task']}."],
        button=act.verb,
        loses=False,
        fields={"name": schedule["name"]},
        back="/schedules",
    )


def do(name: str, visit: Visit) -> Response:
    """Do it."""
    return ACTS[name].act(visit, _schedule(visit.form.get("name", ""))["name"])


for one in ACTS:
    pages.add("GET", f"/schedules/{one}", "operate", partial(ask, one))
    pages.add("POST", f"/schedules/{one}", "operate", partial(do, one))


def _schedule(name: str) -> dict[str, Any]:
    for schedule in celery_service.list_schedules():
        if schedule["name"] == name:
            return schedule
    raise UnknownSchedule(f"There is no schedule {name!r:.250}.")
