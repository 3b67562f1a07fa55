"""The work of a counted task, and the lines that a worker writes about it."""

import os
import signal
import time
from typing import Any

from celery import signals

from config.child_process import die_with_parent
from services.chaos.journal import Kind, journal
from services.chaos.numbers import lingers

TASK_NAME = "chaos.effect"
FIRED_TASK_NAME = "chaos.fired"
LINGER_SECONDS = 0.05


def take_effect(number: int, run: int = 0) -> None:
    """Do the work of one task."""
    journal.write(Kind.STARTED, [number], run)
    change_world(number, run)


def change_world(number: int, run: int = 0) -> None:
    """Change the outside world, which is the journal: one line, that was written or was not."""
    linger(number)
    journal.write(Kind.DONE, [number], run)


def linger(number: int) -> None:
    """Let a kill find something in hand."""
    if lingers(number):
        time.sleep(LINGER_SECONDS)


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
