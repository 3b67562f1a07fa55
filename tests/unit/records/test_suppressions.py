"""Suppressions: who is not mailed, by which mails and until when; two hard bounces in a day, and what ends them."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import update

from processors.suppression import REASONS, is_hard_bounce, normalised
from records import suppressions as module
from records.suppressions import SECOND_BOUNCE_SECONDS, SuppressionRecords, hard_bounces
from records.suppressions import suppressions as table

ANN, BOB = "ann@example.com", "bob@example.com"
DAY = 24 * 3600


@pytest.fixture
def records(database) -> SuppressionRecords:
    return SuppressionRecords(database)


def suppress(records, address=ANN, reason="manual", list_name=None, until=None):
    return records.suppress(address, reason, list_name, until, source="facade", text="")


def bounce(records, mail="t-0", address=ANN, code=550, enhanced="5.1.1"):
    records.refused(address, code, enhanced, "no such user", mail_id=mail)


def pass_by(records, seconds):
    """Let so many seconds pass for all that is remembered, on either database."""

    def work(connection):
        for old, column in ((hard_bounces, "at"), (table, "until"), (table, "created_at")):
            key, moment = next(iter(old.primary_key)), old.c[column]
            rows = connection.execute(old.select().where(moment.is_not(None))).mappings().all()
            for row in rows:
                earlier = row[column] - timedelta(seconds=seconds)
                connection.execute(update(old).where(key == row[key.name]).values({column: earlier}))

    records.database.write(work)


# --- Scopes, ends and reasons -----------------------------------------------------------------------------------


def test_nobody_is_suppressed_at_first(records):
    assert records.reasons([ANN, BOB], None) == {}
    assert records.reasons([], None) == {}


def test_an_address_is_found_as_it_goes_into_the_envelope_however_it_is_written(records):
    suppress(records)
    assert records.reasons(["Ann@Example.COM", BOB], None) == {"Ann@Example.COM": "manual"}


def test_a_lists_suppression_keeps_back_that_lists_mail_alone(records):
    suppress(records, reason="unsubscribe", list_name="news")
    assert records.reasons([ANN], "news") == {ANN: "unsubscribe"}
    assert records.reasons([ANN], "offers") == {}
    assert records.reasons([ANN], None) == {}


def test_what_counts_for_every_mail_counts_for_a_lists_too(records):
    suppress(records, reason="complaint")
    assert records.reasons([ANN], "news") == {ANN: "complaint"} == records.reasons([ANN], None)


def test_the_strongest_reason_is_told(records):
    for reason in reversed(REASONS):
        suppress(records, reason=reason, list_name="news" if reason == "unsubscribe" else None)
        assert records.reasons([ANN], "news") == {ANN: reason}


def test_a_suppression_ends_by_the_databases_clock(records):
    suppress(records, until=datetime.now(UTC) + timedelta(hours=1))
    assert records.reasons([ANN], None) == {ANN: "manual"}
    pass_by(records, 3601)
    assert records.reasons([ANN], None) == {}
    assert records.listed() == []
    assert records.prune() == 1


def test_said_again_it_counts_anew_and_is_still_one(records):
    first = suppress(records, until=datetime.now(UTC) + timedelta(hours=1))
    again = suppress(records)
    assert (again.id, again.until, again.created_at) == (first.id, None, first.created_at)
    assert [one.id for one in records.listed()] == [first.id]


def test_unsuppressed_it_is_mailed_again_in_that_scope_alone(records):
    suppress(records)
    suppress(records, reason="unsubscribe", list_name="news")
    assert records.unsuppress(ANN, "news")
    assert records.reasons([ANN], "news") == {ANN: "manual"}
    assert records.unsuppress(ANN, None)
    assert not records.unsuppress(ANN, None)
    assert records.reasons([ANN], "news") == {}


def test_what_had_ended_is_not_told_as_ended_by_hand(records):
    suppress(records, until=datetime.now(UTC) + timedelta(hours=1))
    pass_by(records, 3601)
    assert not records.unsuppress(ANN, None)


def test_a_list_is_the_newest_first_in_pages_and_by_what_is_asked_for(records):
    for number in range(5):
        suppress(records, f"r{number}@example.com", "complaint" if number % 2 else "manual", "news" if number else None)
    everybody = records.listed()
    assert [one.address for one in everybody] == [f"r{number}@example.com" for number in (4, 3, 2, 1, 0)]
    page = records.listed(limit=2)
    assert page + records.listed(limit=9, after=page[-1].id) == everybody
    assert [one.address for one in records.listed(reason="complaint")] == ["r3@example.com", "r1@example.com"]
    assert [one.address for one in records.listed(scope="all")] == ["r0@example.com"]
    assert [one.scope for one in records.listed(address="r4@example.com")] == ["news"]


def test_more_addresses_than_one_statement_takes_are_all_asked_for(records, monkeypatch):
    monkeypatch.setattr(module, "ADDRESSES_AT_ONCE", 3)
    addresses = [f"r{number}@example.com" for number in range(10)]
    for address in addresses[::3]:
        suppress(records, address)
    assert set(records.reasons(addresses, None)) == set(addresses[::3])


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    held=st.lists(
        st.tuples(
            st.sampled_from([ANN, BOB]),
            st.sampled_from(REASONS),
            st.sampled_from([None, "news", "offers"]),
            st.sampled_from([None, -60, 60]),
        ),
        max_size=8,
    ),
    asked=st.sampled_from([None, "news", "offers"]),
)
def test_the_reason_told_is_the_strongest_of_those_in_force_in_the_mails_scopes(records, held, asked):
    records.database.write(lambda c: c.execute(table.delete()))
    for address, reason, scope, seconds in held:
        suppress(records, address, reason, scope, seconds and datetime.now(UTC) + timedelta(seconds=seconds))
    last = {(address, reason, scope): seconds for address, reason, scope, seconds in held}
    expected: dict[str, str] = {}
    for (address, reason, scope), seconds in last.items():
        if scope in {None, asked} and (seconds is None or seconds > 0):
            expected[address] = min(reason, expected.get(address, reason), key=REASONS.index)
    assert records.reasons([ANN, BOB], asked) == expected


# --- Hard bounces -----------------------------------------------------------------------------------------------


def test_one_hard_bounce_suppresses_nobody_and_a_second_within_a_day_does(records):
    bounce(records, "t-0")
    assert records.reasons([ANN], None) == {}
    bounce(records, "t-1", address="ANN@example.com")
    assert records.reasons([ANN], None) == {ANN: "hard_bounce"}
    (one,) = records.listed()
    assert (one.source, one.text, one.scope) == ("delivery", "550 5.1.1 no such user", "all")
    assert abs(one.until - datetime.now(UTC) - timedelta(days=30)) < timedelta(minutes=1)


def test_the_same_mails_bounce_told_again_is_no_second_one(records):
    for _ in range(3):
        bounce(records, "t-0")
    assert records.reasons([ANN], None) == {}


def test_a_second_bounce_after_a_day_is_a_first_one_again(records):
    bounce(records, "t-0")
    pass_by(records, SECOND_BOUNCE_SECONDS + 1)
    bounce(records, "t-1")
    assert records.reasons([ANN], None) == {}
    bounce(records, "t-2")
    assert records.reasons([ANN], None) == {ANN: "hard_bounce"}


def test_a_bounced_address_is_tried_again_after_thirty_days(records):
    bounce(records, "t-0")
    bounce(records, "t-1")
    pass_by(records, 30 * DAY + 1)
    assert records.reasons([ANN], None) == {}
    assert records.prune() == 2


@pytest.mark.parametrize(
    ("code", "enhanced"),
    [
        (550, "5.7.1"),
        (552, "5.2.2"),
        (554, "5.1.1"),
        (550, None),
        (535, "5.7.8"),
        (530, None),
        (550, "5.1.8"),
        (450, "4.2.1"),
    ],
)
def test_what_is_not_about_the_address_never_suppresses(records, code, enhanced):
    for mail in range(5):
        bounce(records, f"t-{mail}", code=code, enhanced=enhanced)
    assert records.reasons([ANN], None) == {}


@pytest.mark.parametrize(
    ("code", "enhanced"), [(550, "5.1.1"), (551, "5.1.6"), (553, "5.1.3"), (556, "5.1.10"), (None, "5.1.2")]
)
def test_what_says_that_the_address_takes_no_mail_is_a_hard_bounce(code, enhanced):
    assert is_hard_bounce(code, enhanced)


@given(
    code=st.one_of(st.none(), st.integers(200, 599)),
    enhanced=st.from_regex(r"[245]\.[0-9]{1,3}\.[0-9]{1,3}", fullmatch=True),
)
def test_no_code_of_another_class_than_5_1_is_a_hard_bounce(code, enhanced):
    if is_hard_bounce(code, enhanced):
        assert enhanced.startswith("5.1.")
        assert code in {None, 550, 551, 553, 556}


def test_a_later_acceptance_ends_a_hard_bounce_noted_or_counted_and_nothing_else(records):
    for address in (ANN, BOB):
        bounce(records, "t-0", address)
    bounce(records, "t-1", BOB)
    suppress(records, BOB, "unsubscribe")
    suppress(records, BOB, "complaint", "news")
    records.accepted([ANN, "Bob@example.com"])
    assert records.reasons([BOB], "news") == {BOB: "complaint"}
    assert records.reasons([BOB], None) == {BOB: "unsubscribe"}
    bounce(records, "t-2", ANN)
    assert records.reasons([ANN], None) == {}, "the first of two again"


def test_an_acceptance_does_not_end_what_somebody_else_has_said(records):
    suppress(records, reason="hard_bounce")
    records.accepted([ANN])
    assert records.reasons([ANN], None) == {ANN: "hard_bounce"}


def test_an_acceptance_writes_nothing_where_there_is_nothing_to_forget(records, monkeypatch):
    monkeypatch.setattr(records.database, "write", lambda *_, **__: pytest.fail("it wrote"))
    records.accepted([ANN, BOB])


def test_what_was_suppressed_for_ever_is_not_shortened_by_a_bounce(records):
    suppress(records, reason="hard_bounce")
    bounce(records, "t-0")
    bounce(records, "t-1")
    (one,) = records.listed()
    assert one.until is None


def test_of_many_bounces_at_once_one_is_the_first_and_the_others_suppress(records):
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: bounce(records, f"t-{number}"), range(16)))
    assert [one.reason for one in records.listed()] == ["hard_bounce"]


# --- Addresses --------------------------------------------------------------------------------------------------


def test_an_address_is_compared_in_lower_case_with_its_domain_in_ascii():
    assert normalised("Ann <Ann.B@BÜCHER.example>") == "ann.b@xn--bcher-kva.example"


@given(
    local=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,20}[A-Za-z0-9]", fullmatch=True).filter(lambda s: ".." not in s),
    domain=st.from_regex(r"([A-Za-z0-9]{1,8}\.){1,3}[a-z]{2,6}", fullmatch=True),
)
def test_a_normalised_address_is_its_own_normal_form_in_any_case(local, domain):
    try:
        found = normalised(f"{local}@{domain}")
    except ValueError:
        return
    assert normalised(found) == found
    assert normalised(found.upper()) == found
