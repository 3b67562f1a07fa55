"""Events of mails that had gone out: kept once, matched to the mail, and followed by what they ask for."""

from datetime import UTC, datetime, timedelta

import pytest

from processors.errors import NotAuthentic
from processors.mail_events.event import MailEvent
from processors.messages import message_id
from records import email_events as email_events_module
from records.deliveries import DeliveryRecords
from records.email_events import EmailEvents, email_events
from records.suppressions import SuppressionRecords

ANN, BOB = "ann@example.com", "bob@example.com"
OURS = message_id("t-0", "us@example.org")
WHEN = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)


@pytest.fixture
def events(database) -> EmailEvents:
    return EmailEvents(database)


@pytest.fixture
def suppressions(database) -> SuppressionRecords:
    return SuppressionRecords(database)


@pytest.fixture
def _mailed(database):
    """Ann was mailed by the task t, and by others."""
    rows = DeliveryRecords(database)
    for task_id, position in (("x", 0), ("t", 0), ("y", 7)):
        rows.open(task_id, {position: {ANN: "to"}})


def event(kind="bounced", address=ANN, event_id="e1", **more) -> MailEvent:
    return MailEvent(kind, address, event_id, **more)


def test_an_event_is_kept_as_it_was_told(events):
    told = event(
        "delayed", "Ann <ANN@Example.com>", code=450, enhanced="4.2.1", text="later\0", message_id="<m@x>", at=WHEN
    )
    (kept,) = events.receive("ses", [told])
    assert (kept.provider, kept.kind, kept.address, kept.code, kept.enhanced) == ("ses", "delayed", ANN, 450, "4.2.1")
    assert (kept.message_id, kept.task_id, kept.at) == ("<m@x>", None, WHEN)
    assert events.listed() == [kept]


def test_an_event_told_again_changes_nothing_and_another_providers_is_another(events, suppressions):
    first = event("complained")
    assert len(events.receive("ses", [first, first])) == 1
    suppressions.unsuppress(ANN, None)
    assert events.receive("ses", [first]) == []
    assert suppressions.reasons([ANN], None) == {}, "what was settled since then stays"
    assert len(events.receive("mailgun", [first])) == 1


def test_a_recipient_whom_a_report_names_again_and_again_is_looked_for_once(events, monkeypatch):
    looked_for = []
    monkeypatch.setattr(email_events_module, "_task_of", lambda _, address, event: looked_for.append(event.kind))
    told = [event("delayed"), event("bounced"), event("bounced", address="ANN@example.com")]
    assert [one.kind for one in events.receive("report", told)] == ["delayed"], "as the first of them says"
    assert looked_for == ["delayed"]


def test_one_event_of_several_recipients_is_one_row_each_and_no_address_is_passed_over(events):
    told = [event(address=address) for address in (ANN, BOB, "nobody", "")]
    assert [one.address for one in events.receive("ses", told)] == [ANN, BOB]


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        (event("complained"), "complaint"),
        (event("unsubscribed"), "unsubscribe"),
        (event(hard=True), "hard_bounce"),
        (event(), None),
        (event("delivered"), None),
        (event("delayed"), None),
        (event("rejected"), None),
    ],
)
def test_what_a_provider_tells_suppresses_where_it_must(events, suppressions, told, reason):
    events.receive("ses", [told])
    assert suppressions.reasons([ANN], "news") == ({ANN: reason} if reason else {})


@pytest.mark.usefixtures("_mailed")
def test_an_event_is_matched_to_its_mail_by_message_id_and_recipient(events):
    told = [event(message_id=OURS), event(address=BOB, message_id=OURS), event(event_id="e2", message_id="<m@x>")]
    kept = events.receive("ses", told)
    assert {(one.address, one.message_id): one.task_id for one in kept} == {
        (ANN, OURS): "t",
        (BOB, OURS): None,
        (ANN, "<m@x>"): None,
    }


@pytest.mark.usefixtures("_mailed")
@pytest.mark.parametrize("kind", ["complained", "bounced"])
def test_a_report_about_no_mail_of_ours_suppresses_nobody(events, suppressions, kind):
    for number, strange in enumerate((None, "<m@x>", message_id("t-1", "us@example.org"))):
        events.receive("report", [event(kind, event_id=f"e{number}", hard=True, message_id=strange)])
    assert suppressions.reasons([ANN], None) == {}
    assert len(events.listed(address=ANN)) == 3, "they are kept all the same"


@pytest.mark.usefixtures("_mailed")
def test_a_reported_hard_bounce_is_the_first_and_one_of_another_mail_the_second(events, suppressions):
    events.receive("report", [event(hard=True, message_id=OURS)])
    events.receive("report", [event(hard=True, message_id=OURS, event_id="e2")])
    assert suppressions.reasons([ANN], None) == {}
    suppressions.accepted([ANN])  # by a relay, which takes everything
    events.receive("report", [event(hard=True, message_id=message_id("x-0", "us@example.org"), event_id="e3")])
    assert suppressions.reasons([ANN], None) == {ANN: "hard_bounce"}


@pytest.mark.usefixtures("_mailed")
def test_a_reported_complaint_about_a_mail_of_ours_suppresses(events, suppressions):
    events.receive("report", [event("complained", message_id=OURS)])
    assert suppressions.reasons([ANN], None) == {ANN: "complaint"}


def test_a_token_is_good_for_one_event_alone(events, suppressions):
    assert len(events.receive("mailgun", [event("delivered")], token="k")) == 1
    assert events.receive("mailgun", [event("delivered")], token="k") == []
    with pytest.raises(NotAuthentic, match="signature of another one"):
        events.receive("mailgun", [event("complained", event_id="e2")], token="k")
    assert suppressions.reasons([ANN], None) == {}


def test_events_are_found_by_message_and_by_address_in_pages(events):
    told = [event(event_id=f"e{n}", address=(ANN, BOB)[n % 2], message_id=f"<{n // 2}@x>") for n in range(6)]
    for one in told:
        events.receive("ses", [one])
    assert [one.message_id for one in events.listed(address=BOB)] == ["<2@x>", "<1@x>", "<0@x>"]
    assert [one.address for one in events.listed(message_id="<1@x>")] == [BOB, ANN]
    page = events.listed(limit=4)
    assert len(page + events.listed(limit=4, after=page[-1].id)) == 6


def test_old_events_are_removed(events, database):
    events.receive("ses", [event()])
    assert events.prune(1) == 0
    long_ago = datetime.now(UTC) - timedelta(days=2)
    database.write(lambda c: c.execute(email_events.update().values(received_at=long_ago)))
    assert events.prune(1) == 1
