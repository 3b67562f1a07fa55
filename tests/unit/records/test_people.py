"""Enrolled people: encodings and consent are kept by name, whoever enrolls at once, and are gone once forgotten."""

import unicodedata
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from processors.errors import PermanentError
from processors.people import MOST_ENCODINGS
from records.database import Database
from records.people import PeopleRecords


@pytest.fixture
def people(database: Database) -> PeopleRecords:
    return PeopleRecords(database)


def encoding(number: int) -> tuple[float, ...]:
    return (number / 7,) * 128


def test_an_encoding_comes_back_as_it_was_given(people):
    assert people.enroll("Ann", "Agreed by letter.", encoding(1)) == 1
    assert people.enroll("Bob", "Agreed.", encoding(2)) == 1
    assert people.encodings() == {"Ann": [list(encoding(1))], "Bob": [list(encoding(2))]}


def test_the_same_name_again_adds_an_encoding_and_the_newest_consent_counts(people):
    people.enroll("Ann", "First.", encoding(1))
    first = people.listed()[0]
    assert people.enroll("Ann", "Second.", encoding(2)) == 2
    (ann,) = people.listed()
    assert (ann.name, ann.consent, ann.encodings) == ("Ann", "Second.", 2)
    assert ann.created_at == first.created_at
    assert ann.consent_at >= first.consent_at
    assert abs(ann.consent_at - datetime.now(UTC)) < timedelta(minutes=1)


def test_a_run_that_is_repeated_adds_nothing(people):
    people.enroll("Ann", "Yes.", encoding(1))
    assert people.enroll("Ann", "Yes.", encoding(1)) == 1


def test_what_is_beyond_the_most_is_refused_and_changes_nothing(people):
    for number in range(MOST_ENCODINGS):
        people.enroll("Ann", "Yes.", encoding(number))
    with pytest.raises(PermanentError, match="Ann has 20 encodings, which are the most"):
        people.enroll("Ann", "Changed.", encoding(99))
    assert people.listed()[0].consent == "Yes."
    assert people.enroll("Ann", "Yes.", encoding(3)) == MOST_ENCODINGS, "one that is there is no further one"


def test_who_is_forgotten_is_gone_at_once_and_may_come_again(people):
    people.enroll("Ann", "Yes.", encoding(1))
    assert people.forget("Ann")
    assert (people.listed(), people.encodings(), people.forget("Ann")) == ([], {}, False)
    assert people.enroll("Ann", "Again.", encoding(2)) == 1


def test_a_list_is_by_name_and_has_no_encodings(people):
    for name in ("Zoë", "Ann"):
        people.enroll(name, "Yes.", encoding(1))
    listed = people.listed()
    assert [one.name for one in listed] == ["Ann", unicodedata.normalize("NFC", "Zoë")]
    assert [one.encodings for one in listed] == [1, 1]


def test_all_who_enroll_at_once_are_kept(people):
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: people.enroll("Ann", "Yes.", encoding(number)), range(16)))
    assert sorted(people.encodings()["Ann"]) == sorted(list(encoding(number)) for number in range(16))
    assert people.listed()[0].encodings == 16
