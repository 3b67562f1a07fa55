"""A Twilio on loopback: the official SDK talks to it over HTTP, and it calls our webhooks back, signed as Twilio signs.

It has a clock that may be faster than the machine's, a queue (calls per second), a limit of live calls, people and
machines that answer, errors and faults; and it counts everything, so that promises about calls can be checked from
outside. `phone_simulator.callees.MAGIC_HELP` says whom one reaches by which number, `phone_simulator.faults.Faults`
what can go wrong.

What phones do (ringing, talking, a day in the queue) goes by the simulator's clock; what HTTP and the queue's pace do
(time-outs, late callbacks, calls per second) goes by the machine's. Dates are the machine's.

HTTP, with the account's login on all of it:

- `/2010-04-01/Accounts/AC…/Calls.json` (POST, GET) and `/Calls/CA….json` (GET, POST), as Twilio's;
- `GET /simulator/state?calls=1000`: what was counted, and the newest calls with their histories, as JSON;
- `PUT /simulator/faults`: a JSON object of faults; those that it does not name are off;
- `POST /simulator/incoming`: `{"from": "+49…", "to": "+1…", "url": "http://127.0.0.1:…"}`, and `status_callback`,
  `keys`, `speech`, `stays` where wanted: somebody calls us.

It listens on 127.0.0.1 and sends requests to this machine alone. Not simulated: recordings as files, child calls of
Dial, conferences, queues, applications, notifications.

Sources: twilio.com/docs/voice/api/call-resource, …/voice/twiml, …/usage/webhooks.
"""

import re
import threading
from collections.abc import Callable, Collection, Mapping
from random import Random, SystemRandom
from typing import Self

from adapters.phone_simulator.api import Server, incoming
from adapters.phone_simulator.callees import Callee
from adapters.phone_simulator.calls import API_VERSION, Call
from adapters.phone_simulator.clock import ScaledClock
from adapters.phone_simulator.exchange import Exchange, Lines
from adapters.phone_simulator.faults import Faults
from adapters.phone_simulator.measures import Measures
from adapters.phone_simulator.timetable import Timetable
from adapters.phone_simulator.webhooks import Webhooks

OUR_NUMBER = "+15005550006"
"""The number that may call, as with Twilio's test credentials."""

EXAMPLE_NUMBER = "+1987654321"
"""By which the examples of the service's description call."""

ACCOUNT = re.compile("AC[0-9A-Za-z]{1,64}")
NO_FAULTS = Faults()


class TwilioSimulator:
    """Runs in threads of this process from `with` to its end.

    Attributes:
        url: where it is, such as `http://127.0.0.1:4010`.
        measures: what was counted.
        seed: what decided chance; the same seed and the same requests in the same order decide it again.

    Args:
        account_sid: `AC…`, the login's user.
        auth_token: the login's password, and what webhooks are signed with.
        numbers: that may call.
        port: on 127.0.0.1; 0: a free one.
        speed: seconds of phones in one of the machine's: with 50, a ring of 60 s lasts 1.2 s.
        calls_per_second: how many calls are dialled in one of the machine's seconds; the others wait.
        live_calls: how many calls there may be at one instant, waiting and inbound ones too; None: any number.
        faults: what goes wrong.
        seed: None: any.
        magic: whether the last digits of a number decide what happens.
        callees: who answers at a number; None: the simulator decides it.
        reach: where a base address of webhooks is really found, such as
            {"https://calls.example.com": "http://127.0.0.1:8000"}; what is signed is what the caller gave.
        kept: how many ended calls are remembered; others stay counted.
        told: is called with each step of a call, by the thread that does it; must not wait.
    """

    def __init__(  # noqa: PLR0913 - one per fact
        self,
        account_sid: str,
        auth_token: str,
        *,
        numbers: Collection[str] = (OUR_NUMBER,),
        port: int = 0,
        speed: float = 1.0,
        calls_per_second: float = 1.0,
        live_calls: int | None = None,
        faults: Faults = NO_FAULTS,
        seed: int | None = None,
        magic: bool = True,
        callees: Callable[[str], Callee] | None = None,
        reach: Mapping[str, str] | None = None,
        kept: int = 100_000,
        told: Callable[[Call, str], None] = lambda _call, _what: None,
    ) -> None:
        if not ACCOUNT.fullmatch(account_sid) or not auth_token:
            raise ValueError("The simulator needs an account's name, AC and letters or digits, and a token.")
        if calls_per_second <= 0:
            raise ValueError(f"calls_per_second must be more than 0, not {calls_per_second}.")
        self.seed = SystemRandom().randrange(2**32) if seed is None else seed
        random = Random(self.seed)  # noqa: S311 - chance that can be repeated
        lines = Lines(numbers, calls_per_second, live_calls, magic, callees, kept)
        self._timetable = Timetable(ScaledClock(speed))
        self._webhooks = Webhooks(auth_token, lambda: self.faults.signature, reach)
        recordings = f"https://api.twilio.com/{API_VERSION}/Accounts/{account_sid}/Recordings"
        self._exchange = Exchange(account_sid, lines, self._timetable, self._webhooks.send, random, told, recordings)
        self._exchange.faults = faults
        self._server = Server(port, self._exchange, auth_token, Random(self.seed), {"seed": self.seed})  # noqa: S311
        self._threads = [
            threading.Thread(target=self._timetable.keep_time, name="simulator-clock"),
            threading.Thread(target=self._server.serve_forever, args=(0.05,), name="simulator-api"),
        ]

    def __enter__(self) -> Self:
        """Start."""
        self._webhooks.start()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End every thread; calls that are live stay as they are."""
        self._server.end()
        self._timetable.end()
        for thread in self._threads:
            thread.join()
        self._webhooks.stop()

    @property
    def url(self) -> str:
        """Return where it is."""
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def faults(self) -> Faults:
        """What goes wrong now; may be replaced at any time."""
        return self._exchange.faults

    @faults.setter
    def faults(self, faults: Faults) -> None:
        self._server.set_faults(faults)

    @property
    def measures(self) -> Measures:
        """Return what was counted."""
        return self._exchange.measures

    @property
    def calls(self) -> list[Call]:
        """Return the calls that are remembered, the oldest first."""
        return self._exchange.remembered()

    def call(self, sid: str) -> Call:
        """Return a call that is remembered.

        Raises:
            LookupError: there is none.
        """
        found = self._exchange.known(sid)
        if found is None:
            raise LookupError(f"The simulator remembers no call {sid}.")
        return found

    def incoming(
        self,
        url: str,
        *,
        from_number: str,
        to: str = OUR_NUMBER,
        status_url: str = "",
        callee: Callee = Callee(),  # noqa: B008 - cannot be changed
    ) -> Call:
        """Let somebody call us.

        Args:
            url: where is asked what to say.
            from_number: who calls, in E.164 form.
            to: which number of ours.
            status_url: where the end is told; empty: nowhere.
            callee: what whoever calls does.

        Raises:
            Refusal: a URL is none, or there are as many calls as there may be.
        """
        return incoming(self._exchange, from_number=from_number, to=to, url=url, status_url=status_url, callee=callee)
