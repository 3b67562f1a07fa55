"""`csai retry ID`: a failed task again, perhaps with other arguments."""

from typing import Annotated

import typer

from cli.acts import note
from cli.exit_codes import TOLD
from cli.following import Timeout, Wait, answer, check_timeout
from cli.given import pairs_of
from cli.output import AsJson
from services.celery_service import celery_service


def register(root: typer.Typer) -> None:
    """Add the command."""
    root.command("retry", epilog=TOLD)(retry)


def retry(
    task_id: Annotated[str, typer.Argument(help="The failed task, or a retry of one that was cancelled.")],
    changed: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="<name=JSON>",
            help="Another argument, such as --set retries=3; what is no JSON is a text. May be given again.",
            show_default=False,
        ),
    ] = None,
    wait: Wait = False,
    timeout: Timeout = None,
    as_json: AsJson = False,
) -> None:
    """Submit a failed task again, as a new one, and print its id.

    Whoever does so again gets the same new task. Of a notification only the channels that did not deliver are tried.
    """
    check_timeout(timeout, waits=wait)
    arguments = pairs_of("--set", changed)
    new_id = celery_service.replay_task(task_id, arguments)
    named = {"arguments": sorted(arguments)} if arguments else {}
    note("task.replay", ("task", task_id), details={"task_id": new_id, **named})
    answer(new_id, wait=wait, timeout=timeout, as_json=as_json)
