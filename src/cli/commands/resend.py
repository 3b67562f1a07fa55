"""`csai resend TASK`: the mails of a bulk again that nobody got."""

from typing import Annotated

import typer

from cli.acts import note
from cli.exit_codes import TOLD
from cli.output import AsJson, tell
from services.celery_service import celery_service


def register(root: typer.Typer) -> None:
    """Add the command."""
    root.command("resend", epilog=TOLD)(resend)


def resend(
    task_id: Annotated[str, typer.Argument(help="The bulk, which has ended.")],
    state: Annotated[
        list[str] | None,
        typer.Option(
            metavar="<str>",
            help="Only mails that are so, such as refused or unknown (which may have arrived); may be given several "
            "times. Left out: deferred, refused, expired and cancelled ones.",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Send the mails of an ended bulk again that nobody got, and print the id of the new bulk."""
    new_id = celery_service.resend_failed(task_id, state or None)
    note("task.resend", ("task", task_id), details={"task_id": new_id} | ({"states": state} if state else {}))
    tell({"task_id": new_id}, new_id, as_json=as_json)
