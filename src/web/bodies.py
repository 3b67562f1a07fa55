"""Bodies of requests as they come: who sends one too slowly is told so, and heard no further."""

import asyncio
from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.types import Message, Receive

QUIET_SECONDS = 30.0
LONGEST_SECONDS = 600.0
"""For what is read into memory: 64 MB come within it at a megabit a second."""

CLOSES = {"Connection": "close"}
"""Of an answer to a body that is not read to its end: the rest would be taken for ever."""


def in_time(receive: Receive, longest: float | None = None) -> Receive:
    """Return what receives a body, for nothing else afterwards, and raises a 408 where it is too slow.

    Args:
        receive: receives it.
        longest: seconds until all of it has come; None: as for what is read into memory.
    """
    clock = asyncio.get_running_loop()
    most = LONGEST_SECONDS if longest is None else longest
    until = clock.time() + most

    async def receive_in_time() -> Message:
        try:
            async with asyncio.timeout_at(min(until, clock.time() + QUIET_SECONDS)):
                return await receive()
        except TimeoutError:
            why = f"Nothing came for {QUIET_SECONDS:g} s, or not all within {most:g} s; send it again."
            raise HTTPException(HTTPStatus.REQUEST_TIMEOUT, why, CLOSES) from None

    return receive_in_time
