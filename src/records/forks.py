"""No connection to SQLite is open while a process forks: who uses one is waited for, and whoever comes waits.

SQLite's locks are the process's own, but what the library remembers of them is memory, and copied: a child would take
none of its own, and the parent, once it closes as if it were the last, remove the log in which the child's commits are.
"""

import os
import threading
import time
import weakref
from collections.abc import Generator
from contextlib import contextmanager
from typing import Protocol

from config.log_setup import get_logger

logger = get_logger()

LOOK_SECONDS = 0.001
PAUSE_SECONDS = 0.5
"""How long a fork waits for those who use a connection; it does so twice."""

FORK_SECONDS = 10.0
"""How long others wait for a fork: what a signal's handler does in the middle of one may wait for them."""

UNPROTECTED = (
    "The record database was in use for too long while this process forked: what the child writes to SQLite may be "
    "lost. Fork while nothing else is done, or let the child begin anew (multiprocessing's spawn, subprocess)."
)


class Forked(Protocol):
    """A database, as a fork sees it."""

    def disconnect(self) -> None:
        """Close all connections to SQLite; nobody uses one."""

    def forget_connections(self) -> None:
        """Drop, without closing, what a parent process opened."""


class Forks:
    """Keeps those who use a connection and those who fork apart.

    It holds no lock while the process forks: what a signal's handler raises there Python drops, and forks all the
    same, so that a lock could stay held for ever.

    Attributes:
        databases: those of this process.
    """

    def __init__(self) -> None:
        self.databases: weakref.WeakSet[Forked] = weakref.WeakSet()
        self._forking: dict[int, float] = {}  # threads, and since when
        self._begin()

    def _begin(self) -> None:
        self._using: set[object] = set()  # a mark each
        self._inside: set[int] = set()  # threads
        self._unprotected: set[int] = set()
        self._disconnecting = threading.RLock()
        self._forking.clear()

    @contextmanager
    def using(self) -> Generator[None]:
        """Open, use and close connections to SQLite in here; waits while another thread forks."""
        me, mark = threading.get_ident(), object()
        if me in self._inside:
            yield
            return
        try:
            self._using.add(mark)  # before the look: whoever forks does the same in the other order
            while self._is_shut(me):
                self._using.discard(mark)
                time.sleep(LOOK_SECONDS)
                self._using.add(mark)
            self._inside.add(me)  # only now: a signal's handler that came before must look for itself
            yield
        finally:
            self._inside.discard(me)
            self._using.discard(mark)

    def before(self) -> None:
        """Close all connections to SQLite, once nobody uses one."""
        me = threading.get_ident()
        self._unprotected.add(me)
        self._forking[me] = since = time.monotonic()
        while self._using:
            if me in self._inside or time.monotonic() > since + PAUSE_SECONDS:
                return
            time.sleep(LOOK_SECONDS)
        with self._disconnecting:  # another thread that forks finds nothing open only after it was closed
            for database in list(self.databases):
                database.disconnect()
        self._unprotected.discard(me)

    def after(self) -> None:
        """Let the others go on."""
        me = threading.get_ident()
        self._forking.pop(me, None)
        if me in self._unprotected:
            self._unprotected.discard(me)
            logger.warning("fork_unprotected", error=UNPROTECTED)

    def after_in_child(self) -> None:
        """Begin anew: no other thread is here."""
        self._begin()
        for database in list(self.databases):
            database.forget_connections()

    def _is_shut(self, me: int) -> bool:
        if not self._forking:
            return False
        now = time.monotonic()
        return any(thread != me and now < since + FORK_SECONDS for thread, since in list(self._forking.items()))


forks = Forks()
os.register_at_fork(after_in_child=forks.after_in_child)
for _time in range(2):  # the second does what a signal's handler kept the first from
    os.register_at_fork(before=forks.before, after_in_parent=forks.after)
