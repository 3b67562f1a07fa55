"""Connections of the web process end where their other side is too slow, and only there."""

import re
import select
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from api import connections
from api.__main__ import listen
from api.app import create_app
from api.connections import Connection, room
from config.settings import ensure_folders, settings
from dashboard import forms
from services.access import admin_key
from waiting import until
from web import bodies
from web.downloads import Pieces

PIECE = bytes(256 * 1024)
PIECES = 400
"""A hundred megabytes: more than all buffers on the way hold."""

MOMENT = 0.05
HEAD = b"Host: localhost\r\n"


class Served:
    """An application behind a real server."""

    def __init__(self, app, **more) -> None:
        own = {"http": Connection, "log_config": None, "timeout_graceful_shutdown": 1}
        self.server = uvicorn.Server(uvicorn.Config(app, **own | more))
        self.listener = listen("127.0.0.1", 0)
        self.port = self.listener.getsockname()[1]

    def open(self) -> set:
        """The connections that the server has."""
        return self.server.server_state.connections

    @contextmanager
    def connected(self, sent: bytes = b"") -> Iterator[socket.socket]:
        with socket.create_connection(("127.0.0.1", self.port), 60) as connection:
            connection.sendall(sent)
            yield connection


@contextmanager
def serving(app, **more) -> Iterator[Served]:
    served = Served(app, **more)
    thread = threading.Thread(target=served.server.run, kwargs={"sockets": [served.listener]})
    thread.start()
    until(lambda: served.server.started, what="the server has started")
    yield served
    served.server.should_exit = True
    thread.join(60)


@pytest.fixture
def ended() -> list[int]:
    """A line for each large answer whose making has ended."""
    return []


@pytest.fixture
def served(ended) -> Iterator[Served]:
    def pieces():
        try:
            for _ in range(PIECES):
                yield PIECE
        finally:
            ended.append(1)

    routes = [
        Route("/large", lambda _request: Pieces(pieces())),
        Route("/small", lambda _request: PlainTextResponse("small"), methods=["GET", "POST"]),
    ]
    with serving(Starlette(routes=routes)) as made:
        yield made


def is_closed(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def read_whole(connection: socket.socket) -> int:
    read = 0
    while piece := connection.recv(1024**2):
        read += len(piece)
    return read


def test_a_reader_who_takes_nothing_is_left_and_holds_nothing(served, ended, monkeypatch):
    monkeypatch.setattr(connections, "STUCK_SECONDS", MOMENT)
    with served.connected(b"GET /large HTTP/1.1\r\n" + HEAD + b"\r\n"):
        until(lambda: ended, what="the answer is made no further")
        until(lambda: not served.open(), what="the connection is gone, though its other side is still there")


@pytest.mark.parametrize("more", [b"", b"Connection: close\r\n"])
def test_the_end_of_an_answer_that_nobody_takes_is_not_kept_for_ever_either(monkeypatch, more):
    """Less is left of it than lets its making wait: it is made, and nothing of it is sent again."""
    monkeypatch.setattr(connections, "STUCK_SECONDS", MOMENT)
    left = PlainTextResponse("x" * 60_000)
    with serving(Starlette(routes=[Route("/", lambda _request: left)])) as served, socket.socket() as connection:
        served.listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_096)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2_048)
        connection.connect(("127.0.0.1", served.port))
        connection.sendall(b"GET / HTTP/1.1\r\n" + HEAD + more + b"\r\n")
        until(lambda: select.select([connection], [], [], 0)[0], what="it is being answered")
        until(lambda: not served.open(), what="the connection is gone")


def test_a_reader_who_goes_on_reading_has_all_of_it(served, ended, monkeypatch):
    monkeypatch.setattr(connections, "STUCK_SECONDS", MOMENT)
    with served.connected(b"GET /large HTTP/1.1\r\n" + HEAD + b"Connection: close\r\n\r\n") as connection:
        assert read_whole(connection) > PIECES * len(PIECE)
    assert ended == [1]


@pytest.mark.parametrize("sent", [b"", b"GET /small HTTP/1.1\r\nHost: loc"])
def test_a_head_that_does_not_come_is_not_waited_for(served, monkeypatch, sent):
    monkeypatch.setattr(connections, "HEAD_SECONDS", MOMENT)
    with served.connected(sent) as connection:
        assert is_closed(connection)


@pytest.mark.parametrize("piece", [b"X-One: 1\r\n", b"x"])
def test_a_head_that_does_not_end_is_not_kept(served, piece):
    with served.connected(b"GET /small HTTP/1.1\r\n" + HEAD + b"X-First: 1") as connection:
        sent = 0
        with suppress(OSError):
            while sent < 100 * connections.MOST_HEAD_BYTES and not select.select([connection], [], [], 0)[0]:
                sent += connection.send(piece * 1_000)
        assert connection.recv(12) == b"HTTP/1.1 400"
    assert sent < 100 * connections.MOST_HEAD_BYTES


