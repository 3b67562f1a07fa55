"""Texts that are cut to what a channel takes, and never in the middle of what is seen as one character."""

import unicodedata
from collections.abc import Callable

ELLIPSIS = "…"
JOINER = "\u200d"
CONTINUING = ("\ufe00", "\ufe0f"), ("\U0001f3fb", "\U0001f3ff"), ("\U000e0020", "\U000e007f")
"""Variation selectors, skin tones and tags: they belong to the character before them (UAX 29, 3.1.1)."""


def shortened(text: str, fits: Callable[[str], bool]) -> str | None:
    """Return the text whole if it fits, else its longest beginning that fits with an ellipsis.

    Args:
        text: what is to be sent.
        fits: tells whether a text does; where a longer beginning does, so do shorter ones.

    Returns:
        None where not even the empty text fits.
    """
    if fits(text):
        return text
    if not fits(""):
        return None
    low, high = 0, len(text)
    while low < high:  # the longest beginning, by halving
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(text[:middle] + ELLIPSIS) else (low, middle - 1)
    while low and joined(text, low):
        low -= 1
    beginning = text[:low].rstrip()
    return beginning + ELLIPSIS if fits(beginning + ELLIPSIS) else ""


def joined(text: str, at: int) -> bool:
    """Tell whether a cut before this position would divide one character that is seen."""
    before, after = text[at - 1], text[at]
    if JOINER in {before, after} or unicodedata.combining(after):
        return True
    if _regional(before) and _regional(after):  # a flag is two letters
        letters = at - 1
        while letters and _regional(text[letters - 1]):
            letters -= 1
        return (at - letters) % 2 == 1
    return any(first <= after <= last for first, last in CONTINUING)


def _regional(character: str) -> bool:
    return "\U0001f1e6" <= character <= "\U0001f1ff"
