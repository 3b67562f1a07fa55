"""How many texts one request for vectors can take."""

from collections.abc import Iterable, Sequence

from processors.ai_interfaces import ProviderTerms
from processors.tokens import estimated_tokens

BYTES_OF_FORM = 4
"""What JSON adds to each text of a request: quotes, a comma, a space."""

MOST_OF_A_CHARACTER = 6
"""Bytes that a character takes in JSON at most: an escape."""


def packed(terms: ProviderTerms, groups: Iterable[Sequence[str]]) -> int:
    """Return how many of the groups of texts, from the first one on, one request can take whole: at least 1."""
    most_tokens = min(terms.max_request_tokens, terms.tokens_per_minute or terms.max_request_tokens)
    count = inputs = tokens = size = 0
    for texts in groups:
        inputs += len(texts)
        tokens += sum(map(estimated_tokens, texts))
        size += sum(len(text) * MOST_OF_A_CHARACTER + BYTES_OF_FORM for text in texts)
        over = tokens > most_tokens or size > terms.max_request_bytes or inputs > terms.max_inputs
        if count and over:
            break
        count += 1
    return count
