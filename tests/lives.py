"""Whole installations of a test's own, on one machine or several: what they accept, what becomes of it, and how often.

`LIVES=long` makes the tests that use this take as long as their promises are worded; else they take seconds.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import pytest
from sqlalchemy import select

from cli.chaos.network import Network
from cli.chaos.processes import Processes, ProcessGroup
from config.settings import environment_of_another
from processors.errors import ConfigurationError
from records import schema, upgrading
from records.database import Database
from records.task_records import TaskRecord, task_records, to_record
from waiting import until

LONG = os.environ.get("LIVES") == "long"
CELERY = [sys.executable, "-m", "celery", "-A", "services.celery_app:celery_app"]
START_SECONDS = 90


def lasting(short: float, long: float) -> float:
    """Return how many seconds something lasts: in CI, and in the long form."""
    return long if LONG else short


class Host:
    """A machine of its own as far as the network and its name go."""

    def __init__(self, name: str, network: Network) -> None:
        self.name, self.network = name, network

    def command(self, words: Sequence[str]) -> list[str]:
        named = f'hostname {self.name} && exec "$@"'
        return self.network.command(["unshare", "--uts", "sh", "-c", named, "sh", *words])

    def kill(self) -> None:
        """Pull its plug: all its processes at once."""
        found = subprocess.run(["ip", "netns", "pids", self.network.name], capture_output=True, text=True, check=True)
        for pid in found.stdout.split():
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)

    @contextmanager
    def deaf(self) -> Iterator[None]:
        """Lose, one way, all that is sent to it: it goes to a hardware address that nobody has, and nobody is told."""
        where = [self.network.far_address, "dev", self.network.cable]
        nobody = ["lladdr", "02:00:00:00:00:01", "nud", "permanent"]
        subprocess.run(["ip", "neighbour", "replace", *where, *nobody], check=True)
        try:
            yield
        finally:
            subprocess.run(["ip", "neighbour", "delete", *where], check=True)


@contextmanager
def host(name: str, number: int) -> Iterator[Host]:
    """Make a host; skip the test where this machine or this user may not."""
    try:
        with Network(number) as network:
            yield Host(name, network)
    except ConfigurationError as error:
        pytest.skip(str(error))


class Submitter:
    """A program that submits."""

    def __init__(self, group: ProcessGroup, answers: Path, journal: Path) -> None:
        self.group, self._answers, self._journal = group, answers, journal

    def submit(self, number: int, seconds: float = 0.0, *, once: bool = False, **options: Any) -> None:
        """Let it submit a task, with the options of a submit or Celery's own `countdown`; nobody waits for that."""
        given = {"journal": str(self._journal), "number": number, "seconds": seconds, "once": once}
        countdown = {"countdown": options.pop("countdown")} if "countdown" in options else {}
        line = {"given": given, "options": options} | countdown
        self.group.stdin.write((json.dumps(line) + "\n").encode())
        self.group.stdin.flush()

    def ask(self, ids: Sequence[str]) -> None:
        """Let it ask for the states of these tasks; the next answer says them."""
        self.group.stdin.write((json.dumps({"ask": ids}) + "\n").encode())
        self.group.stdin.flush()

    def answers(self) -> list[dict[str, Any]]:
        return [line for line in read_lines(self._answers) if line]

    def until_answered(self, count: int, seconds: float = 60) -> list[dict[str, Any]]:
        """Wait until it has heard of so many submits."""
        until(lambda: len(self.answers()) >= count, seconds, f"{count} answers to submits")
        return self.answers()

    def ready(self) -> bool:
        return bool(read_lines(self._answers))


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Return the whole lines of a file of JSON."""
    if not path.exists():
        return []
    whole, _, _ = path.read_text().rpartition("\n")
    return [json.loads(line) for line in whole.splitlines()]


class Life:
    """One installation: a folder, a broker's URL and a database's; its processes are started one by one.

    Args:
        folder: for everything.
        processes: starts them.
        broker_url: where the broker is.
        database_url: where the records are; None: SQLite in the folder.
        variables: settings of all its processes.
    """

    def __init__(
        self,
        folder: Path,
        processes: Processes,
        broker_url: str,
        database_url: str | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self.folder, self._processes, self._variables = folder, processes, dict(variables or {})
        self.broker_url, self.database_url = broker_url, database_url or f"sqlite:///{folder / 'data' / 'records.db'}"
        self.journal = folder / "journal"
        (folder / "data").mkdir(exist_ok=True)
        self.database = Database(self.database_url)
        upgrading.upgrade(self.database, schema.VERSION)

    def close(self) -> None:
        self.database.close()

    def start(self, name: str, command: Sequence[str], *, on: Host | None = None, reads=False, **more: str):
        """Start a process of this installation, on a host of its own where one is given."""
        data = self.folder / (f"data-{on.name}" if on else "data")
        given = {
            "DATA_DIR": str(data),
            "LOG_DIR": str(data / "logs"),
            "DATABASE_URL": self.database_url,
            "CELERY_BROKER_URL": self.broker_url,
            "LIMIT_DEFAULT": "none",
            "CELERY_TASK_RETRY_MAX_DELAY": "1",
        }
        given |= self._variables | more
        given["DATABASE_URL"] = given["DATABASE_URL"].replace("+psycopg", "")
        environment = environment_of_another(**given)
        return self._processes.start(name, on.command(command) if on else command, environment, reads=reads)

    def worker(self, name: str = "worker", slots: int = 2, *, options: Sequence[str] = (), **more: Any) -> ProcessGroup:
        """Start a worker of this name, with so many processes."""
        command = ["worker", "-I", "lived_tasks", f"--hostname={name}@%h", f"--concurrency={slots}", *options]
        return self.start(name, [*CELERY, *command, "--without-mingle", "--without-gossip"], **more)

    def leader(self, name: str = "leader", **more: Any) -> ProcessGroup:
        return self.start(name, [sys.executable, "-m", "services.leader"], **more)

    def submitter(self, name: str = "submitter", **more: Any) -> Submitter:
        answers = self.folder / f"{name}.answers"
        command = [sys.executable, "-m", "submitting_program", str(answers)]
        return Submitter(self.start(name, command, reads=True, **more), answers, self.journal)

    def until_ready(self, *parts: ProcessGroup | Submitter) -> None:
        """Wait until these workers and submitters take work."""
        for one in parts:
            group = one.group if isinstance(one, Submitter) else one
            ready = one.ready if isinstance(one, Submitter) else lambda group=group: is_ready(group)
            until(lambda: ready() or not group.alive(), START_SECONDS, f"{group.name} is ready")  # noqa: B023 - called at once
            assert group.alive(), group.last_words(20)

    def records(self) -> list[TaskRecord]:
        """Return the records of all tasks of `lived_tasks`."""
        query = select(task_records).where(task_records.c.name == "lives.work")
        return [to_record(row) for row in self.database.read(lambda c: c.execute(query).mappings().all())]

    def by_number(self) -> dict[int, TaskRecord]:
        """Return the records by their tasks' numbers."""
        return {record.kwargs["number"]: record for record in self.records()}

    def until_final(self, numbers: Sequence[int], seconds: float = 120) -> dict[int, TaskRecord]:
        """Wait until all these tasks have ended; returns the records by number."""
        wanted = set(numbers)

        def ended() -> bool:
            return wanted <= {record.kwargs["number"] for record in self.records() if record.final}

        try:
            until(ended, seconds, f"all of {len(wanted)} tasks ended", every=0.2)
        except AssertionError as error:
            left = [(n, r.state.value, r.due_at, r.run) for n, r in self.by_number().items() if not r.final]
            raise AssertionError(f"{error}; at {datetime.now(UTC)} there were left {left}") from error
        return self.by_number()

    def seen(self, what: str) -> list[dict[str, Any]]:
        """Return the journal's lines of this kind: `begin` of every run, `done` of every effect."""
        return [line for line in read_lines(self.journal) if line["what"] == what]

    def counts(self, what: str) -> Counter[int]:
        """Return how often each task did this."""
        return Counter(line["number"] for line in self.seen(what))


