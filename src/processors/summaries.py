"""An extractive summary: the sentences that say most of what the text talks about, in their order.

H. P. Luhn, "The Automatic Creation of Literature Abstracts", IBM Journal 2(2), 1958: a sentence weighs what its
frequent words weigh. Words that are frequent everywhere are short in most languages: short ones do not count.
"""

import math
import re
from collections import Counter
from typing import Any

from processors.sentences import sentence_ranges

METHOD = "extractive: word frequency (Luhn 1958)"
MOST_SENTENCES = 2_000
KEPT_SENTENCES = 5
FEWEST_LETTERS = 4
SHORTEST_WORDS, LONGEST_WORDS = 4, 60
UNSPACED = "\u3040-\u30ff\u3400-\u9fff"
"""Kana and Han: written without spaces; two characters are counted as a word."""

WORD = re.compile(rf"[^\W\d_{UNSPACED}]{{{FEWEST_LETTERS},}}")
PAIR = re.compile(rf"(?=([{UNSPACED}]{{2}}))")


def summarise(text: str) -> dict[str, Any] | None:
    """Return the summary of a text: the method, the sentences and how many were looked at; None where there is nothing.

    Args:
        text: at most its first 2 000 sentences are weighed.
    """
    sentences = _sentences(text)
    if not sentences:
        return None
    words = [_words(sentence) for sentence in sentences]
    weights = Counter(word for sentence in words for word in sentence)
    ranked = sorted(range(len(sentences)), key=lambda index: (-_weight(words[index], weights), index))
    chosen = sorted(ranked[:KEPT_SENTENCES])
    kept = [sentences[index] for index in chosen]
    return {"method": METHOD, "sentences": kept, "text": " ".join(kept), "sentences_weighed": len(sentences)}


def _sentences(text: str) -> list[str]:
    found: list[str] = []
    for start, end in sentence_ranges(text):
        sentence = " ".join(text[start:end].split())
        length = max(len(sentence.split(" ")), len(PAIR.findall(sentence)) // 2)
        if SHORTEST_WORDS <= length <= LONGEST_WORDS:
            found.append(sentence)
        if len(found) == MOST_SENTENCES:
            break
    return found


def _words(sentence: str) -> list[str]:
    return [word.casefold() for word in WORD.findall(sentence)] + PAIR.findall(sentence)


def _weight(words: list[str], weights: Counter[str]) -> float:
    """Weigh a sentence by its different words; long ones win only slowly."""
    return sum(math.log1p(weights[word]) for word in set(words)) / math.sqrt(len(words)) if words else 0.0
