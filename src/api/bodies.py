"""Bodies of requests as they came, up to a bound."""

from collections.abc import Awaitable, Callable

from fastapi import Request
from fastapi.exceptions import HTTPException

TOO_LARGE = 413  # RFC 9110 15.5.14, whose name in `http` differs between versions


def body_of(most: int) -> Callable[[Request], Awaitable[bytes]]:
    """Return what reads a body of at most so many bytes, for `Depends`; a larger one is a 413, and not read further."""

    async def read(request: Request) -> bytes:
        taken = bytearray()
        async for piece in request.stream():
            taken += piece
            if len(taken) > most:
                raise HTTPException(TOO_LARGE, f"The body must have at most {most} bytes.")
        return bytes(taken)

    return read
