"""A queue of mails as a mailer sees it, in memory, which checks that each mail is treated as it must be."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from processors.interfaces import Letter, Outcome


@dataclass
class RememberedQueue:
    """Lends mails and remembers what it is told.

    Attributes:
        letters: what is to be sent.
        on_turn: called with what is announced, before it counts as announced.
        outcomes: by mail's id and address.
        announced: mail ids and addresses, in the order in which they were announced.
        turns: how many commits there were.
    """

    letters: deque[Letter]
    on_turn: Callable[[Sequence[tuple[Letter, Sequence[str]]]], None] = lambda _: None
    outcomes: dict[tuple[str, str], Outcome] = field(default_factory=dict)
    announced: list[tuple[str, str]] = field(default_factory=list)
    turns: int = 0
    lent: dict[str, Letter] = field(default_factory=dict)

    @classmethod
    def of(cls, *letters: Letter, on_turn=lambda _: None) -> "RememberedQueue":
        return cls(deque(letters), on_turn)

    def take(self) -> Letter | None:
        if not self.letters:
            return None
        letter = self.letters.popleft()
        assert letter.id not in self.lent, "a mail is lent once at a time"
        self.lent[letter.id] = letter
        return letter

    def give_back(self, letter: Letter) -> None:
        assert self.lent.pop(letter.id).id == letter.id
        self.letters.appendleft(letter)

    def turn(
        self,
        told: Sequence[tuple[Letter, Mapping[str, Outcome]]],
        handed: Sequence[tuple[Letter, Sequence[str]]],
    ) -> None:
        self.turns += 1
        for letter, outcomes in told:
            lent = self.lent.pop(letter.id)
            assert outcomes, "each mail that is told of settles somebody"
            for address, outcome in outcomes.items():
                assert address in lent.recipients
                assert (letter.id, address) not in self.outcomes, "everybody has one outcome"
                self.outcomes[letter.id, address] = outcome
            left = tuple(address for address in lent.recipients if address not in outcomes)
            if left:
                self.letters.append(replace(lent, recipients=left))
        self.on_turn(handed)
        for letter, addresses in handed:
            assert letter.id in self.lent, "only a mail that is lent is handed over"
            self.announced += [(letter.id, address) for address in addresses]

    def states(self, mail_id: str | None = None) -> dict[str, str]:
        """The state of every recipient, of one mail or of all."""
        return {address: one.state for (of, address), one in self.outcomes.items() if mail_id in {None, of}}
