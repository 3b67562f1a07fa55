"""A deadline ends a conversation, however slowly the other side talks."""

import contextlib
import socket
import threading
import time

from urllib3.connection import HTTPConnection
from urllib3.exceptions import HTTPError

from adapters.deadline import ended_at


def test_an_answer_that_is_the_last_of_its_connection_is_cut_too():
    dripped = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def drip():
            connection, _ = listener.accept()
            with connection, contextlib.suppress(OSError):
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 600\r\n\r\n")
                for _ in range(600):
                    connection.sendall(b"x")
                    threading.Event().wait(0.05)
                dripped.set()

        thread = threading.Thread(target=drip)
        thread.start()
        connection = HTTPConnection("127.0.0.1", listener.getsockname()[1], timeout=10)
        connection.connect()
        came = b""
        with contextlib.suppress(HTTPError), ended_at(connection, time.monotonic() + 0.3):
            connection.request("GET", "/", preload_content=False)
            came = connection.getresponse().read()
        connection.close()
        thread.join(60)
    assert not came
    assert not dripped.is_set()
