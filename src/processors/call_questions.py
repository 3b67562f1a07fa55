"""What is asked of calls that were made: how they stand, that they end, and what became of old ones."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Literal, Protocol

from pydantic import Field

from processors.call_following import FollowRecords, follow
from processors.call_interfaces import AttemptRow, CallNotFound, CallSeen, CallsHalted, MemberState, VoiceProvider
from processors.call_states import ENDS
from processors.calls import Number
from processors.dialing import POLL_SECONDS, Line, hang_up_seconds
from processors.errors import PermanentError, TransientError
from processors.interfaces import Report
from processors.results import Request, Result

SID_PATTERN = r"^[A-Za-z0-9]{1,64}$"
LONGEST_CALL_SECONDS = 14_400
LOOKS_AT_ONCE = 50
MOST_LOOKS = 500
"""Of one task: what is left is looked at by the next one."""


class EndCall(Request):
    """Which call is to end."""

    call_sid: str = Field(pattern=SID_PATTERN)


class GetCallStatus(Request):
    """Which call is asked for."""

    call_sid: str = Field(pattern=SID_PATTERN)


class CleanupStaleCalls(Request):
    """How old calls are that the provider is asked about."""

    max_age_hours: float = Field(default=24, ge=0, le=87_600, allow_inf_nan=False)


class MemberPage(Request):
    """Which members of a campaign are listed."""

    after: int = Field(default=-1, ge=-1, le=2**31 - 1)
    limit: int = Field(default=100, ge=0, le=1_000)
    state: MemberState | None = None


class OptOutOf(Request):
    """Whose number is not called any more, or is again."""

    phone_number: Number
    reason: str = Field(default="", max_length=1_000)


class ListOptOuts(Request):
    """Which numbers that opted out are listed."""

    limit: int = Field(default=100, ge=1, le=1_000)
    after: Number | None = None


class CallEnded(Result):
    """A call that is over, or is ending."""

    success: Literal[True] = True
    call_sid: str
    status: str
    ended_at: str


class CallStatus(Result):
    """How a call stands.

    Attributes:
        call_info: `{}` where the provider knows no such call, and neither does this service.
        source: `provider`, or `records` where they know its end.
    """

    success: bool
    call_sid: str
    call_info: dict[str, Any]
    source: Literal["provider", "records"]
    checked_at: str


class StaleCallsCleaned(Result):
    """What became of old calls."""

    success: Literal[True] = True
    max_age_hours: float
    looked_at: int
    errors: list[str]
    active_calls_remaining: int
    cleaned_at: str


class AskedRecords(FollowRecords, Protocol):
    """What is remembered of calls."""

    def attempt_of_sid(self, call_sid: str) -> AttemptRow | None:
        """Return the attempt of a call."""
        ...

    def ask_to_end(self, attempt_id: str) -> None:
        """Note that somebody here asked for the end of its call."""
        ...

    def info(self, call_sid: str) -> dict[str, Any]:
        """Return what is known of a call, for people."""
        ...

    def take_looks(self, limit: int, *, older_than: float | None = None) -> Sequence[AttemptRow]:
        """Take attempts whose provider is to be asked."""
        ...

    def live(self) -> int:
        """Return how many attempts are live."""
        ...

    def now(self) -> datetime:
        """Return the moment by the clock that decides."""
        ...


def end_call(call_sid: str, provider: VoiceProvider, records: AskedRecords) -> CallEnded:
    """End a call, also one that rings or waits; one that is over is no error.

    Raises:
        PermanentError: the provider knows no such call.
        CallsHalted, TransientError: it was not asked, or did not answer.
    """
    attempt = records.attempt_of_sid(call_sid)
    if attempt is not None:
        records.ask_to_end(attempt.id)
    try:
        call = provider.end_call(call_sid)
    except CallNotFound as error:
        raise PermanentError(f"{error} Nothing was ended.") from error
    if attempt is not None:
        records.seen(attempt.id, call, POLL_SECONDS, hang_up_seconds(0, LONGEST_CALL_SECONDS))
    ended_at = call.ended_at or datetime.now(UTC)
    return CallEnded(call_sid=call_sid, status=call.status, ended_at=ended_at.isoformat())


def call_status(call_sid: str, provider: Callable[[], VoiceProvider], records: AskedRecords) -> CallStatus:
    """Return how a call stands: from the records where they know its end, else as the provider says now.

    Raises:
        PermanentError: no provider is configured, and the records do not know its end.
        CallsHalted, TransientError: the provider does not answer.
    """
    known, attempt = records.info(call_sid), records.attempt_of_sid(call_sid)
    checked_at = datetime.now(UTC).isoformat()
    if known.get("status") in ENDS:
        return CallStatus(success=True, call_sid=call_sid, call_info=known, source="records", checked_at=checked_at)
    try:
        call = provider().fetch_call(call_sid)
    except CallNotFound:
        found = bool(known)
        return CallStatus(success=found, call_sid=call_sid, call_info=known, source="records", checked_at=checked_at)
    if attempt is not None:
        records.seen(attempt.id, call, POLL_SECONDS, hang_up_seconds(0, LONGEST_CALL_SECONDS))
        known = records.info(call_sid)
    return CallStatus(
        success=True, call_sid=call_sid, call_info=known | info_of(call), source="provider", checked_at=checked_at
    )


def info_of(call: CallSeen) -> dict[str, Any]:
    """Return what a provider says of a call, as callers read it."""
    told: dict[str, Any] = {
        "sid": call.sid,
        "status": call.status,
        "to": call.to_number,
        "from": call.from_number,
        "direction": call.direction,
        "duration": call.duration_seconds,
        "answered_by": call.answered_by,
        "price": call.price,
        "price_unit": call.price_unit,
        "start_time": None if call.started_at is None else call.started_at.isoformat(),
        "end_time": None if call.ended_at is None else call.ended_at.isoformat(),
    }
    return {name: value for name, value in told.items() if value not in {None, ""}}


def follow_due(line: Line, records: AskedRecords, report: Report) -> int:
    """Ask the provider about all calls whose time to look has come; returns how many.

    Raises:
        CallsHalted: our login is refused.
    """
    looked = 0
    while looked < MOST_LOOKS and (some := records.take_looks(LOOKS_AT_ONCE)):
        for attempt in some:
            report(0, "asks about calls")
            _follow(line, records, attempt)
        looked += len(some)
    return looked


def cleanup_stale_calls(
    request: CleanupStaleCalls, line: Callable[[], Line], records: AskedRecords, report: Report
) -> StaleCallsCleaned:
    """Ask the provider about all calls older than so many hours that are not known to have ended.

    Nothing is closed that the provider does not say has ended; nothing is deleted.

    Raises:
        PermanentError: there are such calls, and no provider is configured.
        CallsHalted: our login is refused.
    """
    looked, errors = 0, list[str]()
    some = records.take_looks(MOST_LOOKS, older_than=request.max_age_hours * 3_600)
    for attempt in some:
        report(100 * looked / len(some), "asks about calls")
        looked += 1
        if (why := _follow(line(), records, attempt)) is not None:
            errors.append(why)
    return StaleCallsCleaned(
        max_age_hours=request.max_age_hours,
        looked_at=looked,
        errors=errors,
        active_calls_remaining=records.live(),
        cleaned_at=datetime.now(UTC).isoformat(),
    )


def _follow(line: Line, records: AskedRecords, attempt: AttemptRow) -> str | None:
    """Look at one; returns what went wrong, which stops nobody else's look."""
    age = (records.now() - attempt.sending_at).total_seconds()
    try:
        follow(line, records, attempt, age, hang_up_seconds(0, LONGEST_CALL_SECONDS))
    except CallsHalted:
        raise
    except (TransientError, PermanentError) as error:
        return str(error)
    return None
