"""What calls need from outside, as small protocols: a provider of phone calls, and what it says."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol

from processors.errors import PermanentError, TransientError, TransportFault, WorkError

MemberState = Literal[
    "pending", "done", "failed", "exhausted", "invalid", "duplicate", "opted_out", "excluded", "expired", "cancelled",
    "ambiguous",
]  # fmt: skip
"""Where a campaign's member stands; `pending`, or how it ended."""

Unsaid = Literal["opted_out", "cancelled"]
"""Why whoever answers is told nothing: the number opted out while it rang; the call, or its campaign, was cancelled."""

Detection = Literal["ignore", "hang_up", "leave_message"]
"""What is done where a machine answers: nothing is asked; the call ends; the message is left after the tone."""

GIVEN_UP = ("void", "not_taken", "refused")
"""States of an attempt of which everybody here believes that it made no call: another one may be on its way."""


class CallRefused(PermanentError):
    """The provider made no call, and will make none to this number.

    Attributes:
        code: the provider's own code, or the HTTP status where it gave none.
        retry_once: whether one later attempt may go through.
        known: whether the code is known to be about the number.
    """

    def __init__(self, message: str, code: int, *, retry_once: bool = False, known: bool = True) -> None:
        super().__init__(message)
        self.code = code
        self.retry_once = retry_once
        self.known = known


