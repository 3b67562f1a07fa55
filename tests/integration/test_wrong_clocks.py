"""Machines whose clocks are wrong, or jump: one clock decides, the database's."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from cli.chaos.processes import Processes
from lives import Life, Submitter, figures, lasting
from postgresql import PostgresqlServer
from records.leadership import leadership
from records.workers import workers
from redis_server import RedisServer, bundled
from waiting import until
from wrong_clocks import Clock

pytestmark = pytest.mark.services

LONG_TASK_SECONDS = lasting(10, 60)
"""Longer than a process may be silent."""

OFFSETS = (3600, -3600, 30)
EARLY_SECONDS = 1.0


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def life(stack: ExitStack, tmp_path: Path, request: pytest.FixtureRequest) -> Life:
    redis = RedisServer(bundled()).start()
    stack.callback(redis.stop)
    url = None
    if request.param == "postgresql":
        server = PostgresqlServer()
        stack.callback(server.stop)
        server.start()
        url = server.fresh_database()
    life = Life(tmp_path, stack.enter_context(Processes(tmp_path)), redis.url, url)
    stack.callback(life.close)
    return life


def lost_workers(life: Life) -> list[str]:
    """Return the working processes that were declared dead."""
    query = select(workers.c.name).where(workers.c.lost)
    return list(life.database.read(lambda c: c.execute(query).scalars().all()))


@pytest.mark.parametrize("life", ["postgresql"], indirect=True)
def test_wrong_clocks_start_nothing_early_and_bury_nobody(stack: ExitStack, life: Life, tmp_path: Path):
    clocks = [Clock(tmp_path / f"clock{offset}", offset) for offset in OFFSETS]
    jumping = Clock(tmp_path / "clock-jumping")
    stack.enter_context(jumping.jumping(*OFFSETS))
    submitters = [life.submitter(f"s{at}", **clock.variables) for at, clock in enumerate(clocks)]
    right = life.submitter("right")
    life.until_ready(right, *submitters)
    began, now = time.monotonic(), datetime.now(UTC)
    right.submit(900, expires_at=(now + timedelta(seconds=2)).isoformat())  # nobody is there to run it in time
    right.submit(901, expires_at=(now + timedelta(seconds=600)).isoformat())
    due = submit_later(submitters, now)
    numbers = [901, *due]
    for submitter, count in zip([right, *submitters], (2, 4, 4, 4), strict=True):
        submitter.until_answered(count)
    life.leader("leader0", **clocks[0].variables)
    time.sleep(2.5)  # what expires must have expired, by the database's clock
    named = [(f"w{at}", clock) for at, clock in enumerate([*clocks, jumping])]
    life.until_ready(*[life.worker(name, 2, **clock.variables) for name, clock in named])
    life.leader("leader1", **clocks[1].variables)
    held = range(300, 303)
    for number in held:
        right.submit(number, LONG_TASK_SECONDS, priority="high")

    records = life.until_final([900, *numbers, *held], 60 + LONG_TASK_SECONDS)

    begun = {line["number"]: line["at"] - began for line in life.seen("begin")}
    early = {number: due[number] - begun[number] for number in due}
    by_record = {n: (records[n].due_at - records[n].started_at).total_seconds() for n in due}
    figures(
        f"clocks {OFFSETS} s off",
        tasks=len(records),
        earliest=-max(early.values()),
        latest=-min(early.values()),
        worst_by_record=max(by_record.values()),
        buried=len(lost_workers(life)),
        leader_terms=life_terms(life),
    )
    assert max(early.values()) <= EARLY_SECONDS, early
    assert max(by_record.values()) <= 0
    assert {records[n].state for n in [*numbers, *held]} == {"SUCCESS"}
    assert (records[900].state, records[900].error_type) == ("REVOKED", "Expired")
    assert lost_workers(life) == []
    assert {records[n].run for n in [*numbers, *held]} == {1}
    assert set(life.counts("done").values()) == {1}
    assert 900 not in life.counts("begin")


def submit_later(submitters: list[Submitter], now: datetime) -> dict[int, float]:
    """Submit tasks that are due later, in every way there is; returns after how many seconds each is due."""
    due: dict[int, float] = {}
    for at, submitter in enumerate(submitters):
        for kind, number in enumerate(range(at * 100, at * 100 + 4)):
            later = 15 + kind
            moment = (now + timedelta(seconds=later)).isoformat()
            ways = [{"delay_seconds": later}, {"due_at": moment}, {"countdown": later}, {"delay_seconds": later}]
            submitter.submit(number, **ways[kind])
            due[number] = later
    return due


def life_terms(life: Life) -> int:
    return life.database.read(lambda c: c.execute(select(leadership.c.term)).scalar_one())


@pytest.mark.parametrize("life", ["sqlite"], indirect=True)
def test_a_machine_whose_clock_jumps_under_sqlite_runs_what_it_has_in_hand_once(life: Life, tmp_path: Path):
    clock = Clock(tmp_path / "clock")
    life.leader(**clock.variables)
    worker, submitter = life.worker(**clock.variables), life.submitter(**clock.variables)
    life.until_ready(worker, submitter)
    for number in range(2):
        submitter.submit(number, LONG_TASK_SECONDS)
    until(lambda: len(life.counts("begin")) == 2, what="both run")

    for offset in (3600, -3600):
        clock.set(offset)
        time.sleep(3)  # every process has renewed its row by the new clock
    for number in range(2, 6):
        submitter.submit(number, delay_seconds=number % 2)
    records = life.until_final(range(6))

    figures("a clock jumps under SQLite", runs=[records[n].run for n in range(6)], buried=len(lost_workers(life)))
    assert {record.state for record in records.values()} == {"SUCCESS"}
    assert {(record.run, record.lost_runs) for record in records.values()} == {(1, 0)}
    assert lost_workers(life) == []
