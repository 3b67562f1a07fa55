"""`csai schedules`: what runs when."""

import json
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from services.celery_service import celery_service


def register(root: typer.Typer) -> None:
    """Add the command."""
    root.command("schedules")(schedules)


def schedules(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List the schedules: what they run, when, and when next."""
    found = celery_service.list_schedules()
    if as_json:
        print(json.dumps(found, indent=2, ensure_ascii=False))
        return
    table = Table("name", "task", "when", "next", "last", "from", Column("arguments", overflow="fold"), box=None)
    for one in found:
        when = f"{one['crontab']} {one['timezone']}" if one["crontab"] else f"every {one['every']:g} s"
        arguments = json.dumps(one["kwargs"] or one["args"], ensure_ascii=False)
        following = "paused" if one["paused"] else one["next_at"]
        row = (one["name"], one["task"], when, following, one["last_fire_at"] or "-", one["source"], arguments)
        table.add_row(*map(escape, row))
    Console().print(table if found else "There is no schedule.")
