"""Single phone calls: checked, waited for, and made once."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal, Protocol

from pydantic import AfterValidator, Field, ValidationInfo, field_validator
from pydantic_core import to_jsonable_python

from processors import doubt, phone_numbers
from processors.call_addresses import checked_address, with_attempt
from processors.call_interfaces import (
    AttemptRow,
    CallInDoubt,
    CallNotTaken,
    CallOrder,
    CallRow,
    CallsHalted,
    Closed,
    Detection,
    Granted,
    NoRoom,
)
from processors.calling_hours import CallingHours, next_open, ring_margin
from processors.dialing import LONGEST_REST_SECONDS, Line, dial
from processors.errors import Cancelled, EffectInDoubt, EffectUnknown, InvalidArgument, PermanentError, Postponed
from processors.interfaces import Report
from processors.results import Request, Result
from processors.spoken_messages import spoken

PATIENCE_SECONDS = 1.0
"""So long in all a task waits for its call's turn in its slot; then it gives the slot back, which what finds out that
calls have ended may need."""

DOUBT_LOOK_SECONDS = 15.0

WAITS_FOR: Mapping[str, str] = {
    "pace": "calls are made one after the other",
    "live": "as many calls as may be are going on",
    "number": "another call to this number is going on",
    "halted": "calls to this country are refused",
    "attempts": "this number was called as often as it may be",
}


def _number(text: str) -> str:
    try:
        return phone_numbers.normalised(text)
    except InvalidArgument as error:
        raise ValueError(str(error).removeprefix("phone number: ").removesuffix(".")) from None


Number = Annotated[str, AfterValidator(_number)]
Address = Annotated[str, AfterValidator(checked_address)]
SHAPING: Mapping[str, type] = {
    "message": str, "voice": str, "language": str, "gather_input": bool, "custom_data": dict
}  # fmt: skip
"""The keys of a call's metadata that shape it."""

KINDS: Mapping[type, str] = {str: "a text", bool: "true or false", dict: "a dict"}


class CallOptions(Request):
    """What single calls and campaigns have in common.

    Attributes:
        from_number: which of our numbers calls; None: TWILIO_PHONE_NUMBER.
        webhook_url: where the provider asks what is said; None: here.
        status_callback_url: where it tells each step; None: here.
        call_metadata: kept with the call; `message`, `voice`, `language` and `gather_input` shape it.
        calling_hours: when people may be called, by their own clocks; None: at any time.
        detection: what is done where a machine answers.
        ring_seconds: how long it rings.
        limit_seconds: how long a call lasts at most.
        record: whether calls are recorded.
    """

    from_number: Number | None = None
    webhook_url: Address | None = None
    status_callback_url: Address | None = None
    call_metadata: dict[str, Any] = {}
    calling_hours: CallingHours | None = None
    detection: Detection = "ignore"
    ring_seconds: int = Field(default=30, ge=5, le=600)
    limit_seconds: int = Field(default=3_600, ge=10, le=14_400)
    record: bool = False

    @field_validator("call_metadata")
    @classmethod
    def _check_metadata(cls, value: dict[str, Any]) -> dict[str, Any]:
        for name, kind in SHAPING.items():
            if name in value and type(value[name]) is not kind:
                raise ValueError(f"{name!r} must be {KINDS[kind]}")
        try:
            json.dumps(to_jsonable_python(value, inf_nan_mode="constants"), allow_nan=False)
        except ValueError as error:
            raise ValueError(f"must be JSON values: {error}") from error
        spoken(value.get("message", "Hello."), voice=value.get("voice"), language=value.get("language"))
        return value


class CampaignOptions(CallOptions):
    """What campaigns, and what repeats their calls, say beside the message.

    Attributes:
        caller_identity: said before it: who calls.
        opt_out_prompt: said after it, and 9 pressed means that the number is called no more.
    """

    caller_identity: str | None = Field(default=None, min_length=1, max_length=500)
    opt_out_prompt: str | None = Field(default=None, min_length=1, max_length=500)

    @field_validator("caller_identity", "opt_out_prompt")
    @classmethod
    def _check_said(cls, value: str | None, info: ValidationInfo) -> str | None:
        """Refuse what cannot be said in the voice of the message, before anybody is called."""
        given = info.data.get("call_metadata", {})
        if value is not None:
            spoken(value, voice=given.get("voice"), language=given.get("language"))
        return value


class QueueOutboundCall(CallOptions):
    """One call."""

    to_number: Number


