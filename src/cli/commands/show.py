"""`csai show ID`: where a task stands."""

import json
import sys
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from processors.redaction import redact
from services.celery_service import celery_service


def register(root: typer.Typer) -> None:
    """Add the command."""
    root.command("show")(show)


def show(
    task_id: Annotated[str, typer.Argument(help="What a submit returned.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show where a task stands, its result or its error."""
    status = redact(celery_service.get_task_status(task_id))
    if as_json:
        print(json.dumps(status, indent=2, ensure_ascii=False))
    else:
        _print(status)
    if status["status"] == "UNKNOWN":
        sys.exit(1)


def _print(status: dict[str, Any]) -> None:
    table = Table("", Column(overflow="fold"), show_header=False, box=None, pad_edge=False)
    for name, value in status.items():
        if value is not None:
            text = value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)
            table.add_row(f"[bold]{name}[/bold]", escape(text))
    Console().print(table)
