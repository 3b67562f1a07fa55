"""What libraries load wherever they find it installed, and no worker of the service ever uses."""

import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, cast

LEFT_OUT = ("cffi", "greenlet", "psutil", "pygments", "rich", "yaml")
"""Of billiard's way to the C library (it has another one), structlog's way to greenlets, of which there are none,
Celery's memory samples and coloured help, tracebacks for terminals, and a coding of messages that no worker accepts:
6 MiB in each worker."""


@contextmanager
def left_out() -> Generator[None]:
    """Let what is imported meanwhile do without these packages; who imports them later finds them.

    For a process that begins, before it has threads: another one's import would do without them, too.
    """
    modules = cast("dict[str, Any]", sys.modules)
    absent = [name for name in LEFT_OUT if name not in modules]
    modules.update(dict.fromkeys(absent))  # None is Python's own word for what cannot be imported
    try:
        yield
    finally:
        for name in absent:
            del modules[name]
