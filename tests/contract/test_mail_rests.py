"""A mail server that wants to be left alone is, by every process; nobody's mail is lost or doubled by that."""

import json
import subprocess
import sys
import time

import pytest
from sqlalchemy import update

from adapters.several_mailers import SeveralMailers
from mail_posts import Bulk, Posts
from mail_queue import RememberedQueue
from processors.errors import Postponed, TransportFault, TransportRests
from processors.interfaces import Letter
from records.columns import Now
from records.limits import limit_starts
from records.mail_rests import MailRestRecords, mail_rests
from records.suppressions import SuppressionRecords
from smtp_mailers import copies, resting_mailer
from smtp_server import SmtpServer

CONTENT = b"From: a@example.com\r\nSubject: test\r\n\r\ntext\r\n"


pytestmark = pytest.mark.usefixtures("both_kinds_of_server")


def mails(*addresses: str, name: str = "bulk") -> RememberedQueue:
    return RememberedQueue.of(
        *(Letter(f"{name}-{n}", "a@example.com", (address,), CONTENT) for n, address in enumerate(addresses))
    )


def let_the_rests_pass(database) -> None:
    database.write(lambda c: c.execute(update(mail_rests).values(not_before=Now(-1))))


# --- The whole transport ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", ["connect", "EHLO", "MAIL", "RCPT", "DATA", "dot"])
def test_a_server_that_says_421_is_asked_by_nobody_until_its_rest_is_over_and_then_gets_each_mail_once(database, at):
    with SmtpServer(replies={at: "421 4.7.0 try again later"}) as server:
        posts = Posts(database, resting_mailer(server, database), to_email="b@one.example", bcc=["c@two.example"])
        begun = time.monotonic()
        first = posts.deliver()
        asked = server.connections
        assert isinstance(first, Postponed)
        assert time.monotonic() - begun + first.retry_after >= 60

        posts.let_the_wait_pass()
        other = mails("d@three.example")
        with pytest.raises(TransportRests, match="421"):
            resting_mailer(server, database).send(other)
        assert isinstance(posts.deliver(), TransportRests)
        assert server.connections == asked, "nobody asked while it rested"
        assert (len(other.letters), other.outcomes, server.mails if at != "dot" else []) == (1, {}, [])

        server.replies, server.mails = {}, []  # at the dot 421 means that it took nothing
        let_the_rests_pass(database)
        posts.let_the_wait_pass()
        assert posts.deliver().status == "sent"
        resting_mailer(server, database).send(other)
        assert copies(server) == {"b@one.example": 1, "c@two.example": 1, "d@three.example": 1}


def test_421_on_the_second_of_three_recipients_counts_nobody_as_sent_and_all_get_one_copy_later(database):
    with SmtpServer(replies={"RCPT TO:<c@": "421 4.3.2 closing"}) as server:
        posts = Posts(database, resting_mailer(server, database), bcc=["c@example.com", "d@example.com"])
        assert isinstance(posts.deliver(), Postponed)
        assert {one.state for one in posts.rows.outcomes("t", 0).values()} <= {"queued", "deferred"}
        assert server.mails == []

        server.replies = {}
        let_the_rests_pass(database)
        posts.let_the_wait_pass()
        assert posts.deliver().status == "sent"
        assert copies(server) == {"b@example.com": 1, "c@example.com": 1, "d@example.com": 1}


def test_a_login_that_is_refused_for_a_while_pauses_the_transport_suppresses_nobody_and_loses_no_mail(database, caplog):
    with SmtpServer(replies={"AUTH": "535 5.7.8 wrong"}) as server:
        posts = Posts(database, resting_mailer(server, database, login="me:planted-secret@"))
        posts.last_attempt = True
        refused = posts.deliver()
        assert isinstance(refused, TransportRests), "waiting is no attempt, not even the last"
        assert "check EMAIL_URL" in str(refused)
        queue, asked = mails("c@example.com", "d@example.com"), server.connections
        with pytest.raises(TransportRests):
            resting_mailer(server, database, login="me:planted-secret@").send(queue)
        assert server.connections == asked
        alarms = [one for one in caplog.records if one.levelname == "ERROR"]
        assert len(alarms) == 1, "one alarm for a rest, whoever else waits"
        assert "planted-secret" not in caplog.text

        server.replies = {}
        let_the_rests_pass(database)
        assert posts.deliver().status == "sent"
        resting_mailer(server, database, login="me:planted-secret@").send(queue)
    assert copies(server) == {"b@example.com": 1, "c@example.com": 1, "d@example.com": 1}
    assert SuppressionRecords(database).listed() == []
    assert posts.rows.outcomes("t", 0)["b@example.com"].state == "accepted"


