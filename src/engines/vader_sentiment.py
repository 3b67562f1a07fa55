"""How English sentences sound, by VADER: a lexicon of words and emoji, and rules for negation, degree and emphasis.

Source: C. J. Hutto and E. Gilbert, VADER: A Parsimonious Rule-based Model for Sentiment Analysis of Social Media Text
(ICWSM 2014).
"""

from importlib.metadata import version
from types import MappingProxyType
from typing import Any, cast

from vaderSentiment import vaderSentiment  # pyright: ignore[reportMissingTypeStubs] - it has none

from processors.ai_interfaces import Scores

EMOJI = MappingProxyType(
    {
        "👍": "good",
        "👏": "praise",
        "🙌": "hurrah",
        "🤩": "wonderful",
        "👎": "bad",
        "😒": "annoyed",
        "😡": "angry",
        "🤬": "furious",
        "💔": "heartbroken",
        "🤢": "disgusted",
        "🤮": "disgusted",
    }
)
"""Words for common emoji whose names, which VADER goes by, say nothing of feeling or the contrary (a "broken heart").

The first eight as people use them: P. Kralj Novak and others, Sentiment of Emojis (PLOS ONE 10(12), 2015).
"""

VARIATION = "\ufe0f"
"""Follows a character that is to be shown as emoji; VADER would take it for a letter of the emoji's name."""

MOST_EMOJI = 50
"""Of one sentence: more say no more, and VADER takes the square of the words that are their names."""


class VaderSentiment:
    """Fulfils `processors.ai_interfaces.SentimentEngine`; may be used by several threads at a time."""

    name = "vader"
    version = version("vaderSentiment")
    languages = ("en",)

    def __init__(self) -> None:
        self._analyzer: Any = cast("Any", vaderSentiment).SentimentIntensityAnalyzer()
        self._analyzer.emojis.update(EMOJI)

    def score(self, sentence: str) -> Scores:
        """Return how one English sentence sounds; the time it takes grows with the square of its words.

        Of its emoji the first 50 count.
        """
        found = self._analyzer.polarity_scores(self._with_few_emoji(sentence.replace(VARIATION, "")))
        total = found["pos"] + found["neu"] + found["neg"]  # rounded by VADER; 0 where there is no word
        if not total:
            return Scores(positive=0.0, neutral=1.0, negative=0.0, polarity=0.0)
        return Scores(
            positive=found["pos"] / total,
            neutral=found["neu"] / total,
            negative=found["neg"] / total,
            polarity=found["compound"],
        )

    def _with_few_emoji(self, sentence: str) -> str:
        emoji = [at for at, character in enumerate(sentence) if character in self._analyzer.emojis]
        left_out = set(emoji[MOST_EMOJI:])
        return "".join(character for at, character in enumerate(sentence) if at not in left_out)
