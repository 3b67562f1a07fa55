"""`csai ls`: the tasks that there are, the newest first."""

from typing import Annotated, Any

import typer

from cli.filters import with_filter
from cli.output import AsJson, local, print_json, print_line, print_table
from cli.output import state as coloured
from services.task_filters import TaskFilter, filter_of
from services.task_queries import find_tasks

COLUMNS = ("id", "name", "state", "created", "worker", "error")


def register(root: typer.Typer) -> None:
    """Add the command."""
    root.command("ls")(with_filter(ls))


def ls(
    asked: TaskFilter | None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1_000, help="How many at most.")] = 50,
    after: Annotated[str | None, typer.Option("--after", help="What the page before said, for the next one.")] = None,
    whole: Annotated[bool, typer.Option("--whole", help="With --json: arguments, result and traceback, too.")] = False,
    as_json: AsJson = False,
) -> None:
    """List tasks, the newest first."""
    found = find_tasks(asked or filter_of(), after, limit, whole=whole and as_json)
    if as_json:
        print_json(found)
    else:
        _print(found)


def _print(found: dict[str, Any]) -> None:
    print_table(COLUMNS, [_row(one) for one in found["items"]], nothing="No task is like that.")
    if found["next_cursor"]:
        print_line(f"There are more: --after {found['next_cursor']}")


def _row(one: dict[str, Any]) -> tuple[object, ...]:
    done = f"{one['progress']:.0f} %" if one["status"] == "PROGRESS" else ""
    error = f"{one['error_type']}: {one['error']}" if one["error"] else ""
    said = " ".join(error.split())
    return one["task_id"], one["name"], coloured(one["status"], done), local(one["created_at"]), one["worker"], said
