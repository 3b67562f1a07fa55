"""Connections of the web process: each ends where its other side is too slow, and there is room for so many."""

import asyncio
import resource
import socket
from math import inf
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_SECONDS = 20.0
"""From a connection's start, or the first byte behind a request, to the end of a request's head."""

MOST_HEAD_BYTES = 64 * 1024
"""Of a request's head, beside its first piece, of which the loop reads 256 KiB at most."""

STUCK_SECONDS = 30.0
"""So long nothing of an answer has been taken: who reads is gone, or wants to hold us up."""

MOST = 2_000
FILES_BESIDE = 500
"""Of the files that this process may have open, those that are no connection."""

FEWEST = 50


class Connection(HttpToolsProtocol):
    """Uvicorn's own, which alone waits for ever for a head that does not come and for a reader who takes nothing.

    It also takes a head of any length.
    """

    _head: asyncio.TimerHandle | None = None
    _in_head = False
    _head_bytes = 0
    _look: asyncio.TimerHandle | None = None
    _untaken: float = inf

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Begin."""
        # Asyncio does so for listeners of its own alone; the second part of an answer waited 40 ms for the other side.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super().connection_made(transport)
        self._mind_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        for timer in (self._head, self._look):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what came."""
        goes_on = self._in_head
        super().data_received(data)
        if goes_on and self._in_head:
            self._head_bytes += len(data)
        if self._head_bytes > MOST_HEAD_BYTES:
            self.send_400_response("The request's head is too long.")
        self._mind_head()

    def on_message_begin(self) -> None:
        """Begin a request's head."""
        super().on_message_begin()
        self._in_head, self._head_bytes = True, 0

    def on_headers_complete(self) -> None:
        """End it."""
        self._in_head = False
        super().on_headers_complete()

    def pause_writing(self) -> None:
        """Let the answer wait until its reader has taken some of it."""
        super().pause_writing()
        self._mind_reader()

    def resume_writing(self) -> None:
        """Let the answer go on."""
        super().resume_writing()
        self._untaken = inf

    def on_response_complete(self) -> None:
        """Go on with the next request; the end of the answer may not have been taken yet."""
        super().on_response_complete()
        self._mind_reader()

    def _mind_head(self) -> None:
        """End the connection in a while where nothing but the head of a request is waited for."""
        cycle = cast("Any", self.cycle)
        if cycle is None or cycle.response_complete:
            self._head = self._head or self.loop.call_later(HEAD_SECONDS, self.transport.abort)
        elif self._head is not None:
            self._head.cancel()
            self._head = None

    def _mind_reader(self) -> None:
        """End the connection in a while where nothing of what is to be sent is taken."""
        left = self.transport.get_write_buffer_size()
        if left and self._look is None:
            self._untaken = left
            self._look = self.loop.call_later(STUCK_SECONDS, self._look_again)

    def _look_again(self) -> None:
        self._look, left = None, self.transport.get_write_buffer_size()
        if left and left >= self._untaken:
            self.transport.abort()
        else:
            self._mind_reader()


def room() -> int:
    """Let this process have as many files open as it has room for connections; returns how many of those."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = MOST + FILES_BESIDE
    if soft != resource.RLIM_INFINITY and soft < files:
        files = files if hard == resource.RLIM_INFINITY else min(files, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
    return max(FEWEST, min(MOST, files - FILES_BESIDE))
