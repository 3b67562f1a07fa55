"""No recipient is left without an outcome once its mail's task has ended, however that was."""

import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select, text, update

from processors.errors import TransientError
from processors.interfaces import WAITING_STATES, MemberEnd, Outcome, Run
from records import task_moves
from records.columns import Now
from records.database import Database
from records.deliveries import ABANDONED_SECONDS, DeliveryRecords, deliveries
from records.members import MemberRecords, insert_members
from records.task_moves import EXPIRED, Failure, TaskMoves
from records.task_records import Draft, TaskRecords, TaskState, task_records
from records.workers import Workers, workers
from waiting import until

EXAMPLES = count()
FAILED = Failure("The server is away.", "TransportFault")
WORDS = {
    "accepted": Outcome("accepted", 250),
    "deferred": Outcome("deferred", 451, "4.7.1", "come again", 300.0),
    "queued": Outcome("queued"),
    "refused": Outcome("refused", 550, "5.1.1", "no such user"),
    "unknown": Outcome("unknown", text="no answer"),
}

many = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


class OneMail:
    """A mail whose task has a run, on real rows."""

    def __init__(self, database: Database, queue: str = "email") -> None:
        self.database, self.id = database, f"mail{next(EXAMPLES)}"
        self.moves, self.rows, self.tasks = TaskMoves(database), DeliveryRecords(database), TaskRecords(database)
        self.tasks.open(Draft(self.id, "email.send_email", "email", queue))
        self.queue, self.runs = queue, 0
        self.run = self.begin()

    def begin(self) -> Run:
        self.worker, self.runs = f"{self.id}-{self.runs}", self.runs + 1
        Workers(self.database).start(self.worker, "io@host", "host", 1, 0)
        attempt = self.tasks.read(self.id).attempt
        return Run(self.id, self.moves.start(self.id, attempt, self.worker, "io@host", 60.0).run)

    def tell(self, address: str, word: str) -> None:
        self.rows.turn(self.id, [(0, address, WORDS[word])], [], self.run)

    def hand(self, address: str) -> None:
        self.rows.turn(self.id, [], [(0, address)], self.run)

    def states(self) -> dict[str, str]:
        return {address: one.state for address, one in self.rows.outcomes(self.id, 0).items()}

    def settle_absent(self, address: str) -> bool:
        return self.rows.settle(self.id, 0, address, Outcome("deferred", text="settled by a person"))

    def kill(self) -> None:
        """Let the run's worker be dead, as the leader finds out."""
        gone = update(workers).where(workers.c.id == self.worker)
        self.database.write(lambda c: c.execute(gone.values(stopped_at=Now(), lost=True)))
        self.moves.reap()

    def change(self, **values) -> None:
        own = update(task_records).where(task_records.c.id == self.id)
        self.database.write(lambda c: c.execute(own.values(values)))

    def wait_again(self) -> None:
        assert self.moves.try_again(self.id, self.run.number, 0.0, FAILED)

    def let_pass(self) -> None:
        """Let all be so long ago that nobody will speak of it any more."""
        past = Now(-ABANDONED_SECONDS - 1)
        own = deliveries.c.task_id == self.id
        self.database.write(lambda c: c.execute(update(deliveries).where(own).values(created_at=past)))
        handed = update(deliveries).where(own, deliveries.c.handed_at.is_not(None)).values(handed_at=past)
        self.database.write(lambda c: c.execute(handed))
        self.change(finished_at=past)


def expires(mail: OneMail) -> None:
    mail.wait_again()
    mail.change(expires_at=Now(-1))
    assert mail.id in mail.moves.expire()


def never_starts(mail: OneMail, state: TaskState = TaskState.FAILURE) -> None:
    mail.wait_again()
    assert mail.moves.fail_waiting(mail.id, FAILED if state is TaskState.FAILURE else EXPIRED, state)


def is_purged(mail: OneMail) -> None:
    mail.wait_again()
    assert mail.moves.revoke_waiting(mail.queue) == [mail.id]


def runs_too_long(mail: OneMail) -> None:
    mail.change(deadline_at=Now(-1))
    mail.kill()


def is_quarantined(mail: OneMail) -> None:
    mail.change(lost_runs=2)
    mail.kill()


ENDS: Mapping[str, tuple[str, Callable[[OneMail], object]]] = {
    "fails": ("refused", lambda mail: mail.moves.fail(mail.id, mail.run.number, FAILED, mail=True)),
    "is cancelled": ("cancelled", lambda mail: mail.moves.revoke(mail.id)),
    "is cancelled with others": ("cancelled", lambda mail: mail.moves.revoke_many(["other", mail.id])),
    "is cancelled with all": ("cancelled", lambda mail: mail.moves.revoke_all()),
    "is purged": ("cancelled", is_purged),
    "expires": ("expired", expires),
    "expires as Celery says": ("expired", lambda mail: never_starts(mail, TaskState.REVOKED)),
    "never starts": ("refused", never_starts),
    "runs too long": ("refused", runs_too_long),
    "is quarantined": ("refused", is_quarantined),
}
FATES = ("queued", "deferred", "handing", "accepted", "refused", "unknown")


