"""Every mailer hands a mail over once, tells one outcome per recipient, and says what it does not know."""

import errno
import hmac
import json
import os
import re
import shutil
import socket
import ssl
import threading
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email import policy
from email.parser import BytesParser
from ipaddress import ip_address
from pathlib import Path
from random import Random

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from adapters.outbox_mailer import OutboxMailer
from adapters.several_mailers import SeveralMailers
from adapters.smtp_mailer import SmtpMailer
from adapters.staging_mailer import StagingMailer
from mail_posts import Posts
from mail_queue import RememberedQueue
from processors.email_delivery import FAULT_WAIT_SECONDS
from processors.errors import ConfigurationError, EffectInDoubt, PermanentError, TransientError, TransportFault
from processors.interfaces import Letter
from smtp_mailers import smtp_mailer
from smtp_server import CHALLENGES, SmtpServer

CONTENT = b"From: a@example.com\r\nSubject: test\r\n\r\nfirst\r\n.second begins with a dot\r\nlast\r\n"


pytestmark = pytest.mark.usefixtures("both_kinds_of_server")


class Handed:
    """Notes what was announced, and when."""

    def __init__(self, server: SmtpServer | None = None) -> None:
        self.addresses: list[str] = []
        self.server = server

    def __call__(self, addresses):
        if self.server is not None:
            assert self.server.commands[-1] == "DATA", "announced once the server is ready to take the content"
            assert not self.server.mails
        self.addresses += addresses


def letter(*recipients: str, mail_id: str = "task-0", content: bytes = CONTENT) -> Letter:
    return Letter(mail_id, "a@example.com", recipients, content)


def send(mailer, *recipients: str, handing=None, mail_id: str = "task-0", content: bytes = CONTENT):
    """Send one mail; returns the outcome of each recipient."""

    def announce(handed):
        for _, addresses in handed:
            if handing is not None:
                handing(addresses)

    queue = RememberedQueue.of(letter(*recipients, mail_id=mail_id, content=content), on_turn=announce)
    mailer.send(queue)
    assert not queue.letters
    assert not queue.lent
    return {address: outcome for (_, address), outcome in queue.outcomes.items()}


# --- What both promise -----------------------------------------------------------------------------------------


@pytest.fixture(params=["outbox", "smtp"])
def mailer_and_reader(request, tmp_path):
    """A mailer, and how to read what arrived: (recipients, content) of each mail."""
    if request.param == "outbox":
        folder = tmp_path / "outbox"
        yield OutboxMailer(folder), lambda: [_written(path) for path in sorted(folder.glob("*.eml"))]
        return
    with SmtpServer() as server:
        yield smtp_mailer(server), lambda: [(m.recipients, m.content) for m in server.mails]


def _written(path: Path):
    return json.loads(path.with_suffix(".json").read_text())["to"], path.read_bytes()


def test_every_recipient_gets_the_whole_mail_and_an_outcome(mailer_and_reader):
    mailer, arrived = mailer_and_reader
    handed = Handed()

    outcomes = send(mailer, "b@example.com", "c@example.com", handing=handed)

    assert {address: outcome.state for address, outcome in outcomes.items()} == {
        "b@example.com": "accepted",
        "c@example.com": "accepted",
    }
    assert arrived() == [(["b@example.com", "c@example.com"], CONTENT)]
    assert handed.addresses == ["b@example.com", "c@example.com"]


def test_nothing_goes_out_when_the_intent_cannot_be_noted(mailer_and_reader):
    mailer, arrived = mailer_and_reader

    def refuse(_addresses):
        raise PermanentError("the database is away")

    with pytest.raises(PermanentError, match="away"):
        send(mailer, "b@example.com", handing=refuse)

    assert arrived() == []
    assert send(mailer, "b@example.com")["b@example.com"].state == "accepted", "the mailer works on"


# --- The outbox ------------------------------------------------------------------------------------------------


def test_the_same_mail_written_twice_to_the_outbox_is_one_mail(tmp_path: Path):
    mailer = OutboxMailer(tmp_path)

    send(mailer, "b@example.com")
    send(mailer, "b@example.com")

    assert sorted(path.name for path in tmp_path.iterdir()) == ["task-0.eml", "task-0.json"]
    assert mailer.repeatable