def is_ready(worker: ProcessGroup) -> bool:
    """Tell whether a worker takes work."""
    return worker.log.exists() and " ready." in worker.log.read_text(errors="replace")


def said(group: ProcessGroup, words: str) -> int:
    """Return how often a process has said this."""
    return group.log.read_text(errors="replace").count(words) if group.log.exists() else 0


def figures(title: str, **values: Any) -> None:
    """Print what was measured: pytest shows it with -s, and where the test fails."""
    words = (f"{name}={value:.2f}" if isinstance(value, float) else f"{name}={value}" for name, value in values.items())
    print(f"\n{title}:", *words)  # noqa: T201 - the test's own report


def memory(group: ProcessGroup) -> int:
    """Return the bytes that a process itself has in memory."""
    return psutil.Process(group.pid).memory_info().rss


@contextmanager
def pacing(submitter: Submitter, numbers: Sequence[int], every: float, seconds: Sequence[float] = (0.0,), **options):
    """Submit these tasks, one each so many seconds, from a thread; it ends with the block.

    Args:
        submitter: who submits.
        numbers: the tasks.
        every: seconds between two.
        seconds: how long the tasks take, in turn.
        options: of every submit.
    """
    stopping = threading.Event()

    def submit() -> None:
        for at, number in enumerate(numbers):
            submitter.submit(number, seconds[at % len(seconds)], **options)
            if stopping.wait(every):
                return

    thread = threading.Thread(target=submit)
    thread.start()
    try:
        yield thread
    finally:
        stopping.set()
        thread.join()


@contextmanager
def spent() -> Iterator[dict[str, float]]:
    """Measure how long the block took."""
    found: dict[str, float] = {}
    began = time.monotonic()
    yield found
    found["seconds"] = time.monotonic() - began