@pytest.mark.parametrize("end", ENDS)
@many
@given(st.lists(st.tuples(st.sampled_from(FATES), st.sampled_from([None, *WORDS]), st.booleans()), max_size=5))
def test_no_recipient_is_open_however_a_mail_ends_whatever_is_said_before_and_after(database, end, people):
    mail = OneMail(database, f"queue{next(EXAMPLES)}")
    addresses = [f"r{n}@example.com" for n in range(len(people))]
    mail.rows.open(mail.id, {0: dict.fromkeys(addresses, "to")})
    for address, (fate, _, settled) in zip(addresses, people, strict=True):
        if fate != "queued":
            mail.hand(address)
        if fate in WORDS:
            mail.tell(address, fate)
        if fate == "unknown" and settled:
            assert mail.settle_absent(address)
    before = mail.states()

    left_as, ends = ENDS[end]
    ends(mail)

    assert mail.tasks.read(mail.id).final
    ended = {address: left_as if state in WAITING_STATES else state for address, state in before.items()}
    assert mail.states() == ended
    texts = {address: one.text for address, one in mail.rows.outcomes(mail.id, 0).items()}
    assert all(texts[address] for address in addresses if before[address] in WAITING_STATES), "each has a reason"
    for address, (_, late, settled) in zip(addresses, people, strict=True):
        if late is not None:
            mail.tell(address, late)
        if settled and mail.states()[address] == "unknown":
            mail.settle_absent(address)
    after = mail.states()
    assert not {address: state for address, state in after.items() if state in WAITING_STATES}
    assert all(
        after[address] == state for address, state in ended.items() if state in {"accepted", "refused"} - {left_as}
    )
    with pytest.raises(TransientError):
        mail.rows.turn(mail.id, [], [(0, "nobody@example.com"), *((0, address) for address in addresses)], mail.run)

    mail.let_pass()
    mail.rows.prune(30)

    told = {address: "unknown" if state == "handing" else state for address, state in after.items()}
    assert mail.states() == told
    query = deliveries.select().where(deliveries.c.task_id == mail.id)
    kept = database.read(lambda c: c.execute(query).mappings().all())
    assert all(row["closed_at"] and not row["next_attempt_at"] for row in kept)


@pytest.mark.parametrize("end", ENDS)
def test_a_run_whose_mail_has_ended_leaves_nobody_waiting_whom_it_has_not_written_down_before(database, end):
    mail = OneMail(database, f"queue{next(EXAMPLES)}")
    mail.rows.open(mail.id, {0: {"b@example.com": "to"}}, mail.run)
    left_as, ends = ENDS[end]
    ends(mail)

    with pytest.raises(TransientError, match="cancelled, or another run"):
        mail.rows.open(mail.id, {0: {"b@example.com": "to", "c@example.com": "cc"}}, mail.run)

    assert mail.states() == {"b@example.com": left_as}


def test_a_mail_that_is_cancelled_while_its_rows_are_written_leaves_nobody_waiting(database, monkeypatch):
    """Whichever of the two comes first: the other one waits for it, and then sees it."""
    if database.is_sqlite:
        pytest.skip("one writer at a time")
    first, last = OneMail(database), OneMail(database)
    with database.engine().connect() as connection:
        assert task_moves._cancelled(connection, task_records.c.id == first.id) == [first.id]
        late = in_a_thread(lambda: first.rows.open(first.id, {0: {"b@example.com": "to"}}, first.run))
        until(lambda: not late.is_alive() or somebody_waits(database))
        connection.commit()
    late.join(10)
    assert first.states() == {}

    write, others = database._write_pooled, []

    def cancel_before_the_commit(work, *more):
        def and_cancel(connection):
            done = work(connection)
            if not others:
                others.append(in_a_thread(lambda: last.moves.revoke(last.id)))
                until(lambda: not others[0].is_alive() or somebody_waits(database))
            return done

        return write(and_cancel, *more)

    monkeypatch.setattr(database, "_write_pooled", cancel_before_the_commit)
    last.rows.open(last.id, {0: {"b@example.com": "to"}}, last.run)
    others[0].join(10)
    assert last.states() == {"b@example.com": "cancelled"}


