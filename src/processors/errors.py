"""Every error of this project, in one tree.

WorkError
├── InvalidArgument (ValueError)      the caller gave something bad; nothing was queued
│   ├── UnknownQueue
│   ├── UnknownTaskName
│   ├── UnknownGroup (LookupError)
│   ├── UnknownSchedule (LookupError)
│   ├── UnknownKey (LookupError)
│   ├── UnknownWebhook (LookupError)
│   ├── CountChanged                  more tasks are meant than were confirmed
│   └── IdempotencyConflict           the key was given to a task with other arguments
├── ConfigurationError                a setting or the machine is not as it must be; stops the start
│   └── PermissionMissing (PermissionError)  the broker's user may not do what is needed
├── ServiceUnavailable                a part (database, broker) does not answer now
│   └── SubmitUnknown                 it is not known whether the record was written
├── TransientError                    try again, after `retry_after` seconds where the provider said so
│   ├── TransportFault                the way out is at fault (no connection, no login), not what is sent
│   │   └── TransportRests (Postponed)  it was asked to wait, and nobody goes that way until then
│   ├── ProviderFault                 a provider of AI does not answer as it should; `code` says how
│   └── Postponed                     it must wait for something else; waiting is no attempt
│       ├── EffectInDoubt             it is not known yet whether an effect happened
│       ├── TurnOver                  it has had its slot for long enough
│       └── ProviderBusy              a provider's limit, pause or refused key leaves no room now
├── PermanentError                    give up: trying again cannot help
│   ├── CodedError                    `code` says why, for programs
│   │   ├── FileError                 a file cannot be processed
│   │   └── AiError                   an AI request cannot be done
│   ├── WorkFailed                    the work ended, and nothing of it was done; carries the result
│   ├── NotAuthentic                  whoever says to have sent it has not, or not now
│   ├── EffectUnknown                 nobody can tell whether an effect happened; a person settles it
│   ├── TimeLimitExceeded
│   └── Quarantined
├── Cancelled                         the task was cancelled while it ran
└── ResultError                       what get_task_result raises
    ├── TaskTimeout (TimeoutError)
    ├── TaskFailed
    ├── TaskCancelled
    └── UnknownTask (LookupError)

A message is one sentence: what was wrong, what was given, how to cure it.
"""

from importlib import import_module
from typing import Any

LONGEST_MESSAGE = 1_000
"""Characters; a given value that is longer than a sentence can hold is shown by its beginning and its end."""

LONGEST_END = 300


class WorkError(Exception):
    """Root of all errors that this project raises on purpose."""


class InvalidArgument(WorkError, ValueError):
    """An argument is not acceptable; the message names it, what was given and what is accepted."""

    def __init__(self, message: object = "", *more: object) -> None:
        super().__init__(_shortened(str(message)), *more)


class UnknownQueue(InvalidArgument):
    """The queue's name is none of the service's queues."""


class UnknownTaskName(InvalidArgument):
    """No task of this name is registered in this process."""


class UnknownGroup(InvalidArgument, LookupError):
    """No group or chord with this id was ever submitted, or its records have been removed."""


class CountChanged(InvalidArgument):
    """More tasks are meant than were confirmed.

    Attributes:
        count: how many there are now.
    """

    def __init__(self, message: str, count: int) -> None:
        super().__init__(message)
        self.count = count


class UnknownView(InvalidArgument, LookupError):
    """Nobody has saved a view of this name."""


class UnknownKey(InvalidArgument, LookupError):
    """The API has no key with this id."""


class UnknownUser(InvalidArgument, LookupError):
    """The dashboard has no user of this name."""


class UnknownWebhook(InvalidArgument, LookupError):
    """No endpoint of webhooks has this id."""


class IdempotencyConflict(InvalidArgument):
    """The idempotency key was given to another method or other arguments before; `task_id` is that task's id."""

    def __init__(self, message: str, task_id: str = "") -> None:
        super().__init__(message)
        self.task_id = task_id


class UnknownSchedule(InvalidArgument, LookupError):
    """No schedule has this name."""


class ConfigurationError(WorkError):
    """A setting, or the machine, is not as it must be; the start stops with this one line."""


class PermissionMissing(ConfigurationError, PermissionError):
    """The broker's user may not do what is needed; what goes on without a broker takes it for one that is away."""


class ServiceUnavailable(WorkError):
    """A part that is needed (database, broker) does not answer now."""


class SubmitUnknown(ServiceUnavailable):
    """The commit's answer was lost and could not be read back; `task_id` tells which submit is in doubt."""

    def __init__(self, message: str, task_id: str = "") -> None:
        super().__init__(message)
        self.task_id = task_id


