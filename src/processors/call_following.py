"""Asking a provider what became of calls: where no message came, or the answer to an order was lost."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Protocol

from processors.call_interfaces import AttemptRow, CallNotFound, CallSeen, CallsHalted
from processors.call_states import CallProgress, spelled
from processors.dialing import MARGIN_SECONDS, POLL_SECONDS, DialRecords, Line
from processors.errors import TransientError

BEFORE_SECONDS = 60.0
"""How much the provider's clock may be behind."""

LOOKS, LOOKED_SECONDS = 3, 300.0
"""An order is taken for one that made no call after so many looks at the provider's list, over so long."""

BETWEEN_LOOKS_SECONDS = 120.0
UNSETTLED_SECONDS = 5.0
LONGEST_WAIT_SECONDS = 600.0
FIRST_WAIT_SECONDS = 30.0
MOST_DOUBLINGS = 5
REFUSED_SECONDS = 60.0
"""After so long the next look comes where the provider does not answer now, or later where it says so."""

LOST_SECONDS = 172_800.0
"""A call that the provider does not know for two days is none that anybody will ever hear of."""

OUTBOUND = "outbound"


class FollowRecords(DialRecords, Protocol):
    """Remembers what was found out."""

    def looked(self, attempt_id: str, wait: float) -> None:
        """Note that a look told nothing."""
        ...

    def seen(self, attempt_id: str, call: CallSeen, look: float, hang_up: float) -> None:
        """Note what the provider knows."""
        ...

    def owned(self, sids: Sequence[str]) -> set[str]:
        """Return those of these calls that are some attempt's."""
        ...


def follow(line: Line, records: FollowRecords, attempt: AttemptRow, age_seconds: float, hang_up: float) -> None:
    """Find out how an attempt stands.

    Args:
        line: whose provider is asked.
        records: where that is remembered.
        attempt: a live one.
        age_seconds: since its order was kept.
        hang_up: seconds until its call is ended, where it is adopted now.

    Raises:
        CallsHalted: our login is refused.
        TransientError: the provider does not answer now.
    """
    if attempt.call_sid is not None:
        _ask(line, records, attempt, age_seconds, hang_up)
    elif not attempt.settled:
        records.looked(attempt.id, UNSETTLED_SECONDS)
    else:
        _search(line, records, attempt, age_seconds, hang_up)


def _ask(line: Line, records: FollowRecords, attempt: AttemptRow, age_seconds: float, hang_up: float) -> None:
    sid, wait = str(attempt.call_sid), _wait(line, attempt)
    try:
        call = line.provider.fetch_call(sid)
        if attempt.past_limit and not _ended(call):
            call = line.provider.end_call(sid)
    except CallNotFound as error:
        if age_seconds >= LOST_SECONDS:
            records.ended_without_call(attempt.id, "ambiguous", None, str(error))
        else:
            records.looked(attempt.id, wait)
        return
    except CallsHalted:
        raise
    except TransientError as error:  # counted, so that a campaign which waits for the call hurries it ever more seldom
        records.looked(attempt.id, min(LONGEST_WAIT_SECONDS, max(REFUSED_SECONDS, error.retry_after or 0.0)))
        raise
    records.seen(attempt.id, call, wait, hang_up)


def _search(line: Line, records: FollowRecords, attempt: AttemptRow, age_seconds: float, hang_up: float) -> None:
    """Look for the call of an order whose answer was lost; the list has no start times of what still waits."""
    since = attempt.sending_at - timedelta(seconds=BEFORE_SECONDS)
    listed = line.provider.list_calls(to_number=attempt.to_number, from_number=attempt.from_number)
    recent = [one for one in listed if one.created_at is None or one.created_at >= since]
    calls = [one for one in recent if one.direction.startswith(OUTBOUND)]
    owned = records.owned([one.sid for one in calls])
    found = [one for one in calls if one.sid not in owned]
    if len(found) == 1:
        records.seen(attempt.id, found[0], line.look_seconds(MARGIN_SECONDS), hang_up)
    elif found and (age_seconds >= LOST_SECONDS or all(map(_ended, found))):
        sids = ", ".join(one.sid for one in found)
        why = f"The provider lists {len(found)} calls that may be this one: {sids}."
        records.ended_without_call(attempt.id, "ambiguous", None, why)
    elif not found and attempt.looks + 1 >= LOOKS and age_seconds >= LOOKED_SECONDS:
        records.ended_without_call(attempt.id, "void", None, "The provider lists no call for an order without answer.")
    else:  # of several, one may be ours, and keeps its place while it goes on
        records.looked(attempt.id, BETWEEN_LOOKS_SECONDS)


def _ended(call: CallSeen) -> bool:
    return CallProgress(spelled(call.status)).ended


def _wait(line: Line, attempt: AttemptRow) -> float:
    """Return the seconds until the next look: growing, unless the provider tells nothing by itself."""
    if line.polls:
        return POLL_SECONDS
    return min(LONGEST_WAIT_SECONDS, FIRST_WAIT_SECONDS * 2 ** min(attempt.looks, MOST_DOUBLINGS))