def test_a_mail_id_that_is_a_path_is_refused(tmp_path: Path):
    with pytest.raises(PermanentError, match="name a file"):
        send(OutboxMailer(tmp_path / "outbox"), "b@example.com", mail_id="../escape")


@pytest.mark.parametrize("place", ["outbox", "outbox/below"])
def test_an_outbox_that_is_a_file_is_one_sentence_and_gets_its_mail_once_that_is_gone(database, tmp_path: Path, place):
    (tmp_path / "outbox").write_text("no folder")
    posts = Posts(database, OutboxMailer(tmp_path / place))
    fault = posts.deliver()
    assert isinstance(fault, TransportFault)
    assert re.fullmatch(
        rf"No mail can be written to the outbox {tmp_path / place} \(\w[\w ]+\): it must be a folder, with free space, "
        r"that this user may write to\.",
        str(fault),
    )
    assert fault.retry_after == FAULT_WAIT_SECONDS
    assert posts.rows.outcomes("t", 0)["b@example.com"].state == "queued", "nobody is in doubt"

    (tmp_path / "outbox").unlink()
    assert posts.deliver().status == "sent"
    assert [path.name for path in (tmp_path / place).glob("*.eml")] == ["t-0.eml"]


def test_an_outbox_on_a_full_disk_says_so_and_names_the_cure(database, tmp_path: Path, monkeypatch):
    def full(_descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    posts = Posts(database, OutboxMailer(tmp_path))
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        fault = posts.deliver()
    assert isinstance(fault, TransportFault)
    assert "(No space left on device): it must be a folder, with free space" in str(fault)
    assert posts.deliver().status == "sent"


def test_an_outbox_in_which_nothing_can_be_written_or_removed_says_so(database, tmp_path: Path, monkeypatch):
    def read_only(*_, **__):
        raise OSError(errno.EROFS, "Read-only file system")

    for name in ("open", "unlink"):
        monkeypatch.setattr(Path, name, read_only)
    fault = Posts(database, OutboxMailer(tmp_path)).deliver()
    assert isinstance(fault, TransportFault)
    assert "(Read-only file system): it must be a folder" in str(fault)


def test_an_outbox_that_goes_between_the_announcement_and_the_last_step_gets_its_mail_later(database, tmp_path: Path):
    posts = Posts(database, OutboxMailer(tmp_path / "outbox"))
    keep = posts.rows.turn

    def clear_away(task_id, closed, handed, run):
        keep(task_id, closed, handed, run)
        if handed:
            posts.rows.turn = keep
            shutil.rmtree(tmp_path / "outbox")

    posts.rows.turn = clear_away
    assert isinstance(posts.deliver(), TransportFault)
    assert posts.deliver().status == "sent"
    assert sorted(path.name for path in (tmp_path / "outbox").iterdir()) == ["t-0.eml", "t-0.json"]


@pytest.mark.parametrize("guard", [{"only_to": ["*@example.com"]}, {"redirect_all_to": "staging@example.com"}])
def test_an_outbox_that_cannot_be_written_is_a_fault_behind_the_guard_of_staging_too(database, tmp_path: Path, guard):
    (tmp_path / "outbox").write_text("no folder")
    posts = Posts(database, StagingMailer(OutboxMailer(tmp_path / "outbox"), **guard))
    assert isinstance(posts.deliver(), TransportFault)
    assert posts.rows.outcomes("t", 0)["b@example.com"].state == "queued", "nobody is in doubt"


def test_the_next_way_out_takes_what_the_outbox_cannot_write(database, tmp_path: Path):
    (tmp_path / "outbox").write_text("no folder")
    with SmtpServer() as server:
        ways = SeveralMailers([OutboxMailer(tmp_path / "outbox"), smtp_mailer(server)], "failover")
        assert Posts(database, ways).deliver().status == "sent"
    assert len(server.mails) == 1


def test_a_mail_that_may_not_go_out_leaves_nothing_in_the_outbox(tmp_path: Path):
    def cancelled(_addresses):
        raise TransientError("cancelled")

    with pytest.raises(TransientError):
        send(OutboxMailer(tmp_path), "b@example.com", handing=cancelled)
    assert list(tmp_path.iterdir()) == []


# --- SMTP: each stage ------------------------------------------------------------------------------------------


def outcome_of(server: SmtpServer, *recipients: str, **options):
    return send(smtp_mailer(server, **options), *(recipients or ("b@example.com",)))


def test_a_mail_is_announced_between_the_servers_go_ahead_and_the_first_byte():
    with SmtpServer() as server:
        handed = Handed(server)
        send(smtp_mailer(server), "b@example.com", handing=handed)
        assert handed.addresses == ["b@example.com"]


def test_a_refused_recipient_does_not_keep_the_others_from_their_mail():
    with SmtpServer(replies={"RCPT TO:<no@": "550 5.1.1 no such user", "RCPT TO:<full@": "452 4.2.2 full"}) as server:
        outcomes = outcome_of(server, "no@example.com", "b@example.com")
        full = outcome_of(server, "full@example.com")
    assert (outcomes["no@example.com"].state, outcomes["no@example.com"].code) == ("refused", 550)
    assert (outcomes["no@example.com"].enhanced, outcomes["no@example.com"].text) == ("5.1.1", "no such user")
    assert outcomes["b@example.com"].state == "accepted"
    assert (full["full@example.com"].state, full["full@example.com"].code) == ("deferred", 452)


@pytest.mark.parametrize(
    ("at", "reply", "state"),
    [
        ("MAIL", "550 5.7.1 not you", "refused"),
        ("MAIL", "451 4.3.0 later", "deferred"),
        ("DATA", "554 5.5.1 no", "refused"),
        ("DATA", "451 4.3.0 later", "deferred"),
        ("dot", "552 5.3.4 too big", "refused"),
        ("dot", "554 5.7.1 no spam here", "refused"),
        ("dot", "451 4.3.0 later", "deferred"),
    ],
)
def test_a_servers_no_to_the_whole_mail_is_every_recipients_outcome(at, reply, state):
    with SmtpServer(replies={at: reply}) as server:
        outcomes = outcome_of(server, "b@example.com", "c@example.com")
    assert {outcome.state for outcome in outcomes.values()} == {state}
    assert {outcome.code for outcome in outcomes.values()} == {int(reply[:3])}


@pytest.mark.parametrize("reply", ["150 wait", "354 go on", "650 what", "999 no", "050 nothing"])
def test_an_answer_to_the_end_of_a_mail_that_neither_takes_nor_refuses_it_leaves_it_unknown(reply):
    with SmtpServer(replies={"dot": reply}) as server:
        outcome = outcome_of(server)["b@example.com"]
    assert outcome.state == "unknown"
    assert "The mail server answered the end of a mail with " in outcome.text


@pytest.mark.parametrize("at", ["MAIL", "RCPT", "DATA"])
@pytest.mark.parametrize("reply", ["150 wait", "334 VXNlcm5hbWU6", "650 what", "050 nothing"])
def test_an_answer_that_says_neither_yes_nor_no_refuses_nobody_and_may_be_tried_again(at, reply):
    handed = Handed()
    with SmtpServer(replies={at: reply}) as server, pytest.raises(TransportFault, match=f"answered {at} with "):
        send(smtp_mailer(server), "b@example.com", handing=handed)
    assert (server.mails, handed.addresses) == ([], [])


@pytest.mark.parametrize("reply", ["502 5.5.1 not here", "451 4.3.0 later", "350 and now"])
def test_a_server_that_does_not_reset_gets_the_next_mail_over_a_new_connection(reply):
    open_on = set[int]()

    def mood(command, number):
        if not command.startswith("MAIL"):
            return None
        return "503 5.5.1 nested MAIL" if number in open_on else open_on.add(number)

    queue = RememberedQueue.of(letter("gone@example.com", mail_id="t-0"), letter("b@example.com", mail_id="t-1"))
    with SmtpServer(replies={"RCPT TO:<gone@": "550 5.1.1 no", "RSET": reply}, mood=mood) as server:
        smtp_mailer(server, connections=1).send(queue)
    assert queue.states() == {"gone@example.com": "refused", "b@example.com": "accepted"}
    assert server.connections == 2


@pytest.mark.parametrize("at", ["connect", "EHLO", "MAIL", "RCPT", "DATA"])
def test_a_connection_lost_before_the_content_has_done_nothing_and_may_be_tried_again(at):
    handed = Handed()
    with SmtpServer(drop=at) as server, pytest.raises(TransientError):
        send(smtp_mailer(server), "b@example.com", handing=handed)
    assert (server.mails, handed.addresses) == ([], [])


def test_a_connection_lost_in_the_content_puts_the_mail_off_or_leaves_it_unknown_but_never_calls_it_sent():
    with SmtpServer(drop="content") as server:
        with suppress(TransientError):  # its end was seen before anything of the content was sent
            assert outcome_of(server)["b@example.com"].state in {"deferred", "unknown"}
        assert server.mails == []


@pytest.mark.parametrize("fault", [{"drop": "dot"}, {"silent": "dot"}, {"drip": "dot"}])
def test_a_mail_whose_last_answer_is_lost_is_unknown_and_not_repeated(fault):
    with SmtpServer(**fault) as server:
        outcome = send(smtp_mailer(server, deadline=0.5), "b@example.com")["b@example.com"]
        assert outcome.state == "unknown"
        assert len(server.mails) == 1


@pytest.mark.parametrize("at", ["tls", "STARTTLS", "handshake", "connect", "EHLO", "MAIL", "RCPT", "DATA"])
def test_a_silent_server_ends_at_the_deadline(authority, at):
    server_context, client_context = contexts(authority)
    scheme = "smtps" if at == "tls" else "smtp"
    query = "?tls=required" if at in {"STARTTLS", "handshake"} else ""
    with SmtpServer(silent=at, tls=server_context, implicit=at == "tls") as server:
        mailer = smtp_mailer(server, scheme, query=query, timeout=600, deadline=0.3, context=client_context)
        with pytest.raises(TransientError, match=r"before anything was sent|cannot be used|ended the connection"):
            send(mailer, "b@example.com")
        assert server.mails == []


@pytest.mark.parametrize("at", ["connect", "EHLO", "MAIL", "DATA"])
def test_a_server_that_drips_its_answers_ends_at_the_deadline(at):
    with SmtpServer(drip=at) as server, pytest.raises(TransientError):
        outcome_of(server, deadline=0.5)


@pytest.mark.parametrize("reply", ["421 4.7.0 closing", "530 5.7.0 login first"])
def test_a_fault_of_the_transport_is_nobodys_refusal(reply):
    with SmtpServer(replies={"RCPT": reply}) as server, pytest.raises(TransientError, match=reply[:3]):
        outcome_of(server)


def test_a_server_that_turns_callers_away_is_tried_again_later():
    with (
        SmtpServer(replies={"connect": "421 busy"}) as server,
        pytest.raises(TransientError, match="cannot be used"),
    ):
        outcome_of(server)


def test_nobody_listening_is_tried_again_later_and_names_host_and_port():
    with socket.socket() as held:  # taken, so that nobody else listens there, and not listening itself
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
        with pytest.raises(TransientError, match=f"127.0.0.1:{port}"):
            send(smtp_mailer(port), "b@example.com")


def test_many_recipients_go_in_transactions_of_fifty_and_each_gets_one_copy():
    recipients = [f"r{number}@example.com" for number in range(120)]
    with SmtpServer() as server:
        outcomes = outcome_of(server, *recipients)
    assert [len(mail.recipients) for mail in server.mails] == [50, 50, 20]
    assert sorted(address for mail in server.mails for address in mail.recipients) == sorted(recipients)
    assert set(outcomes) == set(recipients)
    assert server.connections == 1


@pytest.mark.parametrize("words", ["452 4.5.3 too many", "552 5.5.3 no more", "552 Too many recipients"])
def test_recipients_beyond_what_a_server_takes_at_once_go_in_the_next_transaction(words):
    recipients = [f"r{number}@example.com" for number in range(25)]
    with SmtpServer(most_recipients=10, too_many=words) as server:
        outcomes = outcome_of(server, *recipients)
    assert {outcome.state for outcome in outcomes.values()} == {"accepted"}
    assert [len(mail.recipients) for mail in server.mails] == [10, 10, 5]


def test_a_second_mail_uses_the_connection_again_and_a_dead_one_is_replaced():
    with SmtpServer() as server:
        mailer = smtp_mailer(server)
        send(mailer, "b@example.com")
        send(mailer, "c@example.com", mail_id="task-1")
        assert server.connections == 1
        mailer._lines._idle[0].socket.shutdown(socket.SHUT_RDWR)
        assert send(mailer, "d@example.com", mail_id="task-2")["d@example.com"].state == "accepted"
        assert server.connections == 2


@pytest.mark.parametrize("after", [100, 37])
def test_a_server_that_ends_each_connection_after_some_mails_loses_none_and_leaves_no_doubt(after):
    queue = RememberedQueue.of(*many(3 * after + 1))
    with SmtpServer(drop_after=after) as server:
        smtp_mailer(server, connections=2).send(queue)
    assert set(queue.states().values()) == {"accepted"}
    assert len({mail.recipients[0] for mail in server.mails}) == len(server.mails) == 3 * after + 1


def test_a_server_that_cuts_a_mail_in_the_middle_gets_it_whole_later_and_once():
    content = CONTENT + b"x" * 70 + b"\r\n" * 8_000_000  # more than any socket keeps
    with SmtpServer() as server:
        server.mood = lambda command, number: "cut" if (command, number) == ("content", 1) else None
        mailer = smtp_mailer(server)
        assert send(mailer, "b@example.com", content=content)["b@example.com"].state == "deferred"
        assert send(mailer, "b@example.com", content=content)["b@example.com"].state == "accepted"
        assert [len(mail.content) for mail in server.mails] == [len(content)]


def test_a_server_that_ends_each_connection_after_one_mail_gets_every_mail_at_once():
    with SmtpServer(drop_after=1) as server:
        mailer = smtp_mailer(server)
        for number in range(4):
            outcomes = send(mailer, f"r{number}@example.com", mail_id=f"task-{number}")
            assert outcomes[f"r{number}@example.com"].state == "accepted"
        assert len(server.mails) == 4


def test_a_server_that_closes_an_old_connection_with_421_gets_the_mail_by_a_new_one():
    with SmtpServer() as server:
        mailer = smtp_mailer(server)
        send(mailer, "b@example.com")
        server.once["MAIL"] = "421 4.7.0 too many mails in this session"
        assert send(mailer, "c@example.com", mail_id="task-1")["c@example.com"].state == "accepted"
        assert server.connections == 2


# --- SMTP: many mails ------------------------------------------------------------------------------------------


def many(number: int) -> list[Letter]:
    return [letter(f"r{n}@example.com", mail_id=f"bulk-{n}") for n in range(number)]


def test_many_mails_go_over_a_few_connections_each_once_and_a_commit_announces_several():
    queue = RememberedQueue.of(*many(200))
    with SmtpServer() as server:
        smtp_mailer(server, connections=4).send(queue)

    assert set(queue.states().values()) == {"accepted"}
    assert sorted(mail.recipients[0] for mail in server.mails) == sorted(f"r{n}@example.com" for n in range(200))
    assert server.open_at_most <= 4
    assert queue.turns < 2 * 200


def test_two_threads_share_the_connections_and_each_sends_all_of_its_mails():
    queues = [RememberedQueue.of(*many(100)[n::2]) for n in range(2)]
    with SmtpServer() as server:
        mailer = smtp_mailer(server, connections=2)
        threads = [threading.Thread(target=mailer.send, args=(queue,)) for queue in queues]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)

    assert [len(queue.outcomes) for queue in queues] == [50, 50]
    assert len(server.mails) == 100
    assert server.open_at_most <= 2


