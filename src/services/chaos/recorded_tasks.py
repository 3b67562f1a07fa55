"""The counted task with a record behind it; loaded beside the service's own tasks with `celery worker -I`."""

from typing import Any, cast

from celery import signals

from services.celery_app import celery_app
from services.chaos.effects import TASK_NAME, take_effect, watch_worker
from services.chaos.journal import Kind, journal


def _effect(task: Any, number: int) -> None:
    take_effect(number, task.current.hand.run)


def _finished(sender: Any, **_: Any) -> None:
    """Note that the success stands in the record: Celery says so once the run has returned."""
    if sender.name == TASK_NAME:
        journal.write(Kind.FINISHED, [sender.request.kwargs["number"]], sender.current.hand.run)


cast("Any", celery_app).task(name=TASK_NAME, bind=True)(_effect)
signals.task_success.connect(_finished, weak=False)
watch_worker()
