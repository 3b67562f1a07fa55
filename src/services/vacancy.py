"""For how long the lead has been vacant although the database answered: so long the living could renew their rows."""

import math
from datetime import datetime

from processors.doubt import clock
from records.leadership import Leader

STEADY_SECONDS = 2.0
"""Between two answers of the database that are further apart, it may have paused, or the machine slept."""


class Vacancy:
    """Watches one that stands by, or leads, ask for the lead again and again.

    What it saw of others counts, not what the database's clock says, which may have been set meanwhile.
    """

    def __init__(self) -> None:
        self._asked = self._answered = -math.inf
        self._since = math.inf
        self._renewed: datetime | None = None

    def asks(self, other: Leader | None, *, leads: bool) -> None:
        """Note that the lead is asked for now.

        Args:
            other: who holds it, if another one does.
            leads: whether the asking one has held it until now.
        """
        self._asked = clock()
        renewed = other is not None and other.renewed_at != self._renewed
        if leads or renewed or self._asked - self._answered > STEADY_SECONDS:
            self._since = self._asked
        if other is not None:
            self._renewed = other.renewed_at

    def answered(self) -> None:
        """Note that the database has written its answer."""
        self._answered = clock()
        if self._answered - self._asked > STEADY_SECONDS:
            self._since = self._answered

    @property
    def seconds(self) -> float:
        """For how long nobody has renewed the lead, up to the last answer."""
        return max(0.0, self._answered - self._since)
