"""`csai schedules`: what runs again and again, and changing it."""

from collections.abc import Callable
from typing import Annotated, Any

import typer

from cli.acts import note
from cli.exit_codes import TOLD
from cli.following import Timeout, Wait, answer, check_timeout
from cli.given import JSON_FORMS, list_of, object_of
from cli.output import AsJson, local, print_json, print_table, state, tell
from processors.errors import InvalidArgument
from services.celery_app import PRIORITIES, QUEUES
from services.celery_service import celery_service

Name = Annotated[str, typer.Argument(help="The schedule's name.")]
Maybe = str | None

Crontab = Annotated[
    Maybe, typer.Option("--crontab", help="Minute, hour, day of month, month, day of week: '30 2 * * *'.")
]
Every = Annotated[float | None, typer.Option("--every", help="Seconds, 1 or more, instead of a crontab.")]
Timezone = Annotated[Maybe, typer.Option("--timezone", help="The IANA name of the crontab's zone; UTC at first.")]
Kwargs = Annotated[
    Maybe, typer.Option("--kwargs", metavar="<JSON>", help=f"The task's arguments by name: {JSON_FORMS}.")
]
Args = Annotated[Maybe, typer.Option("--args", metavar="<JSON>", help=f"Its positional arguments: {JSON_FORMS}.")]
Queue = Annotated[
    Maybe, typer.Option("--queue", help="By default the task's own.", autocompletion=lambda: list(QUEUES))
]
Priority = Annotated[
    Maybe, typer.Option("--priority", help=f"One of {', '.join(PRIORITIES)}.", autocompletion=lambda: list(PRIORITIES))
]
CatchUp = Annotated[Maybe, typer.Option("--catch-up", help="Of fire times that were missed: latest, all or none.")]
Tenant = Annotated[Maybe, typer.Option("--tenant", help="Whose tasks they are.")]

COLUMNS = ("name", "task", "when", "next", "last", "from", "arguments")


def register(root: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="What runs again and again.", epilog=TOLD)
    group.callback(invoke_without_command=True)(schedules)
    group.command("add")(add)
    group.command("change")(change)
    group.command("pause")(pause)
    group.command("resume")(resume)
    group.command("run")(run)
    group.command("remove")(remove)
    root.add_typer(group, name="schedules")


def schedules(context: typer.Context, as_json: AsJson = False) -> None:
    """List the schedules: what they run, when, and when next."""
    if context.invoked_subcommand is None:
        _print(celery_service.list_schedules(), as_json=as_json)


def add(  # noqa: PLR0913, PLR0917 - one per option
    name: Name,
    task: Annotated[str, typer.Argument(help="The task's name, such as cleanup.cleanup_old_files.")],
    crontab: Crontab = None,
    every: Every = None,
    timezone: Timezone = None,
    kwargs: Kwargs = None,
    args: Args = None,
    queue: Queue = None,
    priority: Priority = None,
    catch_up: CatchUp = None,
    tenant: Tenant = None,
    as_json: AsJson = False,
) -> None:
    """Run a task again and again, from now on."""
    given = _given(crontab, every, timezone, kwargs, args, queue, priority, catch_up, tenant)
    made = celery_service.add_schedule(name, task, **given)
    note("schedule.add", ("schedule", name), details=made)
    _print(made, as_json=as_json)


def change(  # noqa: PLR0913, PLR0917 - one per option
    name: Name,
    task: Annotated[Maybe, typer.Option("--task", help="The task's name.")] = None,
    crontab: Crontab = None,
    every: Every = None,
    timezone: Timezone = None,
    kwargs: Kwargs = None,
    args: Args = None,
    queue: Queue = None,
    priority: Priority = None,
    catch_up: CatchUp = None,
    tenant: Tenant = None,
    as_json: AsJson = False,
) -> None:
    """Change a schedule; what is left out stays, and it goes on from now on."""
    given = _given(crontab, every, timezone, kwargs, args, queue, priority, catch_up, tenant)
    if task is not None:
        given["task"] = task
    if not given:
        raise InvalidArgument(f"Nothing of the schedule {name!r} is to be changed: give what is, such as --every 60.")
    changed = celery_service.change_schedule(name, **given)
    note("schedule.change", ("schedule", name), details=given)
    _print(changed, as_json=as_json)


def pause(name: Name, as_json: AsJson = False) -> None:
    """Fire a schedule no more until it is resumed."""
    _steered(name, "schedule.pause", celery_service.pause_schedule, as_json=as_json)


def resume(name: Name, as_json: AsJson = False) -> None:
    """Let a paused schedule go on with its next fire time."""
    _steered(name, "schedule.resume", celery_service.resume_schedule, as_json=as_json)


def run(name: Name, wait: Wait = False, timeout: Timeout = None, as_json: AsJson = False) -> None:
    """Submit a schedule's task at once, paused or not, and print its id."""
    check_timeout(timeout, waits=wait)
    task_id = celery_service.run_schedule_now(name)
    note("schedule.run", ("schedule", name), details={"task_id": task_id})
    answer(task_id, wait=wait, timeout=timeout, as_json=as_json)


def remove(name: Name, as_json: AsJson = False) -> None:
    """Remove a schedule; its tasks that wait or run stay."""
    celery_service.remove_schedule(name)
    note("schedule.remove", ("schedule", name))
    tell({"changed": True}, f"The schedule {name} is removed.", as_json=as_json)


def _given(  # noqa: PLR0913, PLR0917 - one per option
    crontab: Maybe,
    every: float | None,
    timezone: Maybe,
    kwargs: Maybe,
    args: Maybe,
    queue: Maybe,
    priority: Maybe,
    catch_up: Maybe,
    tenant: Maybe,
) -> dict[str, Any]:
    """Return what was said, by the names of `add_schedule`."""
    said: dict[str, Any] = {
        "crontab": crontab,
        "every": every,
        "timezone": timezone,
        "kwargs": object_of("--kwargs", kwargs),
        "args": list_of("--args", args),
        "queue": queue,
        "priority": priority,
        "catch_up": catch_up,
        "tenant": tenant,
    }
    return {name: value for name, value in said.items() if value is not None}


def _steered(name: str, act: str, steer: Callable[[str], dict[str, Any]], *, as_json: bool) -> None:
    schedule = steer(name)
    note(act, ("schedule", name))
    _print(schedule, as_json=as_json)


def _print(told: list[dict[str, Any]] | dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(told)
        return
    rows = told if isinstance(told, list) else [told]
    print_table(COLUMNS, map(_row, rows), nothing="There is no schedule.")


def _row(one: dict[str, Any]) -> tuple[object, ...]:
    return (
        one["name"],
        one["task"],
        f"{one['crontab']} {one['timezone']}" if one["crontab"] else f"every {one['every']:g} s",
        state("paused") if one["paused"] else local(one["next_at"]),
        local(one["last_fire_at"]),
        one["source"],
        one["kwargs"] or one["args"],
    )
