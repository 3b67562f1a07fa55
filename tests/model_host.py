"""A host of model files on 127.0.0.1, behind TLS, that sends what a test tells it to send."""

import hashlib
import ssl
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

import trustme

Answer = Callable[[BaseHTTPRequestHandler], None]


class ModelHost:
    """Serves files by their paths and counts what it is asked for.

    Attributes:
        answers: a path to what answers it.
        asked: the paths that were asked for, in order.
        context: trusts this host and no other.
    """

    def __init__(self) -> None:
        authority = trustme.CA()
        self.answers: dict[str, Answer] = {}
        self.asked: list[str] = []
        self.context = ssl.create_default_context()
        authority.configure_trust(self.context)
        served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(served)
        host = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                host.asked.append(self.path)
                host.answers[self.path](self)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.socket = served.wrap_socket(self._server.socket, server_side=True)
        self._server.handle_error = lambda *_: None  # a client that breaks off is what a test wants
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def url(self, path: str) -> str:
        """Return the address of a path."""
        return f"https://127.0.0.1:{self._server.server_port}{path}"

    def own_manifest(self, name: str, content: bytes, *files: str) -> str:
        """Return the manifest of a model whose files, by these names, all have this content."""
        head = f'[{name}]\npurpose = "tests"\nlicence = "MIT"\n'
        digest = hashlib.sha256(content).hexdigest()
        return head + "".join(
            f'[[{name}.files]]\nname = "{file}"\nurl = "{self.url("/" + file)}"\n'
            f'bytes = {len(content)}\nsha256 = "{digest}"\n'
            for file in files
        )


def sending(content: bytes, length: int | None = None) -> Answer:
    """Answer with this content, announced with a length of its own where one is given."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Length", str(len(content) if length is None else length))
        request.end_headers()
        request.wfile.write(content)

    return answer


def without_length(content: bytes) -> Answer:
    """Answer with this content, whose end is the end of the connection."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.end_headers()
        request.wfile.write(content)

    return answer


def sent_on(address: str) -> Answer:
    """Answer that the file is elsewhere."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(302)
        request.send_header("Location", address)
        request.end_headers()

    return answer


def refusing(status: int) -> Answer:
    """Answer with a status and nothing else."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        request.end_headers()

    return answer
