"""A deadline for a whole conversation: a time-out for each read does not stop a slow drip."""

import socket
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Protocol


class Connected(Protocol):
    """What talks over a socket, once it has one: a connection of urllib3, a server of smtplib."""

    @property
    def sock(self) -> socket.socket | None:
        """The socket."""
        ...


@contextmanager
def ended_at(connection: Connected, moment: float) -> Generator[None]:
    """Cut a connection at a moment of the monotonic clock, unless the block has ended by then."""
    timer = threading.Timer(max(0.0, moment - time.monotonic()), _cut, (connection,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _cut(connection: Connected) -> None:
    if connection.sock is not None:
        try:
            socket.socket.shutdown(connection.sock, socket.SHUT_RDWR)  # TLS's own takes its state away from who reads
        except OSError:
            return  # closed by the other side in the same moment