def test_who_is_left_at_the_last_attempt_is_not_given_up_because_the_server_rests(database):
    with SmtpServer(replies={"RCPT TO:<c@": "450 4.2.0 later"}) as server:
        posts = Posts(database, resting_mailer(server, database), bcc=["c@example.com"])
        posts.last_attempt = True
        assert isinstance(posts.deliver(), Postponed)
        posts.mailer._mailer.close()
        server.replies = {"connect": "421 busy"}
        posts.let_the_wait_pass()
        assert isinstance(posts.deliver(), TransportRests)
        assert posts.rows.outcomes("t", 0)["c@example.com"].state == "deferred"

        server.replies = {}
        let_the_rests_pass(database)
        assert posts.deliver().status == "sent"
    assert copies(server) == {"b@example.com": 1, "c@example.com": 1}


def test_the_mails_of_a_bulk_are_not_given_up_at_the_last_attempt_because_the_server_rests(database):
    items = [{"to_email": f"r{n}@example.com", "subject": "s", "body": "b"} for n in range(5)]
    with SmtpServer(replies={"connect": "421 busy"}) as server:
        bulk = Bulk(database, resting_mailer(server, database), items)
        bulk.last_attempt = True
        assert isinstance(bulk.deliver(), TransportRests)
        assert bulk.concluded().pending == 5

        server.replies = {}
        let_the_rests_pass(database)
        assert bulk.deliver() == {"sent": 5}
    assert set(copies(server).values()) == {1}


def test_another_account_of_the_same_server_does_not_rest(database):
    with SmtpServer(replies={"AUTH PLAIN bWU": "535 5.7.8 wrong", "AUTH PLAIN AG1l": "535 5.7.8 wrong"}) as server:
        with pytest.raises(TransportRests):
            resting_mailer(server, database, login="me:one@").send(mails("b@example.com"))
        resting_mailer(server, database, login="you:two@").send(queue := mails("c@example.com"))
    assert set(queue.states().values()) == {"accepted"}


def test_a_transport_that_cannot_be_reached_is_a_fault_that_counts_as_an_attempt_and_does_not_rest(database):
    with SmtpServer(drop="connect") as server, pytest.raises(TransportFault) as fault:
        resting_mailer(server, database).send(mails("b@example.com"))
    assert not isinstance(fault.value, Postponed)
    assert MailRestRecords(database).all() == {}


def test_where_one_of_several_rests_the_next_sends_and_the_first_is_not_asked(database):
    with SmtpServer(replies={"connect": "421 busy"}) as busy, SmtpServer() as spare:
        several = SeveralMailers([resting_mailer(busy, database), resting_mailer(spare, database)], "failover")
        for _ in range(2):
            several.send(queue := mails("b@example.com"))
            assert set(queue.states().values()) == {"accepted"}
    assert busy.connections == 1


def test_a_domain_that_rests_by_one_of_several_ways_gets_its_mail_by_the_next(database):
    with SmtpServer(replies={"RCPT TO:<b@slow": "451 4.7.1 rate limited"}) as first, SmtpServer() as second:
        several = SeveralMailers([resting_mailer(first, database), resting_mailer(second, database)], "failover")
        several.send(told := mails("b@slow.example"))
        assert told.states() == {"b@slow.example": "deferred"}, "it had its try"

        several.send(queue := mails("b@slow.example", "c@quick.example"))
        assert set(queue.states().values()) == {"accepted"}
    assert (copies(first), copies(second)) == ({"c@quick.example": 1}, {"b@slow.example": 1})


def test_a_process_whose_connection_is_good_goes_on_where_the_server_has_none_left_for_another_one(database):
    with SmtpServer() as server:
        first = resting_mailer(server, database, connections=1)
        first.send(mails("a@one.example"))
        server.replies = {"connect": "421 4.7.0 too many connections from your address"}
        second = resting_mailer(server, database)
        with pytest.raises(TransportRests):
            second.send(mails("b@one.example"))
        asked = server.connections
        with pytest.raises(TransportRests):
            second.send(mails("b@one.example"))

        first.send(queue := mails("c@one.example", "d@two.example"))

        assert set(queue.states().values()) == {"accepted"}
        assert server.connections == asked
        server.replies["MAIL"] = "421 4.7.0 closing"
        with pytest.raises(TransportRests):
            first.send(mails("e@one.example"))
        asked = server.connections
        with pytest.raises(TransportRests):
            first.send(mails("e@one.example"))
        assert server.connections == asked, "once it is told so itself, it rests, too"


