"""How a text sounds: positive, negative, neutral or mixed, as a whole and sentence by sentence."""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from time import monotonic
from typing import Any, Literal

from pydantic import Field

from processors.ai_arguments import Text
from processors.ai_interfaces import Scores, SentimentEngine
from processors.ai_results import AiResult, input_of
from processors.envelopes import Limits, Timing, warning
from processors.errors import AiError
from processors.interfaces import Report
from processors.results import Request, Result
from processors.sentences import sentence_ranges, trimmed

FEELING = 0.05
"""From this polarity on a sentence is positive, and likewise negative; VADER's authors' figure."""

MIXED_SHARE = 1 / 3
"""Of all feeling in a text: from here on its weaker side makes it mixed."""

SURE = 0.9
"""How sure another language than the engine's must be for a text to be refused."""

LONGEST_SENTENCE = 1_000
"""Characters; a longer one is scored in parts."""

MOST_LISTED = 1_000
SENTENCES_AT_ONCE = 200
DIGITS = 4

Label = Literal["positive", "negative", "neutral", "mixed"]


class AnalyzeSentiment(Request):
    """Tell how a text sounds."""

    text: Text
    detailed: bool = True


class SentenceSentiment(Result):
    """One sentence, or a part of a very long one: its place in characters, its label and polarity, -1 to 1."""

    range: tuple[int, int]
    text: str
    label: Literal["positive", "negative", "neutral"]
    polarity: float


class LabelScores(Result):
    """Shares of the text, 0 to 1, that add up to 1; `mixed` is what positive and negative cancel of each other."""

    positive: float
    negative: float
    neutral: float
    mixed: float


class Sentiment(Result):
    """How the text sounds.

    Attributes:
        label: see `analyze_sentiment`.
        scores: the shares of all labels.
        polarity: -1 (negative) to 1 (positive): the mean over the sentences.
        magnitude: how much feeling there is, whichever: the sum over the sentences, 0 or more.
        confidence: 0.5 where a little less would be another label, up to 1; it is no probability.
        language: BCP 47.
    """

    label: Label
    scores: LabelScores
    polarity: float
    magnitude: float
    confidence: float
    language: str


class DetailedSentiment(Sentiment):
    """With the first 1 000 sentences one by one; emotions and aspects are left out, since no engine finds them."""

    sentences: list[SentenceSentiment]


class SentimentAnalyzed(AiResult):
    """The envelope around how a text sounds."""

    schema_name: str = Field(default="csai.sentiment/1", serialization_alias="schema")
    result: DetailedSentiment | Sentiment


@dataclass(slots=True)
class _Sum:
    """What the sentences add up to; every one weighs the same.

    Attributes:
        good: of the polarity of the positive ones.
        bad: of that of the negative ones, 0 or more.
    """

    sentences: int = 0
    positive: float = 0.0
    negative: float = 0.0
    polarity: float = 0.0
    magnitude: float = 0.0
    good: float = 0.0
    bad: float = 0.0

    def add(self, scores: Scores) -> None:
        self.sentences += 1
        self.positive += scores.positive
        self.negative += scores.negative
        self.polarity += scores.polarity
        self.magnitude += abs(scores.polarity)
        label = _label(scores.polarity)
        self.good += scores.polarity if label == "positive" else 0.0
        self.bad -= scores.polarity if label == "negative" else 0.0


def analyze_sentiment(request: AnalyzeSentiment, engine: SentimentEngine, report: Report) -> SentimentAnalyzed:
    """Return how a text sounds.

    A sentence is positive from a polarity of 0.05 on, negative from -0.05 on, else neutral. A text is mixed where the
    positive or the negative sentences, whichever weigh less, have a third or more of all their polarity together; else
    it has the label that a sentence of its mean polarity would have.

    Args:
        request: the text, and whether its sentences are listed. The time it takes grows with the text's length; all of
            it counts, and at most its first 1 000 sentences are listed, which `limits.hit` tells (`sentences`).
        engine: scores sentences.
        report: told how far it is.

    Raises:
        AiError: `language_unavailable`; the text is in another language than the engine's.
        Cancelled: the task was cancelled.
    """
    began = monotonic()
    language, provenance, warnings = _language(request.text, engine)
    summed, listed = _Sum(), list[SentenceSentiment]()
    for start, end in _reported(request.text, report):
        scores = engine.score(request.text[start:end])
        summed.add(scores)
        if request.detailed and len(listed) < MOST_LISTED:
            listed.append(_told(request.text, start, end, scores))
    provenance.append(
        {
            "step": "sentiment",
            "engine": engine.name,
            "engine_version": engine.version,
            "device": "cpu",
            "seconds": round(monotonic() - began, 3),
            "units": {"sentences": summed.sentences},
        }
    )
    result = _result(summed, language)
    cut = request.detailed and summed.sentences > MOST_LISTED
    return SentimentAnalyzed(
        status="partial" if cut else "ok",
        input=input_of(request.text),
        options={"detailed": request.detailed},
        provenance=provenance,
        warnings=warnings,
        limits=Limits(hit=["sentences"] if cut else []),
        timing=Timing(run_s=round(monotonic() - began, 3)),
        result=DetailedSentiment(**result.model_dump(), sentences=listed) if request.detailed else result,
    )


