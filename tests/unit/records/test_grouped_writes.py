"""Writes of many threads in one commit: each caller gets its own outcome, nothing is told before it is kept."""

import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from processors.errors import InvalidArgument, ServiceUnavailable
from records import grouped_writes
from records.database import Database
from records.grouped_writes import GROUP_SIZE, Job, Writer
from records.prepared import Bound, statements
from records.task_moves import START, Failure, TaskMoves
from records.task_records import FINAL, Draft, TaskRecords, TaskState, insertion
from records.workers import Workers
from waiting import until

RUNS = 40


class HeldCommits:
    """Commits that take as long as a test wants, and remember their groups."""

    def __init__(self) -> None:
        self.groups: list[list[Job]] = []
        self.gate = threading.Event()
        self.closed = False

    def commit(self, group) -> None:
        self.groups.append(list(group))
        self.gate.wait(10)
        for job in group:
            job.result = job.work

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def commits():
    return HeldCommits()


@pytest.fixture
def writer(commits):
    writer = Writer(commits)
    yield writer
    commits.gate.set()
    writer.stop()
    assert commits.closed


def job(name: str = "x", *, waits: bool = True) -> Job:
    return Job(name, durable=False, waits=waits)


def together(*works: Callable[[], object]) -> list[object]:
    """Run these at the same time; returns what each returned or raised."""
    outcomes: list[object] = [None] * len(works)

    def run(place: int, work: Callable[[], object]) -> None:
        try:
            outcomes[place] = work()
        except Exception as error:
            outcomes[place] = error

    threads = [threading.Thread(target=run, args=one) for one in enumerate(works)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return outcomes


def test_what_arrives_while_a_commit_runs_is_the_next_commit(writer, commits):
    jobs = [job(str(number)) for number in range(GROUP_SIZE + 4)]
    writer.take(jobs[0])
    until(lambda: commits.groups, 10)
    for one in jobs[1:]:
        writer.take(one)
    commits.gate.set()

    assert [one.outcome() for one in jobs] == [one.work for one in jobs]
    assert [len(group) for group in commits.groups] == [1, GROUP_SIZE, 3]


def test_all_who_wait_for_a_commit_are_woken_by_it(writer, commits, monkeypatch):
    monkeypatch.setattr(grouped_writes, "TURN_SECONDS", 3600)  # nobody looks for itself
    jobs = [job(str(number)) for number in range(RUNS)]
    writer.take(jobs[0])
    until(lambda: commits.groups, 10)
    for one in jobs[1:]:
        writer.take(one)
    commits.gate.set()

    assert together(*(one.outcome for one in jobs)) == [one.work for one in jobs]


def test_who_waits_for_a_commit_is_told_though_another_one_in_it_has_stopped_waiting(writer, commits):
    first, left, last = job("first"), job("left"), job("last")
    writer.take(first)
    until(lambda: commits.groups, 10)
    for one in (left, last):
        writer.take(one)
    commits.gate.set()

    assert together(first.outcome, last.outcome) == ["first", "last"]
    assert [len(group) for group in commits.groups] == [1, 2]


def test_a_write_that_nobody_waits_for_is_committed_with_the_next_or_by_itself(writer, commits):
    commits.gate.set()
    writer.offer("later")
    until(lambda: [[one.work for one in group] for group in commits.groups] == [["later"]], 10)


def test_a_failure_of_the_whole_commit_reaches_everyone_in_it(writer, commits):
    def fail(_group):
        raise ServiceUnavailable("gone")

    commits.commit = fail
    for one in (job(), job()):
        writer.take(one)
        with pytest.raises(ServiceUnavailable, match="gone"):
            one.outcome()


def test_a_writer_that_has_ended_takes_nothing_that_would_wait_for_ever(commits):
    commits.gate.set()
    writer = Writer(commits)
    first = job()
    assert writer.take(first)
    writer.stop()

    assert first.outcome() == "x"
    assert not writer.take(job())


def test_writes_go_on_while_another_thread_closes_the_database_again_and_again(database):
    records, stop = TaskRecords(database), threading.Event()

    def close() -> None:
        while not stop.wait(0.001):
            database.close()

    closer = threading.Thread(target=close)
    closer.start()
    try:
        assert all(records.open(Draft(f"t{number}", "x", "x", "default")) for number in range(100))
    finally:
        stop.set()
        closer.join()


def writing_thread(database: Database) -> int:
    """Return which thread commits what this one writes."""
    bound = insertion(database.kind, [Draft(f"by-{random.getrandbits(64)}", "x", "x", "default")])
    threads, commits = [], database._one_writer()._commits
    commit = commits.commit

    def noted(group) -> None:
        if bound in [one.work for one in group]:
            threads.append(threading.get_ident())
        commit(group)

    commits.commit = noted
    try:
        assert database.write(bound)
    finally:
        commits.commit = commit
    return threads[0]


@pytest.fixture
def unhandled(monkeypatch):
    """Let the main thread handle no signal but what ends a test that takes too long."""
    monkeypatch.setattr(grouped_writes, "SIGNALS", [one for one in grouped_writes.SIGNALS if one != signal.SIGALRM])


@pytest.fixture
def handled(unhandled):
    """Let the main thread handle a signal, as a server does that is asked to end."""
    heard: list[Callable[[], object]] = []
    before = signal.signal(signal.SIGUSR2, lambda *_: heard[0]())
    yield heard
    signal.signal(signal.SIGUSR2, before)


def test_who_writes_alone_commits_in_its_own_thread(database, unhandled):
    assert writing_thread(database) == threading.get_ident()


def test_what_need_not_be_durable_is_committed_by_the_writer(database, unhandled):
    database._one_writer().commit_alone = lambda _job: pytest.fail("it commits by itself")
    assert TaskMoves(database).start("nobody", 0, "w1", "io@host", 60) is None


def test_a_thread_that_handles_signals_does_not_commit(database, handled):
    assert writing_thread(database) != threading.get_ident()
    found: list[int] = []
    one = threading.Thread(target=lambda: found.append(writing_thread(database)))
    one.start()
    one.join(20)
    assert found == [one.ident], "no handler runs in any other thread"


def test_a_handler_that_cannot_be_hashed_is_one(database, handled):
    class Handler(list):
        def __call__(self, *_given: object) -> None: ...

    signal.signal(signal.SIGUSR2, Handler())
    assert writing_thread(database) != threading.get_ident()


def test_a_handler_that_waits_for_another_threads_write_holds_up_nobody(database, handled):
    records = TaskRecords(database)
    written: list[object] = []
    handled.append(lambda: written.extend(together(lambda: records.open(Draft("in-handler", "x", "x", "default")))))
    commits = database._one_writer()._commits
    commit = commits.commit

    def signalled(group) -> None:
        commits.commit = commit
        os.kill(os.getpid(), signal.SIGUSR2)
        commit(group)

    commits.commit = signalled

    assert records.open(Draft("t", "x", "x", "default"))
    assert written == [True]


def test_whoever_comes_while_one_commits_alone_goes_to_the_next_group(writer, commits, unhandled):
    alone = threading.Thread(target=writer.commit_alone, args=(job("alone"),))
    alone.start()
    until(lambda: commits.groups, 10)
    others = [job(str(number)) for number in range(4)]
    for one in others:
        assert not writer.commit_alone(one)
        assert writer.take(one)
    commits.gate.set()
    alone.join(10)

    assert together(*(one.outcome for one in others)) == [one.work for one in others]
    assert sum(len(group) for group in commits.groups) == 5


def test_nobody_commits_alone_after_the_end_or_where_several_write(writer, commits, unhandled):
    commits.gate.set()
    jobs = [job(str(number)) for number in range(8)]
    with writer._committing:
        for number, one in enumerate(jobs):
            one.thread = number
            writer.take(one)
    assert together(*(one.outcome for one in jobs)) == [one.work for one in jobs]
    until(lambda: sum(len(group) for group in commits.groups) == 8)
    writer._arrivals._expected = 2
    assert not writer.commit_alone(job())
    writer._arrivals._expected = 1
    assert writer.commit_alone(job())
    writer.stop()
    writer._arrivals._expected = 1
    assert not writer.commit_alone(job())


def test_ctrl_c_in_the_midst_of_ones_own_commit_leaves_a_database_that_writes_on(database, unhandled, monkeypatch):
    records = TaskRecords(database)
    records.open(Draft("before", "x", "x", "default"))
    commits = sys.modules[type(database._one_writer()._commits).__module__]
    real = commits.statements

    def interrupted(bounds):
        yield from real(bounds)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(commits, "statements", interrupted)
    with pytest.raises(KeyboardInterrupt):
        records.open(Draft("cut", "x", "x", "default"))
    monkeypatch.setattr(commits, "statements", real)

    assert database._one_writer()._commits._connection is None
    assert records.open(Draft("after", "x", "x", "default"))
    assert together(lambda: records.open(Draft("another", "x", "x", "default"))) == [True]
    assert records.read("cut") is None


def opening(database: Database, task_id: str, **values):
    bound = insertion(database.kind, [Draft(task_id, "x", "x", "default", **values)])
    bound.bind(database.engine().dialect)
    return Job(bound, durable=True, waits=True)


def test_one_bad_statement_of_a_group_is_its_callers_alone(database):
    records = TaskRecords(database)
    records.open(Draft("first", "x", "x", "default"))
    group = [opening(database, "a"), opening(database, "bad", retry_count=None), opening(database, "b")]

    database._one_writer()._commits.commit(group)
    database.close()

    assert [one.error for one in (group[0], group[2])] == [None, None]
    assert isinstance(group[1].error, IntegrityError)
    assert [records.read(one) is not None for one in ("a", "bad", "b")] == [True, False, True]


def test_two_starts_of_one_record_in_one_group_let_one_in(database):
    TaskRecords(database).open(Draft("t", "x", "x", "default"))
    Workers(database).start("w1", "io@host", "host", 1, 0)
    values = {"task_id": "t", "of_attempt": 0, "worker_id": "w1", "worker": "io@host", "time_limit": None}
    group = [Job(START(**values), durable=False, waits=True) for _ in range(3)]
    for one in group:
        one.work.bind(database.engine().dialect)

    database._one_writer()._commits.commit(group)
    database.close()

    assert [len(one.result) for one in group] == [1, 0, 0]


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_connection_that_the_server_cut_costs_no_record(database):
    records = TaskRecords(database)
    assert records.open(Draft("before", "x", "x", "default"))
    cut = text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
    database.write(lambda c: c.execute(cut))

    assert records.open(Draft("after", "x", "x", "default"))
    assert records.read("after") is not None


class Meddler:
    """Somebody who tries moves by chance, and notes which of them the database let through."""

    def __init__(self, moves: TaskMoves, seed: int, told: list[tuple[str, str, object]]) -> None:
        self.moves, self.chance, self.told = moves, random.Random(seed), told

    def meddle(self, ids: list[str]) -> None:
        for _ in range(RUNS):
            one = self.chance.choice(ids)
            started = self.moves.start(one, 0, "w1", "io@host", 60)
            if started:
                self.told.append((one, "start", started.run))
            self.try_one(one, started.run if started else self.chance.randrange(1, 4))

    def try_one(self, one: str, run: int) -> None:
        tries: dict[str, Callable[[], object]] = {
            "SUCCESS": lambda: self.moves.succeed(one, run, [one, run]),
            "FAILURE": lambda: self.moves.fail(one, run, Failure("it broke", "ValueError")),
            "REVOKED": lambda: self.chance.random() < 0.1 and self.moves.revoke(one),
            "": lambda: self.moves.give_back(one, run),
            "reported": lambda: self.moves.report(one, run, 50, "half"),
            "published": lambda: self.moves.published([(one, 0, run)]),
        }
        what = self.chance.choice(list(tries))
        if tries[what]() and what:
            self.told.append((one, what, run))


def test_a_record_moves_only_forward_whatever_many_threads_do_at_once(database):
    seed = random.randrange(10**6)
    print("seed", seed)  # noqa: T201 - a failing run shows it
    tasks, moves = TaskRecords(database), TaskMoves(database)
    Workers(database).start("w1", "io@host", "host", 1, 0)
    ids = [f"t{number}" for number in range(8)]
    tasks.open_many(tasks.opening([Draft(one, "x", "x", "default") for one in ids]))
    told: list[tuple[str, str, object]] = []

    together(*(lambda number=number: Meddler(moves, seed + number, told).meddle(ids) for number in range(6)))

    for one in ids:
        record = tasks.read(one)
        runs = [run for who, what, run in told if (who, what) == (one, "start")]
        ends = [(what, run) for who, what, run in told if who == one and what != "start"]
        assert sorted(runs) == list(range(1, record.run + 1)), "each run was told to exactly one starter"
        assert len(ends) == record.final, "one end was told, and only where there is one"
        for what, run in ends:
            assert record.state == what
            assert what == "REVOKED" or run == record.run
            assert what != "SUCCESS" or record.result == [one, run]


KILLED = """
import sys, threading
from records.database import Database
from records.task_moves import TaskMoves
from records.task_records import Draft, TaskRecords
from records.workers import Workers
database = Database(sys.argv[1])
tasks, moves = TaskRecords(database), TaskMoves(database)
Workers(database).start("w1", "io@host", "host", 1, 0)
tell = threading.Lock()

def say(*words):
    with tell:
        print(*words, flush=True)

def go(thread):
    for number in range(10_000):
        one = f"t{thread}-{number}"
        tasks.open(Draft(one, "x", "x", "default"))
        say(one, "PENDING")
        run = moves.start(one, 0, "w1", "io@host", 60).run
        say(one, "STARTED")
        moves.succeed(one, run, number)
        say(one, "SUCCESS")

for thread in range(4):
    threading.Thread(target=go, args=(thread,)).start()
"""


def test_a_kill_amid_a_group_leaves_all_that_was_told_and_every_record_moved_or_not(database, database_url):
    process = subprocess.Popen([sys.executable, "-c", KILLED, database_url], stdout=subprocess.PIPE, text=True)
    told: dict[str, str] = {}
    for _ in range(random.randrange(100, 300)):
        task_id, state = process.stdout.readline().split()
        told[task_id] = state
    process.send_signal(signal.SIGKILL)
    for line in process.stdout:
        if line.endswith("\n"):
            task_id, state = line.split()
            told[task_id] = state
    process.wait(10)
    process.stdout.close()

    order = [TaskState.PENDING, TaskState.STARTED, TaskState.SUCCESS]
    for task_id, state in told.items():
        record = TaskRecords(database).read(task_id)
        assert record is not None
        assert order.index(record.state) >= order.index(TaskState(state))
        assert (record.state in FINAL) == (record.finished_at is not None)


def test_a_process_that_is_forked_while_threads_write_writes_by_itself(database):
    records, stop = TaskRecords(database), threading.Event()
    written: list[int] = []

    def write() -> None:
        while not stop.is_set():
            assert records.open(Draft(f"parent-{len(written)}", "x", "x", "default"))
            written.append(1)

    writing = threading.Thread(target=write)
    writing.start()
    until(lambda: len(written) > 5, 20)
    child = os.fork()
    if child == 0:
        try:
            ok = records.open(Draft("child", "x", "x", "default"))
            database.close()
        except BaseException:
            os._exit(2)
        os._exit(0 if ok else 1)
    _, status = os.waitpid(child, 0)
    stop.set()
    writing.join(20)

    assert os.waitstatus_to_exitcode(status) == 0
    assert records.read("child") is not None
    assert all(records.read(f"parent-{number}") for number in range(len(written)))


def test_many_records_are_written_whole_or_not_at_all(database):
    records = TaskRecords(database)
    records.open(Draft("first", "x", "x", "default"))
    drafts = [Draft(f"t{number}", "x", "x", "default") for number in range(1_200)]

    with pytest.raises(IntegrityError):
        records.open_many(records.opening([*drafts, Draft("bad", "x", "x", "default", retry_count=None)]))
    assert records.read("t0") is None
    records.open_many(records.opening([*drafts, drafts[0]]))

    assert {record.id for record in records.active(2_000)} == {"first", *(draft.id for draft in drafts)}


def test_a_bulk_is_few_statements_that_return_nothing(database):
    opening = TaskRecords(database).opening([Draft(f"t{number}", "x", "x", "default") for number in range(6_000)])

    assert len(list(statements([opening]))) == (3 if database.is_sqlite else 12), "each waits to run Python again"
    assert database.write(opening) == []
    assert len(TaskRecords(database).active(10_000)) == 6_000


def test_marks_of_many_that_nobody_waits_for_hold_up_nobody(database):
    records = TaskRecords(database)
    records.open_many(records.opening([Draft(f"t{number}", "x", "x", "default") for number in range(1_200)]))
    marking = threading.Thread(
        target=TaskMoves(database).published, args=([(f"t{number}", 0, 0) for number in range(1_200)],)
    )
    with database.engine().begin() as other:
        other.execute(text("UPDATE task_records SET progress_text = 'held' WHERE id = 't0'"))
        marking.start()
        marking.join(10)
        assert not marking.is_alive()

    until(lambda: all(record.published_at for record in records.active(5_000)), what="all are marked")


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_server_that_cuts_the_writing_of_many_records_has_kept_none_and_takes_them_again(database):
    records = TaskRecords(database)
    drafts = [Draft(f"t{number}", "x", "x", "default") for number in range(1_200)]
    errors: list[BaseException] = []

    def write() -> None:
        try:
            records.open_many(records.opening(drafts))
        except ServiceUnavailable as error:
            errors.append(error)

    writing = threading.Thread(target=write)
    cut = text(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    with database.engine().begin() as other:
        other.execute(text("LOCK TABLE task_records IN EXCLUSIVE MODE"))
        writing.start()
        until(lambda: database.read(lambda c: c.execute(cut).rowcount), what="the writing waits, and is cut")
    writing.join(20)
    assert len(errors) == 1
    assert records.active(5_000) == []

    records.open_many(records.opening(drafts))
    assert len(records.active(5_000)) == 1_200


def group_of(database: Database, *bounds: Bound, spoilt: Bound) -> list[Job]:
    """Hand these to the writer so that they are one group, one of them with a value that is nobody's."""
    writer, jobs = database._one_writer(), [Job(bound, durable=False, waits=True) for bound in bounds]
    for bound in bounds:
        bound.bind(database.engine().dialect)
    spoilt.rows[0][0] = object()
    assert writer._committing.acquire(timeout=20)
    for one in jobs:
        assert writer.take(one)
    writer._committing.release()
    return jobs


@pytest.mark.parametrize("bad", [{"origin": "b\0d"}, {"delay": float("inf")}], ids=["NUL", "infinite"])
def test_a_value_that_no_database_takes_is_an_error_of_its_caller_alone(database, bad):
    records = TaskRecords(database)
    drafts = [Draft("a", "x", "x", "default"), Draft("b", "x", "x", "default", **bad)]
    if database.is_sqlite and "origin" in bad:
        records.open_many(records.opening(drafts))
        assert records.read("b").origin == "b\0d"
        return
    with pytest.raises(InvalidArgument):
        records.open_many(records.opening(drafts))
    assert records.read("a") is None


def test_an_error_that_nobody_foresaw_is_told_to_its_own_caller_and_nothing_of_the_others_is_lost(database):
    TaskRecords(database).open(Draft("t", "x", "x", "default"))
    Workers(database).start("w1", "io@host", "host", 1, 0)
    good = START(task_id="t", of_attempt=0, worker_id="w1", worker="io@host", time_limit=60.0)
    odd = START(task_id="u", of_attempt=0, worker_id="w1", worker="io@host", time_limit=60.0)
    third = insertion(database.kind, [Draft("v", "x", "x", "default")])
    jobs = group_of(database, good, odd, third, spoilt=odd)

    assert [row[0] for row in jobs[0].outcome()] == ["t"]
    with pytest.raises(Exception, match="object"):
        jobs[1].outcome()
    assert [row[0] for row in jobs[2].outcome()] == ["v"]
    assert TaskRecords(database).read("t").run == 1


def test_the_writer_goes_on_when_taking_an_outcome_fails(writer, commits):
    commits.gate.set()
    told = []

    def fail(_job: Job) -> None:
        told.append("told")
        raise RuntimeError("the disk is full")

    writer.take(Job("x", durable=False, waits=True, then=fail))
    until(lambda: told)
    second = job("y")
    assert writer.take(second)
    assert second.outcome() == "y"


def test_what_is_too_large_for_one_statement_goes_in_several(database, monkeypatch):
    monkeypatch.setattr("records.prepared.BYTES_AT_ONCE", 2_000)
    records, large = TaskRecords(database), ["x" * 1_500]
    drafts = [Draft(f"t{number}", "x", "x", "default", args=large * (number % 3)) for number in range(60)]

    opening = records.opening(drafts)
    assert len(list(statements([opening]))) > 20
    records.open_many(opening)

    assert {one.id: one.args for one in records.active(100)} == {one.id: one.args for one in drafts}


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_bulks_that_would_lock_each_other_out_are_both_written(database):
    records = TaskRecords(database)
    for number in range(6):
        drafts = [Draft(f"{number}-{one}", "x", "x", "default") for one in range(1_500)]
        works = [lambda some=some: records.open_many(records.opening(some)) for some in (drafts, drafts[::-1])]
        assert together(*works) == [None, None]
        marks = [(draft.id, 0, 0) for draft in drafts]
        works = [lambda some=some: TaskMoves(database).published(some, wait=True) for some in (marks, marks[::-1])]
        assert together(*works) == [None, None]


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_row_that_somebody_else_has_locked_holds_up_nobody_else_for_long(database):
    records = TaskRecords(database)
    records.open(Draft("held", "x", "x", "default"))
    Workers(database).start("w1", "io@host", "host", 1, 0)
    outcome: list[object] = []
    with database.engine().begin() as other:
        other.execute(text("UPDATE task_records SET progress_text = 'held' WHERE id = 'held'"))
        starting = threading.Thread(
            target=lambda: outcome.extend(together(lambda: TaskMoves(database).start("held", 0, "w1", "io@host", 60)))
        )
        starting.start()
        assert together(lambda: records.open(Draft("free", "x", "x", "default"))) == [True]
        starting.join(30)
    assert isinstance(outcome[0], ServiceUnavailable)
    assert TaskMoves(database).start("held", 0, "w1", "io@host", 60).run == 1


SHORT = """
import sys
from records.database import Database
from records.task_moves import TaskMoves
database = Database(sys.argv[1])
TaskMoves(database).published([(f"t{number}", 0, 0) for number in range(2_000)])
"""


def test_what_a_short_program_writes_for_later_is_written_before_it_ends(database, database_url):
    records = TaskRecords(database)
    records.open_many(records.opening([Draft(f"t{number}", "x", "x", "default") for number in range(2_000)]))

    subprocess.run([sys.executable, "-c", SHORT, database_url], check=True, timeout=60)

    assert sum(record.published_at is not None for record in records.active(5_000)) == 2_000
