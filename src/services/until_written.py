"""Writing until it is written: what ran goes on to be remembered even while the database is away."""

import time
from collections.abc import Callable
from typing import TypeVar

from config.log_setup import get_logger
from processors.errors import ServiceUnavailable

Result = TypeVar("Result")

logger = get_logger()

DATABASE_PAUSE_SECONDS = 1.0


def until_written(task_id: str, write: Callable[[], Result]) -> Result:
    """Return what `write` returns, once the database answers; it is tried once a second.

    Args:
        task_id: whose write it is, for the log.
        write: may be called several times, also after one whose answer was lost.
    """
    while True:
        try:
            return write()
        except ServiceUnavailable as error:
            logger.warning("database_away", task_id=task_id, error=str(error))
            time.sleep(DATABASE_PAUSE_SECONDS)
