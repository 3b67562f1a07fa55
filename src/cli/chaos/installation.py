"""What one run of chaos works on: a broker, workers, a publisher and, with records, beats; all of it temporary."""

import os
import sqlite3
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import closing, suppress
from pathlib import Path

import psutil

from cli.chaos.lead import LeadWatch
from cli.chaos.ledger import Ledger
from cli.chaos.network import Network
from cli.chaos.plan import BEATS, SLOTS, WORKERS, Broker, Done, Plan, Transport
from cli.chaos.processes import Processes, ProcessGroup
from cli.chaos.rabbitmq_server import RabbitmqServer
from cli.chaos.redis_server import RedisServer
from cli.chaos.told import Records
from config.settings import Settings, environment_of_another
from processors.errors import ConfigurationError
from services.chaos.journal import journal_folder

START_SECONDS = 90.0
HELD_SECONDS = 1.0
WAYS = {Transport.OURS: "transport", Transport.STOCK: "stock"}
APPLICATIONS = {
    "recorded": "services.celery_app:celery_app",
    "transport": "services.chaos.transport_app:app",
    "stock": "services.chaos.stock_app:app",
}
CUT_OFF_WORKER = WORKERS[-1]
NO_SCHEDULES = {name.upper(): "false" for name in Settings.model_fields if name.startswith("schedule_")}
"""The only tasks of a run are those that its publisher numbers, and those of its own schedules."""

TASK_MODULE = "services.chaos.recorded_tasks"


