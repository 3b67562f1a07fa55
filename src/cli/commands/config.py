"""`csai config check`: what is in use, and why; `csai config vapid`: the key of web push."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from broker.location import resolve
from config.settings import explain, settings
from processors.errors import ConfigurationError
from processors.optional_packages import load
from records.database import Database


def register(root: typer.Typer) -> None:
    """Add the command."""
    group = typer.Typer(help="The settings.", no_args_is_help=True)
    group.callback()(_group)
    group.command("check")(check)
    group.command("vapid")(vapid)
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


def vapid(
    file: Annotated[
        Path | None, typer.Argument(help="The key's file; unset: what VAPID_PRIVATE_KEY_FILE names.")
    ] = None,
) -> None:
    """Make the key of web push where there is none, and print the public key that pages subscribe with."""
    place = (file or settings.vapid_private_key_file or settings.run_dir / "vapid.pem").absolute()
    try:
        keys = load("adapters.vapid_keys", "Web push", "make the key on another machine")
        if not place.exists():
            keys.make_key(place)
        public = keys.public_key(place)
    except (OSError, ConfigurationError) as error:
        typer.echo(f"{error}", err=True)
        raise typer.Exit(1) from None
    typer.echo(f"VAPID_PRIVATE_KEY_FILE={place}\napplicationServerKey: {public}")
