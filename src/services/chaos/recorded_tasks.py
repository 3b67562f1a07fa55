"""The counted task with a record behind it; loaded beside the service's own tasks with `celery worker -I`."""

from typing import Any, cast

from services.celery_app import celery_app
from services.celery_tasks.base import RecordedTask
from services.chaos.effects import TASK_NAME, take_effect, watch_worker
from services.chaos.journal import Kind, journal
from services.task_run import TaskRun


class CountedTask(RecordedTask):
    """A task that notes when its success stands in the record."""

    abstract = True

    def success_recorded(self, run: TaskRun) -> None:
        """Write that down."""
        journal.write(Kind.FINISHED, [run.kwargs["number"]], run.hand.run if run.hand else 0)


def _effect(task: Any, number: int) -> None:
    take_effect(number, task.current.hand.run)


cast("Any", celery_app).task(name=TASK_NAME, bind=True, base=CountedTask)(_effect)
watch_worker()
