"""`csai db upgrade`: the schema of the record database."""

from typing import Annotated

import typer

from cli.acts import note
from cli.output import AsJson, tell
from config.settings import ensure_folders, settings
from records import schema
from records.database import Database


def register(root: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="The record database.", no_args_is_help=True)
    group.command("upgrade")(upgrade)
    group.command("version")(version)
    root.add_typer(group, name="db")


def upgrade(
    quiet: Annotated[bool, typer.Option("--quiet", help="Say nothing.")] = False, as_json: AsJson = False
) -> None:
    """Bring the schema to this program's version."""
    ensure_folders(settings)
    database = Database(settings.sqlalchemy_url)
    before = schema.upgrade(database)
    database.close()
    if before != schema.VERSION:
        note("schema.upgrade", ("schema", schema.VERSION), details={"before": before})
    if quiet:
        return
    done = "is up to date" if before == schema.VERSION else f"was {before or 'empty'} and is upgraded"
    told = {"database": database.shown, "before": before, "version": schema.VERSION}
    tell(told, f"The schema of {database.shown} {done}: version {schema.VERSION}.", as_json=as_json)


def version(as_json: AsJson = False) -> None:
    """Tell the schema's version."""
    database = Database(settings.sqlalchemy_url)
    found = schema.version(database)
    database.close()
    told = {"database": database.shown, "version": found, "program": schema.VERSION}
    tell(told, f"{found or 'none'} (this program: {schema.VERSION})", as_json=as_json)
