"""Whether tasks with a delay began when they were due."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from cli.chaos.ledger import Ledger, some
from cli.chaos.plan import Done, Fault
from services.chaos.numbers import delay_of

EARLY_SECONDS = 0.01
"""What the database's clock, which decides, may run faster within a delay, and rounds."""

SETTLE_SECONDS = 10.0
"""So long after a fault all that it has hit goes on again, as is promised."""


@dataclass(frozen=True, slots=True)
class Delays:
    """What came of the tasks with a delay.

    Attributes:
        count: how many were accepted.
        early: which began before they were due.
        late: seconds from the due time to the start, of each that no fault has touched, the shortest first.
    """

    count: int
    early: Sequence[int]
    late: Sequence[float]

    @property
    def problems(self) -> list[str]:
        """What is not as promised, one sentence each."""
        return [f"{len(self.early)} tasks began before they were due: {some(self.early)}."] if self.early else []

    @property
    def lateness(self) -> str:
        """How late those were that no fault has touched: the median, the worst, and how many there are."""
        if not self.late:
            return "-"
        return f"{median(self.late):.2f} s, {self.late[-1]:.2f} s (of {len(self.late)})"


def judge_delays(ledger: Ledger, done: Sequence[Done]) -> Delays:
    """Compare each start with the submit; a task is due no earlier than its delay after the submit began."""
    early, late = list[int](), list[float]()
    for number, sent in ledger.sent.items():
        delay = delay_of(number)
        began = min(ledger.starts(number), default=None)
        if not delay or began is None:
            continue
        if began < sent + delay - EARLY_SECONDS:
            early.append(number)
        accepted = ledger.accepted.get(number)
        if accepted is not None and not any(_touches(fault, sent, began) for fault in done):
            late.append(max(0.0, began - accepted - delay))
    return Delays(sum(delay_of(number) > 0 for number in ledger.accepted), sorted(early), sorted(late))


def _touches(fault: Done, begin: float, end: float) -> bool:
    over = fault.at + fault.away + SETTLE_SECONDS
    return fault.kind is not Fault.PUBLISHER and fault.at < end and over > begin
