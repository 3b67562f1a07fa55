"""`csai db upgrade`: the schema of the record database."""

from typing import Annotated

import typer

from config.settings import ensure_folders, settings
from records import schema
from records.database import Database


def register(root: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="The record database.", no_args_is_help=True)
    group.command("upgrade")(upgrade)
    group.command("version")(version)
    root.add_typer(group, name="db")


def upgrade(quiet: Annotated[bool, typer.Option("--quiet", help="Say nothing.")] = False) -> None:
    """Bring the schema to this program's version."""
    ensure_folders(settings)
    database = Database(settings.sqlalchemy_url)
    before = schema.upgrade(database)
    database.close()
    if not quiet:
        done = "is up to date" if before == schema.VERSION else f"was {before or 'empty'} and is upgraded"
        print(f"The schema of {database.shown} {done}: version {schema.VERSION}.")


def version() -> None:
    """Tell the schema's version."""
    database = Database(settings.sqlalchemy_url)
    found = schema.version(database)
    database.close()
    print(f"{found or 'none'} (this program: {schema.VERSION})")
