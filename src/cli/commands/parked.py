"""`csai parked`: messages that no worker can use."""

from dataclasses import asdict
from typing import Annotated

import typer

from cli.acts import note
from cli.output import AsJson, Yes, confirm, print_json, print_table, tell
from services import parked


def register(root: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="Messages that were put aside because no worker can use them.", no_args_is_help=True)
    group.command("list")(show)
    group.command("retry")(retry)
    group.command("drop")(drop)
    root.add_typer(group, name="parked")


def show(
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many at most.")] = 100,
    as_json: AsJson = False,
) -> None:
    """Show what is parked, and why."""
    found = parked.look(limit)
    if as_json:
        print_json([asdict(one) for one in found])
        return
    rows = [(one.queue, one.reason, f"{one.task or '-'} {one.task_id or ''}".rstrip(), one.content) for one in found]
    print_table(("queue", "reason", "task", "content"), rows, nothing="Nothing is parked.")


def retry(as_json: AsJson = False) -> None:
    """Put them back into their queues; what is no task stays."""
    back, left = parked.retry(), parked.count()
    if back:
        note("parked.retry", count=back)
    sentence = f"{back} messages are back in their queues; {left} stay parked."
    tell({"retried": back, "parked": left}, sentence, as_json=as_json)


def drop(yes: Yes = False, as_json: AsJson = False) -> None:
    """Delete them; asks first."""
    count = None if yes else parked.count()
    if count is not None:
        confirm(f"Delete {count} parked messages?")
    dropped = parked.drop(count)
    if dropped:
        note("parked.drop", count=dropped)
    tell({"dropped": dropped}, f"{dropped} messages are deleted.", as_json=as_json)