OTHER_PROCESS = """
import json, sys
from adapters.resting_mailer import RestingMailer
from adapters.smtp_mailer import SmtpMailer
from mail_queue import RememberedQueue
from processors.errors import TransportRests
from processors.interfaces import Letter
from records.database import Database
from records.mail_rests import MailRestRecords

database = Database(sys.argv[1])
inner = SmtpMailer(f"smtp://127.0.0.1:{sys.argv[2]}", timeout=5)
mailer = RestingMailer(inner, inner.account.key, MailRestRecords(database))
queue = RememberedQueue.of(Letter("other-0", "a@example.com", ("z@example.com",), b"Subject: s\\r\\n\\r\\nb\\r\\n"))
try:
    mailer.send(queue)
    print(json.dumps({"states": queue.states()}))
except TransportRests as rests:
    print(json.dumps({"rests": rests.retry_after}))
inner.close()
database.close()
"""


def test_a_second_process_asks_nothing_of_a_server_that_rests(database, database_url):
    def other_process():
        done = subprocess.run(
            [sys.executable, "-c", OTHER_PROCESS, database_url, str(server.port)],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        return json.loads(done.stdout)

    with SmtpServer(replies={"connect": "421 busy"}) as server:
        with pytest.raises(TransportRests):
            resting_mailer(server, database).send(mails("b@example.com"))
        asked, server.replies = server.connections, {}
        assert other_process()["rests"] > 30
        assert server.connections == asked
        let_the_rests_pass(database)
        assert other_process() == {"states": {"z@example.com": "accepted"}}


# --- One domain -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "reply", ["451 4.7.1 policy, later", "450 4.1.8 rate limited", "450 4.7.1 you are being throttled"]
)
def test_a_domain_that_wants_less_mail_rests_while_others_get_theirs(database, reply):
    with SmtpServer(replies={"RCPT TO:<r0@slow.example": reply}) as server:
        slow = [f"r{n}@slow.example" for n in range(30)]
        queue = mails(slow[0], *(f"s{n}@quick.example" for n in range(30)), *slow[1:])
        resting_mailer(server, database, connections=1).send(queue)
        told = server.commands.count(f"RCPT TO:<{slow[0]}>")

    outcomes = {address: outcome for (_, address), outcome in queue.outcomes.items()}
    assert {outcomes[f"s{n}@quick.example"].state for n in range(30)} == {"accepted"}
    assert (outcomes[slow[0]].state, outcomes[slow[0]].code, told) == ("deferred", int(reply[:3]), 1)
    waiting = [outcomes[address] for address in slow[2:]]  # the next one may have been on its way already
    assert {one.state for one in waiting} == {"queued"}, "they wait, without a try"
    assert all(one.retry_after >= 55 for one in waiting)
    assert not any(f"RCPT TO:<{address}>" in server.commands for address in slow[2:])


def test_who_waits_for_a_resting_domain_has_used_no_try_and_is_sent_after_it(database):
    with SmtpServer() as server:
        MailRestRecords(database).note(mailer_key(server), "example.com", None, "451 4.7.1 slower")
        posts = Posts(database, resting_mailer(server, database))
        for _ in range(20):  # more often than anybody is tried
            error = posts.deliver()
            assert isinstance(error, Postponed)
            assert 50 <= error.retry_after <= 66
            posts.let_the_wait_pass()
        assert (server.connections, attempts(posts)) == (0, 0)
        let_the_rests_pass(database)
        assert posts.deliver().status == "sent"
        assert attempts(posts) == 1


def mailer_key(server: SmtpServer) -> str:
    return f"127.0.0.1:{server.port}"


def attempts(posts: Posts) -> int:
    return posts.rows.open("t", {0: {"b@example.com": "to"}})[0]["b@example.com"].attempts


@pytest.mark.parametrize(
    "reply",
    [
        "451 4.7.1 Greylisting in action, please come back in 5 minutes",
        "450 4.2.1 the user is receiving mail at a rate that prevents more",
        "452 4.2.2 mailbox full",
        "452 4.5.3 too many recipients",
        "552 5.5.3 too many recipients",
        "552 Too many recipients",
        "451 4.3.0 local error",
    ],
)
def test_what_is_said_of_one_mailbox_or_one_try_keeps_nobody_else_waiting(database, reply):
    with SmtpServer(replies={"RCPT TO:<r0@": reply}) as server:
        queue = mails(*(f"r{n}@example.com" for n in range(5)))
        resting_mailer(server, database, connections=1).send(queue)
    states = queue.states()
    assert states.pop("r0@example.com") == "deferred"
    assert set(states.values()) == {"accepted"}
    assert MailRestRecords(database).all() == {}


def test_a_server_that_says_for_how_long_is_left_alone_for_that_long(database):
    queue = mails(*(f"r@d{n}.example" for n in range(20)))
    said = {"dot": "454 4.7.0 rate exceeded, try again in 7 minutes"}
    with SmtpServer(replies=said) as server, pytest.raises(TransportRests) as rests:
        resting_mailer(server, database, connections=1).send(queue)
    assert 400 <= rests.value.retry_after <= 462
    assert len(queue.outcomes) <= 5, "the whole transport rests, whatever the domain"


