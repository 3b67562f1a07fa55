"""`csai config check`: what is in use, and why; `csai config vapid`: the key of web push."""

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from broker.location import resolve
from cli.output import AsJson, print_json, print_line, print_table, tell
from config.settings import explain, settings
from processors.errors import ConfigurationError
from processors.optional_packages import load
from records.database import Database

RESULTS = "in the records; CELERY_RESULT_BACKEND is accepted and not used"


def register(root: typer.Typer) -> None:
    """Add the command."""
    group = typer.Typer(help="The settings.", no_args_is_help=True)
    group.callback()(_group)
    group.command("check")(check)
    group.command("vapid")(vapid)
    root.add_typer(group, name="config")


def _group() -> None:
    """The settings."""


def check(as_json: AsJson = False) -> None:
    """Print every setting, where it is from, and which broker and database are in use.

    Secrets are masked.
    """
    found, location, records = explain(settings), resolve(settings), Database(settings.sqlalchemy_url).shown
    if as_json:
        print_json(
            {
                "settings": [{"name": name, "value": value, "from": source} for name, value, source in found],
                "broker": {"url": location.shown, "from": location.source},
                "records": records,
                "results": RESULTS,
            }
        )
        return
    rows = [(Text(name, style="" if source == "default" else "bold"), value, source) for name, value, source in found]
    print_table(("setting", "value", "from"), rows)
    print()
    print_line(f"broker    {location.shown}   ({location.source})")
    print_line(f"records   {records}")
    print_line(f"results   {RESULTS}")


def vapid(
    file: Annotated[
        Path | None, typer.Argument(help="The key's file; unset: what VAPID_PRIVATE_KEY_FILE names.")
    ] = None,
    as_json: AsJson = False,
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
    told = {"file": str(place), "application_server_key": public}
    tell(told, f"VAPID_PRIVATE_KEY_FILE={place}\napplicationServerKey: {public}", as_json=as_json)
