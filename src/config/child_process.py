"""Child processes end with their parent, and a signal to stop never gets lost between the two."""

import ctypes
import os
import signal
import sys
from collections.abc import Generator
from contextlib import contextmanager

PR_SET_PDEATHSIG = 1
LIBC: ctypes.CDLL | None = ctypes.CDLL(None) if sys.platform == "linux" else None
STOPS = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP})


def send_when_parent_ends(signal_number: int) -> None:
    """Let the kernel send this process a signal when its parent ends (prctl(2)); only Linux does so."""
    if LIBC is not None:
        LIBC.prctl(PR_SET_PDEATHSIG, signal_number)


def die_with_parent(parent: int, signal_number: int = signal.SIGTERM) -> None:
    """Ask the kernel to end this process with its parent (prctl(2)); elsewhere than on Linux nothing does.

    Args:
        parent: the parent's id; where that one is gone already this process ends at once.
        signal_number: what it gets when its parent ends.
    """
    send_when_parent_ends(signal_number)
    if LIBC is not None and os.getppid() != parent:
        os._exit(1)


@contextmanager
def stop_signals_held() -> Generator[None]:
    """Let signals to stop come only after this: for a fork and for noting the child.

    Python drops what a signal's handler raises in a function of `os.register_at_fork`; `logging` has such functions.
    A child that is made in here begins with `begin_held_child`.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)  # may raise what a handler raises that was due just before
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def begin_held_child(parent: int, signal_number: int = signal.SIGTERM) -> None:
    """Begin as a child that was made while signals to stop were held: they end it, and so does its parent's end.

    Args:
        parent: its parent's id.
        signal_number: what it gets when its parent ends.
    """
    die_with_parent(parent, signal_number)
    for one in STOPS:
        if callable(signal.getsignal(one)):
            signal.signal(one, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
