"""Who takes part in which work: the rows of every table, with the natural settings of each system."""

from dataclasses import dataclass, replace

Command = tuple[str, ...]

RATE = "tasks/s"


@dataclass(frozen=True, slots=True)
class Entrant:
    """One row of a work.

    Attributes:
        name: the row's name, and its set-up.
        system: whose environment it runs in: `ours`, or a folder of `peers`.
        adapter: the module of `systems` that the producer imports.
        rate: what it does about, per second; it sizes the work so that it takes some seconds.
        publish: the adapter's function that publishes.
        workers: the commands that together are two processes, or whatever is natural for the system.
        beside: commands that the workers need beside them and that are not measured.
        records: where records are kept, or "" without records.
    """

    name: str
    system: str
    adapter: str
    rate: int = 0
    publish: str = "publish"
    workers: tuple[Command, ...] = ()
    beside: tuple[Command, ...] = ()
    records: str = ""


@dataclass(frozen=True, slots=True)
class Work:
    """One table.

    Attributes:
        title: what is measured.
        unit: of its figures.
        measure: the function of `measurements` that does it.
        entrants: its rows, in the order in which a round runs them.
    """

    title: str
    unit: str
    measure: str
    entrants: tuple[Entrant, ...]

    @property
    def more_is_better(self) -> bool:
        """Whether a higher figure is the better one."""
        return self.unit == RATE


LEAN = ("--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel=ERROR")
DEEP = "--prefetch-multiplier=64"
AHEAD = "--prefetch-multiplier=2"  # what Dramatiq takes ahead for each of its threads
# What `start_celery.py worker` starts.
SERVICE = ("python", "-m", "services.celery_part", "worker", "-I", "service", "--queues=default")
LEADER = (("python", "-m", "services.leader"),)


def _threads(app: Command, slots: int, *options: str) -> tuple[Command, ...]:
    pool = ("--pool=threads", f"--concurrency={slots}", *options)
    return tuple((*app, *pool, *LEAN, f"--hostname={name}@%h") for name in ("first", "second"))


def _prefork(app: Command, *options: str) -> tuple[Command, ...]:
    return ((*app, "--concurrency=2", *LEAN, *options),)


def _plain(adapter: str) -> Command:
    return ("python", "-m", "plain_worker", adapter)


def _dramatiq(threads: int) -> tuple[Command, ...]:
    return (("dramatiq", "dramatiq_app", "--processes=2", f"--threads={threads}"),)


def _taskiq(*options: str) -> tuple[Command, ...]:
    return (("taskiq", "worker", "taskiq_app:broker", "--workers=2", "--log-level=WARNING", *options),)


OURS = Entrant("ours", "ours", "ours")
STOCK = Entrant("stock Celery", "celery", "stock")
SQLITE = Entrant("ours, records in SQLite", "ours", "service", records="sqlite", beside=LEADER)
POSTGRESQL = Entrant("ours, records in PostgreSQL", "ours", "service", records="postgresql", beside=LEADER)
DRAMATIQ = Entrant("Dramatiq", "dramatiq", "dramatiq_app", workers=_dramatiq(8))
HUEY = Entrant("Huey", "huey", "huey_app", workers=(("huey_consumer", "huey_app.huey", "-w2", "-kprocess", "-q"),))
RQ_WORKER = ("rq", "worker", "--worker-class=rq.worker.SimpleWorker", "--quiet", "bench")
RQ = Entrant("RQ", "rq", "rq_app", workers=(RQ_WORKER, RQ_WORKER))
ARQ = Entrant("arq", "arq", "arq_app", workers=(("arq", "arq_app.WorkerSettings"),))
TASKIQ = Entrant("taskiq", "taskiq", "taskiq_app", workers=_taskiq())
FLOOR = Entrant("floor: Redis alone", "ours", "floor")

PUBLISH_ONE = (
    replace(OURS, name="ours, QuickCelery", rate=4000),
    replace(OURS, name="ours, Celery's own messages", publish="publish_plain", rate=2000),
    replace(SQLITE, rate=800, beside=()),
    replace(POSTGRESQL, rate=500, beside=()),
    replace(STOCK, rate=1400),
    replace(DRAMATIQ, rate=4000),
    replace(HUEY, rate=6000),
    replace(RQ, rate=2000),
    replace(ARQ, rate=2000),
    replace(TASKIQ, rate=2700),
)
PUBLISH_BULK = (
    replace(OURS, name="ours, send_many", publish="publish_bulk", rate=40_000),
    replace(OURS, name="ours, Producer.batch", publish="publish_batched", rate=4000),
    replace(SQLITE, publish="publish_bulk", beside=()),
    replace(POSTGRESQL, publish="publish_bulk", beside=()),
    replace(STOCK, name="stock Celery, Producer.batch", publish="publish_bulk", rate=3500),
    replace(DRAMATIQ, publish="publish_bulk"),
    replace(HUEY, publish="publish_bulk"),
    replace(RQ, name="RQ, enqueue_many", publish="publish_bulk", rate=10_000),
    replace(ARQ, name="arq, 50 at a time", publish="publish_bulk", rate=4500),
    replace(TASKIQ, name="taskiq, 50 at a time", publish="publish_bulk", rate=4000),
    replace(FLOOR, rate=100_000),
)

