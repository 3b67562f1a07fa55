"""Sentiment: sixty sentences of our own, the rule for texts, languages, and text of any kind and length."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from vaderSentiment import vaderSentiment
from vaderSentiment.vaderSentiment import SentiText

from engines.vader_sentiment import EMOJI, VaderSentiment
from processors import sentiment
from processors.ai_interfaces import Scores
from processors.envelopes import clean
from processors.errors import AiError
from processors.sentences import sentence_ranges
from processors.sentiment import AnalyzeSentiment, DetailedSentiment, analyze_sentiment

ENGINE = VaderSentiment()

POSITIVE = """\
I love how light this tent is and how fast it goes up.
The staff were kind and helped us straight away.
Best soup I have eaten in years, and a lovely view from the terrace.
What a relief, the repair was done within a day and it is perfect.
My daughter is delighted with her new bicycle.
The update made everything faster, great work!
Honestly not bad at all, I would buy it again.
We had no problems with the booking and the room was beautiful.
Thank you for the quick and friendly reply.
I was worried at first, but the course turned out to be excellent.
The sound is clear, the battery is strong, I am very happy.
A charming little museum that we really enjoyed.
You solved it in five minutes, that is awesome.
The colours are gorgeous and the fabric feels soft.
I can't complain about anything, wonderful service.
This is by far the nicest hotel in the city.
Our guests praised the food and the music.
The new design is elegant and easy to use.
It works brilliantly and saves me an hour a day 😀
Superb value, and the parcel came early.
"""
NEGATIVE = """\
I hate the noise that this fridge makes at night.
The waiter was rude and the fish was cold and disgusting.
Worst purchase of my life, it broke after two days.
The app crashes all the time and support ignores me.
I am not happy with the way you treated my mother.
They lost my luggage and nobody apologised, what a disaster.
The film was boring, and the ending was stupid.
It isn't good, and it isn't worth the money.
I regret signing the contract, the fees are a scam.
We waited two hours and left angry and hungry.
The instructions are useless and confusing.
Sadly the screen arrived broken again.
This is an awful lie, and you know it.
My account was blocked for no reason and I am furious.
The smell in the room was horrible.
Never again, the trip was a nightmare.
The paint is ugly and the handle failed within a week.
I was disappointed by the poor quality of the seams.
Terrible traffic, terrible parking, terrible mood 😡
The charger got so hot that it damaged the table.
"""
NEUTRAL = """\
The shop opens at nine and closes at six.
Please send the invoice to the address below.
The train to Hamburg leaves from platform four.
I ordered two boxes of paper on Monday.
The table is eighty centimetres wide.
She moved from the second floor to the third.
The meeting takes place in the room next to the kitchen.
Our office has twelve desks and four windows.
He puts the keys into the drawer every evening.
The report has thirty pages and five tables.
You can pay by card or by transfer.
The river flows through three towns.
The recipe asks for flour, eggs and milk.
They changed the colour of the door from blue to green.
The second part begins after the break.
The bus was driven by a man in a brown coat.
I will call you at ten tomorrow.
The file is stored in the folder of the project.
The number of members was counted in April.
This version contains the same chapters as the last.
"""


def analysed(text: str, **options):
    return analyze_sentiment(AnalyzeSentiment(text=text, **options), ENGINE, lambda *_: None)


def check(outcome) -> None:
    """What holds for every result."""
    result = outcome.result
    scores = result.scores.model_dump()
    assert sum(scores.values()) == pytest.approx(1, abs=1e-9)
    assert all(0 <= share <= 1 for share in scores.values())
    assert -1 <= result.polarity <= 1
    assert result.magnitude >= abs(result.polarity) - 1e-3
    assert 0.5 <= result.confidence <= 1
    told = outcome.as_json()
    assert clean(told) == told
    for one in result.sentences:
        assert 0 <= one.range[0] < one.range[1]


# --- What it says ---------------------------------------------------------------------------------------------------


def test_at_least_four_of_five_plain_sentences_are_told_right_and_none_is_refused():
    wanted = {"positive": POSITIVE, "negative": NEGATIVE, "neutral": NEUTRAL}
    found = [
        (label, analysed(line).result.label, line) for label, lines in wanted.items() for line in lines.splitlines()
    ]
    wrong = [one for one in found if one[0] != one[1]]
    assert len(found) == 60
    assert len(wrong) <= 12, wrong


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("The food is good.", "positive"),
        ("The food is not good.", "negative"),
        ("The food is not bad.", "positive"),
        ("The food isn't very good.", "negative"),
        ("I have never liked it.", "negative"),
        ("The hotel was lovely, but the bed was horrible.", "negative"),
        ("The bed was horrible, but the hotel was lovely.", "positive"),
    ],
)
def test_negation_and_but_turn_the_label(text, label):
    assert analysed(text).result.label == label


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("😀", "positive"),
        ("👍👍🏽", "positive"),
        ("❤️", "positive"),
        ("😡", "negative"),
        ("💔 👎", "negative"),
        ("🚲", "neutral"),
    ],
)
def test_a_text_of_emoji_alone_has_a_label(text, label):
    outcome = analysed(text)
    assert outcome.result.label == label
    check(outcome)


def test_the_words_for_emoji_are_in_the_lexicon():
    assert set(EMOJI.values()) <= set(ENGINE._analyzer.lexicon)


def test_emphasis_makes_a_polarity_stronger():
    plain, loud = (analysed(text).result.polarity for text in ("The food is good", "The food is VERY GOOD!!!"))
    assert loud > plain


def test_both_sides_make_a_text_mixed():
    outcome = analysed("I love the screen. I hate the keyboard.")
    assert outcome.result.label == "mixed"
    assert outcome.result.scores.mixed > max(outcome.result.scores.positive, outcome.result.scores.negative)
    check(outcome)


def test_a_small_blemish_does_not_make_a_text_mixed():
    outcome = analysed("I love it. It is wonderful. The staff were great. One lamp was a bit ugly.")
    assert outcome.result.label == "positive"
    assert [one.label for one in outcome.result.sentences] == ["positive"] * 3 + ["negative"]


class Fixed:
    """Scores sentences by the number that they hold."""

    name, version, languages = "fixed", "1", ("en",)

    def score(self, sentence: str) -> Scores:
        polarity = float(sentence.rstrip(".").replace("minus", "-"))
        return Scores(max(0, polarity), 1 - abs(polarity), max(0, -polarity), polarity)


@pytest.mark.parametrize(
    ("text", "label", "polarity", "confidence", "mixed"),
    [
        ("1.", "positive", 1, 1, 0),
        ("0.05.", "positive", 0.05, 0.5, 0),
        ("0.049.", "neutral", 0.049, 0.51, 0),
        ("0.", "neutral", 0, 1, 0),
        ("minus0.05.", "negative", -0.05, 0.5, 0),
        ("0.5. minus0.25.", "mixed", 0.125, 0.5, 0.25),
        ("0.5. minus0.24.", "positive", 0.13, 0.5135, 0.24),
        ("0.5. minus0.5.", "mixed", 0, 1, 0.5),
        ("0.04. minus0.04.", "neutral", 0, 1, 0.04),
    ],
)
def test_the_rule_for_texts_is_what_it_is_said_to_be(text, label, polarity, confidence, mixed):
    result = analyze_sentiment(AnalyzeSentiment(text=text), Fixed(), lambda *_: None).result
    assert (result.label, result.polarity, result.scores.mixed) == (
        label,
        pytest.approx(polarity),
        pytest.approx(mixed),
    )
    assert result.confidence == pytest.approx(confidence, abs=1e-4)


@given(st.floats(0, 1), st.floats(0, 1))
def test_rounded_shares_add_up_to_one_whatever_they_are(feeling, good):
    shares = sentiment._shares(feeling * good, feeling * (1 - good)).model_dump().values()
    assert sum(shares) == pytest.approx(1, abs=1e-9)
    assert min(shares) >= 0


# --- The result -----------------------------------------------------------------------------------------------------


def test_sentences_are_listed_with_their_places_where_that_is_asked_for():
    text = "  I love it!  The box is blue. "
    outcome = analysed(text)
    assert outcome.schema_name == "csai.sentiment/1"
    assert [(text[slice(*one.range)], one.text) for one in outcome.result.sentences] == [
        ("I love it!", "I love it!"),
        ("The box is blue.", "The box is blue."),
    ]
    assert outcome.provenance[-1]["engine"] == "vader"
    assert outcome.provenance[-1]["units"] == {"sentences": 2}


def test_what_no_engine_finds_and_nobody_asked_for_is_absent():
    plain, detailed = (analysed("I love it.", detailed=one).as_json()["result"] for one in (False, True))
    assert set(plain) == {"label", "scores", "polarity", "magnitude", "confidence", "language"}
    assert set(detailed) == {*plain, "sentences"}


def test_of_many_sentences_all_count_and_the_first_thousand_are_listed():
    outcome = analysed("It is good. " * 1_000 + "It is horrible. " * 1_000)
    assert (outcome.status, outcome.limits.hit, len(outcome.result.sentences)) == ("partial", ["sentences"], 1_000)
    assert outcome.result.label == "mixed"
    short = analysed("It is good. " * 1_500, detailed=False)
    assert (short.status, short.limits.hit) == ("ok", [])


# --- Languages ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("Das Essen war kalt, und der Kellner hat uns den ganzen Abend nicht beachtet.", "language 'de'"),
        ("Le repas était froid et le serveur nous a ignorés pendant toute la soirée.", "language 'fr'"),
        ("我讨厌这个产品", "not in Latin letters"),
        ("Ужас!", "not in Latin letters"),
    ],
)
def test_another_language_is_refused_by_name(text, named):
    with pytest.raises(AiError, match=f"The text is .*{named}.* vader scores en only") as error:
        analysed(text)
    assert error.value.code == "language_unavailable"


def test_a_text_that_is_surely_english_has_no_warning():
    outcome = analysed("The waiter was rude and the fish was cold and disgusting.")
    assert (outcome.result.language, outcome.warnings) == ("en", [])


@pytest.mark.parametrize("text", ["Great!", "😀", "12345", "I love this product!"])
def test_a_text_too_short_to_tell_its_language_is_taken_as_english_and_says_so(text):
    outcome = analysed(text)
    assert outcome.result.language == "en"
    assert [one["code"] for one in outcome.warnings] == ["language_assumed"]


# --- Text of any kind -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", " \n\t", "a\ud800", "a\0"])
def test_text_that_says_nothing_or_cannot_be_stored_is_refused(text):
    with pytest.raises(ValidationError):
        AnalyzeSentiment(text=text)


@pytest.mark.parametrize("text", ["...", "\u200b", "!?", "a", "good" * 2_000, "\U0010ffff", "x. " * 3, "A\n\n\nB"])
def test_any_text_has_a_result(text):
    check(analysed(text))


def test_a_sentence_without_an_end_is_scored_in_parts_so_that_time_grows_with_the_text_alone():
    longest = 0

    class Watched(Fixed):
        def score(self, sentence: str) -> Scores:
            nonlocal longest
            longest = max(longest, len(sentence))
            return Scores(0, 1, 0, 0)

    for text in ("really not love hate " * 50_000, "x" * 1_000_000):
        outcome = analyze_sentiment(AnalyzeSentiment(text=text, detailed=True), Watched(), lambda *_: None)
        assert 0 < longest <= 1_000
        assert isinstance(outcome.result, DetailedSentiment)
        listed = outcome.result.sentences
        assert not any(text[one.range[1] : other.range[0]].strip() for one, other in pairwise(listed))


def test_white_space_is_no_part_of_a_text_that_could_weigh():
    wide = "I love this tent" + " " * 5_000 + "it is great"
    assert [one.text for one in analysed(wide).result.sentences] == ["I love this tent", "it is great"]


def test_a_long_list_is_cut_between_its_lines():
    assert {one.text.splitlines()[-1] for one in analysed("superb\n" * 400).result.sentences} == {"superb"}


def test_a_text_of_emoji_alone_takes_no_longer_than_one_of_words():
    words = 0

    class Counted(SentiText):
        def __init__(self, text: str) -> None:
            nonlocal words
            super().__init__(text)
            words = max(words, len(self.words_and_emoticons))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vaderSentiment, "SentiText", Counted)
        assert analysed("😂" * 3_000).result.label == "positive"
    assert 0 < words <= 500


def test_a_cancelled_task_ends_between_sentences():
    class Stop(Exception):
        pass

    def report(percent: float, text: str) -> None:
        if percent > 10:
            raise Stop

    with pytest.raises(Stop):
        analyze_sentiment(AnalyzeSentiment(text="It is good. " * 5_000), ENGINE, report)


# --- Sentences ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("", []),
        (" \n ", []),
        ("One. Two!  Three?", ["One.", "Two!", "Three?"]),
        ("It costs 3.50 euros. “Really?” Yes", ["It costs 3.50 euros.", "“Really?", "Yes"]),
        ("Title\n\nText\nover lines", ["Title", "Text\nover lines"]),
        ("好的。真的！", ["好的。", "真的！"]),
        ("a. a. a.", ["a.", "a.", "a."]),
    ],
)
def test_sentences_are_where_their_punctuation_says(text, sentences):
    assert [text[start:end] for start, end in sentence_ranges(text)] == sentences
