"""What one run of chaos found, and whether it is as promised."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from cli.chaos.delays import Delays, judge_delays
from cli.chaos.effects import Effects, judge_effects
from cli.chaos.ledger import Ledger, some
from cli.chaos.plan import (
    ACKNOWLEDGEMENTS,
    LARGEST_BATCH,
    OF_A_WORKER,
    SLOTS,
    WORKERS,
    AppendOnly,
    Broker,
    Done,
    Fault,
    Plan,
    Transport,
)
from cli.chaos.schedules import Schedules, judge_schedules
from cli.chaos.told import Told
from records.task_moves import QUARANTINE_AFTER

LATE_SECONDS = 10.0
HITS = (*OF_A_WORKER, Fault.BEAT, Fault.BROKER_DATA)
"""What may hit whoever was to have a task, or to give it back, or the message itself."""

OF_A_SUBMIT = (Fault.PUBLISHER, Fault.BROKER, Fault.BROKER_DATA, Fault.PARTITION, Fault.FREEZE)
"""What may keep a batch from being accepted; a frozen worker, too, which may hold the records."""

FSYNC_SECONDS = 2.0
"""What Redis may lose with `everysec`: its own sync may be a second late."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The figures of one run.

    Attributes:
        lost: accepted, without an effect, and nothing says why.
        excused: accepted, without an effect, and lost by a broker that does not promise to keep it.
        quarantined: accepted, and given up with a record that says so.
        unfinished: with an effect, and a record that does not say so.
        duplicated: effects too many.
        most_duplicates: how many the faults explain; None where the broker may forget acknowledgements.
        again_after_finish: ran again although a record said SUCCESS.
        in_hand: tasks that the victims of the faults had in hand.
        late: the longest time, in seconds, for which a dead worker's task was not begun again; None where none was. The
            time does not count in which no broker could have given it to anybody, or no record could be written. Each
            fault meanwhile that hit a worker, the leader or the broker's data begins the time anew: it may have hit who
            was to have the task, or to give it back, or taken the message.
        latest: the task of that time, and the fault at which it was in hand.
        longest: the longest time from such a fault to the new beginning, whatever else was hit meanwhile.
        away: for how many seconds that was so, in all.
        unconfirmed: sent, and not accepted: the publisher was killed, or the broker was away.
        unconfirmed_done: those of them that had an effect all the same.
        ended_by_themselves: what each part said last that ended without a kill of ours.
        at_rest: faults that hit a worker which did nothing, or a beat that did not lead.
        effects: what came of the tasks that do their work through `effect`; None without records.
        delays: what came of the tasks with a delay; None without records.
        schedules: what came of the schedules; None without records.
    """

    plan: Plan
    accepted: int
    done: int
    lost: Sequence[int]
    excused: Sequence[int]
    quarantined: Sequence[int]
    unfinished: Sequence[int]
    duplicated: int
    most_duplicates: int | None
    again_after_finish: Sequence[int]
    never_sent: Sequence[int]
    in_hand: int
    late: float | None
    unconfirmed: int
    unconfirmed_done: int
    ended_by_themselves: Sequence[str]
    seconds: float
    at_rest: int = 0
    latest: str = ""
    longest: float | None = None
    away: float = 0.0
    faults: Counter[Fault] = field(default_factory=Counter[Fault])
    effects: Effects | None = None
    delays: Delays | None = None
    schedules: Schedules | None = None

    @property
    def problems(self) -> list[str]:
        """What is not as promised, one sentence each."""
        said = [
            (self.lost, f"{len(self.lost)} accepted tasks were lost: {some(self.lost)}."),
            (self.never_sent, f"{len(self.never_sent)} effects are of tasks that were never sent."),
            (self.unfinished, f"{len(self.unfinished)} tasks had their effect, and their record has no end."),
            (
                self.again_after_finish,
                f"{len(self.again_after_finish)} tasks ran again after their success was recorded.",
            ),
            (
                self._too_many,
                f"{self.duplicated} effects were one too many; the faults explain {self.most_duplicates}.",
            ),
            (
                self._too_few,
                f"{self.accepted} of {self.plan.tasks} were accepted, fewer than the faults explain.",
            ),
            (
                self._too_many_quarantined,
                f"{len(self.quarantined)} were quarantined, more than the faults explain: {some(self.quarantined)}.",
            ),
            (self._none_at_work, "Each fault hit somebody at rest, and proves nothing."),
            (self._too_late, f"{self.latest} waited {self.late or 0:.1f} s; {LATE_SECONDS:.0f} s are promised."),
        ]
        parts = [part for part in (self.effects, self.delays, self.schedules) if part is not None]
        return [sentence for wrong, sentence in said if wrong] + [one for part in parts for one in part.problems]

    @property
    def per_kill(self) -> float:
        """Effects too many for each fault that hit a worker or the broker."""
        hits = sum(count for kind, count in self.faults.items() if kind not in (Fault.PUBLISHER, Fault.BEAT))
        return self.duplicated / hits if hits else 0.0

    @property
    def _too_many_quarantined(self) -> bool:
        """Tell whether tasks were given up that cannot each have been in a killed worker's hand so often."""
        return len(self.quarantined) > self._hits(OF_A_WORKER) * SLOTS // QUARANTINE_AFTER

    @property
    def _none_at_work(self) -> bool:
        return 0 < self.faults.total() == self.at_rest

    @property
    def _too_few(self) -> bool:
        return self.accepted < max(1, self.plan.tasks - LARGEST_BATCH * self._hits(OF_A_SUBMIT))

    def _hits(self, kinds: Sequence[Fault]) -> int:
        return sum(self.faults[kind] for kind in kinds)

    @property
    def _too_many(self) -> bool:
        return self.most_duplicates is not None and self.duplicated > self.most_duplicates

    @property
    def _too_late(self) -> bool:
        return self.plan.transport is Transport.OURS and self.late is not None and self.late > LATE_SECONDS


