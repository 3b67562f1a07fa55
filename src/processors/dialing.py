"""One order to a provider for one call: made at most once, and whatever comes of it is remembered."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from processors import doubt
from processors.call_interfaces import (
    CallInDoubt,
    CallNotFound,
    CallNotTaken,
    CallOrder,
    CallRefused,
    CallsHalted,
    Gate,
    Granted,
    PlacedCall,
    VoiceProvider,
)
from processors.errors import Cancelled, TransientError
from processors.order_pace import OrderPace

NOT_TAKEN_SECONDS = 10.0
LONGEST_REST_SECONDS = 3_600.0
"""So long a provider that wants to be left alone is, however long it asks for."""

HALT_SECONDS = 3_600.0
"""How long the numbers of a country that is not allowed are left alone."""

QUEUE_SECONDS = 2.0
"""A provider that keeps a call for longer before it rings gets no more until it has caught up."""

MARGIN_SECONDS = 60.0
"""After the last moment at which a call ends by itself."""

POLL_SECONDS = 5.0
TAKEN_BACK = "canceled"


class DialRecords(Protocol):
    """Remembers what came of an order."""

    def placed(
        self, attempt_id: str, call_sid: str, status: str, *, queue_seconds: float, look: float, hang_up: float
    ) -> bool:
        """Note that there is a call."""
        ...

    def given_up(self, attempt_id: str) -> bool:
        """Tell whether everybody believes that an attempt made no call."""
        ...

    def unknown(self, attempt_id: str, error: str) -> None:
        """Note that nobody knows whether there is a call."""
        ...

    def ended_without_call(self, attempt_id: str, state: str, code: int | None, error: str) -> None:
        """Note that there is no call."""
        ...


class Gates(Protocol):
    """Keeps orders back."""

    def rest(self, key: str, seconds: float, text: str | None = None) -> None:
        """Let nothing through a gate for so long."""
        ...


@dataclass(frozen=True, slots=True)
class Line:
    """What all calls of one account are made by.

    Attributes:
        provider: makes them.
        gate: the account's.
        records: remembers them.
        gates: keeps them back.
        pace: keeps those apart that leave this process.
        polls: whether the provider is asked how they stand, because it cannot reach this service.
        persist: writes until it is written.
    """

    provider: VoiceProvider
    gate: Gate
    records: DialRecords
    gates: Gates
    pace: OrderPace
    polls: bool
    persist: Callable[[Callable[[], object]], object]

    def look_seconds(self, ring_seconds: float, queue_seconds: float = 0.0) -> float:
        """Return how long nobody asks what became of a call that was made just now."""
        return POLL_SECONDS if self.polls else queue_seconds + ring_seconds + MARGIN_SECONDS


def hang_up_seconds(ring_seconds: float, limit_seconds: float, queue_seconds: float = 0.0) -> float:
    """Return how long after its order a call is over, unless nobody keeps its limits."""
    return queue_seconds + ring_seconds + limit_seconds + MARGIN_SECONDS


def dial(line: Line, granted: Granted, order: CallOrder, may_ring: Callable[[float], bool]) -> PlacedCall:
    """Make the call that was granted, or remember why there is none.

    Args:
        line: by what.
        granted: the attempt, which nobody else makes.
        order: what is asked for.
        may_ring: tells whether it may begin to ring in so many seconds.

    Raises:
        CallRefused, CallsHalted, CallNotTaken: there is no call, as the provider says.
        CallInDoubt: nobody knows; the provider is asked later.
    """
    attempt, note = granted.attempt_id, line.records.ended_without_call
    if (why := _too_late(granted, may_ring)) is None:
        _wait_for_turn(line, attempt)
        why = _too_late(granted, may_ring)
    if why is not None:
        line.persist(lambda: note(attempt, "not_taken", None, why))
        raise CallNotTaken(why)
    try:
        placed = line.provider.create_call(order)
    except CallRefused as error:
        code, why = error.code, str(error)
        line.persist(lambda: note(attempt, "refused", code, why))
        raise
    except (CallsHalted, CallNotTaken) as error:
        _rest(line, error)
        code, why = getattr(error, "code", None), str(error)
        line.persist(lambda: note(attempt, "not_taken", code, why))
        raise
    except Exception as error:
        why = str(error) or type(error).__name__
        line.persist(lambda: line.records.unknown(attempt, why))
        if isinstance(error, Cancelled):
            raise
        raise CallInDoubt(f"It is not known whether the call was made: {why}") from error
    return _placed(line, granted, order, placed, may_ring)


def _wait_for_turn(line: Line, attempt: str) -> None:
    try:
        line.pace.wait(line.gate.gap_seconds)
    except Exception as error:
        why = f"Nothing was sent: it was interrupted while it waited for its turn: {error or type(error).__name__}"
        line.persist(lambda: line.records.ended_without_call(attempt, "not_taken", None, why))
        raise


def _too_late(granted: Granted, may_ring: Callable[[float], bool]) -> str | None:
    """Tell why an order that was granted is not sent any more, or None."""
    if doubt.clock() - granted.began >= doubt.BEGIN_SECONDS:
        return "Nothing was sent: keeping the attempt took too long, because the database or this process was too slow."
    return None if may_ring(0.0) else "Nothing was sent: meanwhile the calling hours had ended."


def _placed(
    line: Line, granted: Granted, order: CallOrder, placed: PlacedCall, may_ring: Callable[[float], bool]
) -> PlacedCall:
    waits, too_late = placed.queue_seconds, False
    if waits > QUEUE_SECONDS:
        line.persist(lambda: line.gates.rest(line.gate.key, waits))
        too_late = not may_ring(waits)
    if too_late and _taken_back(line, placed):
        why = f"The provider would have let it ring in {waits:.0f} s, after the calling hours; it was taken back."
        line.persist(lambda: line.records.ended_without_call(granted.attempt_id, "void", None, why))
        raise CallNotTaken(why)
    first = line.persist(
        lambda: line.records.placed(
            granted.attempt_id,
            placed.sid,
            placed.status,
            queue_seconds=waits,
            look=POLL_SECONDS if too_late else line.look_seconds(order.ring_seconds, waits),
            hang_up=0.0 if too_late else hang_up_seconds(order.ring_seconds, order.limit_seconds, waits),
        )
    )
    if not first and line.persist(lambda: line.records.given_up(granted.attempt_id)):
        _taken_back(line, placed)
        raise CallNotTaken("The provider answered so late that the attempt had been given up; its call was ended.")
    return placed


def _taken_back(line: Line, placed: PlacedCall) -> bool:
    """End a call that waits in the provider's queue; False where it may ring all the same."""
    try:
        return line.provider.end_call(placed.sid).status == TAKEN_BACK
    except (CallNotFound, CallsHalted, TransientError):
        return False


def _rest(line: Line, error: CallsHalted | CallNotTaken) -> None:
    """Let the way out rest that took nothing: the account's, or that to one country."""
    if isinstance(error, CallsHalted):
        if error.country is not None:
            key = f"halted:{line.provider.account}:+{error.country.lstrip('+')}"
            line.persist(lambda: line.gates.rest(key, HALT_SECONDS, str(error)))
        return
    wait = NOT_TAKEN_SECONDS if error.retry_after is None else min(LONGEST_REST_SECONDS, error.retry_after)
    line.persist(lambda: line.gates.rest(line.gate.key, wait))
