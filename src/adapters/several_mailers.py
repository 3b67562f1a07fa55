"""Several ways out for mail: one after the other, or in turns; each takes what the one before could not hand over."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import count
from typing import Literal

from processors.errors import TransportFault, TransportRests
from processors.interfaces import Handed, Letter, Mailer, MailQueue, Outcome, Told

MOST_HELD = 100
MOST_HELD_BYTES = 64_000_000
"""Mails that wait for the next way, in memory; then it takes all that is left."""


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
        """Send all mails by the first of these that can; whose domain rests by one goes by the next.

        Raises:
            TransportFault: none can; what each says.
            TransportRests: none can, and one of them only waits.
        """
        first = next(self._turns) % len(self._mailers) if self._turns else 0
        faults: list[TransportFault] = []
        put_off: dict[tuple[str, str], Outcome] = {}
        for number, mailer in enumerate([*self._mailers[first:], *self._mailers[:first]], 1):
            way = _Way(queue, put_off, is_last=number == len(self._mailers))
            try:
                mailer.send(way)
            except TransportFault as fault:
                faults.append(fault)
            else:
                if not way.held:
                    return
            finally:
                way.end()
        said = " ".join(map(str, faults))
        waits = [one.retry_after or 0.0 for one in faults if isinstance(one, TransportRests)]
        waits += [one.retry_after or 0.0 for one in put_off.values()]
        raise TransportRests(said, min(waits)) if waits else TransportFault(said)


class _Way:
    """A queue of one of several ways: whom it puts off untried is kept for the next way; the last one tells of them.

    Args:
        queue: lends the mails.
        put_off: whom ways before have put off, by mail and address; this one adds to them.
        is_last: whether no other way follows.

    Attributes:
        held: mails whose recipients this way has all put off or told of.
    """

    def __init__(self, queue: MailQueue, put_off: dict[tuple[str, str], Outcome], *, is_last: bool) -> None:
        self.held: list[Letter] = []
        self._queue, self._put_off, self._is_last = queue, put_off, is_last
        self._mine: set[tuple[str, str]] = set()
        self._lent: dict[str, Letter] = {}

    def take(self) -> Letter | None:
        while not self._is_full() and (letter := self._queue.take()) is not None:
            recipients = tuple(one for one in letter.recipients if (letter.id, one) not in self._mine)
            if recipients:
                self._lent[letter.id] = letter
                return replace(letter, recipients=recipients)
            self.held.append(letter)
        return None

    def _is_full(self) -> bool:
        return len(self.held) >= MOST_HELD or sum(len(one.content) for one in self.held) >= MOST_HELD_BYTES

    def give_back(self, letter: Letter) -> None:
        self._queue.give_back(self._lent.pop(letter.id))

    def turn(self, told: Sequence[Told], handed: Sequence[Handed]) -> None:
        known = [(self._lent.pop(letter.id), self._known(letter, outcomes)) for letter, outcomes in told]
        try:
            settled = [one for one in known if one[1]]
            if settled or handed:
                self._queue.turn(settled, [(self._lent[letter.id], addresses) for letter, addresses in handed])
        finally:
            for letter, outcomes in known:
                if not outcomes:
                    self._queue.give_back(letter)

    def end(self) -> None:
        """Give back what waits for the next way."""
        for letter in reversed(self.held):
            self._queue.give_back(letter)

    def _known(self, letter: Letter, outcomes: Mapping[str, Outcome]) -> dict[str, Outcome]:
        """Return the outcomes that are to be kept, and remember whom this way has put off."""
        known: dict[str, Outcome] = {}
        for one, outcome in outcomes.items():
            place = letter.id, one
            if outcome.state == "queued":
                soonest = min(outcome, self._put_off.get(place, outcome), key=lambda wait: wait.retry_after or 0.0)
                self._put_off[place] = soonest
                self._mine.add(place)
                if self._is_last:
                    known[one] = soonest
            else:
                known[one] = outcome
        return known
