"""Several ways out for mail: one after the other, or in turns; each takes what the one before could not hand over."""

from collections.abc import Sequence
from itertools import count
from typing import Literal

from processors.errors import TransportFault, TransportRests
from processors.interfaces import Mailer, MailQueue


class SeveralMailers:
    """Fulfils `processors.interfaces.Mailer` with others.

    A mail of which nobody knows whether it arrived is told of by the mailer that had it, and never goes to another.

    Args:
        mailers: at least one.
        order: `failover` begins with the first whenever it is asked, `roundrobin` with the next.
    """

    def __init__(self, mailers: Sequence[Mailer], order: Literal["failover", "roundrobin"]) -> None:
        self.name = f"{order}({' '.join(mailer.name for mailer in mailers)})"
        self.repeatable = all(mailer.repeatable for mailer in mailers)
        self.deadline = max(mailer.deadline for mailer in mailers)
        self._mailers = list(mailers)
        self._turns = count() if order == "roundrobin" else None

    def send(self, queue: MailQueue) -> None:
        """Send all mails by the first of these that can.

        Raises:
            TransportFault: none can; what each says.
            TransportRests: none can, and one of them only waits.
        """
        first = next(self._turns) % len(self._mailers) if self._turns else 0
        faults: list[TransportFault] = []
        for mailer in [*self._mailers[first:], *self._mailers[:first]]:
            try:
                return mailer.send(queue)
            except TransportFault as fault:
                faults.append(fault)
        said, rests = " ".join(map(str, faults)), [one for one in faults if isinstance(one, TransportRests)]
        if rests:
            raise TransportRests(said, min(one.retry_after or 0.0 for one in rests))
        raise TransportFault(said)