def test_a_bulk_is_cancelled_while_its_mails_are_written_and_handed_over_without_a_deadlock(database, monkeypatch):
    if database.is_sqlite:
        pytest.skip("one writer at a time")
    batch = OneMail(database)  # whose id comes before that of its bulk
    bulk = f"of-{batch.id}"
    batch.tasks.open(Draft(bulk, "email.send_bulk_emails", "email", "email", is_parent=True))
    batch.change(parent_id=bulk)
    batch.rows.open(bulk, {0: {"b@example.com": "to"}})
    write, tries = database._write_pooled, []
    monkeypatch.setattr(database, "_write_pooled", lambda *given: [tries.append(given), write(*given)][1])

    for work in (
        lambda: batch.rows.turn(bulk, [], [(0, "b@example.com")], batch.run),
        lambda: batch.rows.open(bulk, {1: {"b@example.com": "to"}}, batch.run),
    ):
        tries.clear()
        with database.engine().connect() as connection:
            task_moves._cancelled(connection, task_records.c.id == bulk)
            late = in_a_thread(work)
            until(lambda late=late: not late.is_alive() or somebody_waits(database))
            connection.execute(task_moves._revocation(task_records.c.parent_id == bulk))
            connection.rollback()
        late.join(10)
        assert len(tries) == 1


def test_all_is_cancelled_without_a_deadlock_with_the_batches_of_bulks(database):
    """A batch that waits for its bulk has nothing that the cancellation, which has the bulk, waits for."""
    if database.is_sqlite:
        pytest.skip("one writer at a time")
    batch = OneMail(database)
    bulk = f"of-{batch.id}"  # whose row comes after that of its batch
    batch.tasks.open(Draft(bulk, "email.send_bulk_emails", "email", "email", is_parent=True))

    def held(task_id: str) -> Any:
        return select(task_records.c.id).where(task_records.c.id == task_id).with_for_update(read=True, nowait=True)

    with database.engine().connect() as connection:
        connection.execute(held(bulk))  # as another batch of it does
        cancelled: list[str] = []
        late = in_a_thread(lambda: cancelled.extend(batch.moves.revoke_all()))
        until(lambda: not late.is_alive() or somebody_waits(database))
        assert connection.execute(held(batch.id)).all()
        connection.rollback()
    late.join(10)
    assert sorted(cancelled) == sorted([batch.id, bulk])


def in_a_thread(work: Callable[[], object]) -> threading.Thread:
    def run() -> None:
        with suppress(TransientError):
            work()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def somebody_waits(database: Database) -> bool:
    """Tell whether a session of PostgreSQL waits for another one's lock."""
    query = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
    return database.read(lambda c: c.execute(query).scalar_one()) > 0


def test_who_is_settled_as_not_mailed_is_mailed_by_the_task_that_goes_on_and_by_a_retry_of_one_that_has_ended(database):
    mail = OneMail(database)
    mail.rows.open(mail.id, {0: {"b@example.com": "to", "c@example.com": "to"}})
    for address in ("b@example.com", "c@example.com"):
        mail.hand(address)
        mail.tell(address, "unknown")

    assert mail.settle_absent("b@example.com")
    mail.hand("b@example.com")
    mail.tell("b@example.com", "accepted")
    assert mail.moves.fail(mail.id, mail.run.number, FAILED, mail=True)
    assert mail.settle_absent("c@example.com")

    assert mail.states() == {"b@example.com": "accepted", "c@example.com": "refused"}
    assert not mail.rows.in_doubt(mail.id)
    mail.rows.carry_over(mail.id, f"{mail.id}-again")
    again = mail.rows.open(f"{mail.id}-again", {0: {"b@example.com": "to", "c@example.com": "to"}})[0]
    assert {address: row.outcome.state for address, row in again.items()} == {
        "b@example.com": "accepted", "c@example.com": "queued",
    }  # fmt: skip


def test_who_is_settled_as_not_mailed_after_the_mail_of_a_bulk_has_ended_waits_for_nobody(database):
    rows, bulk = DeliveryRecords(database), f"bulk{next(EXAMPLES)}"
    TaskRecords(database).open(Draft(bulk, "email.send_bulk_emails", "email", "email", is_parent=True))
    database.write(lambda c: insert_members(c, bulk, [{}, {}]))
    rows.open(bulk, {0: {"b@example.com": "to"}, 1: {"b@example.com": "to"}})
    lost = update(deliveries).where(deliveries.c.task_id == bulk).values(state="unknown", handed_at=Now())
    database.write(lambda c: c.execute(lost))
    ended = MemberRecords(database)
    ended.close_all(bulk, [MemberEnd(0, "unknown", None)])

    assert all(rows.settle(bulk, at, "b@example.com", Outcome("deferred", text="not there")) for at in (0, 1))

    assert [rows.outcomes(bulk, at)["b@example.com"].state for at in (0, 1)] == ["refused", "deferred"]