def test_a_long_head_that_ends_is_taken(served):
    cookie = b"Cookie: " + b"x" * (connections.MOST_HEAD_BYTES // 2) + b"\r\n"
    with served.connected(b"GET /small HTTP/1.1\r\n" + HEAD) as connection:
        connection.sendall(cookie)
        connection.sendall(b"Connection: close\r\n\r\n")
        assert connection.recv(15) == b"HTTP/1.1 200 OK"


@pytest.mark.parametrize(
    "wrong",
    [
        b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
        b"Content-Length: +3\r\n\r\nabc",
        b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
        b"Space : before\r\n\r\n",
        b"No-Colon\r\n\r\n",
        b"Zero: a\0b\r\n\r\n",
        b" Folded: 1\r\n\r\n",
    ],
)
def test_a_request_that_others_may_read_otherwise_is_refused(served, wrong):
    """RFC 9112 §5.1, §6.1, §6.3: what a proxy before this process may take for two requests."""
    with served.connected(b"POST /small HTTP/1.1\r\n" + HEAD + wrong) as connection:
        assert connection.recv(12) == b"HTTP/1.1 400"


def test_requests_that_are_sent_without_waiting_are_answered_in_their_order(served):
    bodies = b"POST /small HTTP/1.1\r\n" + HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    last = b"GET /none HTTP/1.1\r\n" + HEAD + b"Connection: close\r\n\r\n"
    with served.connected(bodies * 20 + last) as connection:
        answer = b"".join(iter(lambda: connection.recv(65_536), b""))
    assert re.findall(rb"HTTP/1.1 (\d+)", answer) == [b"200"] * 20 + [b"404"]


def test_neither_is_one_behind_an_answer_nor_a_body_that_nobody_reads(served, monkeypatch):
    monkeypatch.setattr(connections, "HEAD_SECONDS", MOMENT)
    requests = (
        b"GET /small HTTP/1.1\r\n" + HEAD + b"\r\n",
        b"POST /small HTTP/1.1\r\n" + HEAD + b"Content-Length: 1000000\r\n\r\n",
    )
    for request in requests:
        with served.connected(request) as connection:
            while not connection.recv(1024).endswith(b"small"):
                pass
            connection.sendall(b"G")
            assert is_closed(connection)


def test_no_part_of_an_answer_waits_until_the_part_before_is_confirmed(served):
    with served.connected():
        until(served.open, what="the connection is there")
        (one,) = served.open()
        assert one.transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_connection_that_is_used_again_in_time_stays(served, monkeypatch):
    monkeypatch.setattr(connections, "HEAD_SECONDS", 30.0)
    with served.connected() as connection:
        for _ in range(3):
            connection.sendall(b"GET /small HTTP/1.1\r\n" + HEAD + b"\r\n")
            while not connection.recv(1024).endswith(b"small"):
                pass
        (one,) = served.open()
        assert (one._head, one._look) == (None, None), "nothing is going to end it"


def test_more_than_there_is_room_for_are_answered_by_503():
    request = b"GET / HTTP/1.1\r\n" + HEAD + b"\r\n"
    with serving(Starlette(routes=[Route("/", lambda _: PlainTextResponse("x"))]), limit_concurrency=3) as served:
        with served.connected(), served.connected():
            until(lambda: len(served.open()) == 2, what="two are there")
            with served.connected(request) as third:
                assert third.recv(1024).startswith(b"HTTP/1.1 503 ")
        until(lambda: not served.open(), what="they are gone")
        with served.connected(request) as later:
            assert later.recv(1024).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    ("limits", "connections_at_once", "files"),
    [
        ((1_024, 4_096), 2_000, 2_500),
        ((1_024, 1_024), 524, 1_024),
        ((100, 200), 50, 200),
        ((20_000, 20_000), 2_000, None),
        ((1_024, connections.resource.RLIM_INFINITY), 2_000, 2_500),
        ((connections.resource.RLIM_INFINITY, connections.resource.RLIM_INFINITY), 2_000, None),
    ],
)
def test_there_is_room_for_as_many_as_files_may_be_open(monkeypatch, limits, connections_at_once, files):
    set_to: list[tuple[int, int]] = []
    monkeypatch.setattr(connections.resource, "getrlimit", lambda _what: limits)
    monkeypatch.setattr(connections.resource, "setrlimit", lambda _what, given: set_to.append(given))
    assert room() == connections_at_once
    assert set_to == ([] if files is None else [(files, limits[1])])


# --- Bodies -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole() -> Iterator[Served]:
    """The service itself."""
    ensure_folders(settings)
    with serving(create_app(settings), lifespan="off") as made:
        yield made


PLACES = {
    "a body with a type": ("/api/v1/submit/process_chat", "application/json"),
    "a body that is read as it is": ("/api/v1/email/bounces", "message/rfc822"),
    "a form": ("/login", forms.MEDIA_TYPE),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("limit", ["QUIET_SECONDS", "LONGEST_SECONDS"])
def test_a_body_that_comes_too_slowly_is_a_408_and_ends_the_connection(whole, monkeypatch, place, limit):
    monkeypatch.setattr(bodies, limit, MOMENT)
    path, kind = PLACES[place]
    head = f"Authorization: Bearer {admin_key(settings)}\r\nContent-Type: {kind}\r\nContent-Length: 100\r\n"
    own = "Sec-Fetch-Site: same-origin\r\n"
    with whole.connected(f"POST {path} HTTP/1.1\r\nHost: localhost\r\n{head}{own}\r\n{{".encode()) as connection:
        said = b""
        while piece := connection.recv(4_096):
            said += piece
    assert said.startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize("place", PLACES)
def test_who_leaves_in_the_middle_of_a_body_leaves_no_error_in_the_log(whole, caplog, place):
    path, kind = PLACES[place]
    head = f"Authorization: Bearer {admin_key(settings)}\r\nContent-Type: {kind}\r\nContent-Length: 100\r\n"
    own = "Sec-Fetch-Site: same-origin\r\n"
    with whole.connected(f"POST {path} HTTP/1.1\r\nHost: localhost\r\n{head}{own}\r\n{{".encode()):
        until(lambda: whole.server.server_state.tasks, what="the request is looked at")
    until(lambda: not whole.server.server_state.tasks, what="the request is over")
    assert [one.getMessage() for one in caplog.records if one.levelname == "ERROR"] == []
