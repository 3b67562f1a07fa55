"""The options by which tasks are looked for, at every command that lists or changes many."""

import inspect
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any

import typer

from cli.given import moment_of
from cli.output import confirm, say
from processors.errors import InvalidArgument
from services import task_acts
from services.access import at_terminal
from services.task_filters import TaskFilter, filter_of

ASKED = "asked"
"""The parameter of a command that is given the filter; None where no option of it was given."""

MOMENTS = {
    "since": ("created_from", "Created since: 90s, 15m, 2h, 7d, or an ISO 8601 moment."),
    "before": ("created_before", "Created before; as --since."),
    "finished_since": ("finished_from", "Ended since."),
    "finished_before": ("finished_before", "Ended before."),
}
LISTS = {"state": "One of these; may be given again.", "tag": "All of these; may be given again."}
TEXTS = {
    "category": "Of this category.",
    "name": "Of this name.",
    "queue": "Of this queue.",
    "tenant": "Of this tenant.",
    "worker": "That this worker runs or ran last.",
    "parent": "Of this parent.",
    "error_type": "With this class of error.",
    "fingerprint": "With errors like that.",
    "text": "Words in name, arguments, result or error, all of them.",
    "part": "This is in one of those; newest 100 000 tasks.",
}
COLUMNS = ("state", "category", "name", "queue", "tenant", "tag", "worker", "parent", "error_type", "fingerprint")
ORDER = (*COLUMNS, *MOMENTS, "text", "part")

All = Annotated[bool, typer.Option("--all", help="All that there are.")]


def with_filter(command: Callable[..., None]) -> Callable[..., None]:
    """Return a command that has an option for each part of a filter, in place of its parameter `asked`."""

    def run(**given: Any) -> None:
        own = {name: given.pop(name) for name in ORDER}
        command(**given, **{ASKED: _filter(own) if any(value is not None for value in own.values()) else None})

    kept = [one for one in inspect.signature(command).parameters.values() if one.name != ASKED]
    ids = [one for one in kept if one.name in {"task_id", "task_ids"}]
    options = [_option(name) for name in ORDER]
    parameters = [
        one.replace(kind=one.KEYWORD_ONLY) for one in (*ids, *options, *(one for one in kept if one not in ids))
    ]
    run.__signature__ = inspect.Signature(parameters)  # what typer looks at
    run.__annotations__ = {one.name: one.annotation for one in parameters}
    run.__doc__, run.__name__ = command.__doc__, command.__name__
    return run


def begin(act: str, asked: TaskFilter | None, question: str, done: str, *, every: bool, yes: bool) -> str:
    """Count the tasks that a filter finds, ask, and let the act on them begin; returns the id of the task that does it.

    Args:
        act: of `task_acts`.
        asked: which; None where no option of a filter was given.
        question: what is asked, with `{}` for their number.
        done: what is said then, with `{}` for their number.
        every: whether all tasks are meant.
        yes: whether nobody is asked, and however many are meant.

    Raises:
        InvalidArgument: neither a filter nor `--all` was given, or both; or no task is like that.
        CountChanged: there are more than were confirmed.
    """
    if every is (asked is not None):
        raise InvalidArgument("--all: give the ids of tasks, or which are meant, such as --category email, or --all.")
    wanted = asked or filter_of()
    count = task_acts.count_of(act, wanted, None)
    if count > task_acts.MOST:
        raise InvalidArgument(f"More than {task_acts.MOST} tasks are like that; narrow it, and do it several times.")
    if count and not yes:
        confirm(question.format(_tasks(count)))
    begun = task_acts.begin(at_terminal(), act, wanted, task_acts.MOST if yes else count)
    said, act_id = done.format(_tasks(begun["count"])), begun["task_id"]
    say(f"{said} in {task_acts.UNDO_SECONDS:g} s; until then: csai cancel {act_id}")
    return act_id


def alone(asked: TaskFilter | None, *, every: bool) -> None:
    """Refuse a filter beside the ids of tasks.

    Raises:
        InvalidArgument: there is one.
    """
    if every or asked is not None:
        raise InvalidArgument("ID: give either the ids of tasks, or which are meant; got both.")


def _option(name: str) -> inspect.Parameter:
    flag = f"--{name.replace('_', '-')}"
    words = LISTS.get(name) or TEXTS.get(name) or MOMENTS[name][1]
    kind: Any = list[str] | None if name in LISTS else str | None
    annotation = Annotated[kind, typer.Option(flag, help=words, show_default=False)]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _filter(given: dict[str, Any]) -> TaskFilter:
    found = {name: value for name, value in given.items() if name in TEXTS or name in LISTS}
    if found["state"]:
        found["state"] = [one.upper() for one in found["state"]]
    moments = {MOMENTS[name][0]: _moment(name, given[name]) for name in MOMENTS}
    return filter_of(**found, **moments)


def _moment(name: str, value: str | None) -> datetime | None:
    return None if value is None else moment_of(f"--{name.replace('_', '-')}", value)


def _tasks(count: int) -> str:
    return "1 task" if count == 1 else f"{count} tasks"
