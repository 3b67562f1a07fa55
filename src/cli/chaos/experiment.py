"""One run of chaos: work comes in, faults are done to it, and then a quiet time in which all of it must end."""

import random
import tempfile
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from cli.chaos.faults import Faults
from cli.chaos.installation import Installation
from cli.chaos.network import Network
from cli.chaos.outcome import Outcome, judge
from cli.chaos.plan import LARGEST_BATCH, OF_A_WORKER, WORKERS, Done, Fault, Plan
from cli.chaos.processes import Processes, ProcessGroup
from cli.chaos.told import Told

PAUSE_SECONDS = 0.02
FAST_PAUSE_SECONDS = 0.002
STAGE_SECONDS = 60.0
SINGLE_SHARE = 0.3
HASTE_SHARE = 0.5
AIMED_SHARE = 0.5
"""Half of the faults wait until their worker runs a task; the others hit whatever it does."""

AIM_SECONDS = 5.0
WAKING_BATCH = 8
WAKING_SECONDS = 1.0

PATIENCE_SECONDS = 420.0
"""Longer than anything here waits by design, so that what is late is not called lost.

Kombu gives a dead worker's messages to others once its visibility time-out has passed, but a worker that died while it
did so locks out the others for five minutes. The leader looks every five minutes for what a broker has lost, and leaves
what is younger than one.
"""

Say = Callable[[Installation, int], None]


