"""What AI methods return in common: the envelope, what was given, and what it cost."""

import hashlib
from collections.abc import Iterable

from processors.ai_usage import COST_DIGITS
from processors.envelopes import Envelope
from processors.results import Result


class TextInput(Result):
    """The text as it was given: the digest of its UTF-8 bytes, and how many those are."""

    sha256: str
    bytes: int


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


def cost_of_all(costs: Iterable[tuple[float | None, str]]) -> float | None:
    """Return the sum of costs, each with its currency; None where one is not known, or they are of several."""
    amounts, currencies = zip(*costs, strict=True)
    return None if None in amounts or len(set(currencies)) > 1 else sum(amounts)


def cost_told(amount: float | None, currency: str) -> Cost | None:
    """Return a cost as a result tells it; None where no price is known."""
    return None if amount is None else Cost(amount=round(amount, COST_DIGITS), currency=currency)
