"""Keeps the garbage collector off what a worker has loaded: it stays until the worker ends."""

import gc
from typing import Any, cast

from celery import platforms, signals

from config.child_process import send_when_parent_ends


def register() -> None:
    """Let every worker of this process do so, whatever its application and its pool."""
    # With cffi, which packages of ours bring along, billiard's own parses a C declaration in each child: 3 MiB.
    cast("Any", platforms)._set_pdeathsig = send_when_parent_ends  # noqa: SLF001 - there is no other way to give one
    signals.worker_before_create_process.connect(share_memory, weak=False)
    signals.worker_ready.connect(freeze, weak=False)


def share_memory(**_: Any) -> None:
    """Do once, before the first fork, what each child would do, so that the children share it."""
    if gc.get_freeze_count():
        return
    freeze()


def freeze(**_: Any) -> None:
    """Let the collector forget what there is.

    It writes into all that it looks at, and a page that is written to is shared with no child any longer. Where tasks
    run in threads, going through what was loaded took an eighth of a worker's time.
    """
    if not gc.get_freeze_count():
        gc.collect()
        gc.freeze()