def test_a_single_mail_gets_a_connection_from_a_bulk_that_has_them_all():
    single, sent_while_bulk_went_on = RememberedQueue.of(letter("one@example.com")), []

    def send_one():
        mailer.send(single)
        sent_while_bulk_went_on.append(len(bulk.outcomes) < 400)

    other = threading.Thread(target=send_one)

    def start_other(handed):
        if len(bulk.outcomes) >= 20 and not other.ident:
            other.start()
        if other.ident and len(bulk.outcomes) >= 300:
            other.join(60)  # the bulk waits here before its end: the other one must not need it

    bulk = RememberedQueue.of(*many(400), on_turn=start_other)
    with SmtpServer() as server:
        mailer = smtp_mailer(server, connections=2)
        mailer.send(bulk)
        other.join(60)

    assert single.states() == {"one@example.com": "accepted"}
    assert sent_while_bulk_went_on == [True]
    assert len(bulk.outcomes) == 400


def test_a_mail_that_its_server_cannot_take_keeps_no_other_mail_back():
    def poison(command, _number):
        return "drop" if command.startswith("RCPT TO:<r3@") else None

    queue = RememberedQueue.of(*many(20))
    with SmtpServer(mood=poison) as server:
        smtp_mailer(server, connections=1).send(queue)

    states = queue.states()
    assert states.pop("r3@example.com") == "deferred"
    assert set(states.values()) == {"accepted"}
    assert len(server.mails) == 19


