"""One measurement each: a fresh broker, the processes of one entrant, counted effects, one figure.

A run in which a task is missing or ran twice has no figure.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from entrants import Command, Entrant
from environments import Environment
from processes import Processes, ProcessFailed
from servers import Postgresql, RedisServer, Relay

SYSTEMS = Path(__file__).with_name("systems")
EFFECTS_KEY, WARM_UP, WAIT_SECONDS = "effects", 20, 0.05  # as in `systems`, which needs another environment

WORK_SECONDS = 4
SMALLEST = 200
QUICK_LATENCIES, FEWEST_LATENCIES, MOST_LATENCIES = 20, 40, 300
WAITING_TASKS, QUICK_WAITING_TASKS = 2000, 200
BULK_TASKS = 10_000

CLIENT_SECONDS = 300
STALLED_SECONDS = 20
LOOK_SECONDS = 0.05
SETTLE_SECONDS = 0.3
IDLE_SHARE, IDLE_SECONDS, QUIET_LOOKS, READY_SECONDS = 0.25, 1.0, 2, 60
ROUND_TRIP_MILLISECONDS = 2.0

Outcome = dict[str, Any]


class WrongEffects(Exception):
    """Tasks are missing, or ran twice."""


@dataclass(frozen=True, slots=True)
class Bench:
    """What all measurements of a run share.

    Attributes:
        folder: scratch space.
        redis: the broker.
        postgresql: the server for records, or None where it is not installed.
        environments: those of the peers.
        quick: whether everything is small, to try the benchmark itself.
    """

    folder: Path
    redis: RedisServer
    postgresql: Postgresql | None
    environments: dict[str, Environment]
    quick: bool

    def programs(self, entrant: Entrant) -> Path:
        """Return the folder of the programs of an entrant's environment."""
        environment = self.environments.get(entrant.system)
        return environment.programs if environment else Path(sys.executable).parent

    def count(self, entrant: Entrant) -> int:
        """Return how many tasks an entrant gets."""
        return SMALLEST if self.quick else max(SMALLEST, entrant.rate * WORK_SECONDS)


class Cell:
    """One entrant's turn: its folder, its processes and its counted effects."""

    def __init__(self, bench: Bench, entrant: Entrant, folder: Path, workers: Processes, beside: Processes) -> None:
        self.bench, self.entrant, self.folder = bench, entrant, folder
        self.redis, self.workers, self.beside = bench.redis, workers, beside

    def client(self, *arguments: str) -> Outcome:
        """Run the producer's side to its end."""
        command = [str(SYSTEMS / "client.py"), self.entrant.adapter, *arguments]
        with Processes(self.workers.environment, self.folder / "client") as client:
            return client.run([self.program("python"), *command], CLIENT_SECONDS)

    def make_schema(self) -> None:
        """Make an empty record database, as `start_celery.py all` does before it starts its parts."""
        with Processes(self.workers.environment, self.folder / "schema") as programs:
            program = programs.start([self.program("csai"), "db", "upgrade"])
            if program.wait(CLIENT_SECONDS):
                raise ProcessFailed(f"no schema: {programs.last_words(program)}")

    def start_workers(self) -> list[subprocess.Popen[bytes]]:
        """Start what is measured."""
        return [self.workers.start(self._command(command)) for command in self.entrant.workers]

    def start_beside(self) -> None:
        """Start what the workers need."""
        for command in self.entrant.beside:
            self.beside.start(self._command(command))

    def _command(self, command: Command) -> list[str]:
        return [self.program(command[0]), *command[1:]]

    def program(self, name: str) -> str:
        """Return the path of a program of the entrant's environment."""
        return str(self.bench.programs(self.entrant) / name)


@contextmanager
def turn(bench: Bench, entrant: Entrant, *, results: bool = False, port: int | None = None) -> Iterator[Cell]:
    """Empty the broker, and end everything that the turn started when it is over."""
    bench.redis.client.flushall()
    with tempfile.TemporaryDirectory(dir=bench.folder, prefix="turn-") as name:
        folder = Path(name)
        for part in ("client", "workers", "beside", "schema"):
            (folder / part).mkdir()
        environment = _environment(bench, entrant, folder, port) | {"BENCH_RESULTS": "1" if results else "0"}
        with Processes(environment, folder / "beside") as beside, Processes(environment, folder / "workers") as workers:
            cell = Cell(bench, entrant, folder, workers, beside)
            if entrant.records:
                cell.make_schema()
            yield cell


