"""`csai suppressions`: who is not mailed any more."""

import json
from typing import Annotated

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from processors.errors import InvalidArgument
from processors.results import sentence_of
from processors.suppression import SuppressEmail
from services import mail_intake
from services.celery_service import celery_service

Address = Annotated[str, typer.Argument(help="The mail address.")]
OfList = Annotated[str | None, typer.Option("--list", help="Mails of this list alone; left out: all mail.")]


def register(root: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="Who is not mailed any more, and why.", no_args_is_help=True)
    group.command("list")(show)
    group.command("add")(add)
    group.command("remove")(remove)
    root.add_typer(group, name="suppressions")


def show(
    address: Annotated[str | None, typer.Option("--address", help="Of this address alone.")] = None,
    limit: Annotated[int, typer.Option("--limit", help="How many at most.")] = 100,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List who is not mailed now, the newest first."""
    found = celery_service.get_suppressions(address, limit)
    if as_json:
        print(json.dumps(found, indent=2, ensure_ascii=False))
        return
    table = Table("address", "list", "reason", "until", "source", Column("text", overflow="fold"), box=None)
    for one in found:
        row = (one["address"], one["list_name"] or "-", one["reason"], one["until"] or "-", one["source"], one["text"])
        table.add_row(*map(escape, row))
    Console().print(table if found else "Everybody is mailed.")


def add(
    address: Address,
    of_list: OfList = None,
    reason: Annotated[str, typer.Option(help="manual, unsubscribe, complaint or hard_bounce.")] = "manual",
    until: Annotated[str | None, typer.Option(help="When it ends, as an ISO 8601 text; left out: never.")] = None,
) -> None:
    """Mail an address no more."""
    try:
        request = SuppressEmail.model_validate({"address": address, "reason": reason, "list_name": of_list})
    except ValidationError as error:
        raise InvalidArgument(sentence_of(error)) from error
    made = mail_intake.suppress(request, until, source="csai")
    print(f"{made['address']} is not mailed any more.")


def remove(address: Address, of_list: OfList = None) -> None:
    """Mail an address again."""
    done = celery_service.unsuppress_email(address, of_list)
    print(f"{address} is mailed again." if done else f"{address} was not suppressed.")
