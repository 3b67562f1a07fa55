"""Mailers made of others, and those that send nothing: nobody is left out, and no mail becomes two."""

import socket

import pytest

from adapters.null_mailer import NullMailer
from adapters.several_mailers import SeveralMailers
from adapters.staging_mailer import StagingMailer
from mail_queue import RememberedQueue
from mail_rows import AwayMailer, ScriptedMailer
from processors.errors import TransportFault
from processors.interfaces import Letter, Outcome

CONTENT = b"Subject: s\r\n\r\nb\r\n"


def queue(*recipients: tuple[str, ...]) -> RememberedQueue:
    return RememberedQueue.of(*(Letter(f"m-{n}", "a@example.com", who, CONTENT) for n, who in enumerate(recipients)))


def named(name: str, mailer):
    mailer.name = name
    return mailer


def test_a_mail_goes_by_the_first_way_that_can():
    away, second, third = AwayMailer(TransportFault("no connection")), ScriptedMailer(), ScriptedMailer()
    mails = queue(("b@example.com",), ("c@example.com",))

    SeveralMailers([away, second, third], "failover").send(mails)

    assert mails.states() == {"b@example.com": "accepted", "c@example.com": "accepted"}
    assert (len(away.sent), len(second.sent), len(third.sent)) == (1, 2, 0)


def test_a_mail_of_which_nobody_knows_whether_it_arrived_never_goes_another_way():
    lost, second = ScriptedMailer(b=Outcome("unknown", text="lost")), ScriptedMailer()
    mails = queue(("b@example.com",))

    SeveralMailers([lost, second], "failover").send(mails)

    assert mails.states() == {"b@example.com": "unknown"}
    assert second.sent == []


def test_where_no_way_can_each_says_why():
    ways = [AwayMailer(TransportFault("First is away.")), AwayMailer(TransportFault("Second is away."))]
    mails = queue(("b@example.com",))

    with pytest.raises(TransportFault, match=r"First is away\. Second is away\."):
        SeveralMailers(ways, "failover").send(mails)

    assert (len(mails.letters), mails.lent) == (1, {})


def test_ways_that_take_turns_each_get_their_share_and_stand_in_for_each_other():
    ways = [ScriptedMailer(), ScriptedMailer(), AwayMailer(TransportFault("away"))]
    several = SeveralMailers(ways, "roundrobin")
    for number in range(6):
        mails = queue((f"r{number}@example.com",))
        several.send(mails)
        assert mails.states() == {f"r{number}@example.com": "accepted"}

    assert [len(way.sent) for way in ways] == [4, 2, 2], "the first stands in for the last"


def test_several_ways_promise_what_all_of_them_promise():
    slow, safe = ScriptedMailer(), NullMailer()
    slow.deadline = 120.0
    several = SeveralMailers([named("smtp", slow), safe], "failover")
    assert (several.name, several.repeatable, several.deadline) == ("failover(smtp null)", False, 120.0)
    assert SeveralMailers([safe, safe], "failover").repeatable


def test_a_mailer_that_sends_nothing_says_so_and_opens_no_socket(monkeypatch):
    monkeypatch.setattr(socket, "socket", lambda *_, **__: pytest.fail("a socket was opened"))
    mails = queue(("b@example.com", "c@example.com"))
    NullMailer().send(mails)
    assert set(mails.states().values()) == {"accepted"}
    assert "nothing left this machine" in mails.outcomes["m-0", "b@example.com"].text


def test_a_staging_machine_mails_only_those_it_may_and_says_so_of_the_others():
    inner = ScriptedMailer(no=Outcome("refused", 550))
    mails = queue(
        ("b@Example.com", "x@elsewhere.example"), ("x@elsewhere.example",), ("no@example.com", "boss@firm.example")
    )

    StagingMailer(inner, only_to=["*@example.com", "boss@firm.example"]).send(mails)

    assert inner.sent == [["b@Example.com"], ["no@example.com", "boss@firm.example"]]
    assert mails.states("m-0") == {"b@Example.com": "accepted", "x@elsewhere.example": "skipped"}
    assert mails.states("m-1") == {"x@elsewhere.example": "skipped"}
    assert mails.states("m-2") == {"no@example.com": "refused", "boss@firm.example": "accepted"}
    assert "EMAIL_ONLY_TO" in mails.outcomes["m-1", "x@elsewhere.example"].text


def test_a_staging_machine_sends_everything_to_one_address_once_a_mail():
    inner = ScriptedMailer()
    mails = queue(("b@example.com", "c@example.com"), ("d@example.com",))

    StagingMailer(inner, redirect_all_to="staging@example.com").send(mails)

    assert inner.sent == [["staging@example.com"], ["staging@example.com"]]
    assert set(mails.states().values()) == {"accepted"}
    assert len(mails.outcomes) == 3
    assert [address for _, address in mails.announced] == ["b@example.com", "c@example.com", "d@example.com"]
    assert "redirected to staging@example.com" in mails.outcomes["m-0", "b@example.com"].text


def test_a_guarded_mail_that_could_not_be_handed_over_is_given_back_whole():
    away = AwayMailer(TransportFault("away"))
    mails = queue(("b@example.com", "x@elsewhere.example"))

    with pytest.raises(TransportFault):
        StagingMailer(away, only_to=["*@example.com"], redirect_all_to="staging@example.com").send(mails)

    assert mails.letters[0].recipients == ("b@example.com", "x@elsewhere.example")
    assert mails.outcomes == {}
