"""`csai doctor`: what is wrong with this installation, and the cure."""

import sys

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from services.diagnosis import diagnose


def register(root: typer.Typer) -> None:
    """Add the command."""
    root.command("doctor")(doctor)


def doctor() -> None:
    """Check Python, folders, disk, database, broker, leader and workers; exit code 1 where something is wrong."""
    table = Table("check", "", Column("found", overflow="fold"), box=None, pad_edge=False)
    findings = diagnose()
    for finding in findings:
        table.add_row(finding.name, "[green]ok[/green]" if finding.good else "[red]wrong[/red]", escape(finding.detail))
    Console().print(table)
    if not all(finding.good for finding in findings):
        sys.exit(1)
