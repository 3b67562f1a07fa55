"""Ends of runs that are committed while their thread goes on: each message is acknowledged once its end is kept.

Where tasks run in threads of the process that acknowledges, a thread that waited for the commit of each end would do
half as much, and the groups that are committed together would be half as large.
"""

import threading
from collections.abc import Callable
from typing import Any, cast

from broker.warm_shutdown import ReturnableRequest
from config.log_setup import get_logger
from processors.errors import ServiceUnavailable
from services.failures import failure_of
from services.wiring import parts

logger = get_logger()

Then = Callable[[bool, BaseException | None], None]

AGAIN_SECONDS = 1.0
LEAVE_SECONDS = 10.0


class LateEnds:
    """The ends that are on their way to the database.

    Attributes:
        possible: whether this process runs its tasks in threads; its worker says so.
    """

    def __init__(self) -> None:
        self.possible = False
        self._changed = threading.Condition()
        self._under_way: dict[str, list[Callable[[], None]]] = {}

    def succeed(self, task_id: str, run: int, result: Any, kept: Callable[[bool], None]) -> None:
        """End a run in success; returns at once.

        Args:
            task_id: the record.
            run: the run that ends.
            result: a JSON value.
            kept: called, in another thread, with whether the run was still the record's.
        """
        with self._changed:
            self._under_way.setdefault(task_id, [])
        try:
            self._write(task_id, kept, lambda then: parts().moves.succeed_later(task_id, run, result, then), run)
        except BaseException:
            self._finish(task_id)
            raise

    def after(self, task_id: str, acknowledge: Callable[[], None]) -> bool:
        """Acknowledge once this task's end is kept; False where none is on its way."""
        with self._changed:
            waiting = self._under_way.get(task_id)
            if waiting is None:
                return False
            waiting.append(acknowledge)
            return True

    def wait(self) -> None:
        """Wait until all ends are kept, for seconds at most: what is lost then runs again."""
        with self._changed:
            if not self._changed.wait_for(lambda: not self._under_way, LEAVE_SECONDS):
                logger.warning("ends_not_recorded", tasks=len(self._under_way))

    def _write(self, task_id: str, kept: Callable[[bool], None], write: Callable[[Then], None], run: int = 0) -> None:
        """Write an end; where no database takes it (`run` is given) the failure that this is instead."""

        def then(moved: bool, error: BaseException | None) -> None:  # noqa: FBT001 - a callback's only arguments
            if isinstance(error, ServiceUnavailable):
                logger.warning("database_away", task_id=task_id, error=str(error))
                again = threading.Timer(AGAIN_SECONDS, self._write, (task_id, kept, write, run))
                again.daemon = True
                again.start()
                return
            if error is not None:
                logger.error("end_not_recorded", task_id=task_id, error=str(error))
                if run:
                    failure = failure_of(error)
                    self._write(task_id, kept, lambda then: parts().moves.fail_later(task_id, run, failure, then))
                    return
            try:
                kept(moved)
            except Exception as refused:
                logger.exception("end_not_followed", task_id=task_id, error=str(refused))
            finally:
                self._finish(task_id)

        write(then)

    def _finish(self, task_id: str) -> None:
        with self._changed:
            for acknowledge in self._under_way.pop(task_id, []):
                try:
                    acknowledge()
                except Exception as error:
                    logger.exception("not_acknowledged", task_id=task_id, error=str(error))
            if not self._under_way:
                self._changed.notify_all()


late_ends = LateEnds()


class RecordedRequest(ReturnableRequest):
    """A request whose message is acknowledged only once the end of its task is kept."""

    def acknowledge(self) -> None:
        """Acknowledge, now or after the end."""
        now = cast("Callable[[], None]", super().acknowledge)  # pyright: ignore[reportUnknownMemberType] - untyped
        if not late_ends.after(self.id, now):
            now()
