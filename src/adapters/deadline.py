"""A deadline for a whole conversation: a time-out for each read does not stop a slow drip."""

import socket
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import Protocol

CUT_AGAIN_SECONDS = 0.1


class Connected(Protocol):
    """What talks over a socket, once it has one: a connection of urllib3, a server of smtplib."""

    @property
    def sock(self) -> socket.socket | None:
        """The socket."""
        ...


@contextmanager
def ended_at(connection: Connected, moment: float) -> Generator[None]:
    """Cut a connection at a moment of the monotonic clock, unless the block has ended by then.

    Args:
        connection: with its socket, or about to get one.
        moment: the monotonic second.
    """
    ended = threading.Event()
    timer = threading.Timer(max(0.0, moment - time.monotonic()), _cut, (connection, connection.sock, ended))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        ended.set()
        timer.cancel()


def _cut(connection: Connected, first: socket.socket | None, ended: threading.Event) -> None:
    """Cut it again and again: it may get its socket, or TLS another one, after the moment.

    Its first one, too: HTTP's connection forgets it where the answer says that it is the last, which is read then.
    """
    while True:
        for sock in filter(None, (first, connection.sock)):
            with suppress(OSError):  # closed by the other side in the same moment
                socket.socket.shutdown(sock, socket.SHUT_RDWR)  # TLS's own takes its state away from who reads
        if ended.wait(CUT_AGAIN_SECONDS):
            return
