"""Loaded by each Python whose clock libfaketime changes: it refuses `time.sleep`, which asks for a monotonic moment."""

import select
import time


def sleep(seconds: float) -> None:
    select.select([], [], [], seconds)


time.sleep = sleep