@pytest.mark.parametrize("end", [*ENDS, "is gone"])
def test_who_waits_for_the_mail_of_a_notification_ends_as_the_task_that_sends_it(database, end):
    sender, mail_of = OneMail(database, f"queue{next(EXAMPLES)}"), f"notification{next(EXAMPLES)}"
    sender.rows.open(mail_of, {2: {"b@example.com": "to"}, 3: {"b@example.com": "to"}})
    left_as, ends = ENDS.get(end, ("cancelled", lambda _: None))
    ends(sender)
    error = None if end == "is gone" else sender.tasks.read(sender.id).error

    sender.rows.end_mail(mail_of, 2, "gone" if end == "is gone" else sender.id)

    told = Outcome(left_as, text=error or "Its task ended before it.")
    assert sender.rows.outcomes(mail_of, 2) == {"b@example.com": told}
    assert sender.rows.outcomes(mail_of, 3) == {"b@example.com": Outcome("queued")}


def test_what_an_older_program_left_open_is_ended_once_its_task_has_ended_for_a_while(database):
    mail = OneMail(database)
    mail.rows.open(mail.id, {0: {"b@example.com": "to"}})
    mail.rows.open("gone", {0: {"c@example.com": "to"}})
    mail.moves.succeed(mail.id, mail.run.number, None)
    mail.rows.prune(30)
    assert mail.states() == {"b@example.com": "queued"}, "what ends it may be on its way"

    mail.let_pass()
    database.write(lambda c: c.execute(update(deliveries).values(created_at=Now(-ABANDONED_SECONDS - 1))))
    going_on = OneMail(database)
    going_on.rows.open(going_on.id, {0: {"d@example.com": "to"}})
    mail.rows.prune(30)

    assert mail.states() == {"b@example.com": "refused"}
    assert mail.rows.outcomes("gone", 0)["c@example.com"] == Outcome("cancelled", text="Its task ended before it.")
    assert going_on.states() == {"d@example.com": "queued"}


def test_who_is_put_off_while_its_mail_is_cancelled_is_mailed_no_more(database):
    if database.is_sqlite:
        pytest.skip("one writer at a time")
    mail = OneMail(database)
    mail.rows.open(mail.id, {0: {"b@example.com": "to"}})
    mail.hand("b@example.com")
    with database.engine().connect() as connection:
        assert task_moves._cancelled(connection, task_records.c.id == mail.id) == [mail.id]
        said = in_a_thread(lambda: mail.tell("b@example.com", "deferred"))
        until(lambda: not said.is_alive() or somebody_waits(database))
        connection.commit()
    said.join(10)

    assert mail.states() == {"b@example.com": "cancelled"}


def test_cancelling_many_mails_does_not_read_all_that_was_ever_mailed(database):
    if database.is_sqlite:
        pytest.skip("its plans do not depend on what a table holds")
    mails = [OneMail(database) for _ in range(100)]
    for mail in mails:
        mail.rows.open(mail.id, {0: {"b@example.com": "to"}})
    read = text("SELECT seq_scan FROM pg_stat_xact_user_tables WHERE relname = 'deliveries'")
    database.write(lambda c: c.exec_driver_sql("ANALYZE deliveries"))

    with database.engine().connect() as connection:
        before = connection.execute(read).scalar_one()
        ended = task_moves._cancelled(connection, task_records.c.id.in_([mail.id for mail in mails]))
        assert len(ended) == len(mails)
        assert connection.execute(read).scalar_one() == before
        connection.commit()
    assert {state for mail in mails for state in mail.states().values()} == {"cancelled"}


def test_who_had_a_mail_in_hand_is_in_doubt_for_that_whatever_was_said_before(database):
    mail = OneMail(database)
    mail.rows.open(mail.id, {0: {"b@example.com": "to"}})
    mail.hand("b@example.com")
    mail.tell("b@example.com", "deferred")
    mail.wait_again()
    mail.run = mail.begin()
    mail.hand("b@example.com")
    mail.moves.revoke(mail.id)
    mail.let_pass()
    mail.rows.prune(30)

    assert mail.rows.outcomes(mail.id, 0)["b@example.com"].text == "the worker ended while the mail was handed over"


def test_what_a_server_said_last_stays_the_reason_of_who_is_mailed_no_more(database):
    mail = OneMail(database)
    mail.rows.open(mail.id, {0: {"b@example.com": "to", "c@example.com": "to"}})
    mail.hand("b@example.com")
    mail.tell("b@example.com", "deferred")

    mail.moves.fail(mail.id, mail.run.number, FAILED, mail=True)

    assert mail.rows.outcomes(mail.id, 0) == {
        "b@example.com": Outcome("refused", 451, "4.7.1", "come again"),
        "c@example.com": Outcome("refused", text="The server is away."),
    }
