"""A strict endpoint of OpenAI's protocol on 127.0.0.1, which counts what it serves and misbehaves as a test tells it.

    with AiProvider() as provider:
        provider.next(Fault.rate_limited(seconds=2), Fault.cut_body())
        client = OpenAI(base_url=provider.url, api_key=provider.key)

What is taken and answered stands in `ai_protocol`; here are the connections, the key, the limits and the faults. A
benchmark runs it as a process of its own: `python tests/ai_provider.py --seconds 0.05 --requests-per-minute 500` prints
its URL, and GET /counts beside /v1 tells what it counted.
"""

import argparse
import asyncio
import contextlib
import copy
import json
import threading
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from email.utils import format_datetime
from http import HTTPStatus
from typing import Any, Self

from ai_protocol import CONTEXTS, CREATED, DIMENSIONS, Body, Chats, Embeddings, Refused, events_of

KEY = "sk-provider-1234567890abcdef"
LARGEST_HEAD = 64 * 1024
MOST_WAITING = 1000
DRIP_SECONDS = 0.02
GATE_SECONDS = 60
ENDPOINTS = {"/v1/embeddings": Embeddings(), "/v1/chat/completions": Chats()}


@dataclass(frozen=True)
class Asked:
    """One request as it came, by the monotonic second at which it was whole."""

    moment: float
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Reply:
    """One answer before it goes out; several parts are the events of a stream."""

    status: int
    parts: list[bytes]
    headers: dict[str, str] = field(default_factory=dict)
    mime: str = "application/json"
    streams: bool = False

    @property
    def head(self) -> bytes:
        framing = (
            {"transfer-encoding": "chunked"} if self.streams else {"content-length": str(sum(map(len, self.parts)))}
        )
        lines = {"content-type": self.mime} | framing | self.headers
        status = f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}"
        return "\r\n".join([status, *(f"{name}: {value}" for name, value in lines.items()), "", ""]).encode()

    @property
    def pieces(self) -> list[bytes]:
        """The parts as they go over the wire; the last one ends a stream."""
        if not self.streams:
            return self.parts
        return [b"%x\r\n%b\r\n" % (len(part), part) for part in self.parts] + [b"0\r\n\r\n"]


def json_reply(status: int, body: Any, **headers: str) -> Reply:
    return Reply(status, [json.dumps(body).encode()], {name.replace("_", "-"): text for name, text in headers.items()})


def error_reply(status: int, message: str, code: str | None = None, kind: str = "server_error", **headers: str):
    refused = Refused(message, status=status, code=code, kind=kind)
    return json_reply(status, refused.body, **headers)


# --- How an answer goes out --------------------------------------------------------------------------------------

Sending = Callable[[asyncio.StreamWriter, Reply], Awaitable[bool]]
"""Writes an answer; returns whether the connection can be used again."""


async def whole(writer: asyncio.StreamWriter, reply: Reply) -> bool:
    writer.write(b"".join([reply.head, *reply.pieces]))
    await writer.drain()
    return True