# --- How long ---------------------------------------------------------------------------------------------------


def test_rests_double_from_a_minute_to_half_an_hour_and_shorten_again_with_what_is_taken(database):
    rests = MailRestRecords(database)

    def note():
        let_the_rests_pass(database)
        return rests.note("host:25", "example.com", None, "421")

    assert [note() for _ in range(7)] == [60, 120, 240, 480, 960, 1800, 1800]
    assert rests.note("host:25", "example.com", None, "421") is None, "told at once by several, it counts once"
    rests.ease("host:25", ["example.com"])
    let_the_rests_pass(database)
    for _ in range(5):
        rests.ease("host:25", ["example.com"])
    assert note() == 120, "while it rested nothing eased it"
    let_the_rests_pass(database)
    for _ in range(2):
        rests.ease("host:25", ["example.com"])
    assert rests.of("host:25") == {}


def test_mails_that_are_taken_ease_a_rest_that_is_over(database):
    with SmtpServer() as server:
        MailRestRecords(database).note(mailer_key(server), "example.com", None, "451")
        let_the_rests_pass(database)
        resting_mailer(server, database).send(mails("b@example.com", "c@example.com"))
        assert MailRestRecords(database).of(mailer_key(server)) == {}


# --- A steady rate ----------------------------------------------------------------------------------------------


def test_all_processes_together_send_no_more_in_a_minute_than_was_set(database):
    queues = [mails(*(f"r{n}@example.com" for n in range(4)), name=f"bulk{k}") for k in range(2)]
    with SmtpServer() as server:
        for queue in queues[:1]:
            resting_mailer(server, database, most=6).send(queue)
        with pytest.raises(TransportRests, match="EMAIL_MAX_PER_MINUTE") as rests:
            resting_mailer(server, database, most=6).send(queues[1])
        assert len(server.mails) == 6
        assert 0 < rests.value.retry_after <= 66
        assert len(queues[1].letters) == 2

        database.write(lambda c: c.execute(update(limit_starts).values(at=Now(-60))))
        resting_mailer(server, database, most=6).send(queues[1])
        assert len(server.mails) == 8
    assert all(set(queue.states().values()) == {"accepted"} for queue in queues)


def test_a_server_that_asks_for_no_time_at_all_is_not_asked_in_a_circle(database):
    with SmtpServer(replies={"connect": "421 4.7.0 busy, try again in 0 seconds"}) as server:
        waits = []
        for _ in range(5):
            with pytest.raises(TransportRests) as told:
                resting_mailer(server, database).send(mails("b@one.example"))
            waits.append(told.value.retry_after)
    assert max(waits) > 0, f"waits {waits} over {server.connections} connections: none is counted as an attempt"


def test_a_domain_that_rests_costs_no_commit_for_each_of_its_mails(database):
    with SmtpServer() as server:
        way = resting_mailer(server, database)
        MailRestRecords(database).note(f"127.0.0.1:{server.port}", "one.example", 600, "451")
        queue = mails(*(f"b{n}@one.example" for n in range(50)))
        turns, turn = [], queue.turn
        queue.turn = lambda told, handed: (turns.append(len(told)), turn(told, handed))
        way.send(queue)
    assert len(turns) <= 2, f"{len(turns)} turns, each a durable commit"


# --- Memory -----------------------------------------------------------------------------------------------------


class Weighing(RememberedQueue):
    """Remembers how many bytes of mails were lent at once."""

    most = 0

    def take(self):
        letter = super().take()
        self.most = max(self.most, sum(len(one.content) for one in self.lent.values()))
        return letter


@pytest.mark.parametrize("ways", [1, 2])
def test_large_mails_whose_domain_rests_are_not_all_in_memory_at_once(database, ways):
    content = CONTENT + bytes(2_000_000)  # the same object for all: only what is lent is weighed
    with SmtpServer(replies={"RCPT": "451 4.7.1 too many mails, try again in 600 seconds"}) as server:
        mailer = resting_mailer(server, database)
        mailer.send(mails("b@one.example", name="first"))
        queue = Weighing.of(*(Letter(f"m-{n}", "a@example.com", ("c@one.example",), content) for n in range(90)))
        if ways == 1:
            mailer.send(queue)
        else:
            with SmtpServer() as other:
                SeveralMailers([mailer, resting_mailer(other, database)], "failover").send(queue)
            assert len(other.mails) == 90
    assert len(queue.outcomes) == 90
    assert queue.most <= 100_000_000, "of 180 MB"
