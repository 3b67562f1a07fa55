"""Schedules as callers work with them: checked, and told as dictionaries."""

import inspect
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypedDict, cast
from uuid import NAMESPACE_OID, uuid5

from celery.utils import uuid
from pydantic import ValidationError

from processors.errors import InvalidArgument, UnknownQueue, UnknownSchedule
from processors.redaction import redact, unmasked
from processors.results import sentence_of
from processors.schedules import ScheduleRequest
from records.schedules import DATABASE, Definition, Schedule
from records.task_records import Draft
from services.celery_app import QUEUES, celery_app
from services.celery_schedule import switch_of
from services.limiting import limit_keys_of
from services.on_first_use import on_first_use
from services.own_tasks import checked_arguments, import_task_modules, queue_of, registered_task, shown_arguments
from services.submission import category_of, check_size, kept_message, submit
from services.submit_options import checked_key
from services.wiring import parts

if TYPE_CHECKING:
    from services import scheduled_files, uploads
else:
    scheduled_files, uploads = on_first_use("services", "scheduled_files", "uploads")

FIRE_HEADER = "csai_fire_at"
"""What tells a task its fire time: one that is caught up has to know which day it is for."""


class ScheduleChanges(TypedDict, total=False):
    """What `change_schedule` takes: the keywords of `add_schedule`."""

    task: str
    crontab: str | None
    every: float | None
    timezone: str
    kwargs: Mapping[str, Any] | None
    args: Sequence[Any] | None
    queue: str | None
    priority: str
    catch_up: str
    tenant: str | None


def add(**given: Any) -> dict[str, Any]:
    """Write a schedule; returns it as it is listed.

    Raises:
        InvalidArgument: an argument is bad, or the name is taken.
    """
    definition = definition_of(requested(**given))
    _keep_files(definition)
    schedule = parts().schedules.add(definition)
    if schedule is None:
        raise InvalidArgument(f"name: there is a schedule named {definition.name!r}; change it, or give another name.")
    return shown(schedule)


