"""`csai usage`: what AI calls took, by day, provider and model."""

import json
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from processors.ai_usage import PARTS
from services.celery_service import celery_service

Days = Annotated[int, typer.Option(help="Days of UTC, today among them.")]
By = Annotated[str, typer.Option(help=f"A line for each of these, comma-separated: {', '.join(PARTS)}.")]


def register(root: typer.Typer) -> None:
    """Add the command."""
    root.command("usage")(usage)


def usage(
    days: Days = 1,
    by: By = "day,provider,model",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show what AI calls took: how many there were, their tokens and their cost."""
    lines = celery_service.get_ai_usage(days=days, by=[part.strip() for part in by.split(",")])
    if as_json:
        print(json.dumps(lines, indent=2, ensure_ascii=False))
        return
    if not lines:
        print("No provider of AI was asked.")
        return
    table = Table(box=None)
    for name in lines[0]:
        table.add_column(name.replace("_", " "), justify="left" if name in PARTS else "right")
    for line in lines:
        table.add_row(*map(_shown, line.values()))
    Console().print(table)


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6f}".rstrip("0").rstrip(".")
    return "-" if value is None else str(value)
