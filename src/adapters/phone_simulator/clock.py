"""The simulator's time: phones may be faster than the machine, and in a test they stand still until told to go on."""

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Counts the seconds of phones.

    Attributes:
        speed: seconds of phones in one of the machine's.
    """

    speed: float

    def now(self) -> float:
        """Return the seconds of phones since the start."""
        ...

    def date(self) -> datetime:
        """Return the machine's date, which is what others are told."""
        ...


class ScaledClock:
    """Goes `speed` times as fast as the machine's clock; dates stay the machine's."""

    def __init__(self, speed: float = 1.0) -> None:
        if speed <= 0:
            raise ValueError(f"speed must be more than 0, not {speed}.")
        self.speed = speed
        self._start = time.monotonic()

    def now(self) -> float:
        """Return the seconds of phones since the start."""
        return (time.monotonic() - self._start) * self.speed

    def date(self) -> datetime:
        """Return the machine's date."""
        return datetime.now(UTC)


class ManualClock:
    """Stands still until `seconds` is set."""

    speed = 1.0

    def __init__(self, start: datetime = datetime(2030, 1, 1, 12, tzinfo=UTC)) -> None:
        self.seconds = 0.0
        self._start = start

    def now(self) -> float:
        """Return the seconds since the start."""
        return self.seconds

    def date(self) -> datetime:
        """Return the date: the start's and the seconds."""
        return self._start + timedelta(seconds=self.seconds)
