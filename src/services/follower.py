"""Lets lists and searches follow the records: a thread of the leader, so that one does it over all machines.

It rests after every turn for many times what that took: what runs comes first. Under full load the lists fall behind,
which costs whoever reads them time and never a task, and words wait until the lists have caught up.
"""

import threading
import time
from collections.abc import Callable

from config.log_setup import get_logger
from processors.errors import ServiceUnavailable
from records.leadership import Lead
from records.task_following import TaskFollowing
from records.task_minutes import TaskMinutes
from services.own_tasks import shown_arguments

logger = get_logger()

LOOK_SECONDS = 1.0
ROWS_AT_ONCE = 400
WORDS_AT_ONCE = 200
FILLED_AT_ONCE = 200
COMPARED_AT_ONCE = 500
COMPARE_SECONDS = 5.0
COMPARE_AGAIN_SECONDS = 600.0
"""Between two comparisons of everything."""

AWAY_SECONDS = 1.0
ROW_REST = 15.0
WORD_REST = 3.0
FILL_REST = 9.0
"""How much longer than a turn took the rest after it is; of words, and of the filling of an upgraded database."""

YOUNG_SECONDS = 1.5
"""So long the words of a task that goes on wait for its end."""

LONGEST_REST = 1.0
WITH_DATABASE = 2.0
"""What a turn takes of a processor by what its thread does: what a server takes for it is not measured."""


class LeadThread:
    """A thread of the leader that does turn after turn while its process leads.

    Args:
        name: of the thread.
        lead: returns the lead while it is held for sure, else None.
        stopping: set when it is to end.
    """

    def __init__(self, name: str, lead: Callable[[], Lead | None], stopping: threading.Event) -> None:
        self._lead = lead
        self._stopping = stopping
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def join(self, seconds: float) -> None:
        """Wait until the turn that goes on has ended."""
        if self._thread.is_alive():
            self._thread.join(seconds)

    def turn(self, lead: Lead) -> float:
        """Do what is due, once; returns how long to rest."""
        raise NotImplementedError

    def _serve(self) -> None:
        rest = 0.0
        while not self._stopping.wait(rest):
            lead = self._lead()
            rest = LOOK_SECONDS if lead is None else self._guarded(lead)

    def _guarded(self, lead: Lead) -> float:
        try:
            return self.turn(lead)
        except ServiceUnavailable as error:
            logger.warning("following_waits", thread=self._thread.name, error=str(error))
        except Exception:
            logger.exception("following_failed", thread=self._thread.name)
        return AWAY_SECONDS


class Follower(LeadThread):
    """Follows while its process leads.

    Args:
        following: lists what changed.
        minutes: counts what came, ended and waited.
        lead: returns the lead while it is held for sure, else None.
        stopping: set when it is to end.
    """

    def __init__(
        self,
        following: TaskFollowing,
        minutes: TaskMinutes,
        lead: Callable[[], Lead | None],
        stopping: threading.Event,
    ) -> None:
        super().__init__("follower", lead, stopping)
        self._following = following
        self._minutes = minutes
        self._compared: int | None = None
        self._compare_at = 0.0

    def turn(self, lead: Lead) -> float:
        """Do what is due, once; returns how long to rest."""
        following = self._following
        self._minutes.look()  # first: what waits is most of interest where the lists are behind
        began = Beginning(following)
        rows = following.created(ROWS_AT_ONCE, lead), following.ended(ROWS_AT_ONCE, lead)
        if max(rows) >= ROWS_AT_ONCE:  # a whole group: there may be more
            return began.rest(ROW_REST)
        began = Beginning(following)
        words = following.words(WORDS_AT_ONCE, shown_arguments, lead, YOUNG_SECONDS)
        if following.fill(FILLED_AT_ONCE, lead):
            return began.rest(FILL_REST)
        if words >= WORDS_AT_ONCE:
            return began.rest(WORD_REST)
        if self._minutes.count_next(lead):
            return began.rest(FILL_REST)
        if time.monotonic() >= self._compare_at:
            self._compared = following.compare(self._compared, COMPARED_AT_ONCE, lead)
            self._compare_at = time.monotonic() + (COMPARE_AGAIN_SECONDS if self._compared is None else COMPARE_SECONDS)
        return LOOK_SECONDS


class Beginning:
    """Where a turn of this thread begins; it is made then.

    Args:
        following: what its writes take in another thread is the turn's too.
    """

    def __init__(self, following: TaskFollowing | None = None) -> None:
        self._following = following
        self._at, self._used, self._elsewhere = time.monotonic(), time.thread_time(), self._used_elsewhere()

    def rest(self, share: float) -> float:
        """Return how long to rest after the turn: so many times as long as it took of a processor, to a limit.

        What it waited for one that others had is none of it: it would rest the longer, the less it has got.
        """
        used = time.thread_time() - self._used
        used = max(used * WITH_DATABASE, used + self._used_elsewhere() - self._elsewhere)
        return min(LONGEST_REST, min(used, time.monotonic() - self._at) * share)

    def _used_elsewhere(self) -> float:
        return 0.0 if self._following is None else self._following.used_elsewhere