class CallsHalted(TransportFault):
    """The provider made no call, and will make none for anybody: an account, a number or a setting of ours is at fault.

    Attributes:
        code: the provider's own code, or the HTTP status.
        country: where it holds for calls to one country only (geographic permissions): the digits with which its
            numbers begin, the calling code, or within +1, which several countries share, with the area code.
    """

    def __init__(self, message: str, code: int, *, country: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.country = country


class CallNotTaken(TransientError):
    """The provider made no call now: too many requests, too many live calls, or it was never reached.

    Attributes:
        too_many_live: whether the account has as many live calls as it may.
    """

    def __init__(self, message: str, retry_after: float | None = None, *, too_many_live: bool = False) -> None:
        super().__init__(message, retry_after)
        self.too_many_live = too_many_live


class CallInDoubt(WorkError):
    """The request was sent, and nobody knows whether there is a call: the answer was lost, or says neither."""


class CallNotFound(PermanentError):
    """The provider knows no such call, now: one that was made a moment ago may not be visible yet."""


@dataclass(frozen=True, slots=True)
class CallOrder:
    """What a provider is asked to do.

    Attributes:
        to_number, from_number: in E.164 form.
        answer_url: where the provider asks what is said once somebody answers; None where `twiml` says it.
        twiml: what is said, at most 4000 characters; None where it is asked for.
        status_url: where each step is told; None where the provider is asked instead.
        ring_seconds: how long it rings.
        limit_seconds: how long the call lasts at most, from the answer on.
        detection: whether a machine is told from a person.
        detection_url: where that is told while the call goes on; None: before anything is said.
        record: whether it is recorded.
        recording_url: where the recording is told.
        send_digits: keys that are pressed once it is connected.
    """

    to_number: str
    from_number: str
    answer_url: str | None = None
    twiml: str | None = None
    status_url: str | None = None
    ring_seconds: int = 30
    limit_seconds: int = 3600
    detection: Detection = "ignore"
    detection_url: str | None = None
    record: bool = False
    recording_url: str | None = None
    send_digits: str | None = None


@dataclass(frozen=True, slots=True)
class PlacedCall:
    """The provider's answer to an order.

    Attributes:
        sid: its name for the call.
        status: such as `queued`.
        queue_seconds: how long it keeps the call before it rings.
    """

    sid: str
    status: str
    queue_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class CallSeen:
    """A call as the provider knows it; what it does not say is None.

    Attributes:
        status: `queued`, `ringing`, `in-progress`, `completed`, `busy`, `failed`, `no-answer` or `canceled`.
        direction: `outbound-api`, `inbound`, …
        duration_seconds: from the answer to the end.
        price: what it cost, as a decimal text of `price_unit`.
    """

    sid: str
    status: str
    to_number: str = ""
    from_number: str = ""
    direction: str = ""
    created_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    duration_seconds: int | None = None
    answered_by: str | None = None
    price: str | None = None
    price_unit: str | None = None


class VoiceProvider(Protocol):
    """Makes phone calls. No method waits longer than its deadline.

    Attributes:
        account: whose calls these are; limits and pace are the account's.
        deadline: seconds by which a request has ended, whatever the other side does.
    """

    account: str
    deadline: float

    def create_call(self, order: CallOrder) -> PlacedCall:
        """Make one call, by exactly one request that is never repeated.

        Raises:
            CallRefused: there is no call, and there will be none to this number.
            CallsHalted: there is no call, and there will be none until somebody mends a setting or the account.
            CallNotTaken: there is no call; another attempt may make one, after `retry_after` seconds where told.
            CallInDoubt: nobody knows whether there is a call; so it is with any other error that is none of these.
        """
        ...

    def fetch_call(self, sid: str) -> CallSeen:
        """Return what the provider knows of a call.

        Raises:
            CallNotFound: it knows none, now.
            CallsHalted: our login is refused.
            TransientError: later.
        """
        ...

    def list_calls(self, *, to_number: str, from_number: str, limit: int = 100) -> Sequence[CallSeen]:
        """Return the calls between two numbers, the newest first; those that wait in its queue are among them.

        Raises:
            CallsHalted: our login is refused.
            TransientError: later.
        """
        ...

    def end_call(self, sid: str) -> CallSeen:
        """End a call that is live, also one that rings or waits; one that has ended is returned as it is.

        Raises:
            CallNotFound: it knows none, now.
            CallsHalted: our login is refused.
            TransientError: later.
        """
        ...

    def is_authentic(self, url: str, form: Sequence[tuple[str, str]] | bytes, signature: str) -> bool:
        """Tell whether a message to us was signed by the provider; False for anything that cannot be read.

        Args:
            url: as the provider has it: scheme, host, path and raw query, without a fragment.
            form: the fields of a form, blanks kept; or the body of one that is no form.
            signature: as it came; empty where there was none.
        """
        ...


@dataclass(frozen=True, slots=True)
class CallRow:
    """A call that is wanted, as it is remembered.

    Attributes:
        id: the task's; of a campaign's member `<campaign>:<position>`.
        campaign_id: whose member it is; None for a single call.
        state: `waiting`, `dialing`, or how it ended.
        attempts: how often it was made, or may have been.
        reason: why it waits or ended so.
        outcome: what became of the last attempt.
    """

    id: str
    campaign_id: str | None
    to_number: str
    from_number: str
    state: str
    attempts: int
    reason: str | None = None
    outcome: str | None = None


@dataclass(frozen=True, slots=True)
class AttemptRow:
    """One order to a provider, as it is remembered.

    Attributes:
        id: random; it stands in the addresses that the provider is given.
        state: `sending`, `unknown`, `placed` (these are live), `ended`, `refused`, `not_taken`, `void`, `ambiguous`.
        sending_at: when it was kept, just before the order.
        settled: whether nothing of the order can still be going on, so that the provider's lists decide.
        looks: how often the provider was asked what became of it.
        past_limit: whether the call has lasted, or rung, longer than it may.
    """

    id: str
    call_id: str
    campaign_id: str | None
    account: str
    to_number: str
    from_number: str
    state: str
    sending_at: datetime
    call_sid: str | None
    status: str | None
    settled: bool
    looks: int
    past_limit: bool


@dataclass(frozen=True, slots=True)
class Gate:
    """What bounds the calls of an account, or of a campaign.

    Attributes:
        key: `account:<sid>` or `campaign:<id>`.
        gap_seconds: the least time between two orders; where there are several at once, their usual time.
        most_live: live calls at any moment; None: no bound.
        at_once: never more orders than so many in as many gaps; up to that, orders make up for what was late.
    """

    key: str
    gap_seconds: float
    most_live: int | None
    at_once: int = 1


@dataclass(frozen=True, slots=True)
class Granted:
    """An attempt may be made, now: it is kept as `sending`.

    Attributes:
        began: when that was asked for, by `doubt.clock`.
    """

    attempt_id: str
    began: float


@dataclass(frozen=True, slots=True)
class NoRoom:
    """No attempt may be made now.

    Attributes:
        why: `pace`, `live`, `number` (somebody is calling it), `halted`, `attempts` (of that number in these days).
        wait: seconds until it is worth asking again.
        text: what a halted way out said.
        prefix: with which the numbers begin that it goes to.
    """

    why: str
    wait: float
    text: str = ""
    prefix: str = ""


@dataclass(frozen=True, slots=True)
class Closed:
    """No attempt may be made at all: what for: `cancelled`, `opted_out`, `paused`, or the call's own state."""

    why: str


@dataclass(frozen=True, slots=True)
class NextCall:
    """What a campaign is to do now.

    Attributes:
        call: the one that is due; None where none is.
        wait: seconds until another one is due; None where none waits.
        open: whether any of its calls has not ended.
        live: whether any of its attempts is live.
        now: by the clock that decides.
    """

    call: CallRow | None
    wait: float | None
    open: bool
    live: bool
    now: datetime


@dataclass(frozen=True, slots=True)
class EndedAttempt:
    """How an attempt ended.

    Attributes:
        state: `ended`, `refused`, `not_taken`, `void` or `ambiguous`.
        status: the provider's last one, where there was a call.
        attempts: of its call, this one counted where it may have rung.
        untaken_seconds: for how long there have been nothing but attempts for which there was no call.
        asked_to_end: whether somebody here asked for its end.
        heard: keys and speech of whoever answered, in their order.
        unsaid: why whoever answered was told nothing; None where that was not so.
        refusals: how many attempts of its call were refused, this one counted; known where it was.
    """

    state: str
    status: str | None
    attempts: int
    untaken_seconds: float
    answered_by: str | None = None
    duration_seconds: int | None = None
    sip_code: int | None = None
    error_code: int | None = None
    error: str | None = None
    asked_to_end: bool = False
    heard: Sequence[Mapping[str, Any]] = ()
    unsaid: Unsaid | None = None
    refusals: int = 0


@dataclass(frozen=True, slots=True)
class CallNext:
    """What becomes of a call after an attempt.

    Attributes:
        state: `waiting` for another attempt, or how the call ends.
        reason: for people.
        wait: seconds until the next attempt.
        outcome: of the attempt, in a word: `answered`, `machine`, `unsaid`, `busy`, `no-answer`, `failed`, …
        counted: whether the attempt is one of those that a call may have.
    """

    state: str
    reason: str
    wait: float = 0.0
    outcome: str | None = None
    counted: bool = True
