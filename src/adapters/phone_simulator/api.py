"""Twilio's REST API on loopback, as far as calls go: logins, resources, refusals, and what happens on the way."""

import base64
import contextlib
import hmac
import json
import re
import socket
import struct
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from adapters.phone_simulator.callees import Callee
from adapters.phone_simulator.calls import API_VERSION, Call
from adapters.phone_simulator.exchange import Exchange
from adapters.phone_simulator.faults import CreateFault, Faults
from adapters.phone_simulator.orders import E164, CallPlan, Form, read_webhook
from adapters.phone_simulator.refusals import Refusal, invalid, refusal

LARGEST_BODY = 1_000_000
IDLE_SECONDS = 65
JSON = "application/json"
BAD_GATEWAY = b"<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"
CALLS = f"/{API_VERSION}/Accounts/([^/]+)/Calls"
SHOWN_CALLS = 1000
CUT_OFF = frozenset({"cut", "drip", "reset", "reset_made"})


class Incoming(BaseModel):
    """An inbound call, as `POST /simulator/incoming` describes it."""

    model_config = ConfigDict(extra="forbid", strict=True)

    from_number: str = Field(alias="from", pattern=E164.pattern)
    to: str = Field(pattern=E164.pattern)
    url: str
    status_callback: str = ""
    keys: str = Field(default="", pattern=r"^[0-9*#]{0,50}$")
    speech: str = Field(default="", max_length=1000)
    stays: float | None = Field(default=None, ge=0)


@dataclass(frozen=True, slots=True)
class Answer:
    """What is answered.

    Attributes:
        fault: what happens to it on its way.
    """

    status: int
    body: bytes
    content_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    fault: CreateFault | None = None


class Server(ThreadingHTTPServer):
    """Listens on 127.0.0.1; a thread per connection, all of which end with `end`.

    Args:
        port: 0: a free one.
        exchange: what is asked.
        token: the account's.
        random: decides which creates a fault happens to.
        further: what `/simulator/state` says besides.
    """

    daemon_threads = False
    request_queue_size = 128
    allow_reuse_address = True

    def __init__(self, port: int, exchange: Exchange, token: str, random: Random, further: Mapping[str, Any]) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.exchange = exchange
        self.login = "Basic " + base64.b64encode(f"{exchange.account}:{token}".encode()).decode()
        self.further = further
        self.ended = threading.Event()
        self.lock = threading.Lock()
        self.open: set[socket.socket] = set()
        self.under_way = 0
        self._random = random
        self._faults_done = 0

    def set_faults(self, faults: Faults) -> None:
        """Change what goes wrong from now on."""
        with self.lock:
            self._faults_done = 0
            self.exchange.faults = faults

    def next_create_fault(self) -> CreateFault | None:
        """Return what happens to the create that came."""
        with self.lock:
            faults = self.exchange.faults
            spent = faults.create_times is not None and self._faults_done >= faults.create_times
            if faults.create is None or spent or self._random.random() >= faults.create_share:
                return None
            self._faults_done += 1
            return faults.create

    def end(self) -> None:
        """End all threads; answers that are on their way are cut off."""
        self.ended.set()
        self.shutdown()
        with self.lock:
            for connection in self.open:
                with contextlib.suppress(OSError):  # it may have ended a moment ago
                    connection.shutdown(socket.SHUT_RDWR)
        self.server_close()


