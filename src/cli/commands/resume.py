"""`csai resume TASK`: let a paused bulk go on."""

from typing import Annotated

import typer

from services.celery_service import celery_service


def register(root: typer.Typer) -> None:
    """Add the command."""
    root.command("resume")(resume)


def resume(task_id: Annotated[str, typer.Argument(help="The bulk.")]) -> None:
    """Let a task go on that was paused."""
    done = celery_service.resume_task(task_id)
    print(f"Task {task_id} goes on." if done else f"Task {task_id} was not paused, or has ended.")
