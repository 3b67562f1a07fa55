"""How many texts go in one request: as many as the provider's limits take, and groups of them whole."""

import json

import pytest

from processors.ai_interfaces import ProviderTerms
from processors.ai_packing import packed
from processors.tokens import estimated_tokens

LONG = "word " * 20
TOKENS = estimated_tokens(LONG)


def terms(**limits: int) -> ProviderTerms:
    return ProviderTerms(name="", account="", models={}, **limits)


@pytest.mark.parametrize(
    ("limits", "groups", "count"),
    [
        ({}, [], 0),
        ({}, [[LONG]] * 100, 100),
        ({"max_inputs": 32}, [[LONG]] * 100, 32),
        ({"max_request_tokens": 10 * TOKENS}, [[LONG]] * 100, 10),
        ({"tokens_per_minute": 7 * TOKENS}, [[LONG]] * 100, 7),
        ({"max_request_bytes": 10_000}, [[LONG]] * 100, 16),
        ({"max_request_tokens": 1}, [[LONG]] * 100, 1),
        ({"max_inputs": 3}, [["a"], ["b"], ["c"]], 3),
        ({"max_inputs": 2}, [["a"], ["b", "c"], ["d"]], 1),
        ({"max_inputs": 2}, [["a", "b", "c"], ["d"]], 1),
    ],
)
def test_a_request_takes_whole_groups_until_one_would_be_too_much_and_always_one(limits, groups, count):
    assert packed(terms(**limits), groups) == count


def test_what_json_makes_of_texts_fits_into_the_bytes_that_were_packed():
    texts = ["\u0001é😀" * 50] * 100
    count = packed(terms(max_request_bytes=20_000), ([text] for text in texts))
    assert len(json.dumps(texts[:count], ensure_ascii=False).encode()) < 20_000