def _language(text: str, engine: SentimentEngine) -> tuple[str, list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the language that the text is scored in, provenance and warnings.

    Raises:
        AiError: the engine does not know the text's language.
    """
    found = import_module("processors.languages").language_of(text)
    if found is not None and (found["language"] in engine.languages or found["confidence"] >= SURE):
        language = str(found["language"])
        if language not in engine.languages:
            raise _unavailable(f"is in the language {language!r} (confidence {found['confidence']:g})", engine)
        return language, [{"step": "language", "engine": found["engine"], "confidence": found["confidence"]}], []
    if not _may_be_english(text):
        raise _unavailable("is not in Latin letters", engine)
    assumed = "en"
    message = "The text says too little to tell its language, and was scored as English."
    return assumed, [], [warning("language_assumed", message, step="language")]


def _may_be_english(text: str) -> bool:
    """Tell whether at least half of the first letters are English ones, or there are none."""
    letters = [character for character in text[:LONGEST_SENTENCE] if character.isalpha()]
    return 2 * sum(map(str.isascii, letters)) >= len(letters)


def _unavailable(what: str, engine: SentimentEngine) -> AiError:
    return AiError(
        f"The text {what}, and {engine.name} scores {', '.join(engine.languages)} only: translate it first, or ask a "
        "chat model by process_chat.",
        "language_unavailable",
    )


def _reported(text: str, report: Report) -> Iterator[tuple[int, int]]:
    for number, (start, end) in enumerate(_parts(text)):
        if number % SENTENCES_AT_ONCE == 0:
            report(100 * start / len(text), f"sentence {number + 1}")
        yield start, end


def _parts(text: str) -> Iterator[tuple[int, int]]:
    """Yield the ranges of sentences; a very long one is cut, between words where there is white space."""
    for start, end in sentence_ranges(text):
        begin = start
        while end - begin > LONGEST_SENTENCE:
            most = begin + LONGEST_SENTENCE
            space = max(text.rfind(mark, begin + 1, most) for mark in " \n")
            cut = most if space < 0 else space
            yield from trimmed(text, begin, cut)
            begin = cut
        yield from trimmed(text, begin, end)


def _result(summed: _Sum, language: str) -> Sentiment:
    polarity = summed.polarity / summed.sentences
    feeling = summed.good + summed.bad
    weaker = min(summed.good, summed.bad) / feeling if feeling else 0.0
    label: Label = "mixed" if weaker >= MIXED_SHARE else _label(polarity)
    return Sentiment(
        label=label,
        scores=_shares(summed.positive / summed.sentences, summed.negative / summed.sentences),
        polarity=round(polarity, DIGITS),
        magnitude=round(summed.magnitude, DIGITS),
        confidence=round(_confidence(label, polarity, weaker), DIGITS),
        language=language,
    )


def _label(polarity: float) -> Literal["positive", "negative", "neutral"]:
    if abs(polarity) < FEELING:
        return "neutral"
    return "positive" if polarity > 0 else "negative"


def _confidence(label: Label, polarity: float, weaker: float) -> float:
    """Return 0.5 at the nearest border to another label, 1 as far from it as can be."""
    if label == "mixed":
        return 0.5 + 0.5 * (weaker - MIXED_SHARE) / (0.5 - MIXED_SHARE)
    unmixed = 1 - weaker / MIXED_SHARE
    clear = 1 - abs(polarity) / FEELING if label == "neutral" else (abs(polarity) - FEELING) / (1 - FEELING)
    return 0.5 + 0.5 * min(unmixed, clear)


def _shares(positive: float, negative: float) -> LabelScores:
    """Return the sentences' mean shares as the text's, rounded; the largest one takes what rounding left."""
    both = min(positive, negative)
    exact = {
        "positive": positive - both,
        "negative": negative - both,
        "neutral": 1 - positive - negative,
        "mixed": 2 * both,
    }
    shares = {label: round(share, DIGITS) for label, share in exact.items()}
    largest = max(shares, key=lambda label: shares[label])
    shares[largest] = round(shares[largest] + 1 - sum(shares.values()), DIGITS)
    return LabelScores(**shares)


def _told(text: str, start: int, end: int, scores: Scores) -> SentenceSentiment:
    return SentenceSentiment(
        range=(start, end), text=text[start:end], label=_label(scores.polarity), polarity=scores.polarity
    )
