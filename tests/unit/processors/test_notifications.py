"""Notifications by values: what becomes of the whole, and what a channel does by what is known of a person."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.contacts import CHANNELS, Contact, Preferences
from processors.digests import MOST_CHARACTERS, Gathered, as_one
from processors.errors import Cancelled, Postponed
from processors.interfaces import Member, MemberEnd, Run
from processors.notification_delivery import ChannelTools, send_channel
from processors.notifications import DELIVERED, UNWANTED, SendChannel, conclude_notification, skipped
from reading import silent

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)

OUTCOMES = st.one_of(
    st.sampled_from(["preference", "quiet_hours", "no_endpoint", "not_configured", "cancelled"]).map(skipped),
    st.sampled_from(["sent", "partial", "stored", "failed", "unknown", "deferred"]).map(
        lambda status: {"status": status}
    ),
)


def concluded(channels: Mapping[str, dict]):
    ends = [(name, MemberEnd(at, one["status"], one)) for at, (name, one) in enumerate(channels.items())]
    return conclude_notification("n1", "u1", ends, lambda position: {"status": "failed", "error": f"task {position}"})


@given(st.dictionaries(st.sampled_from(CHANNELS), OUTCOMES, min_size=1))
def test_the_whole_follows_from_its_channels(channels):
    told = concluded(channels)
    delivered = [name for name, one in channels.items() if one["status"] in DELIVERED]
    wanted = [name for name, one in channels.items() if one.get("reason") not in UNWANTED]
    assert (told.failure() is None) == (bool(delivered) or not wanted), "SUCCESS: told, or not wished"
    assert (told.status == "skipped") == (not wanted)
    assert (told.status in {"sent", "partial"}) == bool(delivered)
    assert (told.status == "failed") == (told.failure() is not None)
    assert told.as_json()["channels"] == channels
    if told.status == "sent":
        assert set(wanted) == set(delivered)
    unreached = wanted and all(channels[name].get("reason") in {"no_endpoint", "not_configured"} for name in wanted)
    assert (told.code is not None) == bool(unreached)
    if unreached:
        assert "set_contact" in told.failure()


def test_a_channel_whose_task_ended_without_an_outcome_says_why():
    ends = [("email", MemberEnd(0, "waiting", None)), ("inbox", MemberEnd(1, "stored", {"status": "stored", "id": 1}))]
    told = conclude_notification("n1", "u1", ends, lambda at: {"status": "failed", "error": f"task {at} was killed"})
    assert (told.status, told.channels["email"]["error"]) == ("partial", "task 0 was killed")


FLAGS = st.dictionaries(st.sampled_from(CHANNELS), st.booleans())


@given(FLAGS, st.dictionaries(st.sampled_from(["a", "b"]), st.booleans()), st.sampled_from(CHANNELS), st.booleans())
def test_what_is_said_of_a_type_and_a_channel_decides(channels, types, channel, own):
    preferences = Preferences(channels=channels, types=types, type_channels={"a": {channel: own}})
    assert preferences.want("a", channel) is own
    assert preferences.want("b", channel) is (channels.get(channel, True) and types.get("b", True))


@given(st.lists(st.tuples(st.text(min_size=1, max_size=5), st.text(max_size=5)), min_size=1, max_size=20))
def test_a_digest_has_all_that_was_gathered_in_its_order(pairs):
    whole = as_one([Gathered(f"<{number}>{title}", text) for number, (title, text) in enumerate(pairs)], "news")
    everything = f"{whole.title}\n{whole.message}"
    places = [everything.index(f"<{number}>{title}") for number, (title, _) in enumerate(pairs)]
    assert places == sorted(places)
    assert len(pairs) == 1 or whole.title == f"{len(pairs)} notifications: news"


def test_a_digest_that_would_be_too_long_counts_what_it_leaves_out():
    whole = as_one([Gathered(f"t{number}", "x" * (MOST_CHARACTERS // 3)) for number in range(10)], "news")
    assert len(whole.message) < MOST_CHARACTERS + 1_000
    assert whole.message.endswith("… and 8 more")


class OnePerson:
    """Knows one person."""

    def __init__(self, contact: Contact | None) -> None:
        self.contact, self.asked = contact, 0

    def find(self, user_id):
        self.asked += 1
        return self.contact

    def drop(self, user_id, channel, endpoint):
        raise AssertionError


class OneMember:
    """The row of one channel."""

    def __init__(self) -> None:
        self.end: MemberEnd | None = None
        self.newest = Run("c1", 1)

    def waiting(self, parent_id, first, count):
        return [] if self.end else [Member(first, {})]

    def close_all(self, parent_id, ends, run):
        if run == self.newest:
            [self.end] = ends

    def ends(self, parent_id, first, count):
        return [self.end or MemberEnd(first, "waiting", None)]


class Items:
    """An inbox of texts."""

    def __init__(self) -> None:
        self.written: list[tuple] = []

    def write(self, *item):
        self.written.append(item)
        return len(self.written)


class World:
    """All that a channel needs, in memory."""

    def __init__(self, contact: Contact | None, now: datetime = NOW) -> None:
        self.people, self.member, self.inbox, self.mails = OnePerson(contact), OneMember(), Items(), []
        self.now = now

    def send(self, channel: str, **more):
        request = SendChannel.model_validate(
            {
                "notification_id": "n1",
                "position": 0,
                "channel": channel,
                "user_id": "u1",
                "notification_type": "welcome",
                "title": "Hi",
                "message": "There",
                "url": None,
                "critical": False,
                "gathered": False,
                "expires_at": None,
            }
            | more
        )
        tools = ChannelTools(
            contacts=self.people,
            members=self.member,
            inbox=self.inbox,
            carriers={},
            gathered=lambda _: [Gathered("a", "b"), Gathered("c", "d")],
            mail=self._mail,
            effect=lambda key, call, deadline: call(),
            last_attempt=False,
            run=Run("c1", 1),
            clock=lambda: self.now,
        )
        return send_channel(request, tools, silent)

    def _mail(self, mail, position):
        self.mails.append(mail)
        return {"status": "sent", "accepted": [mail.to_email]}


REACHED = Contact(email="a@example.com")
QUIET = Contact.model_validate(
    {"email": "a@example.com", "time_zone": "Europe/Berlin", "quiet_hours": {"from": "13:00", "to": "15:00"}}
)


def test_a_channel_that_runs_again_finds_its_outcome_and_asks_nobody():
    world = World(REACHED)
    first = world.send("email")
    asked = world.people.asked
    assert world.send("email") == first
    assert (len(world.mails), world.people.asked) == (1, asked)


def test_a_run_that_lost_its_channel_ends_nothing_of_the_run_after_it():
    world = World(REACHED)
    world.member.newest = Run("c1", 2)
    with pytest.raises(Cancelled, match="Another run"):
        world.send("email")
    assert world.member.end is None


def test_who_is_not_known_has_an_inbox_and_no_endpoint():
    world = World(None)
    assert world.send("inbox").outcome["status"] == "stored"
    assert World(None).send("email").outcome == skipped("no_endpoint")
    assert World(None).send("sms").outcome == skipped("not_configured")


def test_quiet_hours_say_how_long_to_wait_and_a_critical_one_does_not():
    world = World(QUIET)
    with pytest.raises(Postponed) as postponed:
        world.send("email")
    assert postponed.value.retry_after == 3600
    assert world.member.end is None
    world.now = NOW + timedelta(hours=1)
    assert world.send("email").outcome["status"] == "sent"
    assert World(QUIET).send("email", critical=True).outcome["status"] == "sent"
    assert World(QUIET).send("inbox").outcome["status"] == "stored"


@pytest.mark.parametrize(("minutes", "skips"), [(60, True), (61, False)])
def test_what_expires_before_the_end_of_quiet_hours_is_skipped_at_once(minutes, skips):
    world = World(QUIET)
    expires_at = (NOW + timedelta(minutes=minutes)).isoformat()
    if skips:
        assert world.send("email", expires_at=expires_at).outcome == skipped("quiet_hours")
        return
    with pytest.raises(Postponed):
        world.send("email", expires_at=expires_at)


def test_a_digest_says_what_its_window_has_gathered():
    world = World(REACHED)
    world.send("email", gathered=True, title="", message="")
    assert (world.mails[0].subject, world.mails[0].body) == ("2 notifications: welcome", "a\nb\n\nc\nd")


def test_a_contact_shows_no_secret_in_its_repr_either():
    contact = Contact.model_validate(
        {
            "chat": ["slack://secret-a"],
            "push": [{"endpoint": "https://p.example.com/secret-b", "keys": {"p256dh": "s" * 87, "auth": "z" * 22}}],
        }
    )
    assert "secret" not in repr(contact) + str(contact) + str(contact.shown())
    assert "z" * 22 not in repr(contact)