class Handler(BaseHTTPRequestHandler):
    """One connection of a client."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server  # pyright: ignore[reportIncompatibleVariableOverride] - only this one makes handlers
    timeout = IDLE_SECONDS

    def setup(self) -> None:
        """Remember the connection."""
        super().setup()
        with self.server.lock:
            self.server.open.add(self.connection)
            if self.server.ended.is_set():
                self.connection.shutdown(socket.SHUT_RDWR)

    def handle(self) -> None:
        """Answer request after request until the client goes, which it may do at any time."""
        with contextlib.suppress(ConnectionError):
            super().handle()

    def finish(self) -> None:
        """Forget the connection."""
        with self.server.lock:
            self.server.open.discard(self.connection)
        with contextlib.suppress(ConnectionError):
            super().finish()

    def do_GET(self) -> None:
        """Answer."""
        self._serve()

    def do_POST(self) -> None:
        """Answer."""
        self._serve()

    def do_PUT(self) -> None:
        """Answer."""
        self._serve()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Say nothing: calls tell their steps."""

    def _serve(self) -> None:
        with self.server.lock:
            self.server.under_way += 1
        try:
            try:
                answer = self._answered()
            except Refusal as refused:
                faults = self.server.exchange.faults
                body = json.dumps(refused.body(problem=faults.problem_details)).encode()
                kind = "application/problem+json" if faults.problem_details else JSON
                answer = Answer(refused.status, body, kind, refused.headers)
            self._send(answer)
        finally:
            with self.server.lock:
                self.server.under_way -= 1

    def _answered(self) -> Answer:
        body = self._body()
        try:
            parts = urlsplit(self.path)
        except ValueError:
            raise refusal(20404) from None
        query = parse_qsl(parts.query, keep_blank_values=True)
        creates = self.command == "POST" and re.fullmatch(rf"{CALLS}\.json", parts.path)
        form = parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True)
        if creates:
            self.server.exchange.posted(form)
        own = parts.path.startswith("/simulator/")
        known = hmac.compare_digest(self.headers.get("Authorization", "").encode(), self.server.login.encode())
        if not known or (self.server.exchange.faults.login_refused and not own):
            raise refusal(20003)
        if own:
            return self._own(parts.path, dict(query), body)
        found = re.fullmatch(rf"{CALLS}(?:/(CA[0-9a-f]{{32}}))?\.json", parts.path)
        if not found or found[1] != self.server.exchange.account:
            raise refusal(20404)
        if creates:
            return self._create(form)
        exchange = self.server.exchange
        if self.command == "POST" and found[2]:
            return _json(200, exchange.resource(exchange.change(found[2], form)))
        if self.command != "GET":
            raise refusal(20004)
        if exchange.faults.reads_status:
            raise Refusal(exchange.faults.reads_status, 20500, "An error that was asked for")
        return _json(200, exchange.resource(exchange.find(found[2])) if found[2] else exchange.page(query))

    def _create(self, form: Form) -> Answer:
        fault = self.server.next_create_fault()
        if fault == "html":
            return Answer(502, BAD_GATEWAY, "text/html")
        if fault == "error":
            raise refusal(20500)
        if fault in {"too_many", "too_many_retry_after"}:
            refused = refusal(20429)
            if fault == "too_many_retry_after":
                refused.headers["Retry-After"] = str(self.server.exchange.faults.retry_after)
            raise refused
        if fault == "reset":
            return Answer(0, b"", fault=fault)
        exchange = self.server.exchange
        made = exchange.resource(exchange.create(form))
        if fault == "error_made":
            raise refusal(20500)
        return replace(_json(201, made), fault=fault)

    def _own(self, path: str, query: Mapping[str, str], body: bytes) -> Answer:
        """Answer what is not Twilio's: what was measured, faults, and inbound calls."""
        exchange = self.server.exchange
        asked = f"{self.command} {path}"
        if asked == "GET /simulator/state":
            most = query.get("calls", str(SHOWN_CALLS))
            if not re.fullmatch(r"[0-9]{1,9}", most):
                raise invalid("calls", "a number")
            return _json(200, {**self.server.further, **exchange.seen(int(most))})
        try:
            if asked == "PUT /simulator/faults":
                self.server.set_faults(TypeAdapter(Faults).validate_json(body))
                return Answer(204, b"")
            if asked == "POST /simulator/incoming":
                return _json(201, exchange.resource(self._incoming(Incoming.model_validate_json(body))))
        except ValidationError as error:
            found = error.errors(include_url=False, include_input=False)[0]
            raise invalid(".".join(map(str, found["loc"])) or "body", found["msg"]) from None
        raise refusal(20404)

    def _incoming(self, given: Incoming) -> Call:
        return incoming(
            self.server.exchange,
            from_number=given.from_number,
            to=given.to,
            url=given.url,
            status_url=given.status_callback,
            callee=Callee(keys=given.keys, speech=given.speech, stays=given.stays),
        )

    def _body(self) -> bytes:
        """Read what a request holds.

        Raises:
            Refusal: it does not say how long it is, or it is too long; the connection ends then.
        """
        length = self.headers.get("Content-Length", "0")
        if "Transfer-Encoding" in self.headers or not re.fullmatch(r"[0-9]{1,12}", length):
            self.close_connection = True
            raise Refusal(411, 20001, "Content-Length is needed")
        if int(length) > LARGEST_BODY:
            self.close_connection = True
            raise Refusal(413, 20001, f"{LARGEST_BODY} bytes at most")
        return self.rfile.read(int(length))

    def _send(self, answer: Answer) -> None:
        """Send an answer at once, unless something happens to it on its way."""
        fault, seconds = answer.fault, self.server.exchange.faults.late_seconds
        self.server.exchange.answered(0 if fault in CUT_OFF else answer.status)
        raw = self._raw(answer)
        if fault in {"reset", "reset_made"}:
            self._reset()
        elif fault == "cut":
            self.connection.sendall(raw[: -len(answer.body) // 2])
            self.close_connection = True
        elif fault == "drip":
            for byte in raw:
                self.connection.sendall(bytes([byte]))
                if self.server.ended.wait(seconds / len(raw)):
                    break
        else:
            if fault == "late" and self.server.ended.wait(seconds):
                self.close_connection = True
                return
            self.connection.sendall(raw)

    def _raw(self, answer: Answer) -> bytes:
        lines = [
            f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase if answer.status else ''}",
            f"Date: {self.date_time_string()}",
            f"Content-Type: {answer.content_type}",
            f"Content-Length: {len(answer.body)}",
            f"Twilio-Concurrent-Requests: {self.server.under_way}",
            *(f"{name}: {value}" for name, value in answer.headers.items()),
            *(["Connection: close"] if self.close_connection else []),
        ]
        return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + answer.body

    def _reset(self) -> None:
        """Close the connection so that the other side sees a reset, not an end."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.rfile.close()
        self.connection.close()
        self.close_connection = True


def incoming(exchange: Exchange, *, from_number: str, to: str, url: str, status_url: str, callee: Callee) -> Call:
    """Let somebody call us.

    Args:
        exchange: where.
        from_number: who calls, in E.164 form.
        to: which number of ours.
        url: where is asked what to say.
        status_url: where the end is told; empty: nowhere.
        callee: what whoever calls does.

    Raises:
        Refusal: a URL is none, or there are as many calls as there may be.
    """
    given = {"Url": url, "StatusCallback": status_url}
    answer = read_webhook(given, "Url", "Method", 21205)
    if answer is None:
        raise refusal(21205)
    status = read_webhook(given, "StatusCallback", "StatusCallbackMethod", 21609)
    return exchange.incoming(CallPlan(to=to, from_=from_number, answer=answer, status=status), callee)


def _json(status: int, value: Any) -> Answer:
    return Answer(status, json.dumps(value).encode())
