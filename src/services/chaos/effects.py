"""The work of a counted task, and the lines that a worker writes about it."""

import os
import signal
import time
from typing import Any

from celery import signals

from config.child_process import die_with_parent
from services.chaos.journal import Kind, journal

TASK_NAME = "chaos.effect"
LINGER_EVERY = 10
LINGER_SECONDS = 0.05


def take_effect(number: int, run: int = 0) -> None:
    """Do the work of one task; every tenth takes a while, so that a kill finds something in hand."""
    journal.write(Kind.STARTED, [number], run)
    if number % LINGER_EVERY == 0:
        time.sleep(LINGER_SECONDS)
    journal.write(Kind.DONE, [number], run)


def _received(request: Any, **_: Any) -> None:
    if request.name == TASK_NAME:
        journal.write(Kind.RECEIVED, [request.kwargs["number"]])


def _ready(**_: Any) -> None:
    journal.write(Kind.READY)


def watch_worker() -> None:
    """Note what this worker receives; its children end with it."""
    worker = os.getpid()

    def tie_child(**_: Any) -> None:
        die_with_parent(worker, signal.SIGKILL)

    signals.task_received.connect(_received, weak=False)
    signals.worker_ready.connect(_ready, weak=False)
    signals.worker_process_init.connect(tie_child, weak=False)
