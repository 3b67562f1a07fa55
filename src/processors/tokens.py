"""How many tokens a text has, roughly: what a provider counts is known only to its own tokenizer."""

from collections.abc import Iterable, Mapping
from typing import Any

CHARACTERS_A_TOKEN = 4
"""Of English text; help.openai.com, What are tokens and how to count them."""

TOKENS_A_MESSAGE = 4
"""What a chat's form adds to each message; OpenAI Cookbook, How to count tokens with tiktoken."""


def estimated_tokens(text: str) -> int:
    """Return about how many tokens a text has, rather too many than too few: at least 1.

    A character beyond ASCII counts as a token: so it is about in Chinese, and in most scripts it is less.
    """
    plain = len(text.encode("ascii", "ignore"))
    return 1 + plain // CHARACTERS_A_TOKEN + (len(text) - plain)


def estimated_of_messages(messages: Iterable[Mapping[str, Any]]) -> int:
    """Return about how many tokens a chat's messages have."""
    return sum(TOKENS_A_MESSAGE + estimated_tokens(str(one.get("content") or "")) for one in messages)