def judge(
    plan: Plan,
    ledger: Ledger,
    done: Sequence[Done],
    *,
    told: Told,
    ended_by_themselves: Sequence[str],
    seconds: float,
    gaps: Sequence[tuple[float, float]] = (),
) -> Outcome:
    """Count what became of every task.

    Args:
        plan: the run.
        ledger: what the processes wrote.
        done: the faults.
        told: what the records say; nothing where there are none.
        ended_by_themselves: what each part said last that did.
        seconds: how long the run took.
        gaps: when nobody led, by the monotonic clock.
    """
    missing = ledger.missing()
    effects = judge_effects(ledger, told) if plan.records else None
    known = missing & told.quarantined
    explained = known | (told.unknown & told.listed)
    excused = {number for number in missing - explained if _excused(plan, ledger.accepted[number], done)}
    unconfirmed = ledger.sent.keys() - ledger.accepted.keys()
    waits = [wait for fault in done if fault.kind in OF_A_WORKER for wait in _waits(ledger, fault, done)]
    over = [wait for wait in waits if wait.begun is not None]
    longest = max(over, default=None, key=lambda wait: wait.undisturbed)
    return Outcome(
        plan=plan,
        accepted=len(ledger.accepted),
        done=len(ledger.accepted) - len(missing),
        lost=sorted(missing - explained - excused),
        excused=sorted(excused),
        quarantined=sorted(known),
        unfinished=sorted(told.unfinished - missing),
        duplicated=ledger.duplicates(),
        most_duplicates=_most_duplicates(plan, done),
        again_after_finish=sorted(ledger.again_after_finish()),
        never_sent=sorted(ledger.never_sent()),
        in_hand=len(waits),
        late=longest.undisturbed if longest else None,
        latest=longest.named if longest else "",
        longest=max((wait.whole for wait in over), default=None),
        unconfirmed=len(unconfirmed),
        unconfirmed_done=len(unconfirmed & ledger.done.keys()),
        ended_by_themselves=ended_by_themselves,
        seconds=seconds,
        at_rest=sum(not fault.at_work for fault in done),
        away=sum(fault.away for fault in done),
        faults=Counter(fault.kind for fault in done),
        effects=effects,
        delays=judge_delays(ledger, done) if plan.records else None,
        schedules=judge_schedules(ledger, told, done, gaps) if plan.records else None,
    )


@dataclass(frozen=True, slots=True)
class _Wait:
    """How one task waited after a fault until somebody began it again; None where nobody ever did."""

    number: int
    fault: Done
    begun: float | None
    undisturbed: float = 0.0

    @property
    def named(self) -> str:
        return f"Task {self.number}, in hand at the {self.fault.kind} fault of {self.fault.at:.2f},"

    @property
    def whole(self) -> float:
        return (self.begun or self.fault.at) - self.fault.at


def _waits(ledger: Ledger, fault: Done, done: Sequence[Done]) -> list[_Wait]:
    victim = {"pid": fault.pid} if fault.kind is Fault.CHILD else {"main": fault.main}
    return [
        _Wait(number, fault, at, 0.0 if at is None else _undisturbed(done, fault.at, at))
        for number, at in ledger.begun_again(fault.at, **victim).items()
    ]


def _undisturbed(done: Sequence[Done], begin: float, end: float) -> float:
    """Return the longest time within another in which nothing was hit and the broker answered."""
    hits = sorted(fault.at for fault in done if fault.kind in HITS and begin < fault.at < end)
    stretches = pairwise([begin, *hits, end])
    return max(end - begin - _away_within(done, begin, end) for begin, end in stretches)


def _away_within(done: Sequence[Done], begin: float, end: float) -> float:
    """Return for how much of a time no broker answered."""
    return sum(max(0.0, min(end, fault.at + fault.away) - max(begin, fault.at)) for fault in done)


def _forgets(plan: Plan) -> bool:
    """Tell whether a broker that is killed may forget what it had said yes to."""
    return plan.broker is not Broker.RABBITMQ and plan.appendonly is not AppendOnly.ALWAYS


def _excused(plan: Plan, accepted_at: float, done: Sequence[Done]) -> bool:
    """Tell whether a task went down with a broker that had not written it to its disk yet."""
    if plan.records or not _forgets(plan):
        return False
    kills = [fault.at for fault in done if fault.kind is Fault.BROKER and fault.at > accepted_at]
    if plan.appendonly is AppendOnly.NO:
        return bool(kills)
    return any(at - accepted_at <= FSYNC_SECONDS for at in kills)


def _most_duplicates(plan: Plan, done: Sequence[Done]) -> int | None:
    """Return how many effects too many are within the promise: slots and one batch for each worker that was hit."""
    if plan.records or plan.transport is Transport.STOCK:
        return None
    broker = sum(fault.kind is Fault.BROKER for fault in done)
    if broker and _forgets(plan):
        return None
    hits = sum(fault.kind in OF_A_WORKER for fault in done) + broker * len(WORKERS)
    return hits * (SLOTS + ACKNOWLEDGEMENTS)
