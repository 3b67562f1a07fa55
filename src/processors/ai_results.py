"""What AI methods return: the envelope, and usage, cost and attempts as results tell them."""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from processors.ai_interfaces import Attempt, Usage
from processors.envelopes import Envelope
from processors.results import Result


class TextInput(Result):
    """The text as it was given: the digest of its UTF-8 bytes, and how many those are."""

    sha256: str
    bytes: int


class UsageTold(Result):
    """Tokens; `estimated` where the provider did not count them."""

    input_tokens: int
    output_tokens: int
    cached_tokens: int
    reasoning_tokens: int
    estimated: bool


class Cost(Result):
    """What it cost, by the prices of AI_PROVIDERS."""

    amount: float
    currency: str


class AiResult(Envelope):
    """The envelope of AI results."""

    input: TextInput


def input_of(*texts: str) -> TextInput:
    """Describe what was given."""
    content = "\0".join(texts).encode()
    return TextInput(sha256=hashlib.sha256(content).hexdigest(), bytes=len(content))


def usage_told(usage: Usage) -> UsageTold:
    """Return tokens as a result tells them."""
    return UsageTold(**asdict(usage))


def cost_told(amount: float | None, currency: str) -> Cost | None:
    """Return a cost as a result tells it; None where no price is known."""
    return None if amount is None else Cost(amount=round(amount, 9), currency=currency)


def attempts_told(attempts: Sequence[Attempt]) -> list[dict[str, Any]]:
    """Return the calls of a request as a result tells them."""
    return [asdict(one) for one in attempts]
