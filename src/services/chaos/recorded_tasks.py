"""The counted tasks with a record behind them; TASK_MODULES loads them beside the service's own."""

from typing import Any, cast

from config.settings import settings
from processors.interfaces import Absent, Happened
from services.celery_app import celery_app
from services.celery_tasks.base import RecordedTask
from services.chaos.effects import FIRED_TASK_NAME, TASK_NAME, change_world, linger, take_effect, watch_worker
from services.chaos.journal import Kind, journal, journal_folder, tells
from services.chaos.numbers import can_be_looked_up, effect_key, has_effect
from services.task_run import TaskRun

DEADLINE_SECONDS = 2.0
"""Of an effect: it may still be going on for 17 s, longer than a freeze lasts."""


class CountedTask(RecordedTask):
    """A task that notes when its success stands in the record."""

    abstract = True

    def success_recorded(self, run: TaskRun) -> None:
        """Write that down."""
        journal.write(Kind.FINISHED, [run.kwargs["number"]], run.hand.run if run.hand else 0)


def _effect(task: Any, number: int) -> None:
    run = task.current.hand.run
    if has_effect(number):
        _take_once(task, number, run)
    else:
        take_effect(number, run)


def _take_once(task: CountedTask, number: int, run: int) -> None:
    """Do the work as an effect, which a kill leaves in doubt before and after the change."""
    journal.write(Kind.STARTED, [number], run)

    def call() -> None:
        change_world(number, run)
        linger(number)

    def find(_: str) -> Happened | Absent:
        return Happened() if tells(journal_folder(settings.data_dir), Kind.DONE, number) else Absent()

    look_up = find if can_be_looked_up(number) else None
    try:
        task.effect(effect_key(number), call, deadline=DEADLINE_SECONDS, reconcile=look_up)
    except Exception:
        journal.write(Kind.LEFT, [number], run)
        raise


def _fired(task: Any, every: int) -> None:
    request = task.request
    journal.write(Kind.FIRED, [every], task.current.hand.run, (request.get("csai_fire_at"), request.id))


cast("Any", celery_app).task(name=TASK_NAME, bind=True, base=CountedTask)(_effect)
cast("Any", celery_app).task(name=FIRED_TASK_NAME, bind=True)(_fired)
watch_worker()
