"""How many were confirmed, on a page that named their count."""

from collections.abc import Mapping

from processors.errors import InvalidArgument

MORE_NOW = "There are more now than there were; look again."
"""What a page says that asks again."""


def count_in(form: Mapping[str, str]) -> int:
    """Return how many were confirmed.

    Raises:
        InvalidArgument: the form does not say it.
    """
    confirmed = form.get("count", "")
    if not (confirmed.isascii() and confirmed.isdecimal()):
        raise InvalidArgument("count: must be the number of tasks that was shown.")
    return int(confirmed[:9])