def test_a_server_that_stops_answering_in_mid_bulk_is_the_transports_fault_and_no_mail_is_lost_or_doubled():
    def stop(command, number):
        return "drop" if number > 1 else None

    queue = RememberedQueue.of(*many(30))
    with SmtpServer(mood=stop, drop_after=5) as server, pytest.raises(TransportFault):
        smtp_mailer(server, connections=1).send(queue)

    assert len(queue.outcomes) == len(server.mails) == 5
    assert len(queue.letters) == 25
    assert not queue.lent


def test_a_refusal_to_keep_the_announcement_stops_what_is_not_sent_yet_and_keeps_what_was():
    def refuse(handed):
        if handed and len(queue.outcomes) >= 10:
            raise TransientError("the task was cancelled")

    queue = RememberedQueue.of(*many(60), on_turn=refuse)
    with SmtpServer() as server, pytest.raises(TransientError, match="cancelled"):
        smtp_mailer(server, connections=3).send(queue)

    accepted = {address for address, state in queue.states().items() if state == "accepted"}
    assert accepted == {mail.recipients[0] for mail in server.mails}
    assert len(accepted) + len(queue.letters) == 60
    assert not queue.lent


@pytest.mark.parametrize("seed", range(12))
def test_whatever_a_server_does_nobody_is_mailed_twice_and_what_is_said_of_everybody_is_true(seed):
    """Random faults by a seed: a connection cut anywhere, replies of every kind, recipients refused or put off."""
    chance = Random(seed)
    lock = threading.Lock()
    replies = ["450 4.2.1 later", "550 5.1.1 no", "421 4.7.0 closing", "451 4.3.0 later", "552 5.3.4 too big", "drop"]

    def mood(command, _number):
        with lock:
            if command.split(" ")[0] in {"EHLO", "QUIT", "RSET"} or chance.random() > 0.06:
                return None
            return "drop" if command == "content" else chance.choice(replies)

    letters = [
        letter(*(f"r{n}-{k}@example.com" for k in range(chance.choice([1, 1, 1, 3]))), mail_id=f"bulk-{n}")
        for n in range(60)
    ]
    queue = RememberedQueue.of(*letters)
    with SmtpServer(mood=mood) as server:
        mailer = smtp_mailer(server, connections=3)
        for _ in range(40):
            with suppress(TransportFault):
                mailer.send(queue)
            assert not queue.lent, f"seed {seed}"
            if not queue.letters:
                break

    copies = Counter(address for mail in server.mails for address in mail.recipients)
    assert len(queue.outcomes) == sum(len(one.recipients) for one in letters), f"seed {seed}: somebody was left out"
    allowed = {"accepted": {1}, "refused": {0}, "deferred": {0}, "unknown": {0, 1}}
    for address, state in queue.states().items():
        assert copies[address] in allowed[state], f"seed {seed}: {address} is {state} and got {copies[address]}"


