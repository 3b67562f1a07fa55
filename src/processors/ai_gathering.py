"""What different tasks of one process wait for together is sent together.

At most so many requests of one kind are under way at a time, but for full ones; what comes meanwhile goes with the
next one. Who waits sends it; a request for several goes on in a thread of its own, as long as one of them waits for it.
"""

import threading
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Generic, TypeVar, cast

from processors.ai_interfaces import Look
from processors.errors import Cancelled

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
        send: sends items, and returns their answers in their order; what it raises between two is the rest's alone. It
            calls the look that it is given while it waits, and ends where that raises.
    """

    key: Hashable
    packed: Callable[[Sequence[Item]], int]
    send: Callable[[Sequence[Item], Look], Iterable[Answer]]


@dataclass(slots=True, eq=False)
class _Waiting(Generic[Item, Answer]):
    item: Item
    answer: Answer | None = None
    error: Exception | None = None
    done: bool = False
    left: bool = False


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
            sending: how it is sent, with those that wait with it.
            look: called while it is waited for; where it raises, a request that is under way goes on for the others.

        Raises:
            Exception: as raised by `look`; or by `send`, for all that it was called with and has not answered.
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
                own.left = True
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
        if len(taken) == 1:
            _send(line, taken, sending, look)
        else:
            _send_for_all(line, taken, sending)


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


def _while_wanted(taken: Sequence[_Waiting[Item, Answer]]) -> Look:
    """Return what ends a request once nobody waits for it any more."""

    def look() -> None:
        if all(one.left for one in taken):
            raise Cancelled("Nobody waits for this request any more.")

    return look


def _send_for_all(
    line: _Line[Item, Answer], taken: Sequence[_Waiting[Item, Answer]], sending: Sending[Item, Answer]
) -> None:
    call = partial(_send, line, taken, sending, _while_wanted(taken))
    try:
        threading.Thread(target=call, name="ai-request", daemon=True).start()
    except RuntimeError as error:  # the machine has no room for one more
        _end(line, taken, error)


def _send(
    line: _Line[Item, Answer], taken: Sequence[_Waiting[Item, Answer]], sending: Sending[Item, Answer], look: Look
) -> None:
    error: Exception | None = None
    try:
        for one, answer in zip(taken, sending.send([one.item for one in taken], look), strict=True):
            one.answer, one.done = answer, True
    except Exception as raised:
        if all(one.done for one in taken):
            raise
        error = raised
    finally:
        _end(line, taken, error)


def _end(line: _Line[Item, Answer], taken: Sequence[_Waiting[Item, Answer]], error: Exception | None) -> None:
    """End a request; the error is of those that it has not answered."""
    with line.changed:
        for one in taken:
            if not one.done and error is not None:
                one.error, one.done = error, True
        line.under_way -= 1
        line.changed.notify_all()
