"""Whole mails and bulks over real rows and a real server that fails: what each fault may do, and what it never may."""

import re
from collections import Counter, defaultdict
from datetime import timedelta
from email import policy
from email.parser import BytesParser
from random import Random
from threading import Lock

import pytest
from sqlalchemy import and_, select, update

from composing import FilesInMemory
from mail_posts import Bulk, Posts
from processors.composition import Composer
from processors.email_delivery import GROUP_MAILS
from processors.errors import Postponed, ServiceUnavailable, TransientError
from records.columns import Instant
from records.deliveries import deliveries
from records.mail_rests import mail_rests
from records.members import MemberRecords, insert_members
from records.task_records import columns
from smtp_mailers import copies, resting_mailer
from smtp_server import SmtpServer

pytestmark = pytest.mark.usefixtures("both_kinds_of_server")


def items(number: int) -> list[dict[str, str]]:
    return [{"to_email": f"r{n}@example.com", "subject": f"mail {n}", "body": "text"} for n in range(number)]


def test_greylisting_twice_ends_in_one_copy_after_three_tries_under_one_id(database):
    with SmtpServer() as server:
        posts = Posts(database, resting_mailer(server, database))
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
        posts = Posts(database, resting_mailer(server, database), bcc=["c@example.com", "d@example.com"])
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
        posts = Posts(database, resting_mailer(server, database), resend=resend)
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
        bulk = Bulk(database, resting_mailer(server, database), items(2_000))
        bulk.deliver()
    done = bulk.concluded()

    assert (done.status, done.total, done.sent, done.refused) == ("completed_with_failures", 2_000, 1_900, 100)
    assert {one["email"] for one in done.failures} == refused, f"seed {seed}"
    assert done.by_code == {"550 5.1.1": 100}
    assert copies(server) == Counter({item["to_email"]: 1 for item in items(2_000)} | dict.fromkeys(refused, 0))


class PulledByTheFirst:
    """A brake that the first mail which has its end pulls."""

    def __init__(self):
        self.noted = []

    def pulled(self) -> bool:
        return bool(self.noted)

    def note(self, states) -> None:
        self.noted.append(states)


def test_a_mail_whose_connection_was_lost_waits_as_all_others_do_once_the_bulk_is_paused(database):
    lost = []

    def mood(command, _number):
        if command == "RCPT TO:<r0@example.com>" and not lost:
            lost.append(command)
            return "drop"
        return None

    with SmtpServer(mood=mood) as server:
        bulk = Bulk(database, resting_mailer(server, database, connections=1), items(8))
        bulk.brake = PulledByTheFirst()
        assert isinstance(bulk.deliver(), Postponed)
        assert "r0@example.com" not in copies(server)
        assert len(server.mails) < 7, "those in hand went out, and no more"

        bulk.brake = None
        bulk.deliver()
    assert copies(server) == {one["to_email"]: 1 for one in items(8)}


class BrokenAtTheFirst:
    """A brake whose database is away once the first mail has its end."""

    def __init__(self):
        self.noted = 0

    def pulled(self) -> bool:
        return False

    def note(self, _states) -> None:
        self.noted += 1
        if self.noted == 1:
            raise ServiceUnavailable("The database is away.")


def test_a_brake_whose_database_is_away_leaves_no_mail_marked_that_did_not_go_out(database):
    everybody = items(40)
    with SmtpServer() as server:
        bulk = Bulk(database, resting_mailer(server, database, connections=4), everybody)
        bulk.brake = BrokenAtTheFirst()
        with pytest.raises(ServiceUnavailable):
            bulk.deliver()
        assert bulk.states() == Counter(accepted=len(server.mails), queued=40 - len(server.mails))
        assert len(server.mails) < 40, "it stops what has not begun"
        bulk.deliver()
    assert copies(server) == {one["to_email"]: 1 for one in everybody}
    assert bulk.concluded().sent == 40


def let_the_clock_jump(database, seconds: float) -> None:
    """Put the database's clock forward, or back: what is remembered lies the other way then."""

    def work(connection):
        for table in (deliveries, mail_rests):
            moments = [column.name for column in table.columns if isinstance(column.type, Instant)]
            for row in connection.execute(select(table)).mappings().all():
                moved = {name: row[name] - timedelta(seconds=seconds) for name in moments if row[name] is not None}
                own = and_(*(column == row[column.name] for column in table.primary_key))
                connection.execute(update(table).where(own).values(moved)) if moved else None

    database.write(work)