def test_a_mail_that_breaks_connections_is_not_taken_for_a_broken_server_though_it_is_the_first():
    def poison(command, _number):
        return "421 4.7.0 no" if command.startswith("RCPT TO:<r0@") else None

    queue = RememberedQueue.of(*many(20))
    with SmtpServer(mood=poison) as server:
        smtp_mailer(server, connections=1).send(queue)

    states = queue.states()
    assert states.pop("r0@example.com") == "deferred"
    assert set(states.values()) == {"accepted"}


def test_no_mail_is_left_unsaid_where_threads_share_one_connection_that_the_server_ends():
    queues = [RememberedQueue.of(*many(60)[n::3]) for n in range(3)]
    with SmtpServer(drop_after=1) as server:
        mailer = smtp_mailer(server, connections=1)
        threads = [threading.Thread(target=mailer.send, args=(queue,)) for queue in queues]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)

    assert [len(queue.outcomes) for queue in queues] == [20, 20, 20]
    assert len(server.mails) == 60


def test_a_server_that_wants_few_connections_is_not_asked_for_more_again_and_again():
    def full(_command, number):
        return "421 4.7.0 too many connections" if number > 2 else None

    queue = RememberedQueue.of(*many(200))
    with SmtpServer(mood=full) as server:
        smtp_mailer(server, connections=8).send(queue)

    assert set(queue.states().values()) == {"accepted"}
    assert server.connections <= 6


