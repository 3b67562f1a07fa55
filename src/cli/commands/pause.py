"""`csai pause TASK`: let none of the parts of a bulk start."""

from typing import Annotated

import typer

from services.celery_service import celery_service


def register(root: typer.Typer) -> None:
    """Add the command."""
    root.command("pause")(pause)


def pause(task_id: Annotated[str, typer.Argument(help="The bulk; a batch that is under way ends.")]) -> None:
    """Pause a task that has parts, such as a bulk of mails."""
    done = celery_service.pause_task(task_id)
    print(f"Task {task_id} is paused." if done else f"Task {task_id} was paused before, or has ended.")