def change(name: str, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Change what is given of a schedule, which goes on from now on; returns it as it is listed.

    Raises:
        UnknownSchedule: there is none of this name.
        InvalidArgument: a change is bad, or the schedule is the settings'.
    """
    import_task_modules()  # now, and not inside the transaction
    if {"args", "kwargs"} & changes.keys():
        former = _known(name, parts().schedules.read(_name(name)))
        _keep_files(definition_of(requested(**_merged(former, changes))))

    def decide(schedule: Schedule) -> Definition:
        _refuse_settings(schedule, "changed")
        return definition_of(requested(**_merged(schedule, changes)))

    return shown(_known(name, parts().schedules.change(_name(name), decide)))


def pause(name: str) -> dict[str, Any]:
    """Fire a schedule no more until it is resumed; returns it as it is listed."""
    return shown(_known(name, parts().schedules.pause(_name(name))))


def resume(name: str) -> dict[str, Any]:
    """Let a paused schedule go on from now on; returns it as it is listed."""
    return shown(_known(name, parts().schedules.resume(_name(name))))


def remove(name: str) -> None:
    """Remove a schedule.

    Raises:
        UnknownSchedule: there is none of this name.
        InvalidArgument: it is the settings'.
    """
    if not parts().schedules.remove(_name(name)):
        _refuse_settings(_known(name, parts().schedules.read(name)), "removed")


def run_now(name: str, key: str | None) -> str:
    """Submit a schedule's task at once, beside its fire times, once for a key; returns the task's id."""
    key = checked_key(key)
    schedule = _known(name, parts().schedules.read(_name(name)))
    check_task(schedule.task)
    task_id = submit(draft_of_schedule(schedule, uuid() if key is None else run_id(name, key)))
    uploads.keep_for(task_id, {"args": schedule.args, "kwargs": schedule.kwargs})
    return task_id


def listed() -> list[dict[str, Any]]:
    """Return every schedule, by name."""
    return [shown(schedule) for schedule in parts().schedules.listed()]


def shown(schedule: Schedule) -> dict[str, Any]:
    """Return a schedule as callers read it."""
    return {
        "name": schedule.name,
        "task": schedule.task,
        "kwargs": redact(schedule.kwargs),
        "args": shown_arguments(schedule.task, schedule.args),
        "queue": schedule.queue,
        "priority": schedule.priority,
        "tenant": schedule.tenant,
        "crontab": schedule.crontab,
        "every": schedule.every_seconds,
        "timezone": schedule.timezone,
        "catch_up": schedule.catch_up,
        "paused": schedule.paused,
        "source": schedule.source,
        "next_at": None if schedule.paused else schedule.next_at.isoformat(),
        "last_fire_at": schedule.last_fire_at.isoformat() if schedule.last_fire_at else None,
        "last_task_id": schedule.last_task_id,
        "created_at": schedule.created_at.isoformat(),
        "updated_at": schedule.updated_at.isoformat(),
    }


def requested(**given: Any) -> ScheduleRequest:
    """Return what was given, checked by itself.

    Raises:
        InvalidArgument: something of it is bad.
    """
    try:
        return ScheduleRequest.model_validate(given)
    except ValidationError as error:
        raise InvalidArgument(sentence_of(error)) from error


def definition_of(request: ScheduleRequest, *, known: bool = True) -> Definition:
    """Return what a schedule is, checked against the tasks and queues that there are.

    Args:
        request: what was given.
        known: whether its task must be there now; one of the settings may come with other programs.

    Raises:
        InvalidArgument: the task is none that can be scheduled, or does not take the arguments.
        UnknownQueue: the queue is none of the service's.
    """
    kwargs, args = _json_of(request)
    task = check_task(request.task) if known else cast("Any", celery_app.tasks).get(request.task)
    if known:
        _check_arguments(task, args, kwargs)
        limit_keys_of(task.name, kwargs)  # arguments that its limits cannot be told from would never fire
    if request.queue is not None and request.queue not in QUEUES:
        raise UnknownQueue(f"queue: no queue is named {request.queue!r}; the queues are {', '.join(QUEUES)}.")
    return Definition(
        name=request.name,
        task=request.task,
        kwargs=kwargs,
        args=args,
        queue=request.queue or (queue_of(task) if task is not None else "default"),
        priority=request.priority,
        tenant=request.tenant,
        crontab=request.crontab,
        every_seconds=request.every,
        timezone=request.timezone,
        catch_up=request.catch_up,
    )


def check_task(name: str) -> Any:
    """Return the task of this name, if it can be scheduled.

    Raises:
        InvalidArgument: there is none, it is a parent, or it has no record to wait in.
    """
    try:
        return registered_task(name)
    except InvalidArgument as error:
        raise type(error)(f"task: {str(error).removeprefix('name: ')}") from error


def fire_id(name: str, fire_at: datetime) -> str:
    """Return the id of the one task of a schedule's fire time, in this database alone: nobody else can reckon it."""
    return str(uuid5(NAMESPACE_OID, f"{parts().database_id}:schedule:{name}:{fire_at.isoformat()}"))


def run_id(name: str, key: str) -> str:
    """Return the id of the one task of a schedule that is run now with this key."""
    return str(uuid5(NAMESPACE_OID, f"{parts().database_id}:run:{json.dumps([name, key])}"))


def draft_of_schedule(schedule: Schedule, task_id: str, fire_at: datetime | None = None) -> Draft:
    """Return the draft of a schedule's task.

    Args:
        schedule: what is run.
        task_id: the task's id.
        fire_at: the fire time, whose task the relay publishes; without one its submitter does.
    """
    headers = {FIRE_HEADER: fire_at.isoformat()} if fire_at else {}
    return Draft(
        id=task_id,
        name=schedule.task,
        category=category_of(schedule.task),
        queue=schedule.queue,
        priority=schedule.priority,
        args=schedule.args,
        kwargs=schedule.kwargs,
        message=kept_message(schedule.task, {}, {}, schedule.args, schedule.kwargs, headers),
        due_at=fire_at,
        relay_now=fire_at is not None,
        root_id=task_id,
        origin=f"schedule:{schedule.name}",
        tenant=schedule.tenant,
        limit_keys=limit_keys_of(schedule.task, schedule.kwargs),
    )


def _merged(schedule: Schedule, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a schedule is to be: a new timing takes the old one's place, a new task is routed anew.

    Arguments that come back masked stay the secrets that they are.
    """
    kept = {
        "name": schedule.name,
        "task": schedule.task,
        "crontab": schedule.crontab,
        "every": schedule.every_seconds,
        "timezone": schedule.timezone,
        "kwargs": schedule.kwargs,
        "args": schedule.args,
        "queue": schedule.queue,
        "priority": schedule.priority,
        "catch_up": schedule.catch_up,
        "tenant": schedule.tenant,
    }
    if changes.get("crontab") is not None or changes.get("every") is not None:
        kept |= {"crontab": None, "every": None}
    if "task" in changes:
        kept["queue"] = None
    kept |= changes
    if changes.get("kwargs"):
        kept["kwargs"] = unmasked(changes["kwargs"], schedule.kwargs)
    return kept


def _json_of(request: ScheduleRequest) -> tuple[dict[str, Any], list[Any]]:
    """Return keyword and positional arguments as JSON gives them back."""
    given = [request.kwargs or {}, request.args or []]
    check_size(request.task, given)
    kwargs, args = json.loads(json.dumps(given))
    return kwargs, args


def _check_arguments(task: Any, args: list[Any], kwargs: dict[str, Any]) -> None:
    if not args:
        checked_arguments(task, kwargs)
        return
    if task.takes is not None:
        raise InvalidArgument(f"args: {task.name} takes keyword arguments only; give them in kwargs.")
    try:
        inspect.signature(task.run).bind(*args, **kwargs)
    except TypeError as error:
        raise InvalidArgument(f"The arguments do not fit {task.name}: {error}.") from error


def _keep_files(definition: Definition) -> None:
    arguments = {"args": definition.args, "kwargs": definition.kwargs}
    scheduled_files.keep(definition.name, arguments, definition.tenant)


def _name(name: Any) -> str:
    if not isinstance(name, str) or not name.isprintable():
        raise InvalidArgument(f"name: must be the name of a schedule; got {name!r:.100}.")
    return name


def _known(name: str, schedule: Schedule | None) -> Schedule:
    if schedule is None:
        raise UnknownSchedule(f"name: no schedule is named {name!r:.300}; list_schedules tells which there are.")
    return schedule


def _refuse_settings(schedule: Schedule, what: str) -> None:
    """Refuse to change or remove what the settings say."""
    if schedule.source == DATABASE:
        return
    switch = switch_of(schedule.name)
    cure = f"{switch}=false switches it off" if switch else "take it out of celery_app.conf.beat_schedule"
    raise InvalidArgument(
        f"name: {schedule.name!r} is a schedule of the settings, which cannot be {what} here; {cure}, or pause it."
    )
