"""How a call stands, from messages that come in any order, twice, or never.

What is known only grows: it is the join of all that was told, so that order, repetition and delay change nothing.
Source: twilio.com/docs/voice/api/call-resource#call-status-values, twilio.com/docs/voice/twiml#callstatus-values.
"""

from dataclasses import dataclass, replace
from typing import Any

RANKS = {"queued": 0, "initiated": 1, "ringing": 2, "in-progress": 3}
ENDS = ("canceled", "no-answer", "busy", "failed", "completed")
"""What ends a call; where two are told without a number of their order, the later one here counts."""

END_RANK = 4
BY_FETCH = 1_000_000
"""The number in the order of messages that the provider's own record has: it decides between two ends."""

HEARD_BY = (
    "unknown", "human", "fax", "machine_start", "machine_end_other", "machine_end_silence", "machine_end_beep"
)  # fmt: skip
"""Who answered; where two are told, the later one here counts, which says more."""


@dataclass(frozen=True, slots=True)
class CallProgress:
    """What is known of a call.

    Attributes:
        status: the furthest one that was told; None where none was.
        sequence: the number in the order of messages of the one that told it.
        sip_code: as that one said.
        disputed: whether two different ends were told.
    """

    status: str | None = None
    sequence: int | None = None
    answered_by: str | None = None
    duration_seconds: int | None = None
    sip_code: int | None = None
    disputed: bool = False

    @property
    def ended(self) -> bool:
        """Whether the call is over."""
        return self.status in ENDS


def spelled(status: str) -> str:
    """Return a status as this service writes it: in small letters, `canceled` with one l."""
    plain = status.strip().lower().replace("_", "-")
    return "canceled" if plain == "cancelled" else plain


def known_status(status: str | None) -> str | None:
    """Return a status as this service writes it; None where nobody knows it."""
    written = None if status is None else spelled(status)
    return written if written in RANKS or written in ENDS else None


def merged(known: CallProgress, told: CallProgress) -> CallProgress:
    """Return what is known of a call after a message; a status that nobody knows never ends it, nor moves it."""
    first, second = _with_known_status(known), _with_known_status(told)
    further = max(first, second, key=_order)
    return CallProgress(
        status=further.status,
        sequence=further.sequence,
        answered_by=max(known.answered_by, told.answered_by, key=_told_by),
        duration_seconds=_most(known.duration_seconds, told.duration_seconds),
        sip_code=further.sip_code,
        disputed=known.disputed or told.disputed or (first.ended and second.ended and first.status != second.status),
    )


def _with_known_status(told: CallProgress) -> CallProgress:
    status = known_status(told.status)
    return CallProgress() if status is None else replace(told, status=status)


def _order(progress: CallProgress) -> tuple[int, int, int, int]:
    """Return by what one statement of a status stands before another."""
    status = progress.status
    if status is None:
        return -1, -1, -1, -1
    sequence, sip_code = (-1 if number is None else number for number in (progress.sequence, progress.sip_code))
    if status in ENDS:
        return END_RANK, sequence, ENDS.index(status), sip_code
    return RANKS[status], sequence, -1, sip_code


def _told_by(answered_by: str | None) -> tuple[int, str]:
    if answered_by is None:
        return -2, ""
    return (HEARD_BY.index(answered_by) if answered_by in HEARD_BY else -1), answered_by


def _most(*numbers: int | None) -> Any:
    return max((number for number in numbers if number is not None), default=None)
