"""A TCP relay that passes every byte on, in order, a given time after it came.

python relay.py <port> <port of the server> <milliseconds in each direction>
"""

import asyncio
import contextlib
import selectors
import socket
import sys

CHUNK = 65_536


async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seconds: float) -> None:
    """Pass on one direction of a connection until it ends."""
    loop = asyncio.get_running_loop()
    chunks: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

    async def collect() -> None:
        chunk = b"-"
        while chunk:
            chunk = await reader.read(CHUNK)
            chunks.put_nowait((loop.time() + seconds, chunk))

    collecting = asyncio.create_task(collect())
    try:
        while True:
            due, chunk = await chunks.get()
            await asyncio.sleep(max(0.0, due - loop.time()))
            if not chunk:
                return
            writer.write(chunk)
            await writer.drain()
    finally:
        collecting.cancel()
        writer.close()


async def serve(port: int, target: int, seconds: float) -> None:
    """Relay until ended."""

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", target)
        for one in (writer, far_writer):
            one.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        there, back = pass_on(reader, far_writer, seconds), pass_on(far_reader, writer, seconds)
        with contextlib.suppress(ConnectionError):
            await asyncio.gather(there, back)

    server = await asyncio.start_server(connect, "127.0.0.1", port)
    async with server:
        await server.serve_forever()


def exact_loop() -> asyncio.AbstractEventLoop:
    """Return a loop whose timers are finer than the whole milliseconds of epoll."""
    return asyncio.SelectorEventLoop(selectors.SelectSelector())


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=exact_loop) as runner:
        runner.run(serve(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]) / 1000))
