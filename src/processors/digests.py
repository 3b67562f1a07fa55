"""Digests: what was gathered in a window of time, as one notification."""

from collections.abc import Sequence
from dataclasses import dataclass

MOST_CHARACTERS = 500_000
"""Of one message; what does not fit in is counted."""


@dataclass(frozen=True, slots=True)
class Gathered:
    """What one submit had to say."""

    title: str
    message: str
    url: str | None = None


def as_one(gathered: Sequence[Gathered], notification_type: str) -> Gathered:
    """Return one notification for all that was gathered: a single one as it is, several one below the other.

    Args:
        gathered: at least one, in the order in which they came.
        notification_type: what they are about.
    """
    if len(gathered) == 1:
        return gathered[0]
    parts: list[str] = []
    size = 0
    for number, one in enumerate(gathered):
        part = "\n".join(text for text in (one.title, one.message, one.url) if text)
        size += len(part)
        if size > MOST_CHARACTERS and parts:
            parts.append(f"… and {len(gathered) - number} more")
            break
        parts.append(part)
    return Gathered(f"{len(gathered)} notifications: {notification_type}", "\n\n".join(parts))
