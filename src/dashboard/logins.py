"""How often somebody may try to log in, by name and by address, and how many passwords are checked at once."""

from collections.abc import Callable
from functools import partial

from anyio import CapacityLimiter, to_thread

from processors.limits import Rate
from services import users
from web.buckets import Buckets, Taken

OF_ADDRESS = Rate(20, 60)
OF_NAME = Rate(10, 60)
CHECKED_AT_ONCE = 2
"""A password takes a fifth of a second of a processor: who tries many waits, and nobody else does."""


class Logins:
    """Lets people log in.

    Args:
        clock: seconds that only go forward.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._addresses = Buckets(OF_ADDRESS, clock)
        self._names = Buckets(OF_NAME, clock)
        self._room = CapacityLimiter(CHECKED_AT_ONCE)

    async def log_in(self, address: str, name: str, password: str, former: str | None) -> str | Taken | None:
        """Return a new session's token; None where the name or the password is wrong, or how long they must wait.

        Args:
            address: where they are.
            name: who they say they are.
            password: what they bring.
            former: the token of the session that this one replaces.
        """
        for buckets, of in ((self._addresses, address), (self._names, name)):
            taken = buckets.take(of)
            if taken is not None and not taken.allowed:
                return taken
        token = await to_thread.run_sync(partial(users.log_in, name, password, former, address), limiter=self._room)
        if token is not None:
            self._addresses.give_back(address)
            self._names.give_back(name)
        return token
