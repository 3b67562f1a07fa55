"""Child processes end with their parent."""

import ctypes
import signal
import sys

PR_SET_PDEATHSIG = 1
LIBC: ctypes.CDLL | None = ctypes.CDLL(None) if sys.platform == "linux" else None


def die_with_parent(signal_number: int = signal.SIGTERM) -> None:
    """Ask the kernel to end this process with its parent (prctl(2)); elsewhere than on Linux nothing does."""
    if LIBC is not None:
        LIBC.prctl(PR_SET_PDEATHSIG, signal_number)
