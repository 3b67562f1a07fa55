"""`csai parked`: messages that no worker can use."""

import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

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
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show what is parked, and why."""
    found = parked.look(limit)
    if as_json:
        print(json.dumps([asdict(one) for one in found], indent=2, ensure_ascii=False))
        return
    table = Table("queue", "reason", "task", Column("content", overflow="fold"), box=None, pad_edge=False)
    for one in found:
        table.add_row(one.queue, one.reason, escape(f"{one.task or '-'} {one.task_id or ''}"), escape(one.content))
    Console().print(table if found else "Nothing is parked.")


def retry() -> None:
    """Put them back into their queues; what is no task stays."""
    print(f"{parked.retry()} messages are back in their queues; {parked.count()} stay parked.")


def drop(
    yes: Annotated[bool, typer.Option("--yes", help="Ask nothing.")] = False,
) -> None:
    """Delete them."""
    if yes or typer.confirm(f"Delete {parked.count()} parked messages?"):
        print(f"{parked.drop()} messages are deleted.")
