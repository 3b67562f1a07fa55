"""What a provider of calls tells is read as far as it is of its form, and no further."""

from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.call_messages import LONGEST_SPEECH, heard_of, is_machine, pairs_of, progress_of
from processors.call_states import CallProgress

TEXT = st.text(st.characters(codec="utf-8"), max_size=40)
NAMES = ("CallStatus", "SequenceNumber", "CallDuration", "Duration", "SipResponseCode", "AnsweredBy")
HEARD = ("Digits", "SpeechResult", "Confidence")


@given(st.lists(st.tuples(TEXT, TEXT), max_size=20))
def test_a_form_is_read_as_it_was_written_blanks_and_all(pairs):
    assert pairs_of(urlencode(pairs).encode()) == pairs


@pytest.mark.parametrize("body", [b"\xff", b"a=%ff", b"&".join([b"a=1"] * 501)])
def test_what_is_no_form_is_an_error(body):
    with pytest.raises(ValueError, match=r"."):
        pairs_of(body)


@given(st.dictionaries(st.sampled_from(NAMES), TEXT | st.from_regex(r"[0-9]{0,12}", fullmatch=True)))
def test_whatever_a_field_says_it_fits_into_its_column(fields):
    told = progress_of(fields)
    for figure in (told.sequence, told.duration_seconds, told.sip_code):
        assert figure is None or 0 <= figure < 2**31
    for word in (told.status, told.answered_by):
        assert word is None or (len(word) <= 32 and word.isascii() and word.isprintable())


def test_seconds_count_and_minutes_only_where_they_are_missing():
    fields = {"CallStatus": "Cancelled", "SequenceNumber": "3", "SipResponseCode": "487", "CallDuration": "61"}
    told = progress_of(fields | {"Duration": "2", "New": "1"})
    assert told == CallProgress("canceled", 3, None, 61, 487)
    assert progress_of({"Duration": "2"}).duration_seconds == 120
    assert progress_of({}) == CallProgress()


@given(st.dictionaries(st.sampled_from(HEARD), TEXT))
def test_whatever_was_heard_is_within_its_bounds(fields):
    heard = heard_of(fields)
    assert set(heard) <= {"digits", "speech", "confidence"}
    assert set(heard.get("digits", "1")) <= set("0123456789*#")
    assert 0 <= heard.get("confidence", 0) <= 1


@pytest.mark.parametrize(
    ("fields", "heard"),
    [
        ({"Digits": "12*#"}, {"digits": "12*#"}),
        ({"Digits": "1" * 20}, {"digits": "1" * 20}),
        ({"Digits": "1" * 21}, {}),
        ({"Digits": "hangup"}, {}),
        ({"SpeechResult": " yes ", "Confidence": "0.5"}, {"speech": "yes", "confidence": 0.5}),
        ({"SpeechResult": "x" * 2_001, "Confidence": "1.5"}, {"speech": "x" * LONGEST_SPEECH}),
        ({"SpeechResult": "yes", "Confidence": "nan"}, {"speech": "yes"}),
        ({"SpeechResult": " ", "Confidence": "0.5"}, {}),
        ({"Digits": "9", "RecordingUrl": "https://example.com/RE1"}, {}),
    ],
)
def test_keys_and_speech_are_kept_as_they_are_meant(fields, heard):
    assert heard_of(fields) == heard


@pytest.mark.parametrize(
    ("by", "machine"),
    [("machine_start", True), ("machine_end_other", True), ("fax", True), ("human", False), ("unknown", False)],
)
def test_a_machine_is_told_from_a_person_and_in_doubt_it_is_a_person(by, machine):
    assert is_machine(by) is machine
    assert not is_machine(None)
