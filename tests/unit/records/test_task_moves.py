import threading
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from sqlalchemy import update
from sqlalchemy.exc import DataError

from processors.interfaces import MemberEnd, Outcome, Run
from records import task_moves
from records.columns import Now
from records.database import Database
from records.deliveries import DeliveryRecords, deliveries
from records.grouped_writes import CommitUnknown
from records.leadership import Lead, Leadership
from records.members import MemberRecords, insert_members, members
from records.parents import Parents
from records.task_moves import Failure, Place, TaskMoves
from records.task_records import Draft, TaskRecords, TaskState, task_records
from records.workers import Workers, workers
from waiting import until

FAILURE = Failure("it broke", "ValueError", "Traceback", "abc")


@pytest.fixture
def tasks(database: Database) -> TaskRecords:
    return TaskRecords(database)


@pytest.fixture
def moves(database: Database) -> TaskMoves:
    Workers(database).start("w1", "io@host", "host", 1, 0)
    return TaskMoves(database)


def draft(task_id: str = "t", **values) -> Draft:
    return Draft(task_id, "email.send_email", "email", "email", **values)


def silence(database: Database, worker_id: str) -> None:
    """Let a worker have been silent for a minute."""
    old = update(workers).where(workers.c.id == worker_id)
    if database.is_sqlite:
        past = "2020-01-01 00:00:00.000000"
        database.write(lambda c: c.exec_driver_sql("UPDATE workers SET seen_at = ? WHERE id = ?", (past, worker_id)))
    else:
        database.write(lambda c: c.execute(old.values(seen_at=datetime(2020, 1, 1, tzinfo=UTC))))


def lead(database: Database, holder: str = "leader") -> Lead:
    return Lead(holder, Leadership(database).take(holder, "host", 1))


def bury(database: Database) -> list[str]:
    return Workers(database).bury(lead(database))


def due_now(database: Database) -> None:
    """Let be due whatever has a time to be published, claimed or not."""
    waiting = update(task_records).where(task_records.c.relay_at.is_not(None)).values(relay_at=Now())
    database.write(lambda c: c.execute(waiting))


def test_a_record_is_written_once_and_read_back_whole(tasks, moves):
    kwargs = {"text": "NUL \0 surrogate \ud800 grüße", "big": 2**60, "none": None}

    assert tasks.open(draft(kwargs=kwargs, tags=["a"], tenant="x"))
    assert not tasks.open(draft(kwargs={"other": 1}))

    record = tasks.read("t")
    assert (record.kwargs, record.tags, record.tenant) == (kwargs, ["a"], "x")
    assert record.state is TaskState.PENDING
    assert record.created_at.tzinfo is not None


def test_a_strangers_id_has_no_record(tasks, moves):
    assert tasks.read("nobody") is None


def test_a_start_lets_exactly_one_of_many_in(tasks, moves):
    tasks.open(draft())
    started = []

    def start():
        if moves.start("t", 0, "w1", "io@host", 60):
            started.append(1)

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert started == [1]


def test_a_message_of_an_earlier_attempt_does_not_start(tasks, moves):
    tasks.open(draft())
    run = moves.start("t", 0, "w1", "io@host", None)
    moves.try_again("t", run.run, 0, FAILURE)

    assert moves.start("t", 0, "w1", "io@host", None) is None
    assert moves.start("t", 1, "w1", "io@host", None).run == 2


def test_a_wait_that_is_not_counted_keeps_its_attempt_and_is_due_after_its_delay(tasks, moves):
    tasks.open(draft())
    run = moves.start("t", 0, "w1", "io@host", None)

    assert moves.try_again("t", run.run, 3600, FAILURE, counted=False)

    record = tasks.read("t")
    assert (record.state, record.attempt, record.error) == ("RETRY", 0, "it broke")
    assert min(record.relay_at, record.due_at) > record.created_at + timedelta(seconds=3590)
    assert moves.start("t", 0, "w1", "io@host", None) is None, "a second message of the attempt does not begin it early"


def test_a_task_that_is_due_later_does_not_start_and_is_not_relayed(tasks, moves):
    tasks.open(draft(delay=3600))

    assert moves.start("t", 0, "w1", "io@host", None) is None
    assert moves.claim(10) == []