def publish(bench: Bench, entrant: Entrant) -> Outcome:
    """Publish, and count what lies in the queue."""
    count = _publish_count(bench, entrant)
    with turn(bench, entrant) as cell:
        said = cell.client("publish", "no_operation", str(count), entrant.publish)
        if "absent" in said:
            return said
        if said["counted"] != count:
            raise WrongEffects(f"{said['counted']} of {count} lie in the queue")
        return {
            "value": said["timed"] / said["seconds"],
            "tasks": said["timed"],
            "cpu_us": said["cpu_seconds"] / said["timed"] * 1e6,
        }


def drain(bench: Bench, entrant: Entrant, port: int | None = None) -> Outcome:
    """Fill the queue, start the workers and count: the rate from the first effect to the last."""
    if entrant.adapter == "floor":
        return _pop(bench, entrant)
    count = bench.count(entrant)
    with turn(bench, entrant, port=port) as cell:
        ended, figures = _work_off(cell, "no_operation", count)
        return {"value": (count - 1) / (ended[-1] - ended[0]), "tasks": count, **figures}


def far_drain(bench: Bench, entrant: Entrant) -> Outcome:
    """Drain with a broker that is 2 ms away; effects are noted in one that is near."""
    with tempfile.TemporaryDirectory(dir=bench.folder) as folder, Processes({}, Path(folder)) as processes:
        relay = Relay(processes, bench.redis.port, ROUND_TRIP_MILLISECONDS)
        return {**drain(bench, entrant, relay.port), "round_trip_ms": relay.measured_round_trip()}


def wait(bench: Bench, entrant: Entrant) -> Outcome:
    """Work off tasks that wait: the time from the first task's start to the last one's end."""
    count = QUICK_WAITING_TASKS if bench.quick else WAITING_TASKS
    with turn(bench, entrant) as cell:
        ended, figures = _work_off(cell, "wait", count)
        return {"value": ended[-1] - ended[0] + WAIT_SECONDS, "tasks": count, **figures}


def latency(bench: Bench, entrant: Entrant) -> Outcome:
    """Submit to an idle worker and wait for the result, one task at a time."""
    count = min(max(FEWEST_LATENCIES, entrant.rate * WORK_SECONDS), MOST_LATENCIES)
    with turn(bench, entrant, results=True) as cell:
        cell.start_beside()
        cell.start_workers()
        until_idle(cell.workers)
        said = cell.client("latency", str(QUICK_LATENCIES if bench.quick else count))
        if said["wrong"]:
            raise WrongEffects(f"{said['wrong']} results are wrong")
        points = statistics.quantiles(said["milliseconds"], n=100, method="inclusive")
        return {"value": points[49], "p95_ms": points[94], "p99_ms": points[98], "tasks": len(said["milliseconds"])}


def memory(bench: Bench, entrant: Entrant) -> Outcome:
    """Weigh a worker that has nothing to do, then see it do one task."""
    with turn(bench, entrant) as cell:
        cell.start_beside()
        cell.start_workers()
        until_idle(cell.workers)
        pss, rss, processes = cell.workers.memory_mb()
        cell.client("publish", "no_operation", "1", entrant.publish)
        _until_done(cell, 1)
        return {"value": pss, "rss_mb": rss, "processes": processes}


def versions(bench: Bench, entrant: Entrant) -> dict[str, str]:
    """Return the versions of what an entrant runs on."""
    with turn(bench, entrant) as cell:
        return cell.client("versions")


def _pop(bench: Bench, entrant: Entrant) -> Outcome:
    count = bench.count(entrant)
    with turn(bench, entrant) as cell:
        said = cell.client("pop", str(count))
        if said["counted"] != count:
            raise WrongEffects(f"{said['counted']} of {count} came out of the queue")
        return {"value": count / said["seconds"], "tasks": count, "cpu_us": said["cpu_seconds"] / count * 1e6}


def _publish_count(bench: Bench, entrant: Entrant) -> int:
    if entrant.records and entrant.publish == "publish_bulk":
        return WARM_UP + (SMALLEST if bench.quick else BULK_TASKS)
    return bench.count(entrant)


