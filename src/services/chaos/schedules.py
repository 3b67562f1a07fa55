"""The schedules of a run, as an application adds and pauses them: `python -m services.chaos.schedules add|pause`."""

import sys

from services.celery_service import celery_service
from services.chaos.effects import FIRED_TASK_NAME

SECONDS = (1, 2)
"""How often each of them fires; so they are told apart in the journals."""


def schedule_name(every: int) -> str:
    """Return the name of the schedule that fires so often."""
    return f"chaos every {every} s"


def main() -> None:
    """Do what the command line names."""
    for every in SECONDS:
        if sys.argv[1] == "add":
            celery_service.add_schedule(
                schedule_name(every), FIRED_TASK_NAME, every=every, catch_up="all", kwargs={"every": every}
            )
        else:
            celery_service.pause_schedule(schedule_name(every))


if __name__ == "__main__":
    main()
