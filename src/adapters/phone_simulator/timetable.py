"""What happens later, in order: everything that changes a call is done under one lock."""

import heapq
import itertools
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from adapters.phone_simulator.clock import Clock

Action = Callable[[], None]


@dataclass(order=True, slots=True)
class Entry:
    """An action that is due at a moment, in seconds of phones; None: it was called off."""

    moment: float
    number: int
    action: Action | None = field(compare=False)


class Timetable:
    """What is due when.

    Attributes:
        changed: the lock under which all of the simulator's state changes; notified when the next moment has changed.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.changed = threading.Condition(threading.RLock())
        self._due: list[Entry] = []
        self._called_off = 0
        self._numbers = itertools.count()
        self._ended = False

    def after(self, seconds: float, action: Action) -> Entry:
        """Do something in `seconds` of phones; return what it is called off by."""
        with self.changed:
            entry = Entry(self.clock.now() + seconds, next(self._numbers), action)
            heapq.heappush(self._due, entry)
            if self._due[0] is entry:
                self.changed.notify_all()
            return entry

    def after_real(self, seconds: float, action: Action) -> None:
        """Do something in `seconds` of the machine."""
        self.after(seconds * self.clock.speed, action)

    def call_off(self, entries: Iterable[Entry]) -> None:
        """Forget what has not been done; those that are forgotten go when they are more than half of all."""
        with self.changed:
            for entry in entries:
                self._called_off += entry.action is not None
                entry.action = None
            if self._called_off > len(self._due) // 2:
                self._due = [entry for entry in self._due if entry.action is not None]
                heapq.heapify(self._due)
                self._called_off = 0

    def next_moment(self) -> float | None:
        """Return when the next action is due, None where there is none."""
        with self.changed:
            return self._due[0].moment if self._due else None

    def run_due(self) -> None:
        """Do all that is due now, in order."""
        with self.changed:
            while self._due and self._due[0].moment <= self.clock.now():
                entry = heapq.heappop(self._due)
                action, entry.action = entry.action, None
                if action is None:
                    self._called_off -= 1
                else:
                    action()

    def keep_time(self) -> None:
        """Do everything when it is due, until `end` is called."""
        with self.changed:
            while not self._ended:
                self.run_due()
                upcoming = self.next_moment()
                away = None if upcoming is None else max(0.0, upcoming - self.clock.now()) / self.clock.speed
                self.changed.wait(away)

    def end(self) -> None:
        """Let `keep_time` return."""
        with self.changed:
            self._ended = True
            self.changed.notify_all()