@pytest.mark.parametrize(("at", "whole"), [("MAIL", True), ("DATA", True), ("dot", True), ("RCPT", False)])
def test_a_refusal_says_whether_it_is_about_the_address(at, whole):
    with SmtpServer(replies={at: "550 5.1.0 no"}) as server:
        assert outcome_of(server)["b@example.com"].of_whole_mail is whole


def test_a_large_mail_over_tls_arrives_whole(authority):
    server_context, client_context = contexts(authority)
    content = CONTENT + b"x" * 70 + b"\r\n" * 100_000 + b"end\r\n"
    with SmtpServer(tls=server_context, implicit=True) as server:
        mailer = smtp_mailer(server, "smtps", context=client_context)
        queue = RememberedQueue.of(letter("b@example.com", content=content), *many(3))
        mailer.send(queue)
        assert set(queue.states().values()) == {"accepted"}
        assert content in [mail.content for mail in server.mails]


# --- SMTP: in doubt --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("resend", "status", "copies"), [(False, "unknown", 1), (True, "sent", 2)])
def test_a_mail_whose_last_answer_is_lost_is_held_or_sent_again_under_the_same_id(database, resend, status, copies):
    with SmtpServer(drop="dot") as server:
        posts = Posts(database, smtp_mailer(server), resend=resend)
        first = posts.deliver()
        server.drop = "-"
        posts.let_the_wait_pass()
        last = posts.deliver()
        arrived = [BytesParser(policy=policy.default).parsebytes(mail.content) for mail in server.mails]

    assert isinstance(first, TransientError) is resend
    assert last.status == status
    assert len(arrived) == copies
    assert len({mail["Message-ID"] for mail in arrived}) == 1


