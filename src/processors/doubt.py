"""How long nobody can know whether a change in the outside world is still going on.

It may begin only so long after its intent was kept, and ends by its deadline: before that nothing may be concluded from
what the other side says, because a process that is slow or was frozen may be about to begin.
"""

import time

BEGIN_SECONDS = 10.0
"""How long after its intent was kept an effect may begin; looked at last, just before it begins."""

MARGIN_SECONDS = 5.0
"""What is added for a deadline that is kept late, and for clocks that do not run alike."""

ENDED_MEANWHILE = "the worker ended while the mail was handed over"
"""What is told of a recipient of whose mail nobody will know more."""

_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def clock() -> float:
    """Return seconds that never go back; those in which the machine slept count too, where the system knows them."""
    return time.clock_gettime(_CLOCK)


def doubt_seconds(deadline: float) -> float:
    """Return how long after its intent was kept an effect with this deadline (seconds) may still be going on."""
    return BEGIN_SECONDS + deadline + MARGIN_SECONDS
