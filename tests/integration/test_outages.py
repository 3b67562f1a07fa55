"""A program whose broker is away, and a worker that is frozen for longer than it may be silent."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
import pytest

from cli.chaos.processes import Processes, ProcessGroup
from lives import Life, figures, lasting, pacing, said
from redis_server import RedisServer, bundled
from waiting import until

AWAY_SECONDS = lasting(10, 60)
EVERY_SECONDS = 0.1
PUBLISH_TIMEOUT = 2
LONG_TASK_SECONDS = lasting(12, 90)
"""Longer, in the long form over ten times, than a process may be silent (8 s)."""


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    server = RedisServer(bundled(), "--appendonly", "yes", "--appendfsync", "always")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def life(tmp_path: Path, redis: RedisServer) -> Iterator[Life]:
    with ExitStack() as stack:
        processes = stack.enter_context(Processes(tmp_path))
        made = Life(tmp_path, processes, redis.url, variables={"PUBLISH_TIMEOUT": str(PUBLISH_TIMEOUT)})
        stack.callback(made.close)
        yield made


@contextmanager
def killed(redis: RedisServer) -> Iterator[None]:
    redis.kill()
    yield
    redis.start()


@contextmanager
def frozen(redis: RedisServer) -> Iterator[None]:
    redis.process.send_signal(signal.SIGSTOP)
    yield
    redis.process.send_signal(signal.SIGCONT)


@pytest.mark.parametrize("away", [killed, frozen])
def test_a_program_without_its_broker_has_its_ids_in_time_and_each_task_runs_once(life: Life, redis: RedisServer, away):
    life.leader()
    worker, submitter = life.worker(slots=4), life.submitter()
    life.until_ready(worker, submitter)
    numbers = range(int((AWAY_SECONDS + 2) / EVERY_SECONDS))
    with pacing(submitter, numbers, EVERY_SECONDS) as load:
        until(lambda: life.counts("done").total() >= 5, what="it works under load")
        with away(redis):
            time.sleep(AWAY_SECONDS)  # the length of the outage is what it is about
        load.join(60)
    answers = submitter.until_answered(len(numbers))
    records = life.until_final(numbers)

    done, begun = life.counts("done"), life.counts("begin")
    figures(
        f"a broker is {away.__name__} for {AWAY_SECONDS:g} s",
        submitted=len(numbers),
        accepted=sum("error" not in one for one in answers),
        slowest_submit=max(one["seconds"] for one in answers),
        ran_twice=sum(count > 1 for count in begun.values()),
        not_done=len(numbers) - len(done),
    )
    assert [one for one in answers if "error" in one] == []
    assert max(one["seconds"] for one in answers) <= PUBLISH_TIMEOUT + 5, (
        "the time-out once, on a machine that may be busy"
    )
    assert {record.state for record in records.values()} == {"SUCCESS"}
    assert set(done) == set(numbers)
    assert {record.run for record in records.values()} == {1}
    assert set(begun.values()) == {1}


def test_a_task_longer_than_the_lease_runs_once_and_a_frozen_worker_changes_nothing_when_it_wakes(life: Life):
    life.leader()
    workers = [life.worker(f"w{number}") for number in range(2)]
    submitter = life.submitter()
    life.until_ready(*workers, submitter)
    submitter.submit(0, 3.0, once=True)
    first = until(lambda: life.seen("begin"), what="it runs")[0]
    stopped = next(worker for worker in workers if first["pid"] in pids(worker))

    stopped.signal(signal.SIGSTOP)
    submitter.submit(1, LONG_TASK_SECONDS, once=True)
    until(lambda: life.counts("done")[0], 60, "the other worker has done it")
    stopped.signal(signal.SIGCONT)
    until(lambda: said(stopped, "declared_dead"), 60, "the frozen worker finds out")
    for number in range(2, 10):  # the slots of both, so that the frozen ones have gone on with their lives
        submitter.submit(number, 1.0, once=True)
    records = life.until_final(range(10), 60 + LONG_TASK_SECONDS)

    begun, done = life.counts("begin"), life.counts("done")
    waited = life.seen("begin")[1:]
    figures(
        f"a worker is frozen, and a task takes {LONG_TASK_SECONDS:g} s",
        runs_of_the_frozen_task=begun[0],
        runs_of_the_long_task=begun[1],
        begun_elsewhere_after=next(line["at"] for line in waited if line["number"] == 0) - first["at"],
        done_twice=sum(count > 1 for count in done.values()),
    )
    assert (records[0].run, begun[0], done[0]) == (2, 2, 1)
    assert next(line["run"] for line in life.seen("done") if line["number"] == 0) == 2, "the late effect was refused"
    assert (records[1].run, begun[1], done[1]) == (1, 1, 1)
    assert {record.state for record in records.values()} == {"SUCCESS"}
    assert set(done.values()) == {1}
    assert os.getpgid(first["pid"]) == stopped.pid
    assert stopped.alive()


def pids(worker: ProcessGroup) -> set[int]:
    return {child.pid for child in psutil.Process(worker.pid).children(recursive=True)}
