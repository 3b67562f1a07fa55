"""Delivery tags that no other message has: stock Celery keeps what it has in hand under them."""

import itertools
import os
from uuid import uuid4


class _Tags:
    """This process's own beginning, and a number."""

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        """Begin anew: a fork must not go on where its parent does."""
        self._beginning = str(uuid4())
        self._numbers = itertools.count()

    def fresh(self) -> str:
        return f"{self._beginning}-{next(self._numbers)}"


_tags = _Tags()
os.register_at_fork(after_in_child=_tags.renew)


def fresh_tag() -> str:
    """Return a new tag; random bytes for each message would cost more than the rest of its encoding."""
    return _tags.fresh()
