"""What takes long to find out, as it was found a moment ago."""

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from config.log_setup import get_logger

Found = TypeVar("Found")

PATIENCE_SECONDS = 0.15
FRESH_SECONDS = 4.0
STALE_SECONDS = 30.0

logger = get_logger()


class Recent(Generic[Found]):
    """Finds something out beside those who ask for it, who get what was found last.

    Args:
        find: takes long; what it raises is logged.
        clock: seconds that only go forward.
        fresh: so long it is not looked for again.
        stale: so long it is told at most.
    """

    def __init__(
        self,
        find: Callable[[], Found],
        clock: Callable[[], float] = time.monotonic,
        fresh: float = FRESH_SECONDS,
        stale: float = STALE_SECONDS,
    ) -> None:
        self._find, self._clock = find, clock
        self._fresh, self._stale = fresh, stale
        self._found: tuple[Found, float] | None = None
        self._looks = False
        self._changed = threading.Condition()

    def value(self, patience: float = PATIENCE_SECONDS) -> Found | None:
        """Return what was found, where that is not stale; where nothing was, what is found now, if it is soon."""
        with self._changed:
            if self._age() >= self._fresh and not self._looks:
                self._looks = True
                threading.Thread(target=self._look, name="recent", daemon=True).start()
            self._changed.wait_for(lambda: self._age() < self._stale or not self._looks, patience)
            return self._found[0] if self._found and self._age() < self._stale else None

    def _age(self) -> float:
        return float("inf") if self._found is None else self._clock() - self._found[1]

    def _look(self) -> None:
        found: tuple[Found, float] | None = None
        try:
            found = self._find(), self._clock()
        except Exception as error:  # noqa: BLE001 - whatever it is, the page says that nothing is known
            logger.warning("not_found_out", what=getattr(self._find, "__name__", ""), error=str(error))
        with self._changed:
            self._found = found or self._found
            self._looks = False
            self._changed.notify_all()
