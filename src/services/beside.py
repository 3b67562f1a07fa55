"""One piece of work in a thread of its own, beside what its caller does meanwhile."""

import threading
from collections.abc import Callable
from typing import Any, TypeVar, cast

Result = TypeVar("Result")


def beside(work: Callable[[], Result]) -> Callable[[], Result]:
    """Begin `work`; returns what waits for its end, and returns or raises what it did.

    A pool of threads refuses work once the main thread has ended, while others may go on.
    """
    found: dict[str, Any] = {}

    def run() -> None:
        try:
            found["result"] = work()
        except BaseException as error:  # noqa: BLE001 - raised where it is waited for
            found["error"] = error

    thread = threading.Thread(target=run, name="beside")
    try:
        thread.start()
    except RuntimeError:  # the interpreter is ending
        run()

    def outcome() -> Result:
        if thread.ident is not None:
            thread.join()
        if "error" in found:
            raise found["error"]
        return cast("Result", found["result"])

    return outcome