def test_a_mail_that_somebody_has_is_not_to_be_sent_again_though_its_server_was_away_for_the_others(database):
    mails = [{"to_email": "a@example.com", "cc": ["b@example.com"], "subject": "s", "body": "b"}, *items(1)]
    with SmtpServer(replies={"RCPT TO:<b@": "451 4.3.0 later", "RCPT TO:<r0@": "451 4.3.0 later"}) as server:
        bulk = Bulk(database, resting_mailer(server, database), mails)
        assert isinstance(bulk.deliver(), Postponed)
    bulk.let_the_wait_pass()
    bulk.last_attempt = True
    assert bulk.deliver() == {"deferred": 1, "sent": 1}

    (state, outcome), (other, _) = bulk.members.closed[0], bulk.members.closed[1]
    assert (state, outcome["status"], outcome["accepted"]) == ("sent", "partial", ["a@example.com"])
    assert list(outcome["refused"]) == ["b@example.com"]
    assert other == "deferred", "nobody has that one: resend_failed sends it again"


def away_at_the_last_attempt(database, mails, replies, due: str) -> Bulk:
    """Put some off, let one's time come, and deliver for the last time to a server that is gone: the mail goes on."""
    with SmtpServer(replies=replies) as server:
        bulk = Bulk(database, resting_mailer(server, database), mails)
        assert isinstance(bulk.deliver(), Postponed)
    own = deliveries.c.address == due
    database.write(lambda c: c.execute(update(deliveries).where(own).values(next_attempt_at=None)))
    bulk.last_attempt = True
    assert isinstance(bulk.deliver(), Postponed)
    assert bulk.members.closed == {}
    return bulk


def test_a_mail_of_which_somebody_else_still_waits_goes_on_though_its_server_was_away_at_the_last_attempt(database):
    mails = [{"to_email": "a@example.com", "cc": ["b@example.com", "c@example.com"], "subject": "s", "body": "b"}]
    late = {"RCPT TO:<b@": "451 4.3.0 later", "RCPT TO:<c@": "451 4.3.0 try again in 2 hours"}
    bulk = away_at_the_last_attempt(database, mails, late, due="b@example.com")
    assert {one: row.state for one, row in bulk.rows.outcomes("t", 0).items()} == {
        "a@example.com": "accepted",
        "b@example.com": "refused",
        "c@example.com": "deferred",
    }


def test_a_mail_that_nobody_has_waits_for_whom_a_server_put_off_though_another_was_not_reached(database):
    """At the last attempt the one who was not reached is given up; the other's own time has not come."""
    mails = [{"to_email": "a@example.com", "cc": ["b@example.com"], "subject": "s", "body": "b"}]
    late = {"RCPT TO:<a@": "451 4.3.0 later", "RCPT TO:<b@": "451 4.3.0 try again in 2 hours"}
    bulk = away_at_the_last_attempt(database, mails, late, due="a@example.com")
    assert {one: row.state for one, row in bulk.rows.outcomes("t", 0).items()} == {
        "a@example.com": "refused",
        "b@example.com": "deferred",
    }


class FilesThatGoAway(FilesInMemory):
    """Files whose server can be away."""

    away = False

    def read(self, place, max_bytes, report):
        if self.away:
            raise TransientError("files.example does not answer")
        return super().read(place, max_bytes, report)


@pytest.mark.parametrize("reached", [[], ["c@example.com"]])
@pytest.mark.parametrize("kind", ["single", "bulk"])
def test_who_was_put_off_waits_though_the_mails_file_is_away_for_another_at_the_last_attempt(database, kind, reached):
    file = "https://files.example/a.txt"
    mail = {"to_email": "a@example.com", "cc": ["b@example.com", *reached], "subject": "s", "body": "b"}
    mail["attachments"] = [{"path": file}]
    late = {"RCPT TO:<a@": "451 4.3.0 later", "RCPT TO:<b@": "451 4.3.0 try again in 2 hours"}
    files, of_a = FilesThatGoAway({file: b"text"}), deliveries.c.address == "a@example.com"
    with SmtpServer(replies=late) as server:
        mailer = resting_mailer(server, database)
        posts = Posts(database, mailer, **mail) if kind == "single" else Bulk(database, mailer, [mail])
        posts.composer = Composer(files, 25)
        assert isinstance(posts.deliver(), Postponed)
        database.write(lambda c: c.execute(update(deliveries).where(of_a).values(next_attempt_at=None)))
        posts.last_attempt = files.away = True
        waiting = posts.deliver()
        assert isinstance(waiting, Postponed), waiting
        assert waiting.retry_after > 3_600
        told = {one: row.state for one, row in posts.rows.outcomes("t", 0).items()}
        assert told == {"a@example.com": "refused", "b@example.com": "deferred"} | dict.fromkeys(reached, "accepted")

        files.away, server.replies = False, {}
        posts.let_the_wait_pass()
        done = posts.deliver()
    assert copies(server) == dict.fromkeys(["b@example.com", *reached], 1)
    assert done == {"sent": 1} if kind == "bulk" else done.status == "partial"


