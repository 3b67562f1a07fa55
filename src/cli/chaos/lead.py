"""How long nobody led."""

import time
from collections.abc import Callable

from records.leadership import Leader

LOOK_SECONDS = 0.1


class LeadWatch:
    """Looks at the lead, whose terms follow each other.

    Args:
        read: returns the leader whose lease lasts.

    Attributes:
        gaps: from the last renewal of one term to the first of the next that were seen, by the monotonic clock.
    """

    def __init__(self, read: Callable[[], Leader | None]) -> None:
        self._read = read
        self._last: Leader | None = None
        self._looked = 0.0
        self.gaps: list[tuple[float, float]] = []

    def look(self) -> None:
        """Look at it, a few times a second."""
        now = time.monotonic()
        if now - self._looked < LOOK_SECONDS:
            return
        self._looked = now
        leader, last = self._read(), self._last
        if leader is None:
            return
        if last is not None and (leader.holder, leader.term) != (last.holder, last.term):
            self.gaps.append((now - (leader.renewed_at - last.renewed_at).total_seconds(), now))
        self._last = leader
