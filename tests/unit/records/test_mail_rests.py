"""Rests of mail servers and hand-overs, where another process or the server itself comes between."""

import threading

import pytest

from adapters.resting_mailer import RestingMailer
from adapters.smtp_mailer import SmtpMailer
from mail_queue import RememberedQueue
from processors.errors import TransientError, TransportRests
from processors.interfaces import Letter, Run
from records.deliveries import DeliveryRecords
from records.mail_rests import MailRestRecords
from records.task_moves import TaskMoves
from records.task_records import Draft, TaskRecords
from records.workers import Workers
from smtp_server import SmtpServer

MADE: list[SmtpMailer] = []
CONTENT = b"From: a@example.com\r\nSubject: test\r\n\r\ntext\r\n"


def mails(*addresses: str) -> RememberedQueue:
    return RememberedQueue.of(*(Letter(f"m-{n}", "a@example.com", (a,), CONTENT) for n, a in enumerate(addresses)))


@pytest.fixture(autouse=True)
def _closed():
    yield
    while MADE:
        MADE.pop().close()


def resting(server: SmtpServer, database) -> RestingMailer:
    mailer = SmtpMailer(f"smtp://127.0.0.1:{server.port}?tls=none", timeout=5, connections=1)
    MADE.append(mailer)
    return RestingMailer(mailer, mailer.account.key, MailRestRecords(database))


def test_a_server_that_asks_for_no_time_at_all_is_not_asked_in_a_circle(database):
    with SmtpServer(replies={"connect": "421 4.7.0 busy, try again in 0 seconds"}) as server:
        waits = []
        for _ in range(5):
            with pytest.raises(TransportRests) as told:
                resting(server, database).send(mails("b@one.example"))
            waits.append(told.value.retry_after)
    assert max(waits) > 0, f"waits {waits} over {server.connections} connections: none is counted as an attempt"


def test_a_domain_that_rests_costs_no_commit_for_each_of_its_mails(database):
    with SmtpServer() as server:
        way = resting(server, database)
        MailRestRecords(database).note(f"127.0.0.1:{server.port}", "one.example", 600, "451")
        queue = mails(*(f"b{n}@one.example" for n in range(50)))
        turns, turn = [], queue.turn
        queue.turn = lambda told, handed: (turns.append(len(told)), turn(told, handed))
        way.send(queue)
    assert len(turns) <= 2, f"{len(turns)} turns, each a durable commit"


def test_nothing_goes_out_of_a_bulk_whose_cancelling_was_answered(database):
    """Who cancels, and then sends the rest again, mails somebody twice: the row says `queued` to the second."""
    if database.is_sqlite:
        pytest.skip("one writer at a time")
    TaskRecords(database).open(Draft("t", "email.send_email", "email", "email"))
    Workers(database).start("w1", "io@host", "host", 1, 0)
    moves, rows = TaskMoves(database), DeliveryRecords(database)
    assert moves.start("t", 0, "w1", "io@host", None).run == 1
    rows.open("t", {0: {"b@example.com": "to"}})
    seen = []

    def cancel():
        if moves.revoke("t"):
            seen.append(rows.outcomes("t", 0)["b@example.com"].state)

    original, other = database._write_pooled, threading.Thread(target=cancel)

    def slow_commit(work, *more):
        def then_waits(connection):
            result = work(connection)
            if threading.current_thread() is not other and not other.ident:
                other.start()
                other.join(3)  # a commit takes as long on a busy disk, or with a synchronous standby
            return result

        return original(then_waits, *more)

    database._write_pooled = slow_commit
    went = True
    try:
        rows.turn("t", [], [(0, "b@example.com")], Run("t", 1))
    except TransientError:
        went = False
    other.join(10)
    assert not (went and seen == ["queued"]), "it goes out, and was told as not sent"
