"""`csai suppressions`: who is not mailed any more."""

from typing import Annotated

import typer
from pydantic import ValidationError

from cli.acts import change, note
from cli.output import AsJson, local, print_json, print_table, tell
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
    as_json: AsJson = False,
) -> None:
    """List who is not mailed now, the newest first."""
    found = celery_service.get_suppressions(address, limit)
    if as_json:
        print_json(found)
        return
    rows = [
        (one["address"], one["list_name"], one["reason"], local(one["until"]), one["source"], one["text"])
        for one in found
    ]
    print_table(("address", "list", "reason", "until", "source", "text"), rows, nothing="Everybody is mailed.")


def add(
    address: Address,
    of_list: OfList = None,
    reason: Annotated[str, typer.Option(help="manual, unsubscribe, complaint or hard_bounce.")] = "manual",
    until: Annotated[str | None, typer.Option(help="When it ends, as an ISO 8601 text; left out: never.")] = None,
    as_json: AsJson = False,
) -> None:
    """Mail an address no more."""
    try:
        request = SuppressEmail.model_validate({"address": address, "reason": reason, "list_name": of_list})
    except ValidationError as error:
        raise InvalidArgument(sentence_of(error)) from error
    made = mail_intake.suppress(request, until, source="csai")
    note("suppression.add", ("address", address), details={"reason": reason})
    tell(made, f"{made['address']} is not mailed any more.", as_json=as_json)


def remove(address: Address, of_list: OfList = None, as_json: AsJson = False) -> None:
    """Mail an address again."""
    change(
        "suppression.remove",
        ("address", address),
        lambda: celery_service.unsuppress_email(address, of_list),
        f"{address} is mailed again.",
        f"{address} was not suppressed.",
        as_json=as_json,
    )
