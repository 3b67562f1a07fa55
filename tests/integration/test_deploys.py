"""A deploy under load: workers are stopped as the supervisor stops them, one after the other, and started anew."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from random import Random

import psutil
import pytest

from cli.chaos.processes import Processes, ProcessGroup
from lives import Life, figures, lasting, pacing
from redis_server import RedisServer, bundled
from waiting import until

SOFT_SECONDS = 1
"""What a stopping worker gives its tasks: less than some of them take."""

TASK_SECONDS = lasting(5, 60)
EVERY_SECONDS = lasting(0.4, 5)
TASKS = int(lasting(50, 200))
FREE_SECONDS = 10.0


@pytest.fixture
def life(tmp_path: Path) -> Iterator[Life]:
    with ExitStack() as stack:
        redis = RedisServer(bundled()).start()
        stack.callback(redis.stop)
        processes = stack.enter_context(Processes(tmp_path))
        made = Life(tmp_path, processes, redis.url, variables={"SOFT_SHUTDOWN_TIMEOUT": str(SOFT_SECONDS)})
        stack.callback(made.close)
        yield made


@pytest.mark.slow
def test_a_rolling_restart_under_load_loses_nothing_and_costs_no_attempt(life: Life):
    chance = Random(4)  # the same tasks in every run
    life.leader()
    workers = {name: life.worker(name) for name in ("w0", "w1", "w2", "w3")}
    submitter = life.submitter()
    life.until_ready(*workers.values(), submitter)
    stops: list[float] = []
    task_seconds = [chance.uniform(0, TASK_SECONDS) for _ in range(TASKS)]
    with pacing(submitter, range(TASKS), EVERY_SECONDS, task_seconds) as load:
        until(lambda: life.counts("begin").total() >= 8, what="all slots are taken")
        until(
            lambda: has_long_work(life, workers["w0"], task_seconds),
            what="the first to be stopped has work to interrupt",
        )
        for at, (name, worker) in enumerate(workers.items()):
            stops.append(time.monotonic())
            stop(worker, signal.SIGQUIT if at < len(workers) - 1 else signal.SIGTERM)
            worker.log.unlink()
            workers[name] = life.worker(name)
            life.until_ready(workers[name])
        load.join(TASKS * EVERY_SECONDS + 60)
    submitter.until_answered(TASKS)
    records = life.until_final(range(TASKS), 120 + 3 * TASK_SECONDS)

    begun, done = life.counts("begin"), life.counts("done")
    again = [number for number, count in begun.items() if count > 1]
    last = {line["number"]: line["at"] for line in life.seen("begin")}
    waits = [min(last[number] - asked for asked in stops if asked < last[number]) - SOFT_SECONDS for number in again]
    figures(
        "a rolling restart of 4 workers",
        tasks=TASKS,
        interrupted=len(again),
        begun_again_after=max(waits, default=0.0),
        lost=TASKS - len(done),
        failed=sum(record.state != "SUCCESS" for record in records.values()),
        attempts_used=sum(record.attempt for record in records.values()),
    )
    assert {record.state for record in records.values()} == {"SUCCESS"}
    assert {(record.attempt, record.lost_runs) for record in records.values()} == {(0, 0)}
    assert set(done) == set(range(TASKS))
    assert set(done.values()) == {1}
    assert again, "something was interrupted"
    assert max(waits, default=0.0) <= FREE_SECONDS, "what was interrupted is free at once"


def has_long_work(life: Life, worker: ProcessGroup, task_seconds: list[float]) -> bool:
    """Tell whether a worker is in a task that takes clearly longer than what a stop gives it."""
    children = {child.pid for child in psutil.Process(worker.pid).children()}
    enough = time.monotonic() + 2 * SOFT_SECONDS
    mine = (line for line in life.seen("begin") if line["pid"] in children)
    return any(line["at"] + task_seconds[line["number"]] > enough for line in mine)


def stop(worker: ProcessGroup, number: signal.Signals) -> None:
    """Stop a worker as the supervisor does (SIGQUIT), or as who gives its tasks all their time (SIGTERM)."""
    os.kill(worker.pid, number)
    until(lambda: not worker.alive(), TASK_SECONDS + 60, f"{worker.name} ends")
