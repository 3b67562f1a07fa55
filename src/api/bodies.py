"""Bodies of requests as they came, up to a bound."""

from collections.abc import Awaitable, Callable

from fastapi import Request
from fastapi.exceptions import HTTPException
from starlette.types import Message, Receive

from web.bodies import in_time

TOO_LARGE = 413  # RFC 9110 15.5.14, whose name in `http` differs between versions


def body_of(most: int) -> Callable[[Request], Awaitable[bytes]]:
    """Return what reads a body of at most so many bytes, for `Depends`; a larger one is a 413, and not read further."""

    async def read(request: Request) -> bytes:
        taken = bytearray()
        async for piece in Request(request.scope, bounded(request.receive, most)).stream():
            taken += piece
        return bytes(taken)

    return read


def bounded(receive: Receive, most: int) -> Receive:
    """Return what receives a body in time, of at most so many bytes; a larger one is a 413, and received no further."""
    left, receive = most, in_time(receive)

    async def receive_bounded() -> Message:
        nonlocal left
        message = await receive()
        left -= len(message.get("body", b""))
        if left < 0:
            raise too_large(most)
        return message

    return receive_bounded


def too_large(most: int) -> HTTPException:
    """Return the error of a body that has more than so many bytes."""
    return HTTPException(TOO_LARGE, f"The body must have at most {most} bytes.")
