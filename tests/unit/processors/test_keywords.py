"""Keywords: what a text says most often, and not what every text says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.keywords import COUNTED_WORDS, MOST_KEYWORDS, find_keywords


def words(text: str, language: str = "en") -> list[str]:
    return [one.text for one in find_keywords(text, language)]


@pytest.mark.parametrize(
    ("language", "text", "keyword"),
    [
        ("en", "There were pumps which would run, and there are those pumps which have been idle there.", "pumps"),
        ("de", "Aber diese Straße wurde nicht wegen dieser Straße gebaut, sondern aber nicht.", "Straße"),
        ("fr", "Cette pompe est aussi dans la cale, mais cette pompe aussi.", "pompe"),
        ("es", "Esta bomba también está donde estaba esta bomba también.", "bomba"),
    ],
)
def test_what_a_text_repeats_comes_first_and_words_of_every_text_do_not_count(language, text, keyword):
    assert words(text, language)[0] == keyword


def test_the_region_of_a_language_changes_no_list():
    assert words("These these these pumps", "en-GB") == ["pumps"]


def test_forms_of_a_word_count_together_and_the_most_frequent_is_told():
    first, second = find_keywords("Pumps PUMPS Pumps water", "en")
    assert (first.text, first.count, first.score) == ("Pumps", 3, 0.75)
    assert (second.text, second.count, second.score) == ("water", 1, 0.25)


def test_equal_ones_stand_in_their_order_and_no_more_than_ten_are_told():
    text = "zeta yota xeno walk vase upon tree salt rope quay past oxen"
    assert words(text) == ["zeta", "yota", "xeno", "walk", "vase", "tree", "salt", "rope", "quay", "past"]
    assert len(words(text)) == MOST_KEYWORDS


def test_a_language_without_spaces_has_pairs_of_characters():
    assert words("水泵坏了。水泵停了。", "zh")[0] == "水泵"


def test_a_language_without_a_list_has_keywords_too():
    assert words("pumppu toimii pumppu", "fi") == ["pumppu", "toimii"]


def test_a_text_without_words_has_none():
    assert words("12 + 34 = 46, ok?") == []


def test_no_more_words_are_counted_than_the_bound():
    (only,) = find_keywords("pump " * (COUNTED_WORDS + 5), "en")
    assert (only.count, only.score) == (COUNTED_WORDS, 1.0)


@given(st.text(), st.sampled_from(["en", "de", "fr", "es", "zh", "eo"]))
def test_any_text_has_keywords_that_stand_in_it_with_shares_of_it(text, language):
    found = find_keywords(text, language)
    assert all(one.text in text and 0 < one.score <= 1 for one in found)
    assert sum(one.score for one in found) < 1.001