class Experiment:
    """Runs one plan.

    Args:
        plan: the run.
        installation: what it is done to.
        say: is told how far it is: the installation and the number of faults done.
        patience: seconds without any progress after which what is missing counts as lost.
    """

    def __init__(self, plan: Plan, installation: Installation, say: Say, patience: float = PATIENCE_SECONDS) -> None:
        self._plan = plan
        self._installation = installation
        self._ledger = installation.ledger
        self._say = say
        self._patience = patience
        self._chance = random.Random(plan.seed)  # noqa: S311 - no secret
        self._faults = Faults(installation, self._chance, self._wait)
        self._done: list[Done] = []
        self._next = 1
        self._left_over: list[int] = []

    def run(self) -> Outcome:
        """Do all of it and count.

        Raises:
            ConfigurationError: a part of the installation does not start.
        """
        began = time.monotonic()
        self._installation.start()
        schedule = self._plan.schedule(self._chance)
        for number, kind in enumerate(schedule):
            self._stage(kind, number)
        self._publish(self._next_numbers(self._plan.tasks + 1))
        self._drain()
        self._ledger.update()
        return judge(
            self._plan,
            self._ledger,
            self._done,
            told=self._installation.records.told() if self._plan.records else Told(),
            ended_by_themselves=self._installation.ended_by_themselves,
            seconds=time.monotonic() - began,
            gaps=self._installation.lead.gaps,
        )

    def _stage(self, kind: Fault, number: int) -> None:
        """Publish a share of the tasks and do one fault while they are worked on."""
        target = self._faults.target(kind)
        share = self._chance.uniform(0.1, 0.6)
        hasty, aimed = (self._chance.random() < one for one in (HASTE_SHARE, AIMED_SHARE))
        self._installation.wait_for_workers([target] if hasty else WORKERS)
        worker = self._installation.workers[target]
        numbers = self._next_numbers(self._plan.tasks * (number + 1) // (self._plan.kills + 1) + 1)
        if kind in OF_A_WORKER:
            numbers = self._wake(worker, numbers)
        began = time.monotonic()
        self._publish(numbers)
        counted = self._ledger.sent if kind is Fault.PUBLISHER else self._ledger.done
        wanted = len(counted) + max(1, int(len(numbers) * share))
        pause = FAST_PAUSE_SECONDS if kind is Fault.PUBLISHER else PAUSE_SECONDS
        self._until(lambda: len(counted) >= wanted, STAGE_SECONDS, pause)
        if aimed and kind in OF_A_WORKER:
            self._until(lambda: bool(self._ledger.running[worker.pid]), AIM_SECONDS, FAST_PAUSE_SECONDS)
        done = self._faults.do(kind, target)
        at_work = done.at_work and (kind not in OF_A_WORKER or self._ledger.last_sign[worker.pid] > began)
        self._done.append(replace(done, at_work=at_work))
        self._installation.note(done, target)
        if kind is Fault.PUBLISHER:
            self._ledger.update()
            self._left_over = [given for given in range(1, self._next) if given not in self._ledger.sent]

    def _wake(self, worker: ProcessGroup, numbers: list[int]) -> list[int]:
        """Publish a little until this worker takes part; returns what is left for the fault itself."""
        began = time.monotonic()
        spare = len(numbers) // 2
        while self._ledger.last_sign[worker.pid] < began and time.monotonic() - began < STAGE_SECONDS:
            if len(numbers) > spare:
                self._publish(numbers[:WAKING_BATCH])
                numbers = numbers[WAKING_BATCH:]
            self._until(lambda: self._ledger.last_sign[worker.pid] > began, WAKING_SECONDS, PAUSE_SECONDS)
        return numbers

    def _publish(self, numbers: Sequence[int]) -> None:
        """Hand these to the publisher, in batches of all sizes."""
        self._installation.wait_for([self._installation.publisher])
        batches: list[Sequence[int]] = []
        while numbers:
            size = 1 if self._chance.random() < SINGLE_SHARE else self._chance.randint(2, LARGEST_BATCH)
            batches.append(numbers[:size])
            numbers = numbers[size:]
        self._installation.publish(batches)

    def _next_numbers(self, end: int) -> list[int]:
        """Return the tasks up to a number that were not handed to a publisher, or that a killed one never sent."""
        numbers = self._left_over + list(range(self._next, end))
        self._next, self._left_over = end, []
        return numbers

    def _drain(self) -> None:
        """Wait in quiet until everything has ended, or nothing has happened for long."""
        self._installation.end_publishing()
        self._wait_patiently(self._all_done)
        if self._plan.records:
            self._installation.pause_schedules()
            self._wait_patiently(self._installation.records.all_ended)

    def _wait_patiently(self, condition: Callable[[], bool]) -> None:
        seen, since = (0, 0), time.monotonic()
        while not condition() and time.monotonic() - since < self._patience:
            now = (len(self._ledger.accepted), sum(self._ledger.done.values()))
            if now != seen:
                seen, since = now, time.monotonic()
            self._wait(PAUSE_SECONDS)

    def _all_done(self) -> bool:
        if self._installation.publisher.alive():
            return False
        missing = self._ledger.missing()
        return not missing or (self._plan.records and not missing - self._installation.records.given_up())

    def _wait(self, seconds: float) -> None:
        self._until(lambda: False, seconds, PAUSE_SECONDS)

    def _until(self, condition: Callable[[], bool], seconds: float, pause: float) -> None:
        """Watch the installation until the condition holds, at most so long."""
        deadline = time.monotonic() + seconds
        while not condition() and time.monotonic() < deadline:
            self._installation.restart_what_ended()
            self._say(self._installation, len(self._done))
            time.sleep(pause)
            self._ledger.update()


@contextmanager
def temporary_installation(plan: Plan, *, keep: bool) -> Generator[Installation]:
    """Make a folder with an installation in it; ends its processes and, unless it is kept, removes it."""
    with ExitStack() as stack:
        if keep:
            folder = Path(tempfile.mkdtemp(prefix="csai-chaos-"))
        else:
            made = tempfile.TemporaryDirectory(prefix="csai-chaos-", ignore_cleanup_errors=True)
            folder = Path(stack.enter_context(made))
        network = stack.enter_context(Network()) if Fault.PARTITION in plan.faults else None
        (folder / "output").mkdir()
        processes = stack.enter_context(Processes(folder / "output"))
        installation = Installation(plan, folder, processes, network)
        stack.callback(installation.records.close)
        yield installation
