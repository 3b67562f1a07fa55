"""Where the sentences of a text are, by its punctuation."""

import re
from collections.abc import Iterator

SENTENCE_END = re.compile(
    "(?<=[.!?])[\"'\u201d\u2019)]*\\s+|(?<=[\u3002\uff01\uff1f])[\u300d\u300f\u201d\uff09]*\\s*|\\n{2,}"
)


def sentence_ranges(text: str) -> Iterator[tuple[int, int]]:
    """Yield where each sentence begins and ends in characters, without the white space around it."""
    start = 0
    for mark in SENTENCE_END.finditer(text):
        yield from trimmed(text, start, mark.start())
        start = mark.end()
    yield from trimmed(text, start, len(text))


def trimmed(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield a range without the white space at its ends; nothing where there is nothing else."""
    sentence = text[start:end].strip()
    if sentence:
        start = text.index(sentence, start)
        yield start, start + len(sentence)
