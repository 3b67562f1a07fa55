"""`celery beat`: keeps a leader, which fires the schedules of the records."""

from typing import Any

from celery.beat import Scheduler

from services.worker_steps import LEADER_CHECK_SECONDS, LeaderKeeper


class RecordScheduler(Scheduler):
    """Celery's scheduler without a schedule of its own: nothing is published and no file is kept here.

    Its leader stands by while another one leads, so that with two beats a takeover takes no longer than the lease.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        self._keeper = LeaderKeeper(stands_by=True)
        super().__init__(*args, **options)

    @property
    def info(self) -> str:
        """What Celery's banner tells beside the class."""
        return "    . schedules -> in the records, fired by the leader"

    def setup_schedule(self) -> None:
        """Read nothing: the leader takes the settings' schedules into the records."""

    def tick(self, *_: Any, **__: Any) -> float:
        """See to it that the leader runs; returns the seconds until the next look."""
        self._keeper.check()
        return LEADER_CHECK_SECONDS

    def close(self) -> None:
        """End the leader."""
        self._keeper.stop()
        super().close()


class LeaderlessScheduler(RecordScheduler):
    """Beat where something else keeps a leader."""

    def tick(self, *_: Any, **__: Any) -> float:
        """Do nothing; returns the seconds until the next look."""
        return LEADER_CHECK_SECONDS
