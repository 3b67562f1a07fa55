"""How processes of a worker's pool ended: their parent sees it, and the process that takes the place writes it down.

The parent itself opens no database for it: it forks, and the loop that it would hold up carries its heartbeats.
"""

import os
import socket
import time
from collections import deque

from config.log_setup import get_logger
from processors.errors import ServiceUnavailable
from services.wiring import parts

logger = get_logger()

REMEMBERED = 100
RECENT_SECONDS = 60.0

_seen: deque[tuple[float, int, int]] = deque(maxlen=REMEMBERED)


def see(pid: int, exit_code: int) -> None:
    """Remember how a process ended; below 0 it is the signal that ended it."""
    _seen.append((time.monotonic(), pid, exit_code))


def note(name: str) -> None:
    """Write down, in a process that was just forked, what its parent saw lately: evidence for what ran there.

    Args:
        name: its worker's node name.
    """
    since = time.monotonic() - RECENT_SECONDS
    try:
        for seen_at, pid, exit_code in _seen:
            if seen_at >= since:
                parts().workers.note_exit(name, socket.gethostname(), os.getppid(), pid, exit_code)
    except ServiceUnavailable as error:
        logger.warning("deaths_not_noted", error=str(error))
