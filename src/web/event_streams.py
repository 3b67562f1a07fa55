"""Server-sent events (WHATWG HTML 9.2): a stream that ends where nobody reads it."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

MEDIA_TYPE = "text/event-stream"
LINE_BREAK = re.compile(r"\r\n|\r|\n")
"""What ends a line there, and nothing else does."""

SEND_SECONDS = 20.0
"""Whoever reads nothing for so long is gone, or wants to hold us up."""


def event(kind: str, data: Any) -> bytes:
    """Return one event; `data` as JSON has no line break of its own."""
    return f"event: {kind}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n".encode()


def text_event(kind: str, text: str) -> bytes:
    """Return one event whose data is a text of several lines, such as a part of a page."""
    lines = "".join(f"data: {line}\n" for line in LINE_BREAK.split(text))
    return f"event: {kind}\n{lines}\n".encode()


STILL_THERE = b": \n\n"
"""A comment, which keeps proxies from closing a quiet stream, and tells us whether the other side is there."""


class EventStream(Response):
    """Sends events as they come.

    Args:
        events: made by `event`, or `STILL_THERE`.
    """

    media_type = MEDIA_TYPE

    def __init__(self, events: AsyncIterator[bytes]) -> None:
        super().__init__(headers={"X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._events = events

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the events end, or nobody reads them."""
        sending = asyncio.create_task(self._send(send))
        leaving = asyncio.create_task(_gone(receive))
        try:
            await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            leaving.cancel()
            if not sending.done():
                sending.cancel()
            await asyncio.gather(sending, leaving, return_exceptions=True)
        error = None if sending.cancelled() else sending.exception()
        if error is not None and not isinstance(error, TimeoutError):
            raise error

    async def _send(self, send: Send) -> None:
        events = aiter(self._events)
        one = await anext(events, None)  # what refuses to begin is an answer of its own
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        while one is not None:
            await asyncio.wait_for(send({"type": "http.response.body", "body": one, "more_body": True}), SEND_SECONDS)
            one = await anext(events, None)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