class Installation:
    """Starts the parts and starts those again that ended.

    Args:
        plan: the run.
        folder: an empty folder for everything.
        processes: starts them.
        network: where the last worker lives, for a run whose network is cut.
    """

    def __init__(self, plan: Plan, folder: Path, processes: Processes, network: Network | None) -> None:
        self.plan = plan
        self.network = network
        self._processes = processes
        self.folder = folder
        self._data = folder / "data"
        journal_folder(self._data).mkdir(parents=True)
        self._temporary = folder / "tmp"  # what killed processes leave there goes with the rest
        self._temporary.mkdir()
        self.ledger = Ledger(journal_folder(self._data))
        self.settings = Settings(data_dir=self._data, database_url=f"sqlite:///{self._data}/records.db")
        self.records = Records(self.settings.sqlalchemy_url)
        self.broker = broker_of(plan, folder, processes, network)
        self.workers: dict[str, ProcessGroup] = {}
        self._publisher: ProcessGroup | None = None
        self.beats: dict[str, ProcessGroup] = {}
        self.lead = LeadWatch(self.records.leader)
        self._watches = False
        self._publishes = False
        self.ended_by_themselves: list[str] = []

    def start(self) -> None:
        """Start everything and wait until all of it works.

        Raises:
            ConfigurationError: a part does not start; the message says what it printed last.
        """
        self.broker.start()
        for name in BEATS if self.plan.records else ():
            self.start_beat(name)
        for name in WORKERS:
            self.start_worker(name)
        self.start_publisher()
        self.wait_for([*self.workers.values(), self.publisher])
        if self.plan.records:
            self._schedules("add")
            self._watches = True

    def start_beat(self, name: str) -> None:
        """Start one beat, which keeps a leader."""
        command = [sys.executable, "-m", "celery", "-A", APPLICATIONS[self._way], "beat", "--loglevel=WARNING"]
        self.beats[name] = self._processes.start(name, command, self._environment())

    def pause_schedules(self) -> None:
        """Let the schedules fire no more.

        Raises:
            ConfigurationError: they cannot be paused; the message says why.
        """
        self._schedules("pause")

    def start_worker(self, name: str) -> None:
        """Start one worker."""
        command = [
            *(sys.executable, "-m", "celery", "-A", APPLICATIONS[self._way], "worker"),
            *(f"--hostname={name}@%h", f"--concurrency={SLOTS}", f"--pool={self.plan.pool}"),
            *("--loglevel=WARNING", "--without-mingle", "--without-gossip"),
        ]
        address = None
        if self.network is not None and name == CUT_OFF_WORKER:
            command, address = self.network.command(command), self.network.address
        self.workers[name] = self._processes.start(name, command, self._environment(address))

    def start_publisher(self) -> None:
        """Start a publisher."""
        command = [sys.executable, "-m", "services.chaos.publisher", self._way]
        self._publisher = self._processes.start("publisher", command, self._environment(), reads=True)
        self._publishes = True

    @property
    def _way(self) -> str:
        return "recorded" if self.plan.records else WAYS[self.plan.transport]

    @property
    def publisher(self) -> ProcessGroup:
        """The publisher."""
        if self._publisher is None:
            raise ValueError("The publisher was not started yet.")
        return self._publisher

    def publish(self, batches: Iterable[Sequence[int]]) -> None:
        """Hand these to the publisher; what one that has just ended does not take is never sent."""
        lines = "".join(" ".join(map(str, batch)) + "\n" for batch in batches)
        with suppress(BrokenPipeError):
            self.publisher.stdin.write(lines.encode())
            self.publisher.stdin.flush()

    def end_publishing(self) -> None:
        """Let the publisher end when it has published what it was handed."""
        self._publishes = False
        self.publisher.stdin.close()

    def ready(self, group: ProcessGroup) -> bool:
        """Tell whether a worker or a publisher takes work."""
        return group.alive() and group.pid in self.ledger.ready

    def wait_for(self, groups: Iterable[ProcessGroup]) -> None:
        """Wait until these take work.

        Raises:
            ConfigurationError: one does not; the message says what it printed last.
        """
        deadline = time.monotonic() + START_SECONDS
        for group in groups:
            while not self.ready(group):
                self.ledger.update()
                self.watch_lead()
                if not group.alive() or time.monotonic() > deadline:
                    raise ConfigurationError(f"The {group.name} of this run did not start: {group.last_words()}.")
                time.sleep(0.02)

    def wait_for_workers(self, names: Iterable[str]) -> None:
        """Wait until these workers take work; one that ended by itself is started again.

        Raises:
            ConfigurationError: one does not for long; the message says what it printed last.
        """
        deadline = time.monotonic() + START_SECONDS
        for name in names:
            while not self.ready(self.workers[name]):
                if time.monotonic() > deadline:
                    raise ConfigurationError(f"{name} takes no work: {self.workers[name].last_words()}.")
                self.restart_what_ended()
                self.ledger.update()
                time.sleep(0.02)

    def restart_what_ended(self) -> None:
        """Start again what ended although nobody killed it, and note what it said last."""
        self.watch_lead()
        for groups, start in ((self.workers, self.start_worker), (self.beats, self.start_beat)):
            for name, group in groups.items():
                if not group.alive():
                    self.ended_by_themselves.append(f"{name}: {group.last_words(1)}")
                    group.kill()
                    start(name)
        if self._publishes and not self.publisher.alive():
            raise ConfigurationError(f"The publisher ended by itself: {self.publisher.last_words()}.")

    def watch_lead(self) -> None:
        """Note when nobody leads."""
        if self._watches:
            self.lead.look()

    def leader(self) -> psutil.Process | None:
        """Return the process that leads, or None while none of this installation does."""
        found = self.records.leader()
        if found is None:
            return None
        with suppress(psutil.Error):
            process = psutil.Process(found.pid)
            ours = os.getpid() in {parent.pid for parent in process.parents()}
            return process if ours and process.status() != psutil.STATUS_ZOMBIE else None
        return None

    def beat_of(self, leader: psutil.Process) -> str | None:
        """Return the beat that keeps a leader, or None where a worker does."""
        with suppress(ProcessLookupError):
            group = os.getpgid(leader.pid)
            return next((name for name, beat in self.beats.items() if beat.pid == group), None)
        return None

    def records_are_held(self) -> bool:
        """Tell whether SQLite's lock is held for long: whoever was frozen amid a commit lets nobody else write."""
        if not self.plan.records:
            return False
        with closing(sqlite3.connect(self._data / "records.db", timeout=HELD_SECONDS, isolation_level=None)) as file:
            try:
                file.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                return True
            file.execute("ROLLBACK")
            return False

    def note(self, done: Done, target: str) -> None:
        """Write down a fault, for whoever keeps the folder: when it was, on whom, and who leads now."""
        at = time.time() - (time.monotonic() - done.at)
        leader = self.records.leader() if self.plan.records else None
        led = f"leader {leader.pid}, term {leader.term}" if leader else "no leader"
        with (self.folder / "faults.txt").open("a") as file:
            file.write(f"{at:.2f} {done.kind} {target} pid {done.pid or done.main}, away {done.away:.1f} s; {led}\n")

    def _schedules(self, do: str) -> None:
        command = [sys.executable, "-m", "services.chaos.schedules", do]
        group = self._processes.start("schedules", command, self._environment())
        deadline = time.monotonic() + START_SECONDS
        while group.alive() and time.monotonic() < deadline:
            self.watch_lead()
            time.sleep(0.02)
        if not group.ended_well():
            raise ConfigurationError(f"To {do} the schedules of this run failed: {group.last_words()}.")

    def _environment(self, address: str | None = None) -> dict[str, str]:
        return environment_of_another(
            DATA_DIR=str(self._data),
            LOG_DIR=str(self._data / "logs"),
            DATABASE_URL=f"sqlite:///{self._data}/records.db",
            CELERY_BROKER_URL=self.broker.url(address) if address else self.broker.url(),
            LIMIT_DEFAULT="none",
            LIMIT_HIGH_PRIORITY="none",
            LOG_LEVEL="INFO",
            TMPDIR=str(self._temporary),
            **NO_SCHEDULES,
            **({"TASK_MODULES": TASK_MODULE} if self.plan.records else {}),
        )


def broker_of(plan: Plan, folder: Path, processes: Processes, network: Network | None) -> RedisServer | RabbitmqServer:
    """Return the broker of a run, not started yet."""
    also = network.address if network else None
    environment = environment_of_another()
    if plan.broker is Broker.RABBITMQ:
        return RabbitmqServer(processes, folder, environment, also=also)
    embedded = plan.broker is Broker.EMBEDDED
    return RedisServer(processes, folder, environment, embedded=embedded, appendonly=plan.appendonly, also=also)
