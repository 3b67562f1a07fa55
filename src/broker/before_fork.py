"""What a worker does before it forks its pool, so that the children share the memory of their parent."""

import gc
from typing import Any, cast

from billiard import util
from celery import signals


def register() -> None:
    """Let every worker of this process do so, whatever its application."""
    signals.worker_before_create_process.connect(share_memory, weak=False)


def share_memory(**_: Any) -> None:
    """Do once what each child would do, and keep the garbage collector off what they share.

    The collector writes into all that it looks at, and a page that is written to is shared no longer.
    """
    if gc.get_freeze_count():
        return
    cast("Any", util).get_pdeathsig()  # where cffi is installed, billiard parses a C declaration with it in each child
    gc.collect()
    gc.freeze()