OURS_THREADS = replace(
    OURS,
    name="ours, 2 x 10 threads",
    publish="publish_batched",
    rate=6000,
    workers=_threads(_plain("ours"), 10, DEEP),
)
OURS_PREFORK = replace(OURS_THREADS, name="ours, prefork of 2", rate=1500, workers=_prefork(_plain("ours"), DEEP))
STOCK_THREADS = replace(
    STOCK,
    name="stock Celery, 2 x 10 threads",
    publish="publish_bulk",
    rate=1500,
    workers=_threads(_plain("stock"), 10, DEEP),
)
STOCK_PREFORK = replace(
    STOCK_THREADS, name="stock Celery, prefork of 2", rate=900, workers=_prefork(_plain("stock"), DEEP)
)
SQLITE_THREADS = replace(SQLITE, name="ours, records in SQLite, 2 x 10 threads", workers=_threads(SERVICE, 10))
POSTGRESQL_THREADS = replace(
    POSTGRESQL, name="ours, records in PostgreSQL, 2 x 10 threads", workers=_threads(SERVICE, 10)
)
DRAIN = (
    OURS_THREADS,
    OURS_PREFORK,
    replace(SQLITE_THREADS, rate=3000, workers=_threads(SERVICE, 10, DEEP)),
    replace(POSTGRESQL_THREADS, rate=2000, workers=_threads(SERVICE, 10, DEEP)),
    STOCK_THREADS,
    STOCK_PREFORK,
    replace(DRAMATIQ, name="Dramatiq, 2 x 8 threads", rate=4000),
    replace(HUEY, name="Huey, 2 processes", rate=3500),
    replace(RQ, name="RQ, 2 SimpleWorkers", publish="publish_bulk", rate=450),
    replace(ARQ, name="arq, 1 process (2 are slower)", publish="publish_bulk", rate=1000),
    replace(TASKIQ, name="taskiq, 2 processes", publish="publish_bulk", rate=4000),
    replace(FLOOR, rate=100_000),
)
LATENCY = (
    replace(OURS_THREADS, workers=_threads(_plain("ours"), 10), rate=100),
    replace(SQLITE_THREADS, rate=15),
    replace(POSTGRESQL_THREADS, rate=15),
    replace(STOCK_THREADS, workers=_threads(_plain("stock"), 10), rate=100),
    replace(DRAMATIQ, name="Dramatiq, 2 x 8 threads", rate=100),
    replace(HUEY, name="Huey, 2 processes (its caller polls)", rate=20),
    replace(RQ, name="RQ, 2 SimpleWorkers", rate=100),
    replace(ARQ, name="arq (worker and caller poll)", rate=2),
    replace(TASKIQ, name="taskiq, 2 processes (its caller polls)", rate=5),
)
WAITING = (
    replace(OURS_THREADS, name="ours, 2 x 50 threads", workers=_threads(_plain("ours"), 50, AHEAD)),
    replace(STOCK_THREADS, name="stock Celery, 2 x 50 threads", workers=_threads(_plain("stock"), 50, AHEAD)),
    replace(DRAMATIQ, name="Dramatiq, 2 x 50 threads", workers=_dramatiq(50)),
    replace(HUEY, name="Huey, 100 threads", workers=(("huey_consumer", "huey_app.huey", "-w100", "-kthread", "-q"),)),
    replace(ARQ, name="arq, 100 jobs", publish="publish_bulk"),
    replace(TASKIQ, name="taskiq, 2 x 50 tasks", publish="publish_bulk", workers=_taskiq("--max-async-tasks=50")),
)
MEMORY = (
    OURS_PREFORK,
    # Celery and redis-py load what they find beside them: only in one environment is it the transport that is weighed.
    replace(STOCK_PREFORK, name="stock Celery in our environment, prefork of 2", system="ours"),
    OURS_THREADS,
    replace(SQLITE, name="ours, records in SQLite, prefork of 2", workers=_prefork(SERVICE)),
    replace(POSTGRESQL, name="ours, records in PostgreSQL, prefork of 2", workers=_prefork(SERVICE)),
    STOCK_PREFORK,
    STOCK_THREADS,
    replace(DRAMATIQ, name="Dramatiq, 2 x 8 threads"),
    replace(HUEY, name="Huey, 2 processes"),
    replace(RQ, name="RQ, 2 SimpleWorkers"),
    replace(ARQ, name="arq, 1 process"),
    replace(TASKIQ, name="taskiq, 2 processes"),
)

FAR_DRAIN = (replace(OURS_THREADS, rate=1500), replace(STOCK_THREADS, rate=250))

WORKS = {
    "publish_one": Work("Publish one by one", RATE, "publish", PUBLISH_ONE),
    "publish_bulk": Work("Publish in bulk", RATE, "publish", PUBLISH_BULK),
    "drain": Work("Drain tasks that do nothing", RATE, "drain", DRAIN),
    "latency": Work("Latency from submit to result, p50", "ms", "latency", LATENCY),
    "waiting": Work("2 000 tasks of 50 ms of waiting", "s", "wait", WAITING),
    "memory": Work("Memory of an idle worker, PSS", "MiB", "memory", MEMORY),
    "far_drain": Work("Drain with 2 ms to Redis and back", RATE, "far_drain", FAR_DRAIN),
}
