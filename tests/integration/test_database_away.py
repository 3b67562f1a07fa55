"""The database is away under load: nothing starts, what runs goes on and is remembered, and nothing is lost."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from cli.chaos.processes import Processes
from lives import Life, figures, lasting, pacing
from postgresql import PostgresqlServer
from redis_server import RedisServer, bundled
from waiting import until

AWAY_SECONDS = lasting(6, 120)
SUBMIT_SECONDS = 22
"""What a submit may take: SQLite's lock is waited for 10 s by what is written just then, and 10 s by itself.

But where PostgreSQL is frozen nobody tells its clients, and they wait until it goes on.
"""

RUNNING_SECONDS = 3.0
EVERY_SECONDS = 0.2
MIXED_SECONDS = (0.0, 0.2, 0.0, 0.0, 0.2, RUNNING_SECONDS, 0.0)


@contextmanager
def shut_down(server: PostgresqlServer) -> Iterator[None]:
    server.shut_down()
    try:
        yield
    finally:
        server.start_again()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    with closing(sqlite3.connect(path, isolation_level=None, timeout=30)) as lock:
        lock.execute("BEGIN IMMEDIATE")
        yield
        lock.execute("ROLLBACK")


@pytest.fixture(
    params=[
        "SQLite locked by another process",
        pytest.param("PostgreSQL shut down", marks=pytest.mark.services),
        pytest.param("PostgreSQL frozen", marks=pytest.mark.services),
    ]
)
def installation(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Life, AbstractContextManager[None]]]:
    way = request.param
    with ExitStack() as stack:
        redis = RedisServer(bundled()).start()
        stack.callback(redis.stop)
        server, url = None, None
        if "PostgreSQL" in way:
            server = PostgresqlServer()
            stack.callback(server.stop)
            server.start()
            url = server.fresh_database()
        processes = stack.enter_context(Processes(tmp_path))
        life = Life(tmp_path, processes, redis.url, url)
        stack.callback(life.close)
        if server is None:
            away = locked(tmp_path / "data" / "records.db")
        else:
            away = server.frozen() if "frozen" in way else shut_down(server)
        yield life, away


def test_nothing_is_lost_nor_done_twice_though_the_database_is_away_under_load(installation, request):
    life, away = installation
    life.leader()
    workers = [life.worker(f"w{number}") for number in range(2)]
    submitter = life.submitter()
    life.until_ready(*workers, submitter)
    numbers = range(int((AWAY_SECONDS + 5) / EVERY_SECONDS))
    with pacing(submitter, numbers, EVERY_SECONDS, MIXED_SECONDS) as load:
        until(lambda: life.counts("done").total() >= 10, what="it works under load")
        until(lambda: runs(life), what="something long runs")
        with away:
            gone = time.monotonic() + 0.5  # a statement that was under way may still have been answered
            time.sleep(AWAY_SECONDS)
            back = time.monotonic()
        load.join(AWAY_SECONDS + 60)
    answers = submitter.until_answered(len(numbers), 60 + AWAY_SECONDS)
    accepted = {one["number"] for one in answers if "error" not in one}
    refused = {one["number"] for one in answers if one.get("error") == "ServiceUnavailable"}
    records = life.until_final(sorted(accepted), 120)

    done, begun = life.counts("done"), life.counts("begin")
    during = [line for line in life.seen("begin") if gone < line["at"] < back]
    finished = [line["number"] for line in life.seen("done") if gone < line["at"] < back]
    figures(
        f"{request.node.callspec.id} for {AWAY_SECONDS:g} s",
        submitted=len(numbers),
        accepted=len(accepted),
        refused=len(refused),
        unknown=len(answers) - len(accepted) - len(refused),
        slowest_submit=max(one["seconds"] for one in answers),
        started_while_away=len(during),
        worked_on_while_away=len(finished),
        ran_twice=sum(count > 1 for count in begun.values()),
        done_twice=sum(count > 1 for count in done.values()),
    )
    assert during == []
    assert finished, "what ran went on"
    assert {records[number].state for number in finished} == {"SUCCESS"}, "its end was written afterwards"
    assert {record.state for record in records.values()} == {"SUCCESS"}
    assert set(done) == set(records), "what was refused was not done, and all else was"
    assert set(done.values()) == set(begun.values()) == {1}
    assert not refused & set(records)
    frozen = AWAY_SECONDS if "frozen" in request.node.callspec.id else 0
    assert max(one["seconds"] for one in answers) <= SUBMIT_SECONDS + frozen


def runs(life: Life) -> bool:
    """Tell whether a long task has just begun."""
    begun = [
        line
        for line in life.seen("begin")
        if line["number"] % len(MIXED_SECONDS) == MIXED_SECONDS.index(RUNNING_SECONDS)
    ]
    return bool(begun) and time.monotonic() - begun[-1]["at"] < 1
