"""Mailers made of others, and those that send nothing: nobody is left out, and no mail becomes two."""

import socket
from random import Random

import pytest

from adapters.null_mailer import NullMailer
from adapters.several_mailers import MOST_HELD, SeveralMailers
from adapters.staging_mailer import StagingMailer
from mail_queue import RememberedQueue
from mail_rows import AwayMailer, ScriptedMailer
from processors.errors import TransportFault, TransportRests
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


def resting(seconds: float) -> Outcome:
    """What a way tells of one whose server rests by it."""
    return Outcome("queued", text=f"its server rests for {seconds:g} s", retry_after=seconds)


class Resting(ScriptedMailer):
    """Tells, untried, of those whose domain rests, and sends to the others."""

    def __init__(self, rests: dict[str, float]):
        super().__init__()
        self.rests = rests

    def send(self, queue):
        super().send(_Awake(queue, self.rests))


class _Awake:
    def __init__(self, queue, rests):
        self.queue, self.rests = queue, rests
        self.turn, self.give_back = queue.turn, queue.give_back

    def take(self):
        while (letter := self.queue.take()) is not None:
            told = {a: resting(self.rests[a.split("@")[1]]) for a in letter.recipients if a.split("@")[1] in self.rests}
            if not told:
                return letter
            self.queue.turn([(letter, told)], [])
        return None


@pytest.mark.parametrize("order", ["failover", "roundrobin"])
def test_whose_domain_rests_by_one_way_goes_by_the_next_and_the_others_stay(order):
    first, second = Resting({"slow.example": 60}), ScriptedMailer()
    mails = queue(("a@slow.example",), ("b@quick.example",), ("c@slow.example", "d@quick.example"), ("e@slow.example",))

    SeveralMailers([first, second], order).send(mails)

    assert set(mails.states().values()) == {"accepted"}
    assert first.sent == [["b@quick.example"], ["d@quick.example"]]
    assert sorted(second.sent) == [["a@slow.example"], ["c@slow.example"], ["e@slow.example"]]


def test_whose_domain_rests_by_all_ways_waits_for_the_first_that_is_over():
    ways = [Resting({"slow.example": seconds}) for seconds in (300, 60, 1800)]
    mails = queue(("a@slow.example", "b@quick.example"), ("c@slow.example",))

    SeveralMailers(ways, "failover").send(mails)

    assert mails.states() == {"a@slow.example": "queued", "b@quick.example": "accepted", "c@slow.example": "queued"}
    assert {one.retry_after for one in mails.outcomes.values()} == {60, None}
    assert (len(mails.letters), mails.lent) == (0, {})


def test_whose_domain_rests_by_one_way_while_the_other_is_away_only_waits():
    ways = [Resting({"slow.example": 60}), AwayMailer(TransportFault("Second is away."))]
    mails = queue(("a@slow.example", "b@quick.example"))

    with pytest.raises(TransportRests, match="Second is away") as rests:
        SeveralMailers(ways, "failover").send(mails)

    assert rests.value.retry_after == 60
    assert mails.states() == {"b@quick.example": "accepted"}
    assert [one.recipients for one in mails.letters] == [("a@slow.example",)]


def test_of_many_whose_domain_rests_by_one_way_only_some_are_held_and_all_are_sent():
    first, second = Resting({"slow.example": 60}), ScriptedMailer()
    mails = queue(*((f"r{n}@{'slow' if n % 2 else 'quick'}.example",) for n in range(4 * MOST_HELD)))

    SeveralMailers([first, second], "failover").send(mails)

    assert set(mails.states().values()) == {"accepted"}
    assert len(mails.states()) == 4 * MOST_HELD
    assert len(first.sent) >= MOST_HELD - 1


@pytest.mark.parametrize("seed", range(20))
def test_whatever_rests_by_any_way_each_recipient_has_one_outcome_and_is_sent_where_any_way_may(seed):
    chance = Random(seed)
    domains = [f"d{n}.example" for n in range(4)]
    rests = [{d: chance.uniform(1, 99) for d in domains if chance.random() < 0.5} for _ in range(3)]
    ways = [Resting(one) for one in rests]
    people = [tuple(f"r{n}-{k}@{chance.choice(domains)}" for k in range(chance.randint(1, 4))) for n in range(30)]
    mails = queue(*people)

    SeveralMailers(ways, "failover").send(mails)

    for (_, address), outcome in mails.outcomes.items():
        waits = [one.get(address.split("@")[1]) for one in rests]
        expected = "accepted" if None in waits else "queued"
        assert outcome.state == expected, f"seed {seed}"
        assert outcome.retry_after == (None if None in waits else min(waits)), f"seed {seed}"
    assert len(mails.outcomes) == sum(map(len, people))


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
