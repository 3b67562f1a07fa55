"""`csai keys`: who may use the API."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from cli.exit_codes import TOLD
from cli.output import AsJson, local, print_json, print_table, say
from processors.errors import InvalidArgument
from processors.results import sentence_of
from services import api_keys
from services.access import SCOPES, at_terminal
from services.api_keys import NewKey

Tenant = Annotated[str | None, typer.Option(help="Whose tasks alone it sees and touches; left out: everybody's.")]
Days = Annotated[int | None, typer.Option("--days", min=1, max=36_600, help="When it ends; left out: when revoked.")]


def register(root: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="Keys of the API, and what each may do.", no_args_is_help=True, epilog=TOLD)
    group.command("add")(add)
    group.command("ls")(show)
    group.command("revoke")(revoke)
    root.add_typer(group, name="keys")


def add(
    name: Annotated[str, typer.Argument(help="What it is for.")],
    scope: Annotated[str, typer.Option(help=f"{', '.join(SCOPES)}; each may do what those before it may.")] = "read",
    tenant: Tenant = None,
    days: Days = None,
    as_json: AsJson = False,
) -> None:
    """Make a key and print it: this once, because only its SHA-256 is kept."""
    expires_at = None if days is None else datetime.now(UTC) + timedelta(days=days)
    wanted = {"name": name, "scopes": [scope], "tenant": tenant, "expires_at": expires_at}
    try:
        made = api_keys.add(at_terminal(), NewKey.model_validate(wanted))
    except ValidationError as error:
        raise InvalidArgument(sentence_of(error)) from error
    if as_json:
        print_json(made)
    else:
        print(made["key"])
        say(f"That is all of the key {made['name']} ({made['id']}); it is shown this once.")


def show(as_json: AsJson = False) -> None:
    """List the keys, those that ended too, the newest first."""
    found = api_keys.listed()
    if as_json:
        print_json(found)
        return
    rows = [
        (one["id"], one["name"], one["scopes"][-1], one["tenant"], _state(one), local(one["last_used_at"]))
        for one in found
    ]
    columns = ("id", "name", "may", "tenant", "state", "last used")
    print_table(columns, rows, nothing="There is no key but the admin key of the file.")


def revoke(
    key_id: Annotated[str, typer.Argument(help="The key's id, as `csai keys ls` shows it.")], as_json: AsJson = False
) -> None:
    """End a key; within 5 s it is refused by every process."""
    ended = api_keys.revoke(at_terminal(), key_id)
    if as_json:
        print_json(ended)
    else:
        print(f"The key {ended['name']} ({ended['id']}) was revoked at {local(ended['revoked_at'])}.")


def _state(key: dict[str, Any]) -> str:
    if key["revoked_at"]:
        return f"revoked {local(key['revoked_at'])}"
    if key["expires_at"] is None:
        return "good"
    ended = datetime.fromisoformat(key["expires_at"]) <= datetime.now(UTC)
    return f"{'expired' if ended else 'good until'} {local(key['expires_at'])}"