@pytest.mark.parametrize(("resend", "status", "copies"), [(False, "unknown", 0), (True, "sent", 1)])
def test_a_mail_whose_run_died_while_it_was_handed_over_is_concluded_only_when_that_is_over(
    database, monkeypatch, resend, status, copies
):
    with SmtpServer() as server:
        posts = Posts(database, smtp_mailer(server), resend=resend)
        posts.die_once_it_is_marked(monkeypatch)

        early = posts.deliver()
        assert isinstance(early, EffectInDoubt)
        assert early.retry_after > posts.mailer.deadline
        posts.let_the_doubt_pass()

        assert posts.deliver().status == status
        assert len(server.mails) == copies


def test_a_run_that_was_frozen_after_the_servers_go_ahead_sends_nothing_once_another_has_the_mail(
    database, monkeypatch
):
    with SmtpServer() as server:
        posts = Posts(database, smtp_mailer(server), resend=True)
        mark = posts.rows.turn

        def wake_up_late(task_id, closed, handed, run):
            monkeypatch.setattr(posts.rows, "turn", mark)
            posts.moves.give_back("t", run.number)
            posts.mailer = smtp_mailer(server)
            assert posts.deliver().status == "sent"
            mark(task_id, closed, handed, run)

        monkeypatch.setattr(posts.rows, "turn", wake_up_late)

        assert isinstance(posts.deliver(), TransientError)
        assert len(server.mails) == 1


# --- SMTP: TLS and login ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def contexts(authority: trustme.CA, name: str = "127.0.0.1", expires_at: datetime | None = None):
    server, client = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert(name, not_after=expires_at).configure_cert(server)
    authority.configure_trust(client)
    return server, client


@pytest.mark.parametrize("scheme", ["smtps", "smtp"])
def test_mail_and_login_go_over_verified_tls(authority, scheme):
    server_context, client_context = contexts(authority)
    with SmtpServer(tls=server_context, implicit=scheme == "smtps") as server:
        mailer = smtp_mailer(server, scheme, "me:p%40ss@", "?tls=required", context=client_context)
        assert send(mailer, "b@example.com")["b@example.com"].state == "accepted"
        assert server.mails[0].encrypted
        assert server.mails[0].user


