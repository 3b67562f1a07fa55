"""`csai ls`: the tasks that there are, the newest first."""

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from processors.errors import InvalidArgument
from processors.moments import moment
from services.task_filters import filter_of
from services.task_queries import find_tasks

AGO = re.compile(r"(\d{1,6}(?:\.\d{1,3})?)\s*([smhdw])")
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
COLOURS = {"SUCCESS": "green", "FAILURE": "red", "REVOKED": "yellow", "STARTED": "cyan", "PROGRESS": "cyan"}

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
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
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
        print(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        _print(found)


def _print(found: dict[str, Any]) -> None:
    console = Console()
    table = Table("id", "name", "state", "created", "worker", Column("error", overflow="ellipsis"), box=None)
    for one in found["items"]:
        state = one["status"] if one["status"] != "PROGRESS" else f"PROGRESS {one['progress']:.0f} %"
        colour = COLOURS.get(one["status"], "default")
        error = f"{one['error_type']}: {one['error']}" if one["error"] else ""
        row = (one["task_id"], one["name"], one["created_at"][:19], one["worker"] or "-", " ".join(error.split()))
        task_id, name, created, worker, said = map(escape, row)
        table.add_row(task_id, name, f"[{colour}]{state}[/]", created, worker, said)
    console.print(table if found["items"] else "No task is like that.")
    if found["next_cursor"]:
        console.print(f"There are more: --after {found['next']}", markup=False, highlight=False, soft_wrap=True)


def _moment(option: str, value: str | None) -> datetime | None:
    """Return a moment that was given as it is, or as how long ago it was."""
    if value is None:
        return None
    ago = AGO.fullmatch(value)
    if ago:
        return datetime.now(UTC) - timedelta(seconds=float(ago[1]) * SECONDS[ago[2]])
    try:
        return moment(value, name=option)
    except InvalidArgument as error:
        raise InvalidArgument(f"{error} Or how long ago: 90s, 15m, 2h, 7d.") from error
