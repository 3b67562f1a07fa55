"""Streams of events end where their events end, where nobody is there, and where nobody reads."""

import asyncio
import json

import pytest

from web import event_streams
from web.event_streams import STILL_THERE, EventStream, event

SECONDS = 30


class Reader:
    """The other side of a stream."""

    def __init__(self, *, reads=True):
        self.got, self.left, self.reads = [], asyncio.Event(), reads

    async def receive(self):
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message):
        if not self.reads and message["type"] == "http.response.body":
            await asyncio.Event().wait()
        self.got.append(message)

    @property
    def text(self) -> bytes:
        return b"".join(one.get("body", b"") for one in self.got)


class Events:
    """Events, and whether their maker was told that they are wanted no more."""

    def __init__(self, *events, endless=False):
        self.events, self.endless, self.closed = events, endless, False

    async def __call__(self):
        try:
            for one in self.events:
                yield one
            if self.endless:
                await asyncio.Event().wait()
        finally:
            self.closed = True


async def stream(events, reader):
    await asyncio.wait_for(EventStream(events())({"type": "http"}, reader.receive, reader.send), SECONDS)


def test_an_event_is_one_line_of_json_whatever_is_in_it():
    sent = event("status", {"text": "a\nb\r\ndata: c\u2028", "n": 1})
    kind, data, *rest = sent.decode().split("\n")
    assert (kind, rest) == ("event: status", ["", ""])
    assert json.loads(data.removeprefix("data: ")) == {"text": "a\nb\r\ndata: c\u2028", "n": 1}


def test_a_stream_has_all_events_and_ends():
    async def scene():
        reader = Reader()
        await stream(Events(event("a", 1), STILL_THERE, event("b", 2)), reader)
        assert reader.text == event("a", 1) + STILL_THERE + event("b", 2)
        assert (b"content-type", b"text/event-stream; charset=utf-8") in reader.got[0]["headers"]
        assert not [name for name, _ in reader.got[0]["headers"] if name == b"content-length"]
        assert reader.got[-1]["more_body"] is False

    asyncio.run(scene())


def test_a_stream_ends_when_its_reader_leaves():
    async def scene():
        reader, events = Reader(), Events(STILL_THERE, endless=True)
        streaming = asyncio.create_task(stream(events, reader))
        while reader.text != STILL_THERE:  # noqa: ASYNC110 - a reader of tests has no event
            await asyncio.sleep(0)
        reader.left.set()
        await streaming
        assert events.closed

    asyncio.run(scene())


def test_who_reads_nothing_is_left(monkeypatch):
    monkeypatch.setattr(event_streams, "SEND_SECONDS", 0.01)

    async def scene():
        reader, events = Reader(reads=False), Events(STILL_THERE, endless=True)
        await stream(events, reader)
        assert reader.text == b""

    asyncio.run(scene())


def test_events_that_refuse_to_begin_send_nothing_so_that_the_error_is_the_answer():
    async def full():
        raise ValueError("full")
        yield STILL_THERE

    reader = Reader()
    with pytest.raises(ValueError, match="full"):
        asyncio.run(stream(full, reader))
    assert reader.got == []


def test_an_error_of_the_events_is_raised():
    async def broken():
        yield STILL_THERE
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        asyncio.run(stream(broken, Reader()))
