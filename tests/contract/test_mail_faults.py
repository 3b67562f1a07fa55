"""Whole mails and bulks over real rows and a real server that fails: what each fault may do, and what it never may."""

import re
from collections import Counter, defaultdict
from email import policy
from email.parser import BytesParser
from random import Random
from threading import Lock

import pytest

from adapters.resting_mailer import RestingMailer
from adapters.smtp_mailer import SmtpMailer
from mail_posts import Bulk, Posts
from processors.errors import Postponed
from records.mail_rests import MailRestRecords
from smtp_server import SmtpServer

MADE: list[SmtpMailer] = []


@pytest.fixture(autouse=True, params=[False, True], ids=["one-by-one", "pipelining"])
def _pipelining(request, monkeypatch):
    monkeypatch.setattr(SmtpServer, "pipelining", request.param)


@pytest.fixture(autouse=True)
def _close():
    yield
    while MADE:
        MADE.pop().close()


def mailer_to(server: SmtpServer, database, connections=8) -> RestingMailer:
    mailer = SmtpMailer(f"smtp://127.0.0.1:{server.port}", timeout=5, connections=connections)
    MADE.append(mailer)
    return RestingMailer(mailer, mailer.account.key, MailRestRecords(database))


def items(number: int) -> list[dict[str, str]]:
    return [{"to_email": f"r{n}@example.com", "subject": f"mail {n}", "body": "text"} for n in range(number)]


def copies(server: SmtpServer) -> Counter[str]:
    return Counter(address for mail in server.mails for address in mail.recipients)


def test_greylisting_twice_ends_in_one_copy_after_three_tries_under_one_id(database):
    with SmtpServer() as server:
        posts = Posts(database, mailer_to(server, database))
        for _ in range(2):
            server.replies = {"RCPT": "450 4.2.0 greylisted, try again later"}
            assert isinstance(posts.deliver(), Postponed)
            posts.let_the_wait_pass()
        server.replies = {}
        sent = posts.deliver()
        row = posts.rows.open("t", {0: {"b@example.com": "to"}})[0]["b@example.com"]

    assert (sent.status, row.attempts, copies(server)) == ("sent", 3, {"b@example.com": 1})
    assert BytesParser(policy=policy.default).parsebytes(server.mails[0].content)["Message-ID"] == sent.message_id


@pytest.mark.parametrize("reply", ["451 4.3.0 later", "554 5.7.1 no"])
def test_an_answer_to_the_final_dot_is_the_outcome_of_all_who_were_accepted_and_of_nobody_else(database, reply):
    with SmtpServer(replies={"RCPT TO:<c@": "550 5.1.1 no such user", "dot": reply}) as server:
        posts = Posts(database, mailer_to(server, database), bcc=["c@example.com", "d@example.com"])
        posts.deliver()
        outcomes = posts.rows.outcomes("t", 0)
    expected = "deferred" if reply.startswith("4") else "refused"
    assert {address: (one.state, one.code) for address, one in outcomes.items()} == {
        "b@example.com": (expected, int(reply[:3])),
        "c@example.com": ("refused", 550),
        "d@example.com": (expected, int(reply[:3])),
    }


@pytest.mark.parametrize(("resend", "status", "tries"), [(False, "unknown", 1), (True, "sent", 2)])
def test_where_the_database_is_gone_between_the_dot_and_the_commit_only_the_rule_for_doubt_decides(
    database, monkeypatch, resend, status, tries
):
    with SmtpServer() as server:
        posts = Posts(database, mailer_to(server, database), resend=resend)
        keep = posts.rows.turn

        def gone(task_id, closed, handed, run):
            if closed:
                raise KeyboardInterrupt  # the worker ends while it waits for its database
            keep(task_id, closed, handed, run)

        with monkeypatch.context() as patched:
            patched.setattr(posts.rows, "turn", gone)
            assert isinstance(posts.deliver(), KeyboardInterrupt)
        posts.let_the_doubt_pass()
        assert posts.deliver().status == status

    assert copies(server) == {"b@example.com": tries}
    assert len({mail.content for mail in server.mails}) == 1, "the same bytes, id and date"


def test_of_two_thousand_those_whom_the_server_refuses_are_refused_and_all_others_get_one_copy(database):
    seed = 20_260_301
    refused = {f"r{n}@example.com" for n in Random(seed).sample(range(2_000), 100)}

    def mood(command, _number):
        found = re.fullmatch(r"RCPT TO:<(.*)>", command)
        return "550 5.1.1 no such user" if found and found[1] in refused else None

    with SmtpServer(mood=mood) as server:
        bulk = Bulk(database, mailer_to(server, database), items(2_000))
        bulk.deliver()
    done = bulk.concluded()

    assert (done.status, done.total, done.sent, done.refused) == ("completed_with_failures", 2_000, 1_900, 100)
    assert {one["email"] for one in done.failures} == refused, f"seed {seed}"
    assert done.by_code == {"550": 100}
    assert copies(server) == Counter({item["to_email"]: 1 for item in items(2_000)} | dict.fromkeys(refused, 0))


REPLIES = ["450 4.3.2 later", "550 5.1.1 no", "421 4.7.0 closing", "451 4.7.1 slower", "552 5.3.4 too big", "drop"]


@pytest.mark.parametrize("seed", range(6))
def test_whatever_a_server_does_a_bulk_adds_up_and_nobody_is_missed_or_mailed_twice(database, seed):
    """Invariants 1, 2, 5, 6, 8 and 9 of bulk mail, by random faults at any place."""
    chance, lock, final = Random(seed), Lock(), defaultdict[str, list[str]](list)

    def mood(command, _number):
        with lock:
            if command.split(" ")[0] in {"EHLO", "QUIT", "RSET"} or chance.random() > 0.05:
                reply = None
            else:
                reply = "drop" if command == "content" else chance.choice(REPLIES)
            if found := re.fullmatch(r"RCPT TO:<(.*)>", command):
                final[found[1]].append(reply or "250")
            return reply

    with SmtpServer(mood=mood) as server:
        bulk = Bulk(database, mailer_to(server, database, 3), items(40))
        for _ in range(60):
            bulk.deliver()
            done = bulk.concluded()
            assert done.total == done.sent + done.refused + done.unknown + done.deferred + done.pending == 40, seed
            assert not bulk.states()["handing"], f"seed {seed}: at rest every row has an outcome, or a time"
            if not done.pending:
                break
            bulk.let_the_wait_pass()
            bulk.let_the_rests_pass()
    found, states = copies(server), bulk.states()

    assert done.pending == 0, f"seed {seed}: {states}"
    assert states == Counter(accepted=done.sent, refused=done.refused, unknown=done.unknown), f"seed {seed}"
    allowed = {"sent": {1}, "refused": {0}, "unknown": {0, 1}}
    for position, (state, _) in bulk.members.closed.items():
        assert found[f"r{position}@example.com"] in allowed[state], f"seed {seed}: {position} is {state}"
    for address, replies in final.items():
        refusals = [n for n, reply in enumerate(replies) if reply.startswith("55")]
        assert refusals in ([], [len(replies) - 1]), f"seed {seed}: {address} was refused, and tried again: {replies}"
    for mail in server.mails:
        shown = {one.decode() for one in re.findall(rb"r\d+@example\.com", mail.content)}
        assert shown == set(mail.recipients), f"seed {seed}: no mail of a bulk shows another recipient"
    ids = [BytesParser(policy=policy.default).parsebytes(mail.content)["Message-ID"] for mail in server.mails]
    assert len(set(ids)) == len(ids)
