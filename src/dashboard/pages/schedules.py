"""Schedules: what runs again and again, added, changed and removed, stopped, started, and run at once.

A schedule's name may hold any sign, `/` and `..` too, so that it is no part of a path here.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, get_args
from uuid import uuid4

from starlette.responses import Response

from dashboard.forms import MOST_ARGUMENT_BYTES, json_object
from dashboard.rendering import go_to, page
from dashboard.visits import Pages, Visit
from dashboard.words import segment
from processors.errors import InvalidArgument, UnknownSchedule
from processors.schedules import CatchUp
from services import acts
from services.celery_app import PRIORITIES, QUEUES
from services.celery_service import celery_service

USUAL = {
    "name": "",
    "task": "",
    "crontab": "",
    "every": "",
    "timezone": "UTC",
    "kwargs": "{}",
    "queue": "",
    "priority": "normal",
    "catch_up": "latest",
    "tenant": "",
}
"""The fields of the form, as they are before somebody writes into it."""

pages = Pages()


@dataclass(frozen=True, slots=True)
class ScheduleAct:
    """What can be done to a schedule.

    Attributes:
        verb: what the button says.
        what: what comes of it.
        act: does it, and leads on.
        loses: whether it is lost by it; what the settings have cannot be.
    """

    verb: str
    what: str
    act: Callable[[Visit, str], Response]
    loses: bool = False


def _pause(visit: Visit, name: str) -> Response:
    acts.pause_schedule(visit.caller, name)
    return go_to(visit, "/schedules", f"The schedule {name} is paused.")


def _resume(visit: Visit, name: str) -> Response:
    acts.resume_schedule(visit.caller, name)
    return go_to(visit, "/schedules", f"The schedule {name} goes on.")


def _run(visit: Visit, name: str) -> Response:
    task_id = acts.run_schedule_now(visit.caller, name, visit.form.get("key"))
    return go_to(visit, f"/tasks/{segment(task_id)}", f"The task of the schedule {name} was submitted: this one.")


def _remove(visit: Visit, name: str) -> Response:
    acts.remove_schedule(visit.caller, name)
    return go_to(visit, "/schedules", f"The schedule {name} is removed.")


ACTS = {
    "pause": ScheduleAct("Pause", "It does not fire until it is resumed; its tasks that wait or run stay.", _pause),
    "resume": ScheduleAct("Resume", "It goes on with its next fire time.", _resume),
    "run": ScheduleAct("Run now", "One task of it is submitted at once, beside its fire times.", _run),
    "remove": ScheduleAct(
        "Remove", "It fires no more, for good; its tasks that wait or run stay.", _remove, loses=True
    ),
}


@pages.get("/schedules", "read")
def schedules(visit: Visit) -> Response:
    """List the schedules."""
    return page(visit, "schedules.html", schedules=celery_service.list_schedules(), acts=ACTS)


@pages.get("/schedules/add", "operate")
def new(visit: Visit) -> Response:
    """Ask for a new schedule."""
    return _form(visit, 200, USUAL)


@pages.post("/schedules/add", "operate", most=MOST_ARGUMENT_BYTES)
def add(visit: Visit) -> Response:
    """Make a schedule."""
    given = _given(visit)
    try:
        made = acts.add_schedule(visit.caller, _wanted(given))
    except InvalidArgument as error:
        return _form(visit, 422, given, wrong=str(error))
    return go_to(visit, "/schedules", f"The schedule {made['name']} is added.")


@pages.get("/schedules/change", "operate")
def edit(visit: Visit) -> Response:
    """Ask how a schedule is to be."""
    schedule = _schedule(visit.asked("name"))
    return _form(visit, 200, _fields_of(schedule), schedule)


@pages.post("/schedules/change", "operate", most=MOST_ARGUMENT_BYTES)
def change(visit: Visit) -> Response:
    """Change of a schedule what was edited."""
    schedule, given = _schedule(visit.form.get("name", "")), _given(visit)
    try:
        wanted, before = _wanted(given), _wanted(_fields_of(schedule))
        changes = {name: value for name, value in wanted.items() if value != before[name]}
        acts.change_schedule(visit.caller, schedule["name"], changes)
    except InvalidArgument as error:
        return _form(visit, 422, given, schedule, str(error))
    return go_to(visit, "/schedules", f"The schedule {schedule['name']} is changed.")


def ask(name: str, visit: Visit) -> Response:
    """Ask whether this is to be done to a schedule, naming what it runs."""
    act, schedule = ACTS[name], _schedule(visit.asked("name"))
    return page(
        visit,
        "confirm.html",
        title=f"{act.verb} 1 schedule: {schedule['name']}?",
        lines=[act.what, f"It runs {schedule['task']}."],
        button=act.verb,
        loses=act.loses,
        fields={"name": schedule["name"], "key": uuid4().hex},  # a form that is sent twice runs it once
        back="/schedules",
    )


def do(name: str, visit: Visit) -> Response:
    """Do it."""
    return ACTS[name].act(visit, _schedule(visit.form.get("name", ""))["name"])


for one in ACTS:
    pages.add("GET", f"/schedules/{one}", "operate", partial(ask, one))
    pages.add("POST", f"/schedules/{one}", "operate", partial(do, one))


def _form(
    visit: Visit, status: int, given: Mapping[str, str], schedule: dict[str, Any] | None = None, wrong: str = ""
) -> Response:
    return page(
        visit,
        "schedule.html",
        status,
        given=given,
        schedule=schedule,
        wrong=wrong,
        queues=QUEUES,
        priorities=PRIORITIES,
        catch_ups=get_args(CatchUp),
    )


def _given(visit: Visit) -> dict[str, str]:
    """Return what the form's fields hold; a name may begin and end as it likes."""
    given = {name: visit.form.get(name, "") for name in USUAL}
    return given | {name: value.strip() for name, value in given.items() if name != "name"}


def _fields_of(schedule: Mapping[str, Any]) -> dict[str, str]:
    """Return a schedule as the form's fields hold it."""
    shown = {name: "" if schedule[name] is None else str(schedule[name]) for name in USUAL}
    return shown | {"kwargs": json.dumps(schedule["kwargs"], indent=2, ensure_ascii=False)}


def _wanted(given: Mapping[str, str]) -> dict[str, Any]:
    """Return the arguments of a schedule as the form's fields say it.

    Raises:
        InvalidArgument: one of them cannot be.
    """
    wanted: dict[str, Any] = {name: value or None for name, value in given.items()}
    return wanted | {"name": given["name"], "every": _seconds(given["every"]), "kwargs": json_object(given["kwargs"])}


def _seconds(text: str) -> float | None:
    try:
        return float(text) if text else None
    except ValueError as error:
        raise InvalidArgument(f"every: must be seconds, such as 300; got {text!r:.60}.") from error


def _schedule(name: str) -> dict[str, Any]:
    for schedule in celery_service.list_schedules():
        if schedule["name"] == name:
            return schedule
    raise UnknownSchedule(f"There is no schedule {name!r:.250}.")
