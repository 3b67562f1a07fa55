"""What one run of chaos is to do; the seed decides everything that chance decides."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from processors.errors import InvalidArgument

SLOTS = 2
WORKERS = ("w1", "w2")
BEATS = ("b1", "b2")
LARGEST_BATCH = 50
"""Tasks that are handed to the publisher at once; what a fault may cost of those that are not accepted."""

ACKNOWLEDGEMENTS = 64
"""Messages that a transport may acknowledge at once, and so have done without having said so."""


class Transport(StrEnum):
    """Who moves the messages."""

    OURS = "ours"
    STOCK = "stock"


class Broker(StrEnum):
    """What holds the messages: the system's Redis, the one that comes along, or RabbitMQ."""

    REDIS = "redis"
    EMBEDDED = "embedded"
    RABBITMQ = "rabbitmq"


class AppendOnly(StrEnum):
    """When Redis writes to its disk."""

    NO = "no"
    EVERYSEC = "everysec"
    ALWAYS = "always"


class Pool(StrEnum):
    """What runs tasks inside a worker."""

    PREFORK = "prefork"
    THREADS = "threads"


class Fault(StrEnum):
    """What is done to the installation."""

    CHILD = "child"  # kill -9 of one process of a worker's pool
    WORKER = "worker"  # kill -9 of a worker with all its processes
    PUBLISHER = "publisher"  # kill -9 of the publisher in the middle of a batch
    BROKER = "broker"  # kill -9 or SIGTERM of the broker, which starts again with the same data
    FREEZE = "freeze"  # a worker stops beyond its lease and goes on
    PARTITION = "partition"  # a worker's network is cut beyond its lease and heals
    BROKER_DATA = "broker-data"  # the broker loses everything
    BEAT = "beat"  # kill -9 of the beat that leads, with its leader


OF_A_WORKER = (Fault.CHILD, Fault.WORKER, Fault.FREEZE, Fault.PARTITION)
OF_RECORDS = (Fault.BROKER_DATA, Fault.BEAT)
"""What can only be done where there are records."""


@dataclass(frozen=True, slots=True)
class Done:
    """One fault that was done.

    Attributes:
        kind: what it was.
        at: when, by the monotonic clock.
        main: the worker that was hit; 0 for none.
        pid: the process of its pool, where only that was hit.
        at_work: whether the victim was seen at work, or led, just before; one at rest proves little.
        away: for how many seconds the broker did not answer, or nobody could write a record.
    """

    kind: Fault
    at: float
    main: int = 0
    pid: int = 0
    at_work: bool = True
    away: float = 0.0


@dataclass(frozen=True, slots=True)
class Plan:
    """One run.

    Attributes:
        seed: the same seed makes the same faults in the same order, on the same workers.
        tasks: how many unique tasks are published.
        kills: how many faults are done meanwhile.
        transport: ours or Kombu's own.
        records: whether each task has a record.
        broker: what holds the messages.
        appendonly: when Redis writes to its disk.
        faults: the kinds.
        pool: the workers' pool.
    """

    seed: int
    tasks: int
    kills: int
    transport: Transport = Transport.OURS
    records: bool = True
    broker: Broker = Broker.REDIS
    appendonly: AppendOnly = AppendOnly.EVERYSEC
    faults: tuple[Fault, ...] = (Fault.CHILD, Fault.WORKER, Fault.PUBLISHER)
    pool: Pool = Pool.PREFORK

    def __post_init__(self) -> None:
        """Refuse what contradicts itself.

        Raises:
            InvalidArgument: the message names the option and the cure.
        """
        for wrong, sentence in self._contradictions():
            if wrong:
                raise InvalidArgument(sentence)

    def _contradictions(self) -> list[tuple[bool, str]]:
        return [
            (self.tasks < 1, f"--tasks: must be 1 or more; got {self.tasks}."),
            (
                not 0 <= self.kills <= self.tasks,
                f"--kills: must be from 0 to the number of tasks, {self.tasks}; got {self.kills}.",
            ),
            (not self.faults, "--faults: must name at least one kind of fault."),
            (
                self.records and self.transport is Transport.STOCK,
                "--transport stock: stock Celery has no records; add --no-records.",
            ),
            (
                Fault.CHILD in self.faults and self.pool is Pool.THREADS,
                "--faults child: threads cannot be killed; leave it out or use --pool prefork.",
            ),
            (
                Fault.BROKER_DATA in self.faults and not self.records,
                "--faults broker-data: without records nothing outlives the broker's data; add --records.",
            ),
            (
                Fault.BEAT in self.faults and not self.records,
                "--faults beat: without records nothing is left to time; leave it out or add --records.",
            ),
            (
                Fault.PARTITION in self.faults and self.broker is Broker.EMBEDDED,
                "--faults partition: the embedded Redis has no network; use --broker redis.",
            ),
        ]

    def schedule(self, chance: random.Random) -> list[Fault]:
        """Return the faults in order: each kind as often as any other, give or take one."""
        whole, rest = divmod(self.kills, len(self.faults))
        drawn = [*self.faults * whole, *chance.sample(self.faults, rest)]
        chance.shuffle(drawn)
        return drawn

    @property
    def title(self) -> str:
        """What tells this run from the others in a table."""
        record = "with records" if self.records else "without records"
        return f"{self.transport}, {record}"


def fault_kinds(text: str) -> tuple[Fault, ...]:
    """Read a comma list of faults.

    Raises:
        InvalidArgument: one of them is unknown.
    """
    known: Sequence[str] = [kind.value for kind in Fault]
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in known:
            raise InvalidArgument(f"--faults: no fault is named {name!r}; the faults are {', '.join(known)}.")
    return tuple(dict.fromkeys(Fault(name) for name in names))
