"""Figures of many tasks: how many, and how long they waited and ran, as counts by steps that can be added up."""

from bisect import bisect_left
from collections.abc import Sequence

STEPS = tuple(round(0.001 * 10 ** (at / 5), 6) for at in range(41))
"""Seconds, from a millisecond to a day: each step is 1.58 times the one before; what is longer is in the last count."""

COUNTS = len(STEPS) + 1


def none() -> list[int]:
    """Return the counts of no task."""
    return [0] * COUNTS


def count(counts: list[int], seconds: float) -> None:
    """Count a duration."""
    counts[bisect_left(STEPS, max(0.0, seconds))] += 1


def added(some: Sequence[Sequence[int]]) -> list[int]:
    """Return the sums of several counts."""
    return [sum(column) for column in zip(*some, strict=True)] if some else none()


def percentile(counts: Sequence[int], share: float) -> float | None:
    """Return the seconds below which this share of the durations lies, within a step; None where there are none.

    Args:
        counts: as `count` makes them.
        share: 0 to 1, such as 0.95.
    """
    total = sum(counts)
    if not total:
        return None
    wanted, before = share * total, 0
    for at, here in enumerate(counts):
        if here and before + here >= wanted:
            low = STEPS[at - 1] if at else 0.0
            high = STEPS[min(at, len(STEPS) - 1)]
            return low + (high - low) * max(0.0, wanted - before) / here
        before += here
    return STEPS[-1]