class FrozenBefore(MemberRecords):
    """Members of which a run is frozen before it ends any, until others had their time."""

    meanwhile = None

    def close_all(self, parent_id, ends, *run):
        if self.meanwhile is not None:
            do, self.meanwhile = self.meanwhile, None
            do()
        super().close_all(parent_id, ends, *run)


def test_a_run_that_was_frozen_at_its_last_attempt_ends_no_mail_that_the_next_one_sends(database):
    everybody, runs = items(3), []
    with SmtpServer(replies={"connect": "drop"}) as server:
        bulk = Bulk(database, resting_mailer(server, database), everybody)
        bulk.members = FrozenBefore(database)
        bulk.members.items = everybody
        database.write(lambda c: insert_members(c, "t", everybody))

        def follow():
            frozen = database.read(lambda c: c.execute(select(columns.run).where(columns.id == "t")).scalar())
            bulk.moves.give_back("t", frozen)
            runs.append(bulk.moves.start("t", 0, "w1", "io@host", None).run)

        bulk.last_attempt, bulk.members.meanwhile = True, follow
        bulk.deliver()
        assert bulk.members.tally("t") == {"waiting": 3}
        bulk.moves.give_back("t", *runs)

        server.replies = {}
        bulk.let_the_rests_pass()
        assert bulk.deliver() == {"sent": 3}
    assert bulk.members.tally("t") == {"sent": 3}
    assert copies(server) == {one["to_email"]: 1 for one in everybody}


def test_who_is_put_off_for_no_time_at_all_is_put_off_and_costs_a_bulk_no_attempt(database):
    with SmtpServer(replies={"RCPT TO:<r0@": "450 4.2.0 come back in 0 minutes"}) as server:
        bulk = Bulk(database, resting_mailer(server, database), items(1))
        bulk.last_attempt = True
        assert isinstance(bulk.deliver(), Postponed)


def test_a_mail_that_somebody_has_is_not_to_be_sent_again_though_no_later_run_came_to_it(database):
    """Rows are looked at a hundred mails at a time: a server that is away lets a run look no further."""
    last = {"to_email": "a@example.com", "cc": ["b@example.com"], "subject": "s", "body": "b"}
    late = dict.fromkeys(["RCPT TO:<r", "RCPT TO:<b@"], "451 4.3.0 later")
    with SmtpServer(replies=late) as server:
        bulk = Bulk(database, resting_mailer(server, database), [*items(GROUP_MAILS), last])
        assert isinstance(bulk.deliver(), Postponed)
    bulk.let_the_wait_pass()
    bulk.last_attempt = True
    assert bulk.deliver() == {"deferred": GROUP_MAILS, "sent": 1}
    assert bulk.members.closed[GROUP_MAILS][1]["accepted"] == ["a@example.com"]


@pytest.mark.parametrize("seed", range(4))
def test_a_clock_that_jumps_by_hours_makes_no_storm_and_loses_and_doubles_no_mail(database, seed):
    chance, asked, everybody = Random(seed), Counter[str](), Counter(item["to_email"] for item in items(30))

    def greylist(command, _number):
        found = re.fullmatch(r"RCPT TO:<(.*)>", command)
        asked.update([found[1]] if found else [])
        return "450 4.2.0 greylisted, try again later" if found and asked[found[1]] <= 2 else None

    with SmtpServer(mood=greylist) as server:
        bulk = Bulk(database, resting_mailer(server, database), items(30))
        now = due = 0  # hours by the clock that jumps; who is put off waits for less than one
        for jump in [0, *(chance.choice([-2, -1, 0, 1]) for _ in range(10)), *[1] * 25]:
            let_the_clock_jump(database, jump * 3600)
            now, before = now + jump, asked.copy()
            bulk.deliver()
            assert asked - before == (everybody if now >= due else Counter()), f"seed {seed}: once, where it is due"
            due = now + 1 if now >= due else due
            if not bulk.concluded().pending:
                break
    assert copies(server) == everybody, f"seed {seed}"
    assert set(asked.values()) == {3}, f"seed {seed}"
    assert bulk.concluded().sent == 30


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
        bulk = Bulk(database, resting_mailer(server, database, connections=3), items(40))
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
