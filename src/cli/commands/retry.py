"""`csai retry ID`: a failed task again, perhaps with other arguments; or all that a filter finds."""

from typing import Annotated

import typer

from cli.acts import note
from cli.exit_codes import TOLD
from cli.filters import All, alone, begin, with_filter
from cli.following import Timeout, Wait, answer, check_timeout
from cli.given import pairs_of
from cli.output import AsJson, Yes
from processors.errors import InvalidArgument
from services.celery_service import celery_service
from services.task_filters import TaskFilter


def register(root: typer.Typer) -> None:
    """Add the command."""
    root.command("retry", epilog=TOLD)(with_filter(retry))


def retry(
    asked: TaskFilter | None,
    task_id: Annotated[
        str | None, typer.Argument(metavar="ID", help="The failed task, or a retry of one that was cancelled.")
    ] = None,
    changed: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="<name=JSON>",
            help="Another argument, such as --set retries=3; what is no JSON is a text. May be given again.",
            show_default=False,
        ),
    ] = None,
    every: All = False,
    yes: Yes = False,
    wait: Wait = False,
    timeout: Timeout = None,
    as_json: AsJson = False,
) -> None:
    """Submit a failed task again, as a new one, and print its id.

    Whoever does so again gets the same new task. Of a notification only the channels that did not deliver are tried.
    With options of csai ls, or --all, it is all failed tasks like that which were not retried yet: it asks with their
    count, and prints the id of the task that does it.
    """
    check_timeout(timeout, waits=wait)
    if task_id is None:
        if changed:
            raise InvalidArgument("--set: changes one task; give its id.")
        act_id = begin("replay", asked, "Submit {} again?", "Submits {} again", every=every, yes=yes)
        answer(act_id, wait=wait, timeout=timeout, as_json=as_json)
        return
    alone(asked, every=every)
    arguments = pairs_of("--set", changed)
    new_id = celery_service.replay_task(task_id, arguments)
    named = {"arguments": sorted(arguments)} if arguments else {}
    note("task.replay", ("task", task_id), details={"task_id": new_id, **named})
    answer(new_id, wait=wait, timeout=timeout, as_json=as_json)
