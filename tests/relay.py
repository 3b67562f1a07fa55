"""A relay between a client and a server of a test's own, which can lose what the server answers."""

import socket
import threading
from contextlib import suppress


class Relay:
    """Passes everything on; the connection that next sends `lose_answer_to` gets no answer any more.

    Args:
        port: where the server listens, on this machine.

    Attributes:
        asked: what clients have sent, byte by byte as it went over the wire.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self.lose_answer_to: bytes | None = None
        self.asked = bytearray()
        self._lost: list[socket.socket] = []
        self._ends: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def loses(self) -> bool:
        """Whether a connection gets no answers now."""
        return bool(self._lost)

    def cut(self) -> None:
        """End the connections that get no answers."""
        while self._lost:
            _end(self._lost.pop())

    def close(self) -> None:
        for one in (self._listener, *self._ends):
            _end(one)
            one.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._target))
                self._ends += [client, server]
                threading.Thread(target=self._ask, args=(client, server), daemon=True).start()
                threading.Thread(target=self._answer, args=(client, server), daemon=True).start()

    def _ask(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := client.recv(65_536):
                self.asked += data
                if self.lose_answer_to is not None and self.lose_answer_to in data:
                    self.lose_answer_to = None
                    self._lost.append(client)
                server.sendall(data)
        _end(server)

    def _answer(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := server.recv(65_536):
                if client not in self._lost:
                    client.sendall(data)
        _end(client)


def _end(one: socket.socket) -> None:
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
