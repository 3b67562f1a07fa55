"""Ports of this machine's loopback address."""

import socket

HERE = "127.0.0.1"
ANSWER_SECONDS = 1.0


def free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.create_server((HERE, 0)) as listener:
        return listener.getsockname()[1]


def listens(port: int) -> bool:
    """Tell whether somebody listens."""
    try:
        socket.create_connection((HERE, port), ANSWER_SECONDS).close()
    except OSError:
        return False
    return True
