"""What the records of a run say, beside what its journals say."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from processors.scheduling import FailedTasks
from records.database import Database
from records.effects import EffectRecords
from records.leadership import Leader, Leadership
from records.schedules import Schedules
from records.task_records import TaskRecord, TaskRecords
from services.chaos.effects import TASK_NAME
from services.chaos.numbers import number_of

LIMIT = 100_000
QUARANTINED = "Quarantined"
UNKNOWN = "EffectUnknown"


@dataclass(frozen=True, slots=True)
class Told:
    """Tasks, by what stands in the records.

    Attributes:
        quarantined: given up because their workers were killed too often.
        unknown: failed because nobody knows whether their effect happened.
        listed: whose effect is listed as unknown, for a person to settle.
        unfinished: whose record has no end.
        schedules: by seconds from fire to fire, when a schedule was added, and its last fire time.
    """

    quarantined: set[int] = field(default_factory=set[int])
    unknown: set[int] = field(default_factory=set[int])
    listed: set[int] = field(default_factory=set[int])
    unfinished: set[int] = field(default_factory=set[int])
    schedules: dict[int, tuple[datetime, datetime | None]] = field(default_factory=dict[int, Any])


class Records:
    """Reads the records of a run.

    Args:
        url: their database, which need not be there yet.
    """

    def __init__(self, url: str) -> None:
        self._database = Database(url)
        self._tasks = TaskRecords(self._database)
        self._effects = EffectRecords(self._database)
        self._schedules = Schedules(self._database)
        self._leadership = Leadership(self._database)

    def close(self) -> None:
        """Read no more."""
        self._database.close()

    def told(self) -> Told:
        """Return all that they say."""
        return Told(
            quarantined=self._failed(QUARANTINED),
            unknown=self._failed(UNKNOWN),
            listed=self._listed(),
            unfinished=_numbers(self._tasks.unfinished(LIMIT)),
            schedules={
                round(one.every_seconds): (one.anchor_at, one.last_fire_at)
                for one in self._schedules.listed()
                if one.every_seconds
            },
        )

    def next_fire(self) -> datetime | None:
        """Return when the next schedule fires; None where there is none."""
        return min((one.next_at for one in self._schedules.listed()), default=None)

    def leader(self) -> Leader | None:
        """Return the leader whose lease lasts."""
        return self._leadership.current()

    def given_up(self) -> set[int]:
        """Return tasks that have ended, whether or not anything happened."""
        return self._failed(QUARANTINED) | self._failed(UNKNOWN)

    def all_ended(self) -> bool:
        """Tell whether every record has an end."""
        return not self._tasks.unfinished(1)

    def _failed(self, error_type: str) -> set[int]:
        return _numbers(self._tasks.failed(FailedTasks(error_type=error_type), LIMIT))

    def _listed(self) -> set[int]:
        keys = (doubt.key for doubt in self._effects.doubts(LIMIT) if doubt.state == "unknown")
        return {number for key in keys if (number := number_of(key)) is not None}


def _numbers(records: Iterable[TaskRecord]) -> set[int]:
    return {record.kwargs["number"] for record in records if record.name == TASK_NAME}
