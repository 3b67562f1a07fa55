"""What is found in a text without a model: one mention of an address, a date, a phone number or money."""

from typing import Literal

from processors.results import Result


class Entity(Result):
    """One mention.

    Attributes:
        text: as it stands there.
        value: in its standard form; null where it may mean several things, which `possible` lists. An `email` has its
            domain in small letters; a `phone` is E.164; a `url` has its scheme; a `date` is YYYY-MM-DD; an `amount` is
            a decimal number with a point.
        range: its first character, and the one behind its last; in code points.
        currency: of an amount, by its code of ISO 4217.
        assumed: what the text leaves open and was taken for granted: the region (ISO 3166) of a phone number without
            `+`, the scheme of a URL without one, the currency of a sign that several have.
    """

    kind: Literal["email", "phone", "url", "date", "amount"]
    text: str
    value: str | None
    range: tuple[int, int]
    currency: str | None = None
    assumed: str | None = None
    possible: list[str] = []
