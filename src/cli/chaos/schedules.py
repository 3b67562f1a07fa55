"""Whether schedules fired each of their times once, and how long nobody was there to fire them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cli.chaos.ledger import Ledger
from cli.chaos.plan import Done, Fault
from cli.chaos.told import Told

Fire = tuple[int, datetime]
"""Seconds from fire to fire, which tell the schedule, and the fire time."""


@dataclass(frozen=True, slots=True)
class Schedules:
    """What came of the schedules.

    Attributes:
        count: how many fire times there were.
        silent: schedules that never fired.
        missing: fire times whose task never began.
        doubled: fire times with more than one task.
        strange: tasks of a time that is none of the fire times.
        leaderless: the longest time in seconds from one leader's last renewal to the next one's first; that in which
            no record could be written does not count. None where one led all the time.
    """

    count: int
    silent: Sequence[int]
    missing: Sequence[Fire]
    doubled: Sequence[Fire]
    strange: Sequence[Fire]
    leaderless: float | None

    @property
    def problems(self) -> list[str]:
        """What is not as promised, one sentence each."""
        said = [
            (self.missing, "fire times of schedules were left out"),
            (self.doubled, "fire times of schedules became more than one task"),
            (self.strange, "tasks of schedules are of no fire time"),
        ]
        silent = [f"The schedule of every {every} s never fired." for every in self.silent]
        return silent + [f"{len(fires)} {sentence}: {_some(fires)}." for fires, sentence in said if fires]


def judge_schedules(ledger: Ledger, told: Told, done: Sequence[Done], gaps: Sequence[tuple[float, float]]) -> Schedules:
    """Compare the tasks that began with the fire times from each schedule's first to its last.

    Args:
        ledger: what the processes wrote.
        told: what the records say.
        done: the faults.
        gaps: when nobody led, by the monotonic clock.
    """
    fired = {(every, datetime.fromisoformat(at)): tasks for (every, at), tasks in ledger.fired.items()}
    wanted = {fire for every, (added, last) in told.schedules.items() if last for fire in _fires(every, added, last)}
    return Schedules(
        count=len(wanted),
        silent=sorted(every for every, (_, last) in told.schedules.items() if last is None),
        missing=sorted(wanted - fired.keys()),
        doubled=sorted(fire for fire, tasks in fired.items() if len(tasks) > 1),
        strange=sorted(fired.keys() - wanted),
        leaderless=max((end - begin - _held(done, begin, end) for begin, end in gaps), default=None),
    )


def _fires(every: int, added: datetime, last: datetime) -> Iterable[Fire]:
    step = timedelta(seconds=every)
    return ((every, added + step * number) for number in range(1, (last - added) // step + 1))


def _held(done: Sequence[Done], begin: float, end: float) -> float:
    """Return for how much of a time a frozen worker held the records, so that nobody could take the lead."""
    held = [fault for fault in done if fault.kind is Fault.FREEZE]
    return sum(max(0.0, min(end, fault.at + fault.away) - max(begin, fault.at)) for fault in held)


def _some(fires: Sequence[Fire]) -> str:
    shown = ", ".join(f"{at.isoformat()} (every {every} s)" for every, at in fires[:4])
    return shown + (" …" if len(fires) > 4 else "")  # noqa: PLR2004 - enough to search for
