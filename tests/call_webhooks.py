"""Both ends of the phone simulator for tests: the official SDK that calls it, and a web server that it calls back."""

import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from twilio.http.http_client import TwilioHttpClient
from twilio.rest import Client

from adapters.twilio_simulator import TwilioSimulator

ACCOUNT = "AC" + "0123456789abcdef" * 2
TOKEN = "a-token-of-tests"
OURS = "+15005550006"
HELLO = b'<?xml version="1.0" encoding="UTF-8"?><Response><Say>Hello</Say></Response>'


class Loopback(TwilioHttpClient):
    """Sends to the simulator what the SDK would send to Twilio."""

    def __init__(self, base: str, timeout: float) -> None:
        super().__init__(timeout=timeout)
        self.base = urlsplit(base)
        assert self.base.hostname == "127.0.0.1"

    def request(self, method: str, url: str, *more: Any, **named: Any) -> Any:
        parts = urlsplit(url)
        return super().request(
            method, urlunsplit((self.base.scheme, self.base.netloc, parts.path, parts.query, "")), *more, **named
        )


def sdk(simulator: TwilioSimulator, *, token: str = TOKEN, timeout: float = 10) -> Client:
    """Return the official client, which reaches the simulator alone."""
    return Client(ACCOUNT, token, http_client=Loopback(simulator.url, timeout))


@dataclass
class Came:
    """A request of the simulator."""

    method: str
    target: str
    fields: dict[str, str]
    headers: dict[str, str]

    @property
    def path(self) -> str:
        return urlsplit(self.target).path


@dataclass
class CallWebhooks:
    """Answers the simulator's requests, and remembers them.

    Attributes:
        documents: by path: the TwiML, or (status, content type, body), or what returns one of them.
        came: the requests, in the order in which they came.
    """

    documents: dict[str, Any] = field(default_factory=dict)
    came: list[Came] = field(default_factory=list)

    def __enter__(self) -> Self:
        webhooks = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True
            timeout = 30

            def serve(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", "0"))).decode()
                fields = dict(parse_qsl(body, keep_blank_values=True))
                asked = Came(self.command, self.path, fields, dict(self.headers))
                webhooks.came.append(asked)
                found = webhooks.documents.get(asked.path, (204, "text/plain", b""))
                found = found(asked) if isinstance(found, Callable) else found
                status, kind, content = (200, "text/xml", found) if isinstance(found, bytes) else found
                head = f"HTTP/1.1 {status} -\r\nContent-Type: {kind}\r\nContent-Length: {len(content)}\r\n"
                head += "Location: /elsewhere\r\n" if status in {301, 302, 307} else ""
                self.wfile.write(head.encode() + b"\r\n" + content)

            do_GET = serve  # noqa: N815 - the base class's name
            do_POST = serve  # noqa: N815 - the base class's name

            def log_message(self, *_: Any) -> None:
                pass

            def handle(self) -> None:
                with contextlib.suppress(ConnectionError):
                    super().handle()

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def at(self, path: str) -> list[Came]:
        """Return what came to a path."""
        return [one for one in list(self.came) if one.path == path]

    def told(self, path: str = "/status") -> list[str]:
        """Return the statuses that were told, in the order in which they came."""
        return [one.fields["CallStatus"] for one in self.at(path)]