class ScheduleCall(QueueOutboundCall):
    """One call at a certain time.

    Attributes:
        schedule_time: as it was given.
        timezone: of a time without offset.
    """

    schedule_time: str | None = None
    timezone: str = "UTC"


class RetryFailedCall(QueueOutboundCall, CampaignOptions):
    """One call in place of one that failed.

    Attributes:
        original_task_id: that one's.
        retry_delay: seconds that it waited.
    """

    original_task_id: str = Field(min_length=1, max_length=255)
    retry_delay: float = Field(default=300, ge=0, le=31_536_000, allow_inf_nan=False)


class CallPlaced(Result):
    """A call that the provider has."""

    success: Literal[True] = True
    call_sid: str | None
    status: str
    to_number: str
    from_number: str
    created_at: str
    metadata: dict[str, Any]
    task_id: str
    warnings: list[str] = []


class ScheduledCallPlaced(CallPlaced):
    """A call that was scheduled."""

    scheduled_time: str
    call_task_id: str


class RetriedCallPlaced(CallPlaced):
    """A call in place of one that failed.

    Attributes:
        original_found: whether that one is known here.
    """

    original_task_id: str
    retry_task_id: str
    retry_delay: float
    retry_attempt: int
    original_found: bool


class OneCall(Protocol):
    """What is remembered of one call."""

    def want(self, call_id: str, to_number: str, from_number: str, retry_of: str | None = None) -> CallRow:
        """Remember it, where it is not."""
        ...

    def last_attempt(self, call_id: str) -> AttemptRow | None:
        """Return its last attempt."""
        ...

    def close(self, call_id: str, state: str, reason: str) -> None:
        """End it, where it waits."""
        ...

    def now(self) -> datetime:
        """Return the moment by the clock that decides."""
        ...


@dataclass(frozen=True, slots=True)
class CallTools:
    """What a single call is made with.

    Attributes:
        call_id: the task's id.
        line: what makes it.
        calls: what is remembered of it.
        grant: asks for an attempt.
        content: makes the order of an attempt by its id.
        sleep: waits so many seconds in the slot; ends early where the task is cancelled, by its error.
        last_attempt: whether the task's failure now would be its last.
        strict: whether only numbers of known plans are called.
        warnings: what the result is to warn of.
    """

    call_id: str
    from_number: str
    line: Line
    calls: OneCall
    grant: Callable[[CallRow], Granted | NoRoom | Closed]
    content: Callable[[CallRow, str], CallOrder]
    sleep: Callable[[float], None]
    last_attempt: bool
    strict: bool
    warnings: Sequence[str] = ()


def place(request: QueueOutboundCall, tools: CallTools, report: Report, retry_of: str | None = None) -> CallPlaced:
    """Make one call, once, however often this runs; returns it.

    Raises:
        Postponed: it waits for its hours, its turn, or for what became of its order.
        PermanentError: it is not made, or was refused.
        EffectUnknown: nobody will ever know whether it was made.
        CallsHalted: our account, number or settings are at fault.
    """
    call = tools.calls.want(tools.call_id, request.to_number, tools.from_number, retry_of)
    report(10, "waits for its turn")
    waited = 0.0
    while call.state == "waiting":
        _check_number(call, tools)
        may_ring = _wait_for_hours(request, tools)
        answer = tools.grant(call)
        if isinstance(answer, Granted):
            return _dialled(request, call, answer, tools, report, may_ring)
        if isinstance(answer, Closed):
            call = tools.calls.want(tools.call_id, request.to_number, tools.from_number)
            if call.state == "waiting":
                _refuse(call, answer, tools)
        elif waited + answer.wait > PATIENCE_SECONDS:
            why = (answer.text or WAITS_FOR[answer.why]).removesuffix(".")
            raise Postponed(f"The call waits: {why}.", answer.wait)
        else:
            tools.sleep(answer.wait)
            waited += answer.wait
    return _ended(request, call, tools)


