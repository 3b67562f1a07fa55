"""Firing schedules: the leader's duty by which each fire time becomes one task."""

import time
from collections.abc import Sequence
from datetime import datetime

from config.log_setup import get_logger
from processors.errors import ServiceUnavailable
from processors.schedules import firing
from records.leadership import Lead
from records.schedules import Fire, Schedule
from services.scheduling import check_task, draft_of_schedule, fire_id
from services.wiring import parts

logger = get_logger()

PAGE = 200
TIMES_AT_ONCE = 100
"""Missed fire times of one schedule that become tasks in one transaction."""

TASKS_AT_ONCE = 500
"""After so many tasks a transaction takes no further schedule: the lease must be renewed meanwhile."""

SILENT_SECONDS = 60.0


class Fires:
    """Fires what is due; a schedule that cannot be fired is told of once a minute and holds up no other."""

    def __init__(self) -> None:
        self._silent: dict[str, float] = {}  # until when a schedule is not tried again

    def fire(self, lead: Lead) -> bool:
        """Fire a page of what is due; tells whether there may be more."""
        now = time.monotonic()
        self._silent = {name: until for name, until in self._silent.items() if now < until}
        page = parts().schedules.due(PAGE, besides=self._silent)
        fires: list[Fire] = []
        for schedule, moment in page:
            if sum(len(fire.drafts) for fire in fires) >= TASKS_AT_ONCE:
                break
            fires += self._made(schedule, moment)
        moved = self._recorded(lead, fires) if fires else 0
        return moved > 0 and (len(page) == PAGE or len(fires) < len(page))

    def _made(self, schedule: Schedule, moment: datetime) -> list[Fire]:
        """Return what is to be fired, or nothing where no task can be made of it."""
        try:
            check_task(schedule.task)
            timing = schedule.timing(schedule.anchor_at)
            times, following = firing(timing, schedule.catch_up, schedule.next_at, moment, TIMES_AT_ONCE)
            drafts = [draft_of_schedule(schedule, fire_id(schedule.name, at), at) for at in times]
        except Exception as error:  # noqa: BLE001 - whatever is wrong with one schedule is no other's
            self._tell(schedule.name, error)
            return []
        return [Fire(schedule, following, times[-1] if times else None, drafts)]

    def _recorded(self, lead: Lead, fires: Sequence[Fire]) -> int:
        """Write these fires, each by itself where they cannot be written together; returns how many moved on."""
        try:
            moved = parts().schedules.fire(lead, fires)
        except ServiceUnavailable:
            raise
        except Exception as error:  # noqa: BLE001 - a value that the database refuses is its own schedule's
            if len(fires) > 1:
                return sum(self._recorded(lead, [one]) for one in fires)
            self._tell(fires[0].schedule.name, error)
            return 0
        for fire in fires:
            if fire.drafts and fire.schedule.name in moved:
                task_id, count = fire.drafts[-1].id, len(fire.drafts)
                logger.info("schedule_fired", schedule=fire.schedule.name, task_id=task_id, count=count)
        return len(moved)

    def _tell(self, name: str, error: Exception) -> None:
        logger.warning("schedule_failed", schedule=name, error=f"{type(error).__name__}: {error}")
        self._silent[name] = time.monotonic() + SILENT_SECONDS
