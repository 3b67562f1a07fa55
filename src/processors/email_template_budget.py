"""How much one rendering of a template may do: steps, characters, seconds; what goes beyond ends with one sentence."""

import time
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, cast

from jinja2 import Undefined

LARGEST_VALUE = 1_000_000
"""Characters of one text, or of all texts in one list."""

LARGEST_LIST = 100_000
"""Items of one list with all that is inside it: counting them costs time, too."""

LARGEST_NUMBER_BITS = 4_096


class TooMuch(Exception):
    """A rendering did more than it may; the message says what."""


@dataclass(slots=True)
class Budget:
    """What one rendering may still do.

    Attributes:
        steps: turns of loops, calls, filters and operators.
        characters: of all texts that are made on the way, and items of all lists that are looked through.
        seconds: from its beginning.
        depth: calls inside calls.
    """

    steps: int = 200_000
    characters: int = 10_000_000
    seconds: float = 10.0
    depth: int = 50
    began: float = field(default_factory=time.monotonic)

    def step(self, number: int = 1) -> None:
        """Count steps, and look at the clock.

        Raises:
            TooMuch: there were too many, or it took too long.
        """
        self.steps -= number
        if self.steps < 0:
            raise TooMuch("it takes too many steps: a loop or a call has no end, or a list is too long")
        if time.monotonic() - self.began > self.seconds:
            raise TooMuch(f"it takes longer than {self.seconds:g} s")

    def made(self, value: Any) -> Any:
        """Return a value that was made on the way, counted by its size.

        Raises:
            TooMuch: it is too large, or there was too much before it.
        """
        size = size_of(value)
        self.characters -= size
        if self.characters < 0:
            raise TooMuch("it makes too much text on the way")
        return value


_running: ContextVar[Budget] = ContextVar("budget of the rendering in this thread")


def budget() -> Budget:
    """Return the budget of the rendering that runs in this thread."""
    return _running.get()


@contextmanager
def limited(given: Budget) -> Generator[None]:
    """Let what runs inside use up this budget."""
    token = _running.set(given)
    try:
        yield
    finally:
        _running.reset(token)


def size_of(value: Any) -> int:
    """Return the characters of a text, or the items of a list with all inside; what is inside twice counts twice.

    Raises:
        TooMuch: it is too large.
        TypeError: it is no JSON value, or holds what is none: printed, that tells an address in memory.
    """
    if isinstance(value, str):
        return _checked(len(value))
    if isinstance(value, int):
        if value.bit_length() > LARGEST_NUMBER_BITS:
            raise TooMuch(f"it makes a number of more than {LARGEST_NUMBER_BITS} bits")
        return 1
    size, items, waiting = 0, 0, [value]
    while waiting:
        one = waiting.pop()
        items += 1
        size = _checked(size + (len(one) if isinstance(one, str) else 1))
        if isinstance(one, dict):
            mapping = cast("dict[Any, Any]", one)
            waiting.extend(mapping.keys())
            waiting.extend(mapping.values())
        elif isinstance(one, list | tuple):
            waiting.extend(cast("Iterable[Any]", one))
        elif not (one is None or isinstance(one, str | int | float | Undefined)):
            raise TypeError(
                f"a {type(one).__name__} is no value: texts, numbers, true, false, null, lists and dicts are; call it, "
                "or leave it out"
            )
        if items + len(waiting) > LARGEST_LIST:
            raise TooMuch(f"it makes a list of more than {LARGEST_LIST} items")
    return size


def _checked(size: int) -> int:
    if size > LARGEST_VALUE:
        raise TooMuch(f"it makes a value of more than {LARGEST_VALUE} characters or items")
    return size