@pytest.mark.parametrize("certificate", ["expired", "self-signed", "of an unknown authority", "of another host"])
@pytest.mark.parametrize("scheme", ["smtps", "smtp"])
def test_a_certificate_that_is_not_right_gets_no_login_and_no_mail_and_is_named(
    authority, tmp_path, scheme, certificate
):
    server_context, _ = contexts(
        authority if certificate != "of an unknown authority" else trustme.CA(),
        "elsewhere.example.com" if certificate == "of another host" else "127.0.0.1",
        expires_at=datetime.now(UTC) - timedelta(days=1) if certificate == "expired" else None,
    )
    if certificate == "self-signed":
        server_context = self_signed(tmp_path)
    authority.configure_trust(client_context := ssl.create_default_context())
    with SmtpServer(tls=server_context, implicit=scheme == "smtps") as server:
        mailer = smtp_mailer(server, scheme, "me:planted-secret@", "?tls=required", context=client_context)
        with pytest.raises(TransportFault, match=r"The certificate of 127\.0\.0\.1 is not trusted") as refused:
            send(mailer, "b@example.com")
        assert server.mails == []
        assert not [command for command in server.commands if command.startswith("AUTH")]
    assert "planted-secret" not in str(refused.value)


def self_signed(folder: Path) -> ssl.SSLContext:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, now - timedelta(days=1), now + timedelta(days=1))
    address = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    certificate = made.add_extension(address, critical=False).sign(key, hashes.SHA256())
    file = folder / "self-signed.pem"
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.write_bytes(pem + certificate.public_bytes(Encoding.PEM))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(file)
    return context


def test_a_server_from_whose_offers_tls_was_taken_gets_no_login_and_no_mail():
    with SmtpServer() as server:
        for query in ("?tls=required", "?tls=opportunistic"):
            mailer = smtp_mailer(server, login="me:planted-secret@", query=query)
            mailer.account = replace(mailer.account, is_local=False)
            with pytest.raises(TransportFault):
                send(mailer, "b@example.com")
        assert server.mails == []
        assert not [command for command in server.commands if command.startswith("AUTH")]


def test_required_tls_that_the_server_does_not_offer_stops_the_mail():
    with SmtpServer() as server, pytest.raises(TransientError, match="cannot be used"):
        send(smtp_mailer(server, query="?tls=required"), "b@example.com")


@pytest.mark.parametrize(
    ("mechanism", "said"),
    [
        ("PLAIN", ["\0jürgen\0grüße"]),
        ("LOGIN", ["jürgen", "grüße"]),
        ("CRAM-MD5", ["jürgen " + hmac.new("grüße".encode(), *CHALLENGES["CRAM-MD5"], "md5").hexdigest()]),
    ],
)
def test_a_name_and_a_password_of_any_letters_log_in_in_utf_8(mechanism, said):
    with SmtpServer(mechanism=mechanism) as server:
        outcome = send(smtp_mailer(server, login="j%C3%BCrgen:gr%C3%BC%C3%9Fe@"), "b@example.com")
    assert outcome["b@example.com"].state == "accepted"
    assert [one.decode() for one in server.logins[0]] == said


def test_a_refused_login_names_the_setting_and_never_the_password():
    with SmtpServer(replies={"AUTH": "535 5.7.8 wrong"}) as server:
        mailer = smtp_mailer(server, login="me:planted-secret@")
        with pytest.raises(TransientError, match="check EMAIL_URL") as refused:
            send(mailer, "b@example.com")
    assert "planted-secret" not in str(refused.value)


@pytest.mark.parametrize("url", ["http://host", "smtp://", "smtp://host?tls=sometimes"])
def test_a_url_that_is_none_names_the_setting(url):
    with pytest.raises(ConfigurationError, match="EMAIL_URL"):
        SmtpMailer(url)


def test_the_content_on_the_wire_reads_back_as_the_mail():
    with SmtpServer() as server:
        outcome_of(server)
    parsed = BytesParser(policy=policy.default).parsebytes(server.mails[0].content)
    assert parsed["Subject"] == "test"
    assert ".second begins with a dot" in parsed.get_content()
