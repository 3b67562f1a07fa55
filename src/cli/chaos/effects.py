"""Whether effects happened once, and whether what nobody knows is listed."""

from collections.abc import Sequence
from dataclasses import dataclass

from cli.chaos.ledger import Ledger, some
from cli.chaos.told import Told
from services.chaos.numbers import can_be_looked_up, has_effect


@dataclass(frozen=True, slots=True)
class Effects:
    """What came of the tasks that do their work through `effect`.

    Attributes:
        count: how many were accepted.
        twice: whose effect happened more than once.
        listed: which failed because nobody knows, and are listed as unknown.
        unlisted: which failed so, and are not listed.
        not_asked: which failed so although the outside world could be asked.
        known: which are listed as unknown although their success stands in their record.
    """

    count: int
    twice: Sequence[int]
    listed: Sequence[int]
    unlisted: Sequence[int]
    not_asked: Sequence[int]
    known: Sequence[int]

    @property
    def problems(self) -> list[str]:
        """What is not as promised, one sentence each."""
        said = [
            (self.twice, "effects happened more than once"),
            (self.unlisted, "tasks failed as unknown, and get_effects_in_doubt does not list their effect"),
            (self.not_asked, "effects were given up as unknown although there is a look-up"),
            (self.known, "effects are listed as unknown, and their tasks' records say SUCCESS"),
        ]
        return [f"{len(numbers)} {sentence}: {some(numbers)}." for numbers, sentence in said if numbers]


def judge_effects(ledger: Ledger, told: Told) -> Effects:
    """Compare what happened with what the records say about it."""
    return Effects(
        count=sum(map(has_effect, ledger.accepted)),
        twice=sorted(number for number, times in ledger.done.items() if has_effect(number) and times > 1),
        listed=sorted(told.unknown & told.listed),
        unlisted=sorted(told.unknown - told.listed),
        not_asked=sorted(filter(can_be_looked_up, told.unknown)),
        known=sorted(told.listed & ledger.finished()),
    )
