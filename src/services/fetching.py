"""Bringing a file here while somebody looks: a server that says nothing delays neither a cancellation nor a limit."""

from concurrent.futures import Future, wait
from threading import Event, Thread
from time import monotonic
from typing import IO

from processors.errors import Cancelled, TransientError
from processors.interfaces import FileSource, Report

LOOK_SECONDS = 0.5
GRACE_SECONDS = 2.0
"""A source that keeps the limit itself says better what was not here."""


def fetch(source: FileSource, address: str, into: IO[bytes], seconds: float, report: Report) -> None:
    """Let a source write a file into `into`, in a thread of its own; `report` is called here, all the while.

    A thread that nobody waits for any more ends with its next step, and what it still writes goes nowhere.

    Args:
        source: brings the file.
        address: where it lies.
        into: an empty file, open for writing.
        seconds: for all of it.
        report: told how far it is.

    Raises:
        TransientError: it takes too long.
        Exception: what the source or `report` raised.
    """
    until = monotonic() + seconds + GRACE_SECONDS
    last, ended, outcome = [(0.0, "fetching the file")], Event(), Future[None]()

    def tell(percent: float, text: str) -> None:
        if ended.is_set():
            raise Cancelled("Nobody waits for the file any more.")
        last[0] = (percent, text)

    def work() -> None:
        try:
            source.fetch(address, into, tell)
        except Exception as error:  # noqa: BLE001 - who waits raises it
            outcome.set_exception(error)
        else:
            outcome.set_result(None)

    Thread(target=work, name="fetch", daemon=True).start()
    try:
        while not wait([outcome], LOOK_SECONDS).done:
            report(*last[0])
            if monotonic() >= until:
                raise TransientError(f"The file was not here after {seconds:g} s: see FILE_TIME_LIMIT_SECONDS.")
        outcome.result()
    finally:
        ended.set()
    report(*last[0])
