"""Work that may block for long, in a thread of its own, while the thread that wants it can still be interrupted."""

from collections.abc import Callable
from concurrent.futures import Future, wait
from threading import Thread
from time import monotonic
from typing import TypeVar

from processors.ai_interfaces import Look

LOOK_SECONDS = 0.5
Done = TypeVar("Done")


class TookTooLong(Exception):
    """The work was not done in time."""


def in_own_thread(work: Callable[[], Done], look: Look, until: float, name: str) -> Done:
    """Return what work in another thread returns, and raise what it raises.

    A thread that nobody waits for any more ends by the time-outs of its work; no process waits for it.

    Args:
        work: what may block.
        look: called in this thread every half second at the latest; what it raises ends the wait.
        until: the monotonic second by which the work must be done.
        name: of the thread, for people.

    Raises:
        TookTooLong: it is not.
    """
    done = Future[Done]()

    def run() -> None:
        try:
            done.set_result(work())
        except Exception as error:  # noqa: BLE001 - who waits raises it
            done.set_exception(error)

    Thread(target=run, name=name, daemon=True).start()
    while not wait([done], max(0.0, min(LOOK_SECONDS, until - monotonic()))).done:
        look()
        if monotonic() >= until:
            raise TookTooLong
    return done.result()
