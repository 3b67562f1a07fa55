"""A small HTTPS or HTTP server on 127.0.0.1 that plays a host of the internet, and says what a test tells it to say."""

import contextlib
import re
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self


@dataclass
class WebServer:
    """Answers each request with what a test has put under its path, byte for byte.

    Attributes:
        context: the server's TLS; None for plain HTTP.
        answers: by path with its query, or for all others by `*`: the whole answer, or who writes it to the connection.
        requests: the heads of the requests, as they came.
        bodies: what came after each head, as long as it said.
    """

    context: ssl.SSLContext | None
    answers: dict[str, bytes | Callable[[socket.socket], None]] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    def __enter__(self) -> Self:
        self.ended = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        for thread in self._threads:
            thread.join(10)
        self._listener.close()

    @property
    def port(self) -> int:
        return self._listener.getsockname()[1]

    def _accept(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            if self.ended.is_set():
                connection.close()
                return
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _secured(self, connection: socket.socket) -> socket.socket:
        return self.context.wrap_socket(connection, server_side=True) if self.context else connection

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.settimeout(10)
            with self._secured(connection) as secured:
                came = b""
                while b"\r\n\r\n" not in came or len(came) < _whole(came):
                    chunk = secured.recv(4096)
                    if not chunk:
                        return
                    came += chunk
                head, _, body = came.partition(b"\r\n\r\n")
                self.requests.append(head.decode() + "\r\n\r\n")
                self.bodies.append(body)
                otherwise = self.answers.get("*", said(404, "Not Found"))
                answer = self.answers.get(head.decode().split(" ")[1], otherwise)
                if isinstance(answer, bytes):
                    secured.sendall(answer)
                else:
                    answer(secured)


def _whole(came: bytes) -> int:
    """How long a request is whose head has come."""
    head = came.partition(b"\r\n\r\n")[0]
    length = re.search(rb"\r\ncontent-length: *(\d+)", head.lower())
    return len(head) + 4 + (int(length[1]) if length else 0)


def said(status: int, reason: str = "OK", body: bytes = b"", **headers: str) -> bytes:
    """An answer with its length, unless the headers tell it otherwise."""
    fields = {"Content-Length": str(len(body))} | {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"HTTP/1.1 {status} {reason}", *(f"{name}: {value}" for name, value in fields.items() if value), "", ""]
    return "\r\n".join(lines).encode() + body
