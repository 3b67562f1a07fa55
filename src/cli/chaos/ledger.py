"""What became of every task, by the journals of the processes: never by what a broker or a database says."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from services.chaos.journal import Event, Kind, parse

Numbers = set[int]

ENDS = (Kind.DONE, Kind.LEFT)
"""With these a run has nothing in hand any more."""


class Ledger:
    """Reads the journals as they grow.

    Args:
        folder: where the processes write.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: dict[str, int] = {}
        self.events: dict[int, list[Event]] = defaultdict(list)
        self.sent: dict[int, float] = {}
        self.accepted: dict[int, float] = {}
        self.done: dict[int, int] = defaultdict(int)
        self.ready: dict[int, float] = {}
        self.touched: dict[int, Numbers] = defaultdict(set)
        self.last_sign: dict[int, float] = defaultdict(float)
        self.running: dict[int, Numbers] = defaultdict(set)
        self.fired: dict[tuple[int, str], set[str]] = defaultdict(set)

    def update(self) -> None:
        """Read what was written since the last time; a line that is not whole yet waits."""
        for path in self._folder.iterdir():
            known = self._read.get(path.name, 0)
            if path.stat().st_size == known:
                continue
            with path.open("rb") as file:
                file.seek(known)
                new = file.read()
            whole = new[: new.rfind(b"\n") + 1]
            self._read[path.name] = known + len(whole)
            for line in whole.decode().splitlines():
                self.add(parse(path.name, line))

    def add(self, event: Event) -> None:
        """Take one event in."""
        if event.kind is Kind.READY:
            self.ready[event.main] = event.time
            return
        if event.kind is Kind.FIRED:
            fire_time, task_id = event.more
            self.fired[event.number, fire_time].add(task_id)
        elif event.kind is Kind.SENT:
            self.sent[event.number] = event.time
        elif event.kind is Kind.ACCEPTED:
            self.accepted[event.number] = event.time
        else:
            self.touched[event.main].add(event.number)
            self.touched[event.pid].add(event.number)
            self.last_sign[event.main] = max(self.last_sign[event.main], event.time)
            self.events[event.number].append(event)
            self._note_run(event)

    def _note_run(self, event: Event) -> None:
        if event.kind is Kind.STARTED:
            self.running[event.main].add(event.number)
            self.running[event.pid].add(event.number)
        elif event.kind in ENDS:
            if event.kind is Kind.DONE:
                self.done[event.number] += 1
            self.running[event.main].discard(event.number)
            self.running[event.pid].discard(event.number)

    def missing(self) -> Numbers:
        """Return what was accepted and has had no effect."""
        return self.accepted.keys() - self.done.keys()

    def duplicates(self) -> int:
        """Return how many effects were one too many."""
        return sum(times - 1 for times in self.done.values())

    def never_sent(self) -> Numbers:
        """Return effects of tasks that nobody published."""
        return self.done.keys() - self.sent.keys()

    def starts(self, number: int) -> list[float]:
        """Return when runs of a task began."""
        return [event.time for event in self.events[number] if event.kind is Kind.STARTED]

    def finished(self) -> Numbers:
        """Return tasks whose success stands in their record."""
        return {number for number, events in self.events.items() if any(one.kind is Kind.FINISHED for one in events)}

    def again_after_finish(self) -> Numbers:
        """Return tasks that a later run started although the success of an earlier one stood in the record.

        The record's run number decides, not a clock: it rises with every start, and a success is only written by the
        newest run. An older run that was frozen and ends late is no second start.
        """
        return {number for number, events in self.events.items() if _started_after_finish(events)}

    def begun_again(self, at: float, *, main: int = 0, pid: int = 0) -> dict[int, float | None]:
        """Return, for each task that was in hand at a fault, when somebody began it again; None: never.

        In hand is what the victim had received or started and not left, and nobody had done. A message that the victim
        had taken from the broker and not looked at yet shows in no journal. What it had received and not started,
        although it had started what came later, it had looked at and put away: a copy, or one that is due later.

        Args:
            at: when it happened, by the monotonic clock.
            main: the worker that was hit, or
            pid: the one process of a pool.
        """

        def own(event: Event) -> bool:
            return event.main == main or event.pid == pid

        found: dict[int, float | None] = {}
        begun = self._latest_begun(main, at)
        for number in self.touched[main or pid]:
            events = self.events[number]
            before = [event for event in events if event.time <= at]
            last = max(filter(own, before), key=lambda event: event.time, default=None)
            if last is None or last.kind in ENDS or any(event.kind is Kind.DONE for event in before):
                continue
            if last.kind is Kind.RECEIVED and last.time < begun:
                continue
            later = [event for event in events if event.time > at and event.kind is not Kind.RECEIVED]
            again = [event.time for event in later if not own(event) or event.kind is Kind.DONE]
            found[number] = min(again, default=None)
        return found

    def _latest_begun(self, main: int, at: float) -> float:
        """Return when a worker received the newest of the messages that it had started until then; 0 for none."""
        begun = 0.0
        for number in self.touched[main]:
            own = [event for event in self.events[number] if event.main == main and event.time <= at]
            started = max((event.time for event in own if event.kind is Kind.STARTED), default=0.0)
            received = (event.time for event in own if event.kind is Kind.RECEIVED and event.time <= started)
            begun = max([begun, *received])
        return begun


def _started_after_finish(events: list[Event]) -> bool:
    finished = [event.run for event in events if event.kind is Kind.FINISHED]
    return bool(finished) and any(event.kind is Kind.STARTED and event.run > min(finished) for event in events)


def some(numbers: Sequence[int]) -> str:
    """Name the first few of these tasks."""
    return ", ".join(map(str, numbers[:8])) + (" …" if len(numbers) > 8 else "")  # noqa: PLR2004 - enough to search for
