"""`csai ls`: the tasks that there are, the newest first."""

from datetime import datetime
from typing import Annotated, Any

import typer

from cli.given import moment_of
from cli.output import AsJson, local, print_json, print_line, print_table
from cli.output import state as coloured
from services.task_filters import filter_of
from services.task_queries import find_tasks

COLUMNS = ("id", "name", "state", "created", "worker", "error")

Words = Annotated[str | None, typer.Option("--text", help="Words in name, arguments, result or error, all of them.")]
Since = Annotated[str | None, typer.Option("--since", help="Created since: 90s, 15m, 2h, 7d, or an ISO 8601 moment.")]


def register(root: typer.Typer) -> None:
    """Add the command."""
    root.command("ls")(ls)


def ls(  # noqa: PLR0913, PLR0917 - a filter each
    state: Annotated[list[str] | None, typer.Option("--state", help="One of these; may be given again.")] = None,
    category: Annotated[str | None, typer.Option("--category", help="Of this category.")] = None,
    name: Annotated[str | None, typer.Option("--name", help="Of this name.")] = None,
    queue: Annotated[str | None, typer.Option("--queue", help="Of this queue.")] = None,
    tenant: Annotated[str | None, typer.Option("--tenant", help="Of this tenant.")] = None,
    tag: Annotated[list[str] | None, typer.Option("--tag", help="All of these; may be given again.")] = None,
    worker: Annotated[str | None, typer.Option("--worker", help="That this worker runs or ran last.")] = None,
    parent: Annotated[str | None, typer.Option("--parent", help="Of this parent.")] = None,
    error_type: Annotated[str | None, typer.Option("--error-type", help="With this class of error.")] = None,
    fingerprint: Annotated[str | None, typer.Option("--fingerprint", help="With errors like that.")] = None,
    since: Since = None,
    before: Annotated[str | None, typer.Option("--before", help="Created before; as --since.")] = None,
    finished_since: Annotated[str | None, typer.Option("--finished-since", help="Ended since.")] = None,
    finished_before: Annotated[str | None, typer.Option("--finished-before", help="Ended before.")] = None,
    text: Words = None,
    part: Annotated[str | None, typer.Option("--part", help="This is in one of those; newest 100 000 tasks.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1_000, help="How many at most.")] = 50,
    after: Annotated[str | None, typer.Option("--after", help="What the page before said, for the next one.")] = None,
    whole: Annotated[bool, typer.Option("--whole", help="With --json: arguments, result and traceback, too.")] = False,
    as_json: AsJson = False,
) -> None:
    """List tasks, the newest first."""
    asked = filter_of(
        state=[one.upper() for one in state] if state else None,
        category=category,
        name=name,
        queue=queue,
        tenant=tenant,
        tag=tag or None,
        worker=worker,
        parent=parent,
        error_type=error_type,
        fingerprint=fingerprint,
        created_from=_moment("--since", since),
        created_before=_moment("--before", before),
        finished_from=_moment("--finished-since", finished_since),
        finished_before=_moment("--finished-before", finished_before),
        text=text,
        part=part,
    )
    found = find_tasks(asked, after, limit, whole=whole and as_json)
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


def _moment(option: str, value: str | None) -> datetime | None:
    return None if value is None else moment_of(option, value)