def _work_off(cell: Cell, task: str, count: int) -> tuple[list[float], dict[str, float]]:
    """Fill the queue, start the workers, wait for every effect; returns their moments and what it cost."""
    filled = cell.client("publish", task, str(count), cell.entrant.publish)
    if filled["counted"] != count:
        raise WrongEffects(f"{filled['counted']} of {count} lie in the queue before the start")
    cell.start_beside()
    until_idle(cell.beside)
    began = time.monotonic()
    cell.start_workers()
    first, cpu, redis_cpu = _until_done(cell, count)
    ended = moments(cell, count)
    steady = max(count - first, 1)
    figures = {
        "wall_s": ended[-1] - began,
        "cpu_us": cpu / steady * 1e6,
        "redis_us": redis_cpu / steady * 1e6,
    }
    return ended, figures


def _until_done(cell: Cell, count: int) -> tuple[int, float, float]:
    """Wait for the effects; returns how many there were at the first look, and the processor times since then.

    Raises:
        WrongEffects: nothing more happens and tasks are missing.
        ProcessFailed: a worker has ended.
    """
    first, cpu, redis_cpu = 0, 0.0, 0.0
    seen, moved = 0, time.monotonic()
    while True:
        done = cell.redis.effects.llen(EFFECTS_KEY)
        now = time.monotonic()
        if done > seen:
            seen, moved = done, now
            if not first:
                first, cpu, redis_cpu = done, cell.workers.cpu_seconds(), cell.redis.cpu_seconds()
        if done >= count:
            return first, cell.workers.cpu_seconds() - cpu, cell.redis.cpu_seconds() - redis_cpu
        if now - moved > STALLED_SECONDS:
            raise WrongEffects(f"{count - done} of {count} tasks are missing: {cell.workers.all_last_words()}")
        cell.workers.check()
        time.sleep(LOOK_SECONDS)


def moments(cell: Cell, count: int) -> list[float]:
    """Return when each task ran, once it is certain that each ran once."""
    time.sleep(SETTLE_SECONDS)  # a task that runs twice may still do so
    markers = [marker.decode().split() for marker in cell.redis.effects.lrange(EFFECTS_KEY, 0, -1)]
    times = Counter(int(number) for number, _ in markers)
    missing = sum(number not in times for number in range(count))
    again = len(markers) - len(times)
    if missing or again:
        raise WrongEffects(f"of {count} tasks {missing} are missing and {again} ran again")
    return sorted(float(moment) for _, moment in markers)


def until_idle(processes: Processes) -> None:
    """Wait until these have started, if there are any: their processor time and their number stand still for a while.

    One pause is none: a worker that waits for its broker has not forked yet.
    """
    deadline = time.monotonic() + READY_SECONDS
    before, number, quiet = 0.0, 0, 0
    while processes:
        time.sleep(IDLE_SECONDS)
        processes.check()
        used, now = processes.cpu_seconds(), len(processes.tree())
        stands = bool(before) and used - before < IDLE_SHARE * IDLE_SECONDS and now == number
        quiet = quiet + 1 if stands else 0
        number = now
        if quiet == QUIET_LOOKS:
            return
        if time.monotonic() > deadline:
            raise ProcessFailed(f"not idle within {READY_SECONDS} s: {processes.all_last_words()}")
        before = used


def _environment(bench: Bench, entrant: Entrant, folder: Path, port: int | None) -> dict[str, str]:
    """Return the environment of a turn's processes: the machine's, without what could change a system's settings."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}  # noqa: TID251 - what processes inherit
    broker = bench.redis.url(0, port)
    environment = {
        **kept,
        "PYTHONPATH": str(SYSTEMS),
        "BENCH_BROKER_URL": broker,
        "BENCH_EFFECTS_URL": bench.redis.url(1),
        "RQ_REDIS_URL": broker,
    }
    if entrant.records:
        environment |= {
            "DATA_DIR": str(folder / "data"),
            "CELERY_BROKER_URL": broker,
            "CELERY_SEND_EVENTS": "false",
            "LOG_LEVEL": "ERROR",
            "LIMIT_DEFAULT": "none",
            "LIMIT_HIGH_PRIORITY": "none",
        }
    if entrant.records == "postgresql" and bench.postgresql:
        environment["DATABASE_URL"] = bench.postgresql.fresh_database()
    return environment
