"""Texts are cut to what fits, at their longest, and never inside of what is seen as one character."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.shortening import shortened


def within(size: int):
    return lambda text: len(text.encode("utf-8", "replace")) <= size


@given(st.text(), st.integers(0, 40))
def test_what_is_returned_fits_and_begins_as_the_text_does(text, size):
    cut = shortened(text, within(size))

    assert cut is not None
    assert within(size)(cut)
    assert cut == text or text.startswith(cut.removesuffix("…"))
    assert cut == text or not within(size)(text)


@given(st.text(alphabet="abc", min_size=1), st.integers(4, 40))
def test_no_more_is_cut_than_must_be(text, size):
    cut = shortened(text, within(size))
    assert cut == text or len(cut) == size - 2, "an ellipsis has three bytes"


@pytest.mark.parametrize(
    "one",
    ["👨\u200d👩\u200d👧", "e\u0301", "👍🏽", "🇩🇪", "❤\ufe0f"],
    ids=["family", "accent", "skin", "flag", "heart"],
)
def test_what_is_seen_as_one_character_stays_whole(one):
    for size in range(3, len((one * 3).encode())):
        cut = shortened(one * 3, within(size))
        assert cut.removesuffix("…") in {one * count for count in range(4)}


@given(st.text(alphabet=[*"ae", "\u0301", "\u200d", "👩", "🇩"], max_size=30), st.integers(3, 60))
def test_a_cut_is_never_before_what_belongs_to_the_character_before_it(text, size):
    cut = shortened(text, within(size))
    rest = text[len(cut.removesuffix("…")) :]
    if cut != text and cut.removesuffix("…"):
        assert not unicodedata.combining(rest[0])
        assert rest[0] != "\u200d"


def test_nothing_is_returned_where_not_even_nothing_fits():
    assert shortened("text", lambda _: False) is None
    assert shortened("", lambda _: False) is None