def test_a_fresh_record_is_left_to_its_submitter_for_a_moment_and_then_relayed(tasks, moves):
    tasks.open(draft())

    assert moves.claim(10) == []
    assert until(lambda: moves.claim(10), 10)[0].id == "t"


def test_what_is_due_can_leave_out_a_queue(database, tasks, moves):
    def due(*besides: Place) -> set[str]:
        due_now(database)
        return {record.id for record in moves.claim(10, besides=besides)}

    for task_id, queue in (("t", "email"), ("u", "files"), ("v", "email")):
        tasks.open(Draft(task_id, "test", "test", queue, relay_now=True))

    assert due(Place("email", "normal", False)) == {"u"}
    assert due(Place("email", "high", False)) == {"t", "u", "v"}
    run = moves.start("t", 0, "w1", "io@host", None)
    moves.give_back("t", run.run)
    assert due(Place("email", "normal", False)) == {"u", "t"}
    assert due(Place("email", "normal", True)) == {"u", "v"}
    assert due() == {"u", "v", "t"}


def test_what_is_due_is_claimed_the_longest_due_first(database, tasks, moves):
    for number in (3, 1, 2):
        tasks.open(draft(f"t{number}", relay_now=True))
        due = {"due_at": Now(number - 10), "relay_at": Now(number - 10)}
        database.write(
            lambda c, n=number, v=due: c.execute(update(task_records).where(task_records.c.id == f"t{n}").values(v))
        )

    assert [record.id for record in moves.claim(2)] == ["t1", "t2"]
    assert [record.id for record in moves.claim(2)] == ["t3"]


def test_what_was_claimed_and_not_published_is_due_again_some_seconds_later(database, tasks, moves):
    tasks.open(draft(relay_now=True))

    assert [record.id for record in moves.claim(10)] == ["t"]
    assert moves.claim(10) == []
    assert until(lambda: moves.claim(10), 10, every=0.2)[0].id == "t"


