"""`csai resend TASK`: the mails of a bulk again that nobody got."""

from typing import Annotated

import typer

from services.celery_service import celery_service


def register(root: typer.Typer) -> None:
    """Add the command."""
    root.command("resend")(resend)


def resend(
    task_id: Annotated[str, typer.Argument(help="The bulk, which has ended.")],
    state: Annotated[
        list[str] | None,
        typer.Option(
            help="Only mails that are so, such as refused or unknown (which may have arrived); may be given several "
            "times. Left out: deferred, refused, expired and cancelled ones.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Send the mails of an ended bulk again that nobody got, and print the id of the new bulk."""
    print(celery_service.resend_failed(task_id, state or None))