def cut_after(parts: int) -> Sending:
    """Send the first half of a plain answer, or so many events of a stream; then the connection ends."""

    async def send(writer: asyncio.StreamWriter, reply: Reply) -> bool:
        sent = reply.pieces[:parts] if reply.streams else [reply.parts[0][: len(reply.parts[0]) // 2]]
        writer.write(b"".join([reply.head, *sent]))
        await writer.drain()
        return False

    return send


def held_after(parts: int, gate: threading.Event) -> Sending:
    """Send so many events of a stream, and the others when a test opens the gate."""

    async def send(writer: asyncio.StreamWriter, reply: Reply) -> bool:
        writer.write(b"".join([reply.head, *reply.pieces[:parts]]))
        await writer.drain()
        await asyncio.to_thread(gate.wait, GATE_SECONDS)
        writer.write(b"".join(reply.pieces[parts:]))
        await writer.drain()
        return True

    return send


def dripping(parts: int = 0, *, head: bool = True) -> Sending:
    """Send so many events, then a meaningless letter now and then, until nobody reads any more."""

    async def send(writer: asyncio.StreamWriter, reply: Reply) -> bool:
        letter = b"1\r\n:\r\n" if reply.streams else b" "
        if head:
            endless = reply.head.replace(b"content-length: ", b"content-length: 9999999")
            writer.write(b"".join([endless, *reply.pieces[:parts]]))
        else:
            writer.write(b"HTTP/1.1 200 OK\r\nx-drip: ")
        while not writer.is_closing():
            writer.write(letter if head else b".")
            await writer.drain()
            await asyncio.sleep(DRIP_SECONDS)
        return False

    return send


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one request.

    Attributes:
        instead: the answer in place of the right one; nothing is served then.
        change: turns the right answer into a wrong one.
        send: how the answer goes out.
    """

    instead: Reply | None = None
    change: Callable[[Body], Body] | None = None
    send: Sending = whole

    @classmethod
    def status(cls, status: int, message: str = "The server had an error.", code: str | None = None, **headers: str):
        """An error in OpenAI's form."""
        return cls(error_reply(status, message, code, **headers))

    @classmethod
    def rate_limited(
        cls, *, seconds: float | None = None, milliseconds: int | None = None, until: datetime | None = None
    ):
        """429, with the wait in the forms that are given."""
        headers = {} if milliseconds is None else {"retry_after_ms": str(milliseconds)}
        if seconds is not None or until is not None:
            headers["retry_after"] = f"{seconds:g}" if until is None else format_datetime(until, usegmt=True)
        return cls(error_reply(429, "Rate limit reached.", "rate_limit_exceeded", "requests", **headers))

    @classmethod
    def no_credit(cls):
        message = "You exceeded your current quota, please check your plan and billing details."
        return cls(error_reply(429, message, "insufficient_quota", "insufficient_quota"))

    @classmethod
    def proxy_page(cls, status: int = 502):
        """A page of HTML, as a proxy sends it that does not reach the endpoint."""
        page = b"<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"
        return cls(Reply(status, [page], mime="text/html"))

    @classmethod
    def validation(cls):
        """422 as FastAPI's endpoints send it: no `error`, a list of what is wrong."""
        problem = {"type": "string_type", "loc": ["body", "model"], "msg": "Input should be a valid string", "input": 3}
        return cls(json_reply(422, {"detail": [problem]}))

    @classmethod
    def redirect(cls, address: str):
        return cls(Reply(307, [b""], {"location": address}))

    @classmethod
    def said(cls, body: bytes, status: int = 200, **headers: str):
        """These very bytes."""
        return cls(Reply(status, [body], {name.replace("_", "-"): text for name, text in headers.items()}))

    @classmethod
    def changed(cls, change: Callable[[Body], Body]):
        """The right answer, but for what the function does to it."""
        return cls(change=change)

    @classmethod
    def without_usage(cls):
        return cls.changed(lambda answer: {name: value for name, value in answer.items() if name != "usage"})

    @classmethod
    def vectors(cls, change: Callable[[list[Body]], list[Body]]):
        """Other vectors than the right ones."""
        return cls.changed(lambda answer: answer | {"data": change(answer["data"])})

    @classmethod
    def message(cls, finish: str | None, **message: Any):
        """Another message, which ends for another reason."""

        def change(answer: Body) -> Body:
            choice = answer["choices"][0]
            return answer | {
                "choices": [choice | {"message": choice["message"] | message, "finish_reason": finish}],
            }

        return cls.changed(change)

    @classmethod
    def cut_body(cls):
        return cls(send=cut_after(0))

    @classmethod
    def cut_stream(cls, events: int):
        return cls(send=cut_after(events))

    @classmethod
    def broken_stream(cls, events: int, error: Body):
        """A stream in which an error comes after so many events."""
        return cls(send=_ending_early(events, b"data: " + json.dumps({"error": error}).encode() + b"\n\n"))

    @classmethod
    def short_stream(cls, events: int):
        """A stream that comes to a proper end after so many events, before its message does."""
        return cls(send=_ending_early(events))

    @classmethod
    def held(cls, events: int, gate: threading.Event):
        return cls(send=held_after(events, gate))

    @classmethod
    def slow_drip(cls, events: int = 0, *, head: bool = True):
        """An answer that never comes to its end; `head=False`: not even to the end of its headers."""
        return cls(send=dripping(events, head=head))


def _ending_early(events: int, *more: bytes) -> Sending:
    async def send(writer: asyncio.StreamWriter, reply: Reply) -> bool:
        return await whole(writer, replace(reply, parts=[*reply.parts[:events], *more]))

    return send


# --- The endpoint ------------------------------------------------------------------------------------------------


class Window:
    """Requests and tokens that may begin within any window of so many seconds; what is turned away does not count."""

    def __init__(self, requests: int | None, tokens: int | None, seconds: float) -> None:
        self.requests, self.tokens, self.seconds = requests, tokens, seconds
        self._begun: deque[tuple[float, int]] = deque()
        self._tokens = 0

    def wait(self, tokens: int) -> float:
        """Count a request, or return the seconds after which there is room for it."""
        now = time.monotonic()
        while self._begun and self._begun[0][0] <= now - self.seconds:
            self._tokens -= self._begun.popleft()[1]
        wait = self._until_there_is_room(tokens) - now
        if wait <= 0:
            self._begun.append((now, tokens))
            self._tokens += tokens
        return max(0.0, wait)

    def _until_there_is_room(self, tokens: int) -> float:
        count, taken = len(self._begun), self._tokens
        until = 0.0
        for began, held in self._begun:
            if not self._is_over(count, taken, tokens):
                return until
            count, taken, until = count - 1, taken - held, began + self.seconds
        return until

    def _is_over(self, count: int, taken: int, tokens: int) -> bool:
        too_many = self.requests is not None and count + 1 > self.requests
        return too_many or (self.tokens is not None and taken + tokens > self.tokens)

    def headers(self) -> dict[str, str]:
        """What is told of the limits; durations as OpenAI writes them."""
        told: dict[str, str] = {}
        for name, limit, taken in (
            ("requests", self.requests, len(self._begun)),
            ("tokens", self.tokens, self._tokens),
        ):
            if limit is not None:
                told[f"x-ratelimit-limit-{name}"] = str(limit)
                told[f"x-ratelimit-remaining-{name}"] = str(max(0, limit - taken))
                told[f"x-ratelimit-reset-{name}"] = _duration(self.seconds if taken else 0)
        return told


def _duration(seconds: float) -> str:
    minutes, rest = divmod(seconds, 60)
    return f"{int(minutes)}m{rest:g}s" if minutes else f"{rest:g}s"


class AiProvider:
    """The endpoint, in a thread of its own.

    Args:
        key: what a request must bring; None takes any request.
        seconds: how long each answer takes.
        requests_per_window: how many may begin in a window; None: any number.
        tokens_per_window: the same for tokens.
        window: its seconds.
        port: 0 takes a free one.

    Attributes:
        asked: the requests, as they came.
        texts: how often each text was turned into a vector, which is what is paid.
        turned_away: how many requests got a 429, of the limits or of a fault.
        choose: tells for a request what goes wrong with it, where nothing is scripted by `next`.
        left: set when a client went away before its answer was whole.
    """

    def __init__(
        self,
        *,
        key: str | None = KEY,
        seconds: float = 0.0,
        requests_per_window: int | None = None,
        tokens_per_window: int | None = None,
        window: float = 60.0,
        port: int = 0,
    ) -> None:
        self.key, self.seconds, self.port = key, seconds, port
        self.window = Window(requests_per_window, tokens_per_window, window)
        self.asked: list[Asked] = []
        self.texts: Counter[str] = Counter()
        self.turned_away = 0
        self.choose: Callable[[Asked], Fault | None] = lambda _asked: None
        self.left = threading.Event()
        self._faults: deque[Fault] = deque()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="ai-provider")

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def next(self, *faults: Fault | None) -> None:
        """Let these go wrong with the next requests, one each; None lets one go well."""
        self._faults.extend(fault or Fault() for fault in faults)

    def counts(self) -> dict[str, Any]:
        """What was counted, as JSON values."""
        paid_twice = sum(times - 1 for times in self.texts.values())
        return {
            "requests": len(self.asked),
            "moments": [asked.moment for asked in self.asked],
            "texts": self.texts.total(),
            "paid_twice": paid_twice,
            "turned_away": self.turned_away,
        }

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(
            self._serve, "127.0.0.1", self.port, limit=LARGEST_HEAD, backlog=MOST_WAITING
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def _end(self) -> None:
        self._server.close()
        serving = asyncio.all_tasks() - {asyncio.current_task()}
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
        await self._loop.shutdown_default_executor()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection, one after the other."""
        goes_on = True
        try:
            while goes_on and (asked := await _request(reader)) is not None:
                fault = self._fault(asked)
                reply = self._reply(asked, fault)
                self.turned_away += reply.status == HTTPStatus.TOO_MANY_REQUESTS
                await asyncio.sleep(self.seconds)
                goes_on = await fault.send(writer, reply)
                if writer.is_closing():
                    self.left.set()
        except ConnectionError:
            self.left.set()
        except asyncio.CancelledError:
            writer.transport.abort()  # the endpoint ends
            return
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    def _fault(self, asked: Asked) -> Fault:
        if asked.path not in ENDPOINTS:
            return Fault()
        self.asked.append(asked)
        return self._faults.popleft() if self._faults else self.choose(asked) or Fault()

    def _reply(self, asked: Asked, fault: Fault) -> Reply:
        try:
            return fault.instead or self._right_reply(asked, fault.change)
        except Refused as refused:
            return json_reply(refused.status, refused.body)

    def _right_reply(self, asked: Asked, change: Callable[[Body], Body] | None) -> Reply:
        if (asked.method, asked.path) == ("GET", "/counts"):
            return json_reply(200, self.counts())
        self._check_key(asked)
        if (asked.method, asked.path) == ("GET", "/v1/models"):
            return json_reply(200, {"object": "list", "data": [_model(name) for name in (*DIMENSIONS, *CONTEXTS)]})
        endpoint = ENDPOINTS.get(asked.path)
        if endpoint is None or asked.method != "POST":
            raise Refused(f"Invalid URL ({asked.method} {asked.path})", status=404)
        body = _body(asked)
        taken = endpoint.take(body)
        if wait := self.window.wait(taken.tokens):
            return self._too_fast(wait)
        self.texts.update(taken.texts)
        answer = taken.answer()
        return self._served(change(copy.deepcopy(answer)) if change else answer, body)

    def _check_key(self, asked: Asked) -> None:
        kind, _, given = asked.headers.get("authorization", "").partition(" ")
        if self.key is None or (kind == "Bearer" and given == self.key):
            return
        if not given:
            raise Refused("You didn't provide an API key.", status=401)
        echoed = f"{given[:5]}{'*' * 8}{given[-4:]}"
        raise Refused(
            f"Incorrect API key provided: {echoed}. You can find your API key at https://platform.openai.com/"
            "account/api-keys.",
            status=401,
            code="invalid_api_key",
        )

    def _too_fast(self, wait: float) -> Reply:
        message = f"Rate limit reached. Please try again in {_duration(round(wait, 3))}."
        reply = error_reply(429, message, "rate_limit_exceeded", "requests")
        told = {"retry-after": str(int(wait) + 1), "retry-after-ms": str(int(wait * 1000) + 1)}
        return Reply(reply.status, reply.parts, told | self.window.headers())

    def _served(self, answer: Body, body: Body) -> Reply:
        headers = {"x-request-id": f"req_{len(self.asked)}"} | self.window.headers()
        if not body.get("stream"):
            return Reply(200, [json.dumps(answer).encode()], headers)
        with_usage = bool((body.get("stream_options") or {}).get("include_usage"))
        events = events_of(answer, with_usage=with_usage)
        return Reply(200, events, headers, "text/event-stream; charset=utf-8", streams=True)


async def _request(reader: asyncio.StreamReader) -> Asked | None:
    """Read one request; None where the client has closed the connection."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    method, path, _ = first.split(" ")
    fields = (line.partition(":") for line in lines)
    headers = {name.strip().lower(): value.strip() for name, _, value in fields}
    try:
        body = await reader.readexactly(int(headers.get("content-length", "0")))
    except asyncio.IncompleteReadError:
        return None
    return Asked(time.monotonic(), method, path.partition("?")[0], headers, body)


def _body(asked: Asked) -> Body:
    if not asked.headers.get("content-type", "").startswith("application/json"):
        raise Refused("Unsupported Content-Type: expected 'application/json'.", status=415)
    try:
        body = json.loads(asked.body)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise Refused("We could not parse the JSON body of your request.")
    return body


def _model(name: str) -> Body:
    return {"id": name, "object": "model", "created": CREATED, "owned_by": "openai"}


def main() -> None:
    """Serve until the process is ended."""
    options = argparse.ArgumentParser()
    options.add_argument("--port", type=int, default=0)
    options.add_argument("--seconds", type=float, default=0.0, help="that each answer takes")
    options.add_argument("--requests-per-minute", type=int)
    options.add_argument("--tokens-per-minute", type=int)
    given = options.parse_args()
    provider = AiProvider(
        port=given.port,
        seconds=given.seconds,
        requests_per_window=given.requests_per_minute,
        tokens_per_window=given.tokens_per_minute,
    )
    with provider, contextlib.suppress(KeyboardInterrupt):
        print(provider.url, flush=True)  # noqa: T201 - who started it reads where it is
        threading.Event().wait()


if __name__ == "__main__":
    main()
