"""What different tasks of one process wait for together is sent together.

At most so many requests of one kind are under way at a time, but for full ones; what comes meanwhile goes with the
next one. Who waits sends it: there is no thread of its own.
"""

import threading
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar, cast

from processors.ai_interfaces import Look
from processors.errors import PermanentError, TransientError

Item = TypeVar("Item")
Answer = TypeVar("Answer")

AT_ONCE = 2
LOOK_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Sending(Generic[Item, Answer]):
    """How items are sent.

    Attributes:
        key: what must be the same for items that go together.
        packed: returns how many of the items, from the first one on, one request can take; at least 1.
        send: sends items, and returns their answers in their order; what it raises between two is the rest's alone.
    """

    key: Hashable
    packed: Callable[[Sequence[Item]], int]
    send: Callable[[Sequence[Item]], Iterable[Answer]]


@dataclass(slots=True, eq=False)
class _Waiting(Generic[Item, Answer]):
    item: Item
    answer: Answer | None = None
    error: Exception | None = None
    done: bool = False


@dataclass(slots=True)
class _Line(Generic[Item, Answer]):
    """What waits under one key; `present` counts those who look after it, and with the last one it goes."""

    changed: threading.Condition = field(default_factory=threading.Condition)
    waiting: deque[_Waiting[Item, Answer]] = field(default_factory=deque[_Waiting[Item, Answer]])
    under_way: int = 0
    present: int = 0


class Gathering(Generic[Item, Answer]):
    """Lets those who wait send what waits."""

    def __init__(self) -> None:
        self.lines: dict[Hashable, _Line[Item, Answer]] = {}
        self._lock = threading.Lock()

    def ask(self, item: Item, sending: Sending[Item, Answer], look: Look) -> Answer:
        """Return the answer to an item, whoever sends it.

        Args:
            item: what is asked for.
            sending: how it is sent, with those that wait with it: in this thread, or in one of theirs.
            look: called while somebody else sends it.

        Raises:
            TransientError: as raised by `send`, for all that it was called with and has not answered.
            PermanentError: the same.
            BaseException: as raised by `look`, or else by `send` for who called it: the others' items wait again.
        """
        with self._lock:
            line = self.lines.setdefault(sending.key, _Line[Item, Answer]())
            line.present += 1
        own = _Waiting[Item, Answer](item)
        with line.changed:
            line.waiting.append(own)
        try:
            _until_done(line, own, sending, look)
        finally:
            with line.changed:
                if own in line.waiting:
                    line.waiting.remove(own)
            with self._lock:
                line.present -= 1
                if not line.present:
                    del self.lines[sending.key]
        if own.error is not None:
            raise own.error
        return cast("Answer", own.answer)


def _until_done(
    line: _Line[Item, Answer], own: _Waiting[Item, Answer], sending: Sending[Item, Answer], look: Look
) -> None:
    while True:
        look()
        with line.changed:
            if own.done:
                return
            if own not in line.waiting or not _may_go(line, own, sending):
                line.changed.wait(LOOK_SECONDS)
                continue
            taken = _taken(line, own, sending)
            line.under_way += 1
        try:
            _send(line, own, taken, sending)
        finally:
            with line.changed:
                line.under_way -= 1
                line.changed.notify_all()


def _may_go(line: _Line[Item, Answer], own: _Waiting[Item, Answer], sending: Sending[Item, Answer]) -> bool:
    """Tell whether an item may be sent now: a request that is full has nothing to wait for."""
    waiting = [one.item for one in _in_line(line, own)]
    return line.under_way < AT_ONCE or sending.packed([*waiting, own.item]) <= len(waiting)


def _taken(
    line: _Line[Item, Answer], own: _Waiting[Item, Answer], sending: Sending[Item, Answer]
) -> list[_Waiting[Item, Answer]]:
    """Take an item and as many others, those that have waited longest, as one request can take."""
    waiting = _in_line(line, own)
    taken = waiting[: sending.packed([one.item for one in waiting])]
    for one in taken:
        line.waiting.remove(one)
    return taken


def _in_line(line: _Line[Item, Answer], own: _Waiting[Item, Answer]) -> list[_Waiting[Item, Answer]]:
    return [own, *(one for one in line.waiting if one is not own)]


def _send(
    line: _Line[Item, Answer],
    own: _Waiting[Item, Answer],
    taken: Sequence[_Waiting[Item, Answer]],
    sending: Sending[Item, Answer],
) -> None:
    try:
        for one, answer in zip(taken, sending.send([one.item for one in taken]), strict=True):
            one.answer, one.done = answer, True
    except (TransientError, PermanentError) as error:  # the provider's, and so everybody's
        for one in taken:
            if not one.done:
                one.error, one.done = error, True
    except BaseException:  # the sender's own: a cancellation, a time limit
        with line.changed:
            line.waiting.extendleft(one for one in reversed(taken) if one is not own and not one.done)
        raise
