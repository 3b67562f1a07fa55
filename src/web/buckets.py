"""Token buckets: how often somebody may do something, counted in this process."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from processors.limits import Rate

MOST_BUCKETS = 10_000
"""Of more than that, those that were used least lately are forgotten, and so are full again."""

NEARLY = 1e-6
"""Of a token: who waited as long as told has a whole one, however seconds are rounded."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a wish for a token.

    Attributes:
        allowed: whether there was one.
        left: how many whole ones are left.
        seconds: until there is one again, or, where some are left, until all are; whole seconds.
    """

    allowed: bool
    left: int
    seconds: int


class Buckets:
    """One bucket for each name, full at first and filled evenly.

    Args:
        rate: how many tokens one holds, and in how many seconds an empty one is full again; None: there is no bound.
        clock: seconds that only go forward.
    """

    def __init__(self, rate: Rate | None, clock: Callable[[], float] = time.monotonic) -> None:
        self.rate = rate
        self._clock = clock
        self._found: dict[str, tuple[float, float]] = {}  # tokens, and when they were counted

    def take(self, name: str) -> Taken | None:
        """Take a token; None where there is no bound."""
        if self.rate is None:
            return None
        tokens = self._tokens(name, self.rate)
        allowed = tokens > 1 - NEARLY
        tokens = max(0.0, tokens - allowed)
        self._keep(name, tokens)
        wanted = self.rate.starts if tokens > 1 - NEARLY else 1
        seconds = math.ceil((wanted - tokens - NEARLY) * self.rate.seconds / self.rate.starts)
        return Taken(allowed, int(tokens + NEARLY), seconds)

    def give_back(self, name: str) -> None:
        """Undo a `take`."""
        if self.rate is not None:
            self._keep(name, min(self.rate.starts, self._tokens(name, self.rate) + 1))

    def _tokens(self, name: str, rate: Rate) -> float:
        tokens, since = self._found.pop(name, (float(rate.starts), 0.0))
        return min(float(rate.starts), tokens + (self._clock() - since) * rate.starts / rate.seconds)

    def _keep(self, name: str, tokens: float) -> None:
        self._found[name] = (tokens, self._clock())
        if len(self._found) > MOST_BUCKETS:
            del self._found[next(iter(self._found))]
