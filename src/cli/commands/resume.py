"""`csai resume TASK`: let a paused bulk go on."""

from typing import Annotated

import typer

from cli.acts import change
from cli.exit_codes import TOLD
from cli.output import AsJson
from services.celery_service import celery_service


def register(root: typer.Typer) -> None:
    """Add the command."""
    root.command("resume", epilog=TOLD)(resume)


def resume(task_id: Annotated[str, typer.Argument(help="The bulk.")], as_json: AsJson = False) -> None:
    """Let a task go on that was paused."""
    change(
        "task.resume",
        ("task", task_id),
        lambda: celery_service.resume_task(task_id),
        f"Task {task_id} goes on.",
        f"Task {task_id} was not paused, or has ended.",
        as_json=as_json,
    )
