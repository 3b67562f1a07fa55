"""`csai show ID`: where a task stands, how its workers died, and what it logged."""

import json
import sys
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from processors.redaction import redact
from services.celery_service import celery_service
from services.status import incident_of
from services.wiring import parts

LINES = 50


def register(root: typer.Typer) -> None:
    """Add the command."""
    root.command("show")(show)


def show(
    task_id: Annotated[str, typer.Argument(help="What a submit returned.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    lines: Annotated[int, typer.Option("--lines", min=1, max=20_000, help="Lines that it logged, the last.")] = LINES,
) -> None:
    """Show where a task stands, its result or its error, how its workers died, and what it logged."""
    status = redact(celery_service.get_task_status(task_id))
    if status["status"] != "UNKNOWN":
        status |= {
            "incidents": [incident_of(one) for one in parts().incidents.of([task_id])[task_id]],
            "logs": celery_service.get_task_logs(task_id, limit=lines),
        }
    if as_json:
        print(json.dumps(status, indent=2, ensure_ascii=False))
    else:
        _print(status)
    if status["status"] == "UNKNOWN":
        sys.exit(1)


def _print(status: dict[str, Any]) -> None:
    console, logs = Console(), status.pop("logs", [])
    table = Table("", Column(overflow="fold"), show_header=False, box=None, pad_edge=False)
    for name, value in status.items():
        if value not in (None, []):
            text = value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)
            table.add_row(f"[bold]{name}[/bold]", escape(text))
    console.print(table)
    for line in logs:
        console.print(f"{line['at']} {line['level']:<8} {line['text']}", markup=False, highlight=False, soft_wrap=True)
