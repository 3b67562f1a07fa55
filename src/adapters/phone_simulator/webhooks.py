"""The requests that the simulator makes: signed, kept alive, retried as their fragment says, to this machine alone.

Sources: twilio.com/docs/usage/webhooks/webhooks-security (the signature), …/webhooks-connection-overrides (fragments).
"""

import base64
import contextlib
import hashlib
import hmac
import http.client
import queue
import re
import socket
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import parse_qsl, urldefrag, urlencode, urlsplit

from adapters.network_guard import is_loopback
from adapters.phone_simulator.orders import Webhook

THREADS = 16
BUDGET_SECONDS = 15.0
"""Twilio's hard limit for one webhook, all of its tries together."""

MOST_RETRIES = 5
FRESH_SECONDS = 2.0
"""How long a connection may rest and be used again: servers close what rests longer."""

LARGEST_ANSWER = 64 * 1024 + 1
GRAPHIC = re.compile(r"[!-~]+")
AGENT = "TwilioProxy/1.1"

Signing = Literal["right", "wrong", "none"]


@dataclass(frozen=True, slots=True)
class Message:
    """A request to a webhook.

    Attributes:
        token: the same for every try and every copy of one message.
    """

    webhook: Webhook
    fields: tuple[tuple[str, str], ...]
    token: str = field(default_factory=lambda: str(uuid.uuid4()))


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of a message, after all tries.

    Attributes:
        status: the HTTP status; 0: no answer came.
        problem: why none came.
    """

    status: int
    content_type: str = ""
    body: bytes = b""
    problem: str = ""


Then = Callable[[Reply], None]


def signature(token: str, url: str, fields: Mapping[str, str]) -> str:
    """Return what a webhook is signed with.

    Args:
        token: the account's.
        url: with its query, without its fragment.
        fields: of the form; none with GET.
    """
    signed = url + "".join(f"{name}{value}" for name, value in sorted(fields.items()))
    return base64.b64encode(hmac.new(token.encode(), signed.encode(), hashlib.sha1).digest()).decode()


class Overrides:
    """What the fragment of a URL says about time-outs and retries: `#ct=2000&rt=5000&tt=15000&rc=3&rp=5xx,ct,rt`.

    Attributes:
        connect_seconds, read_seconds, total_seconds: time-outs of a connection, of an answer, of all tries.
        retries: how many tries follow the first one.
        on: after what.
    """

    def __init__(self, fragment: str) -> None:
        given = dict(parse_qsl(fragment))
        self.connect_seconds = _thousandths(given.get("ct"), 5.0)
        self.read_seconds = _thousandths(given.get("rt"), BUDGET_SECONDS)
        self.total_seconds = _thousandths(given.get("tt"), BUDGET_SECONDS)
        retries = given.get("rc", "1")
        self.retries = min(MOST_RETRIES, int(retries)) if re.fullmatch(r"[0-9]{1,3}", retries) else 1
        on = given.get("rp", "ct").split(",")
        self.on = frozenset({"4xx", "5xx", "ct", "rt"} if "all" in on else on)


class Webhooks:
    """Sends messages by a few threads; those of one line one after the other.

    Args:
        token: what is signed with.
        signing: how; asked for each message.
        reach: where a base address is really found, such as {"https://calls.example.com": "http://127.0.0.1:8000"};
            signed is what callers gave.
    """

    def __init__(self, token: str, signing: Callable[[], Signing], reach: Mapping[str, str] | None = None) -> None:
        self._token = token
        self._signing = signing
        self._reach = dict(reach or {})
        self._jobs: queue.SimpleQueue[tuple[Message, Then, str] | None] = queue.SimpleQueue()
        self._lines: dict[str, deque[tuple[Message, Then, str]]] = {}
        self._lock = threading.Lock()
        self._open: set[http.client.HTTPConnection] = set()
        self._ended = False
        self._threads = [threading.Thread(target=self._work, name="simulator-webhooks") for _ in range(THREADS)]

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End the threads; what was not sent is not sent."""
        with self._lock:
            self._ended = True
            for connection in self._open:
                _cut(connection)
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join()

    def send(self, message: Message, then: Then, line: str = "") -> None:
        """Send a message, and call `then` with what came of it.

        Args:
            message: what is sent.
            then: called in another thread.
            line: messages of one line are sent one after the other; empty: at once.
        """
        job = (message, then, line)
        if line:
            with self._lock:
                waiting = self._lines.get(line)
                if waiting is not None:
                    waiting.append(job)
                    return
                self._lines[line] = deque()
        self._jobs.put(job)

    def _work(self) -> None:
        connections: dict[str, tuple[http.client.HTTPConnection, float]] = {}
        while (job := self._jobs.get()) is not None and not self._ended:
            message, then, line = job
            then(self._sent(message, connections))
            if line:
                self._next_of(line)
        for connection, _ in connections.values():
            self._close(connection)

    def _next_of(self, line: str) -> None:
        with self._lock:
            waiting = self._lines[line]
            if waiting:
                self._jobs.put(waiting.popleft())
            else:
                del self._lines[line]

    def _sent(self, message: Message, connections: dict[str, tuple[http.client.HTTPConnection, float]]) -> Reply:
        url, fragment = urldefrag(message.webhook.url)
        overrides = Overrides(fragment)
        until = time.monotonic() + min(BUDGET_SECONDS, overrides.total_seconds)
        fields = dict(message.fields)
        if message.webhook.method == "GET":
            url = f"{url}{'&' if '?' in url else '?'}{urlencode(fields)}"
            fields = {}
        headers = self._headers(message, url, fields)
        target, why_not = self._target(url)
        if why_not:
            return Reply(0, problem=why_not)
        retries = overrides.retries
        while True:
            request = _Request(message.webhook.method, target, urlencode(fields).encode(), headers)
            reply, kind = self._tried(request, connections, overrides, until)
            if kind not in overrides.on or retries == 0 or time.monotonic() >= until or self._ended:
                return reply
            retries -= 1

    def _headers(self, message: Message, url: str, fields: Mapping[str, str]) -> dict[str, str]:
        headers = {"User-Agent": AGENT, "Accept": "*/*", "I-Twilio-Idempotency-Token": message.token}
        if message.webhook.method == "POST":
            headers["Content-Type"] = "application/x-www-form-urlencoded; charset=UTF-8"
        signing = self._signing()
        if signing != "none":
            token = self._token if signing == "right" else f"{self._token}-wrong"
            headers["X-Twilio-Signature"] = signature(token, url, fields)
        return headers

    def _target(self, url: str) -> tuple[str, str]:
        """Return where a URL is really found, and why it is not asked: it must be on this machine."""
        for base, real in self._reach.items():
            if url.startswith(base):
                url = real + url.removeprefix(base)
                break
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            return "", "no URL"
        if parts.username is not None or port == 0 or not GRAPHIC.fullmatch(url):
            return "", "no URL, or one with a user, or one with characters that are not encoded"
        if parts.scheme != "http":
            return "", "the simulator speaks http:// alone"
        return (url, "") if is_loopback(parts.hostname or "") else ("", "the simulator reaches this machine alone")

    def _tried(
        self,
        request: "_Request",
        connections: dict[str, tuple[http.client.HTTPConnection, float]],
        overrides: Overrides,
        until: float,
    ) -> tuple[Reply, str]:
        """Try once; return the reply, and what kind of failure it is (`ct`, `rt`, `4xx`, `5xx`, or empty)."""
        parts = urlsplit(request.url)
        kept, since = connections.pop(parts.netloc, (None, 0.0))
        if kept is not None and time.monotonic() - since < FRESH_SECONDS:
            try:
                return self._asked(kept, request, overrides, until, connections)
            except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
                self._close(kept)  # it was closed while it rested: the request was not read
            except (OSError, http.client.HTTPException) as error:
                self._close(kept)
                return Reply(0, problem=f"no answer: {type(error).__name__}"), "rt"
        elif kept is not None:
            self._close(kept)
        left = until - time.monotonic()
        connection = http.client.HTTPConnection(parts.netloc, timeout=max(0.001, min(overrides.connect_seconds, left)))
        try:
            connection.connect()
        except OSError as error:
            return Reply(0, problem=f"no connection: {type(error).__name__}"), "ct"
        with self._lock:
            self._open.add(connection)
        try:
            return self._asked(connection, request, overrides, until, connections)
        except (OSError, http.client.HTTPException) as error:
            self._close(connection)
            return Reply(0, problem=f"no answer: {type(error).__name__}"), "rt"

    def _asked(
        self,
        connection: http.client.HTTPConnection,
        request: "_Request",
        overrides: Overrides,
        until: float,
        connections: dict[str, tuple[http.client.HTTPConnection, float]],
    ) -> tuple[Reply, str]:
        left = min(overrides.read_seconds, until - time.monotonic())
        if self._ended or left <= 0:
            raise TimeoutError
        line = connection.sock
        line.settimeout(left)
        parts = urlsplit(request.url)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request(request.method, path, request.body if request.method == "POST" else None, request.headers)
        answer = connection.getresponse()
        body = _read(answer, line, until)
        whole = not answer.will_close and answer.length == 0
        answer.close()
        if whole:
            connections[parts.netloc] = (connection, time.monotonic())
        else:
            self._close(connection)
        kind = {4: "4xx", 5: "5xx"}.get(answer.status // 100, "")
        return Reply(answer.status, answer.headers.get_content_type(), body), kind

    def _close(self, connection: http.client.HTTPConnection) -> None:
        with self._lock:
            self._open.discard(connection)
        connection.close()


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    url: str
    body: bytes
    headers: Mapping[str, str]


def _read(answer: http.client.HTTPResponse, line: socket.socket, until: float) -> bytes:
    """Read a body as far as it may go, however slowly it comes."""
    body = b""
    while len(body) < LARGEST_ANSWER:
        left = until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        line.settimeout(left)
        piece = answer.read1(LARGEST_ANSWER - len(body))
        if not piece:
            break
        body += piece
    return body


def _cut(connection: http.client.HTTPConnection) -> None:
    """Wake whoever waits for an answer."""
    with contextlib.suppress(OSError, AttributeError):  # it may have ended a moment ago, and has no socket then
        connection.sock.shutdown(socket.SHUT_RDWR)


def _thousandths(text: str | None, otherwise: float) -> float:
    return int(text) / 1000 if text and text.isascii() and text.isdigit() and len(text) < 7 else otherwise  # noqa: PLR2004