def content_of(
    options: CallOptions,
    call: CallRow,
    attempt_id: str,
    *,
    answer_url: str | None,
    status_url: str | None,
    recording_url: str | None,
    twiml: str | None,
) -> CallOrder:
    """Return what a provider is asked for.

    Args:
        options: of the call, or of its campaign.
        call: who calls whom.
        attempt_id: goes into the addresses.
        answer_url: of this service; a caller's own wins; None where the provider cannot reach it.
        status_url: the same for what happens.
        recording_url: where recordings are told, here alone.
        twiml: what is said where it cannot be asked for.
    """
    asked = options.webhook_url or answer_url
    told = options.status_callback_url or status_url
    return CallOrder(
        to_number=call.to_number,
        from_number=call.from_number,
        answer_url=None if asked is None else with_attempt(asked, attempt_id),
        twiml=twiml if asked is None else None,
        status_url=None if told is None else with_attempt(told, attempt_id),
        ring_seconds=options.ring_seconds,
        limit_seconds=options.limit_seconds,
        detection=options.detection,
        record=options.record,
        recording_url=None if recording_url is None else with_attempt(recording_url, attempt_id),
    )


def _check_number(call: CallRow, tools: CallTools) -> None:
    """Refuse what is never called."""
    why = phone_numbers.refusal(call.to_number)
    if why is None and tools.strict:
        try:
            phone_numbers.check_valid(call.to_number)
        except InvalidArgument as error:
            why = str(error)
    if why is not None:
        tools.calls.close(call.id, "failed", why)
        raise PermanentError(f"The call was not made: {why}.")


def _wait_for_hours(request: QueueOutboundCall, tools: CallTools) -> Callable[[float], bool]:
    """Return what tells whether the call may ring in so many seconds, from whenever that is asked; it may now."""
    hours = request.calling_hours
    if hours is None:
        return lambda _: True
    asked, now = doubt.clock(), tools.calls.now()
    opens = _opens(hours, request, now)
    if opens is None:
        why = (
            "its calling hours never open in all zones where the number may be, or are no longer than it rings; "
            "give calling_hours a timezone"
        )
        tools.calls.close(tools.call_id, "failed", why)
        raise PermanentError(f"The call was not made: {why}.")
    if opens > now:
        raise Postponed("The call waits for its calling hours.", (opens - now).total_seconds())

    def may_ring(seconds: float) -> bool:
        moment = now + timedelta(seconds=doubt.clock() - asked + seconds)
        return _opens(hours, request, moment) == moment

    return may_ring


def _opens(hours: CallingHours, request: QueueOutboundCall, moment: datetime) -> datetime | None:
    zones = phone_numbers.zones(request.to_number)
    return next_open(hours, zones, moment, margin=ring_margin(request.ring_seconds))


def _refuse(call: CallRow, closed: Closed, tools: CallTools) -> None:
    if closed.why == "opted_out":
        tools.calls.close(call.id, "opted_out", "the number opted out")
        raise PermanentError("The call was not made: the number opted out; see remove_opt_out.")
    if closed.why == "cancelled":
        raise Cancelled("The task was cancelled.")
    raise Postponed(f"The call is {closed.why}.", PATIENCE_SECONDS)


def _dialled(
    request: QueueOutboundCall,
    call: CallRow,
    granted: Granted,
    tools: CallTools,
    report: Report,
    may_ring: Callable[[float], bool],
) -> CallPlaced:
    report(50, "is being made")
    try:
        dial(tools.line, granted, tools.content(call, granted.attempt_id), may_ring)
    except CallNotTaken as error:
        wait = min(LONGEST_REST_SECONDS, error.retry_after or PATIENCE_SECONDS)
        raise Postponed(str(error), wait) from error
    except CallInDoubt as error:
        raise EffectInDoubt(str(error), DOUBT_LOOK_SECONDS) from error
    except CallsHalted as error:
        if tools.last_attempt:
            tools.calls.close(call.id, "failed", str(error))
        raise
    return _ended(request, tools.calls.want(tools.call_id, call.to_number, call.from_number), tools)


def _ended(request: QueueOutboundCall, call: CallRow, tools: CallTools) -> CallPlaced:
    """Return what became of a call that was begun, also by a former run."""
    attempt = tools.calls.last_attempt(call.id)
    if attempt is None or attempt.state in {"not_taken", "void", "refused"}:
        raise PermanentError(f"The call was not made: {call.reason or call.state}.")
    if attempt.state == "ambiguous":
        raise EffectUnknown(f"It is not known whether the call was made: {call.reason}")
    if attempt.state in {"sending", "unknown"}:
        raise EffectInDoubt("It is not known yet whether the call was made.", DOUBT_LOOK_SECONDS)
    return CallPlaced(
        call_sid=attempt.call_sid,
        status=attempt.status or "queued",
        to_number=call.to_number,
        from_number=call.from_number,
        created_at=attempt.sending_at.isoformat(),
        metadata=request.call_metadata,
        task_id=call.id,
        warnings=list(tools.warnings),
    )
