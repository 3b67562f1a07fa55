"""`csai config check`: what is in use, and why."""

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from broker.location import resolve
from config.settings import explain, settings
from records.database import Database


def register(root: typer.Typer) -> None:
    """Add the command."""
    group = typer.Typer(help="The settings.", no_args_is_help=True)
    group.callback()(_group)
    group.command("check")(check)
    root.add_typer(group, name="config")


def _group() -> None:
    """The settings."""


def check() -> None:
    """Print every setting with its source, and which broker and database are in use; secrets are masked."""
    table = Table(Column("setting", no_wrap=True), Column("value", overflow="fold"), "from", box=None, pad_edge=False)
    for name, value, source in explain(settings):
        table.add_row(name, escape(value), source, style="" if source == "default" else "bold")
    console = Console()
    console.print(table)
    location = resolve(settings)
    console.print(f"\nbroker    {location.shown}   ({location.source})", highlight=False, markup=False)
    console.print(f"records   {Database(settings.sqlalchemy_url).shown}", highlight=False, markup=False)
    console.print(
        "results   in the records; CELERY_RESULT_BACKEND is accepted and not used", highlight=False, markup=False
    )