def test_many_who_claim_at_once_are_given_each_record_once(database, tasks, moves, monkeypatch):
    monkeypatch.setattr(task_moves, "RELAY_CLAIM_SECONDS", 600)  # what is published late by a slow machine is due again
    tasks.open_many(tasks.opening([draft(f"t{number}", relay_now=True) for number in range(300)]))
    claimed = []

    def claim():
        while found := moves.claim(7):
            claimed.extend(record.id for record in found)

    threads = [threading.Thread(target=claim) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    while found := moves.claim(50):  # a thread that finds the rest in other hands goes
        claimed.extend(record.id for record in found)

    assert sorted(claimed) == sorted(f"t{number}" for number in range(300))


def test_a_leader_whose_lead_another_one_has_decides_nothing_any_more(database, tasks, moves):
    expiring = datetime(2026, 1, 1, tzinfo=UTC)
    tasks.open(draft(relay_now=True))
    tasks.open(draft("runs"))
    tasks.open(draft("expires", expires_at=expiring))
    tasks.open(draft("followed", message={"embed": {"chain": ["next"]}}))
    moves.succeed("followed", moves.start("followed", 0, "w1", "io@host", None).run, 1)
    moves.start("runs", 0, "w1", "io@host", None)
    due_now(database)
    frozen = lead(database, "frozen")
    Leadership(database).give_up("frozen")
    awake = lead(database, "awake")
    silence(database, "w1")

    assert Workers(database).bury(frozen) == []
    assert Workers(database).bury(awake) == ["w1"]
    assert moves.claim(10, lead=frozen) == []
    assert moves.expire(frozen) == []
    assert moves.unfollowed(10, frozen) == []
    assert moves.reap(frozen) == ([], [])
    assert moves.reap(awake) == (["runs"], [])
    assert moves.expire(awake) == ["expires"]
    assert [record.id for record in moves.unfollowed(10, awake)] == ["followed"]
    assert {record.id for record in moves.claim(10, lead=awake)} == {"t", "runs"}


def test_a_leader_that_leads_again_cannot_go_on_with_what_it_had_begun_before(database, tasks, moves):
    tasks.open(draft(relay_now=True))
    before = lead(database)
    Leadership(database).give_up("leader")
    after = lead(database)

    assert after.term == before.term + 1
    assert moves.claim(10, lead=before) == []
    assert [record.id for record in moves.claim(10, lead=after)] == ["t"]


def test_the_relay_publishes_nothing_that_was_published(tasks, moves):
    tasks.open(draft(relay_now=True))
    moves.published([("t", 0, 0)])

    assert until(lambda: tasks.read("t").published_at, 10)
    assert moves.claim(10) == []


def test_a_late_note_of_publishing_does_not_swallow_a_retry(tasks, moves):
    tasks.open(draft())
    run = moves.start("t", 0, "w1", "io@host", None)
    moves.try_again("t", run.run, 0, FAILURE)

    moves.published([("t", 0, 0)])
    moves.published([("t", 1, 0)])

    assert moves.waiting_count() == 1


def test_a_run_whose_worker_died_is_counted_before_it_starts_again(database, tasks, moves):
    tasks.open(draft())
    moves.start("t", 0, "w1", "io@host", None)
    silence(database, "w1")
    bury(database)
    Workers(database).start("w2", "io@host", "host", 2, 0)

    assert moves.start("t", 0, "w2", "io@host", None) is None
    moves.reap()
    assert moves.start("t", 0, "w2", "io@host", None).run == 2
    assert tasks.read("t").lost_runs == 1


def test_writes_of_an_older_run_change_nothing(database, tasks, moves):
    tasks.open(draft())
    old = moves.start("t", 0, "w1", "io@host", None)
    silence(database, "w1")
    bury(database)
    Workers(database).start("w2", "io@host", "host", 2, 0)
    moves.reap()
    new = moves.start("t", 0, "w2", "io@host", None)

    assert not moves.succeed("t", old.run, "late")
    assert not moves.fail("t", old.run, FAILURE)
    assert not moves.try_again("t", old.run, 0, FAILURE)
    assert not moves.give_back("t", old.run)
    assert moves.succeed("t", new.run, {"right": True})
    assert tasks.read("t").result == {"right": True}


def test_a_final_record_never_moves_again(tasks, moves):
    tasks.open(draft())
    run = moves.start("t", 0, "w1", "io@host", None).run
    moves.succeed("t", run, 1)

    assert not moves.fail("t", run, FAILURE)
    assert not moves.revoke("t")
    assert moves.start("t", 0, "w1", "io@host", None) is None
    assert tasks.read("t").state is TaskState.SUCCESS


def test_a_cancelled_task_never_starts_and_a_running_one_is_fenced(tasks, moves):
    tasks.open(draft("waits"))
    tasks.open(draft("runs"))
    run = moves.start("runs", 0, "w1", "io@host", None).run

    assert moves.revoke("waits")
    assert moves.revoke("runs")
    assert not moves.revoke("runs")
    assert moves.start("waits", 0, "w1", "io@host", None) is None
    assert not moves.succeed("runs", run, 1)
    assert moves.runs_of("w1") == {}


def test_runs_of_a_dead_worker_wait_again_without_counting_the_attempt(database, tasks, moves):
    tasks.open(draft())
    moves.start("t", 0, "w1", "io@host", None)
    assert moves.reap() == ([], [])

    silence(database, "w1")
    bury(database)

    assert moves.reap() == (["t"], [])
    record = tasks.read("t")
    assert (record.state, record.attempt, record.lost_runs, record.worker_id) == (TaskState.PENDING, 0, 1, None)
    assert [due.id for due in moves.claim(10)] == ["t"]


def test_a_worker_that_says_goodbye_is_not_held_against_its_tasks(database, tasks, moves):
    tasks.open(draft())
    moves.start("t", 0, "w1", "io@host", None)
    Workers(database).stop("w1")

    assert moves.reap() == (["t"], [])
    assert tasks.read("t").lost_runs == 0


def test_a_worker_that_was_declared_dead_must_take_a_new_id(database, moves):
    silence(database, "w1")
    assert bury(database) == ["w1"]

    assert not Workers(database).renew("w1")


def test_only_who_leads_declares_a_worker_dead(database, tasks, moves):
    tasks.open(draft())
    moves.start("t", 0, "w1", "io@host", None)
    silence(database, "w1")

    assert Workers(database).bury(Lead("leader", 1)) == []
    held = lead(database)
    Leadership(database).give_up("leader")
    assert Workers(database).bury(held) == [], "a leader that was frozen has lost its lease"
    assert moves.start("t", 0, "w2", "io@host", None) is None, "silence alone takes no run away"
    assert moves.reap() == ([], [])
    assert Workers(database).renew("w1")


def test_a_task_that_killed_its_worker_three_times_is_quarantined(database, tasks, moves):
    tasks.open(draft())
    for number in range(3):
        Workers(database).start(f"k{number}", "io@host", "host", number, 0)
        assert moves.start("t", 0, f"k{number}", "io@host", None)
        silence(database, f"k{number}")
        bury(database)
        returned, failed = moves.reap()
        assert (returned, failed) == ((["t"], []) if number < 2 else ([], ["t"]))

    record = tasks.read("t")
    assert (record.state, record.error_type) == (TaskState.FAILURE, "Quarantined")


def killed(database, moves, task_id, number, ended=lambda: None):
    """Let a run die with its worker, after something ended; returns what `reap` says."""
    Workers(database).start(f"k{number}", "io@host", "host", number, 0)
    assert moves.start(task_id, 0, f"k{number}", "io@host", None)
    ended()
    silence(database, f"k{number}")
    bury(database)
    return moves.reap()


def of_bulk(**more):
    return draft(parent_id="bulk", kwargs={"bulk_id": "bulk", "first": 4, "count": 4} | more)


def test_runs_count_together_only_where_none_between_them_came_to_its_end(database, tasks, moves):
    tasks.open(draft())
    for number in range(2):
        killed(database, moves, "t", number)
    Workers(database).start("w9", "io@host", "host", 9, 0)
    run = moves.start("t", 0, "w9", "io@host", None).run
    assert moves.try_again("t", run, 0.0, Failure("not now", "TransientError"), counted=False)
    assert [killed(database, moves, "t", number) for number in range(2, 4)] == [(["t"], [])] * 2
    assert killed(database, moves, "t", 4) == ([], ["t"])


@pytest.mark.parametrize("rows", ["members", "deliveries"])
def test_a_batch_that_gets_on_is_not_held_responsible_for_the_deaths_of_its_workers(database, tasks, moves, rows):
    tasks.open(of_bulk())
    database.write(lambda c: insert_members(c, "bulk", [{"text": f"t{number}"} for number in range(12)]))
    for number in range(6):
        at = 4 + number % 4
        done = {
            "members": lambda at=at: close_member(database, at),
            "deliveries": lambda at=at: close_mail(database, at),
        }
        assert killed(database, moves, "t", number, done[rows]) == (["t"], [])
    assert killed(database, moves, "t", 6) == (["t"], [])
    assert killed(database, moves, "t", 7) == ([], ["t"]), (
        "nothing ended in three runs, the last that got on among them"
    )


@pytest.mark.parametrize("given", [{}, {"first": "0"}, {"bulk_id": "another"}, {"first": 0}])
def test_what_others_got_done_excuses_no_batch_that_kills_its_workers(database, tasks, moves, given):
    tasks.open(of_bulk(**given))
    database.write(lambda c: insert_members(c, "bulk", [{"text": f"t{number}"} for number in range(12)]))
    for number in range(2):
        killed(database, moves, "t", number, lambda number=number: close_member(database, 8 + number))
    assert killed(database, moves, "t", 2, lambda: close_member(database, 11)) == ([], ["t"])


def close_member(database, at):
    own = members.update().where(members.c.task_id == "bulk", members.c.position == at)
    database.write(lambda c: c.execute(own.values(state="done", closed_at=Now())))


def close_mail(database, at):
    one = {
        "task_id": "bulk",
        "position": at,
        "address": f"{uuid4().hex}@example.com",
        "role": "to",
        "state": "accepted",
    }
    rest = {"attempts": 1, "text": "", "created_at": Now(), "closed_at": Now()}
    database.write(lambda c: c.execute(deliveries.insert().values(**one, **rest)))


def test_a_run_that_died_at_its_hard_time_limit_fails_for_good(database, tasks, moves):
    tasks.open(draft())
    moves.start("t", 0, "w1", "io@host", 0.5)
    until(lambda: Workers(database).renew("w1") and tasks.read("t").deadline_at <= seen_at(database), 10)
    Workers(database).stop("w1")

    assert moves.reap() == ([], ["t"])
    assert tasks.read("t").error_type == "TimeLimitExceeded"


def seen_at(database):
    return next(row.seen_at for row in Workers(database).living() if row.id == "w1")


def test_an_expired_task_is_cancelled_instead_of_started(tasks, moves):
    record = None
    tasks.open(draft())
    record = tasks.read("t")
    tasks.open(draft("expired", expires_at=record.created_at))

    assert moves.start("expired", 0, "w1", "io@host", None) is None
    assert moves.expire() == ["expired"]
    assert tasks.read("expired").state is TaskState.REVOKED


def test_purging_cancels_what_waits_in_that_queue_and_nothing_else(tasks, moves):
    tasks.open(draft("waits"))
    tasks.open(draft("later", delay=3600))
    tasks.open(draft("runs"))
    moves.start("runs", 0, "w1", "io@host", None)
    tasks.open(draft("retries"))
    run = moves.start("retries", 0, "w1", "io@host", None).run
    moves.try_again("retries", run, 600, FAILURE)
    tasks.open(Draft("other", "monitoring.health_check", "monitoring", "default"))

    assert sorted(moves.revoke_waiting("email")) == ["retries", "waits"]
    states = {one: tasks.read(one).state.value for one in ("waits", "later", "runs", "other")}
    assert states == {"waits": "REVOKED", "later": "PENDING", "runs": "STARTED", "other": "PENDING"}


def test_only_final_records_are_removed_and_with_them_their_rows(database, tasks, moves):
    deliveries = DeliveryRecords(database)
    for name in ("done", "waits"):
        tasks.open(draft(name))
        deliveries.open(name, {0: {"a@example.com": "to"}})
    run = moves.start("done", 0, "w1", "io@host", None).run
    moves.succeed("done", run, 1)

    assert until(lambda: moves.final_before(0, 10), 5) == ["done"]
    assert moves.final_before(1, 10) == []
    assert moves.remove(["done", "waits"]) == 1
    assert tasks.read("waits") is not None
    assert deliveries.outcomes("done", 0) == {}
    assert deliveries.outcomes("waits", 0) != {}


def test_two_who_retry_the_same_failure_submit_one_task(tasks, moves):
    tasks.open(draft())
    run = moves.start("t", 0, "w1", "io@host", None).run
    moves.fail("t", run, FAILURE)

    again = [draft("n", kwargs={"by": by}, retry_of="t") for by in ("first", "second")]
    assert [tasks.open_retries([one]) for one in again] == [{"n"}, set()]
    assert (tasks.read("t").retried_as, tasks.read("n").kwargs) == ("n", {"by": "first"})


def test_many_retries_are_written_together_or_not_at_all(tasks, moves):
    for name in ("a", "b", "waits"):
        tasks.open(draft(name))
    moves.fail_waiting("a", FAILURE)
    moves.fail_waiting("b", FAILURE)
    again = [draft(f"{one}2", retry_of=one) for one in ("a", "waits", "b")]
    with pytest.raises(TypeError, match="not JSON serializable"):
        tasks.open_retries([again[0], draft("b2", retry_of="b", kwargs={"no": object()})])
    assert [tasks.read(one).retried_as for one in ("a", "b")] == [None, None]

    assert tasks.open_retries(again) == {"a2", "b2"}
    assert [tasks.read(one).retried_as for one in ("a", "waits", "b")] == ["a2", None, "b2"]
    assert [tasks.read(f"{one}2") is None for one in ("a", "waits", "b")] == [False, True, False]
    assert tasks.open_retries([]) == set()


def test_a_retry_that_was_cancelled_is_retried_itself_and_once(tasks, moves):
    tasks.open(draft("first"))
    moves.fail_waiting("first", FAILURE)
    assert tasks.open_retries([draft("second", retry_of="first")])
    assert not tasks.open_retries([draft("n1", retry_of="second")])
    moves.revoke("second")

    assert [tasks.open_retries([draft(one, retry_of="second")]) for one in ("third", "n2")] == [{"third"}, set()]

    assert [tasks.read(one).retried_as for one in ("first", "second", "third")] == ["second", "third", None]
    assert [tasks.read(one) for one in ("n1", "n2")] == [None, None]


def test_a_retry_is_recorded_only_of_what_has_failed_and_never_over_one_that_is_there(tasks, moves):
    tasks.open(draft("waits"))
    assert not tasks.open_retries([draft("n1", retry_of="waits")])
    assert not tasks.open_retries([draft("n2", retry_of="nobody")])
    tasks.open(draft("cancelled"))
    moves.revoke("cancelled")
    assert not tasks.open_retries([draft("n3", retry_of="cancelled")])
    assert [tasks.read(one) for one in ("n1", "n2", "n3")] == [None, None, None]

    moves.fail_waiting("waits", FAILURE)
    tasks.open(draft("n1", kwargs={"by": "an older version"}))
    assert not tasks.open_retries([draft("n1", kwargs={"by": "us"}, retry_of="waits")])
    assert (tasks.read("waits").retried_as, tasks.read("n1").kwargs) == ("n1", {"by": "an older version"})


def test_a_retry_whose_commit_may_have_been_kept_is_left_to_what_is_stored(database, tasks, moves, monkeypatch):
    tasks.open(draft())
    moves.fail_waiting("t", FAILURE)
    write, lost = database.write, []

    def write_and_lose_the_answer(work, **options):
        written = write(work, **options)
        if lost:
            return written
        lost.append(written)
        raise CommitUnknown("the connection was lost")

    monkeypatch.setattr(database, "write", write_and_lose_the_answer)
    assert tasks.open_retries([draft("n", kwargs={"by": "us"}, retry_of="t")]) == set()
    assert lost == [{"n"}]
    assert (tasks.read("t").retried_as, tasks.read("n").kwargs) == ("n", {"by": "us"})
    assert tasks.read("n").relay_at is not None, "the relay publishes it"


def test_a_parent_with_all_its_rows_is_written_at_once_or_not_at_all(database, tasks, moves):
    with pytest.raises(AttributeError):
        Parents(database).open(draft("p", is_parent=True), [{"n": 1}, None], [draft("c", parent_id="p")])

    assert [tasks.read(one) for one in ("p", "c")] == [None, None]


def test_a_parent_is_done_when_its_last_task_is_final_and_is_never_taken_for_dead(database, tasks, moves):
    parents, members = Parents(database), MemberRecords(database)
    parents.open(draft("p", is_parent=True), [{"n": 1}, {"n": 2}], [draft("c", parent_id="p", relay_now=True)])

    assert moves.reap() == ([], [])
    assert (parents.is_done("p"), parents.done()) == (False, [])
    run = moves.start("c", 0, "w1", "io@host", None).run
    members.close_all("p", [MemberEnd(0, "sent", {"ok": True})])
    members.close_all("p", [MemberEnd(0, "refused", {"late": True})])
    moves.succeed("c", run, 1)

    assert parents.is_done("p")
    assert [record.id for record in parents.done()] == ["p"]
    assert members.tally("p") == {"sent": 1, "waiting": 1}
    assert parents.end("p", {"sum": 1}, None)
    assert not parents.end("p", {"sum": 2}, None)
    assert tasks.read("p").result == {"sum": 1}


def test_cancelling_a_parent_cancels_its_tasks(database, tasks, moves):
    Parents(database).open(draft("p", is_parent=True), [{"n": 1}], [draft("c", parent_id="p")])

    assert moves.revoke("p")
    assert tasks.read("c").state is TaskState.REVOKED


def test_a_delivery_is_marked_before_and_closed_after(database, tasks, moves):
    deliveries = DeliveryRecords(database)
    tasks.open(draft())
    run = Run("t", moves.start("t", 0, "w1", "io@host", None).run)

    assert (
        deliveries.open("t", {0: {"a@x.example": "to", "b@x.example": "bcc"}})[0]["a@x.example"].outcome.state
        == "queued"
    )
    deliveries.turn("t", [], [(0, "a@x.example")], run)
    assert deliveries.open("t", {0: {"a@x.example": "to"}})[0]["a@x.example"].outcome.state == "handing"
    assert deliveries.in_doubt("t")
    deliveries.turn("t", [(0, "a@x.example", Outcome("accepted", 250, "2.0.0", "queued"))], [], run)
    assert deliveries.outcomes("t", 0)["a@x.example"] == Outcome("accepted", 250, "2.0.0", "queued")
    assert not deliveries.in_doubt("t")


def test_a_retry_by_hand_knows_who_was_reached(database, tasks, moves):
    deliveries = DeliveryRecords(database)
    tasks.open(draft("old"))
    run = Run("old", moves.start("old", 0, "w1", "io@host", None).run)
    deliveries.open("old", {0: {"a@x.example": "to", "b@x.example": "to"}})
    outcomes = {"a@x.example": Outcome("accepted", 250), "b@x.example": Outcome("refused", 550)}
    deliveries.turn("old", [(0, *one) for one in outcomes.items()], [], run)

    deliveries.carry_over("old", "new")

    assert {address: outcome.state for address, outcome in deliveries.outcomes("new", 0).items()} == {
        "a@x.example": "accepted"
    }


def test_figures_of_queues_count_what_waits_runs_and_is_due_later(tasks, moves):
    tasks.open(draft("a"))
    tasks.open(draft("b"))
    tasks.open(draft("later", delay=3600))
    moves.start("a", 0, "w1", "io@host", None)

    figures = tasks.queue_figures()["email"]

    assert (figures["depth"], figures["running"], figures["scheduled"]) == (1, 1, 1)
    assert figures["oldest_age_seconds"] >= 0


def test_an_end_with_followers_is_found_until_it_is_noted_that_they_were_seen_to(database, tasks, moves):
    tasks.open(draft("alone"))
    tasks.open(draft("chained", message={"embed": {"chain": ["next"]}}))
    for task_id in ("alone", "chained"):
        moves.succeed(task_id, moves.start(task_id, 0, "w1", "io@host", 60).run, 1)
    assert moves.unfollowed(10) == [], "it is left to the worker for a moment"

    late = update(task_records).where(task_records.c.relay_at.is_not(None)).values(relay_at=Now())
    database.write(lambda c: c.execute(late))
    assert [record.id for record in moves.unfollowed(10)] == ["chained"]
    assert moves.unfollowed(10) == [], "the next look is minutes later"
    moves.followed("chained")
    until(lambda: tasks.read("chained").relay_at is None)


def test_a_failure_and_a_report_are_kept_whatever_characters_they_have(tasks, moves):
    tasks.open(draft())
    run = moves.start("t", 0, "w1", "io@host", 60).run

    moves.report("t", run, 1, "reading caf\udce9 \0")
    until(lambda: tasks.read("t").progress_text == "reading caf\\udce9 \\x00")
    assert moves.fail("t", run, Failure("no file caf\udce9 \0", "FileNotFoundError", "Traceback \ud800 \0"))

    assert tasks.read("t").error == "no file caf\\udce9 \\x00"


def test_a_value_that_the_database_refuses_is_an_error_and_not_an_absence(database, tasks):
    if database.is_sqlite:
        assert tasks.open(draft("t" * 300)), "SQLite takes texts of any length"
    else:
        with pytest.raises(DataError):
            tasks.open(draft("t" * 300))


def test_what_was_published_is_not_due_when_the_relay_looks_again(tasks, moves):
    for number in range(200):
        tasks.open(draft(f"t{number}", relay_now=True))
    due = moves.claim(500)

    moves.published([(record.id, record.attempt, record.run) for record in due], wait=True)

    assert (len(due), moves.claim(500), moves.waiting_count()) == (200, [], 0)
    assert all(tasks.read(record.id).relay_at is None for record in due[:3])
