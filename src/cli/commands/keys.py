"""`csai keys`: who may use the API."""

import json
import sys
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from processors.errors import InvalidArgument
from processors.results import sentence_of
from services import api_keys
from services.access import SCOPES, at_terminal
from services.api_keys import NewKey

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Tenant = Annotated[str | None, typer.Option(help="Whose tasks alone it sees and touches; left out: everybody's.")]
Days = Annotated[int | None, typer.Option("--days", min=1, max=36_600, help="When it ends; left out: when revoked.")]


def register(root: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="Keys of the API, and what each may do.", no_args_is_help=True)
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
        _print(made)
    else:
        print(made["key"])
        print(f"That is all of the key {made['name']} ({made['id']}); it is shown this once.", file=sys.stderr)


def show(as_json: AsJson = False) -> None:
    """List the keys, those that ended too, the newest first."""
    found = api_keys.listed()
    if as_json:
        _print(found)
        return
    table = Table("id", Column("name", overflow="fold"), "may", "tenant", "state", "last used", box=None)
    for one in found:
        row = (
            one["id"],
            one["name"],
            one["scopes"][-1],
            one["tenant"] or "-",
            _state(one),
            _short(one["last_used_at"]) or "-",
        )
        table.add_row(*map(escape, row))
    Console().print(table if found else "There is no key but the admin key of the file.")


def revoke(
    key_id: Annotated[str, typer.Argument(help="The key's id, as `csai keys ls` shows it.")], as_json: AsJson = False
) -> None:
    """End a key; within 5 s it is refused by every process."""
    ended = api_keys.revoke(at_terminal(), key_id)
    if as_json:
        _print(ended)
    else:
        print(f"The key {ended['name']} ({ended['id']}) was revoked at {ended['revoked_at']}.")


def _state(key: dict[str, Any]) -> str:
    if key["revoked_at"]:
        return f"revoked {_short(key['revoked_at'])}"
    if key["expires_at"] is None:
        return "good"
    ended = datetime.fromisoformat(key["expires_at"]) <= datetime.now(UTC)
    return f"{'expired' if ended else 'good until'} {_short(key['expires_at'])}"


def _short(moment: str | None) -> str | None:
    """Return a moment to its minute, in UTC."""
    return moment and f"{moment[:16].replace('T', ' ')} UTC"


def _print(found: Any) -> None:
    print(json.dumps(found, indent=2, ensure_ascii=False))
