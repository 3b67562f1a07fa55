"""`csai pause TASK`: let none of the parts of a bulk start."""

from typing import Annotated

import typer

from cli.acts import change
from cli.exit_codes import TOLD
from cli.output import AsJson
from services.celery_service import celery_service


def register(root: typer.Typer) -> None:
    """Add the command."""
    root.command("pause", epilog=TOLD)(pause)


def pause(
    task_id: Annotated[str, typer.Argument(help="The bulk; a batch that is under way ends.")], as_json: AsJson = False
) -> None:
    """Pause a task that has parts, such as a bulk of mails."""
    change(
        "task.pause",
        ("task", task_id),
        lambda: celery_service.pause_task(task_id),
        f"Task {task_id} is paused.",
        f"Task {task_id} was paused before, or has ended.",
        as_json=as_json,
    )
