"""Waiting for a condition, with a deadline and the state that was seen last."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def until(condition: Callable[[], T], seconds: float = 60, what: str = "", every: float = 0.02) -> T:
    """Return the first truthy value of `condition`; fail after `seconds`, printing what it said last."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"after {seconds} s still not: {what or condition}; last seen: {value!r}")
        time.sleep(every)