class TransientError(WorkError):
    """The work could not be done now; it is tried again within the retry figures.

    Args:
        message: one sentence.
        retry_after: seconds that the provider asked to wait; None leaves it to the back-off.
    """

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class TransportFault(TransientError):
    """The way out (a mail server's connection, its login) is at fault, not what was to be sent.

    Attributes:
        code: of the reply in which a server said so; None where nobody said anything.
        opening: whether it said so to a new connection, which may be one too many.
    """

    def __init__(
        self, message: str, retry_after: float | None = None, *, code: int | None = None, opening: bool = False
    ) -> None:
        super().__init__(message, retry_after)
        self.code = code
        self.opening = opening


class ProviderFault(TransientError):
    """A provider of AI does not answer as it should, now.

    Attributes:
        code: `provider_rate_limited`, `provider_auth` or `provider_unavailable`.
        charged: whether the request may cost something all the same: it was sent, and was not refused.
    """

    def __init__(self, message: str, code: str, retry_after: float | None = None, *, charged: bool = False) -> None:
        super().__init__(message, retry_after)
        self.code = code
        self.charged = charged


class Postponed(TransientError):
    """The work must wait for something else, and goes on after `retry_after` seconds; waiting is no attempt."""


class TurnOver(Postponed):
    """The work has had a slot for long enough, and goes on behind what waits in its queue."""


class TransportRests(TransportFault, Postponed):
    """The way out takes nothing for `retry_after` seconds: its server asked for that, or a rate is used up."""


class EffectInDoubt(Postponed):
    """It is not known yet whether an effect happened; the task looks again."""


class ProviderBusy(Postponed):
    """A provider of AI leaves no room now: its limit is used up, it asked for a pause, or it refuses the key."""


class PermanentError(WorkError):
    """The work cannot be done, now or later."""


class ArtefactGone(PermanentError):
    """Nothing is in the storage at an address: it never was, or it was removed with the last task that had it."""


class CodedError(PermanentError):
    """The work cannot be done, and programs are told why.

    Attributes:
        code: one of the stable codes of the result envelope, e.g. `not_found`, `encrypted`, `context_too_long`.
    """

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


class FileError(CodedError):
    """A file cannot be processed."""

    def __init__(self, message: str, code: str = "corrupt") -> None:
        super().__init__(message, code)


class AiError(CodedError):
    """An AI request cannot be done.

    Attributes:
        charged: whether it may cost something all the same: it was answered, and the answer is none.
    """

    def __init__(self, message: str, code: str, *, charged: bool = False) -> None:
        super().__init__(message, code)
        self.charged = charged


class WorkFailed(PermanentError):
    """The work ended and nothing of it was done; `result` is what a success would have returned."""

    def __init__(self, message: str, result: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.result = result or {}


class NotAuthentic(PermanentError):
    """A message from outside is not signed by whom it says to come from, is too old, or was sent again by another."""


class EffectUnknown(PermanentError):
    """Nobody can tell whether an effect happened; it is not repeated, and waits for a person to settle it."""


class TimeLimitExceeded(PermanentError):
    """The task ran longer than its time limit."""


class Quarantined(PermanentError):
    """The task killed its worker too often and is not started again."""


class Cancelled(WorkError):
    """The task was cancelled while it ran."""


class ResultError(WorkError):
    """Root of what `get_task_result` raises."""


class TaskTimeout(ResultError, TimeoutError):
    """The task had no result yet when the time was over; it goes on."""


class TaskFailed(ResultError):
    """The task failed.

    Attributes:
        result: what `info` of its status holds: `error`, `error_type` and, where there is one, the result's keys.
        error_type: the class name of the error.
        traceback: its text, or None.
    """

    def __init__(
        self,
        message: str,
        result: dict[str, Any] | None = None,
        error_type: str = "",
        traceback: str | None = None,
    ) -> None:
        super().__init__(message)
        self.result = result or {}
        self.error_type = error_type
        self.traceback = traceback


class TaskCancelled(ResultError):
    """The task was cancelled and has no result."""


class UnknownTask(ResultError, LookupError):
    """No task with this id was ever submitted, or its record has been removed."""


def _shortened(message: str) -> str:
    if len(message) <= LONGEST_MESSAGE:
        return message
    redaction = import_module("processors.redaction")  # not above: that one raises these errors
    message = str(redaction.redact_text(message))  # whole: a cut might leave a secret without its name
    if len(message) <= LONGEST_MESSAGE:
        return message
    return f"{message[: LONGEST_MESSAGE - LONGEST_END - 3]} … {message[-LONGEST_END:]}"
