"""Orders for calls leave a process one after the other, also those that it held up.

They are granted at the account's pace, in the database; a process that stood still for a moment would send what was
granted before and after it at once.
"""

import time
from collections.abc import Callable
from threading import Lock

CATCH_UP = 0.95
"""The share of the usual gap that is kept where orders are late: they catch up with those that are granted."""


class OrderPace:
    """Keeps the orders of one process apart, which are all by one account.

    Args:
        clock: seconds that never go back.
        sleep: waits so many seconds.
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._clock, self._sleep = clock, sleep
        self._turn = Lock()
        self._next = clock()

    def wait(self, gap_seconds: float) -> None:
        """Return when the next order may be sent, by the usual time between two; who comes meanwhile waits behind."""
        with self._turn:
            rest = self._next - self._clock()
            if rest > 0:
                self._sleep(rest)
            # By when it goes, not when it was due: a thread that wakes late takes nothing of the next one's gap.
            self._next = self._clock() + gap_seconds * CATCH_UP
