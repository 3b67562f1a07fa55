"""What becomes of a call after an attempt: done, over, or tried again where somebody set that."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from processors.call_errors import BY_CODE
from processors.call_interfaces import CallNext, EndedAttempt, Unsaid
from processors.results import Request

BAD_NUMBER = frozenset({404, 410, 484, 604})
REFUSED = frozenset({603, 607, 608})
"""Codes of SIP (RFC 3261, 8197, 8688) after which nobody calls again: no such number; it wants no such call."""

PASSING = frozenset({408, 480, 500, 502, 503, 504})
MOST_AFTER_FAILURE, MOST_AFTER_PASSING = 2, 3
"""Calls in all where a network, not a person, was at fault; more where it said that this passes."""

LONGEST_HALT_SECONDS = 86_400.0
"""So long a call waits for a way out that takes nothing."""

VOID_WAIT_SECONDS = 1.0
MOST_UNKNOWN = 3
"""A campaign's member is failed after so many refusals that nobody knows: they may be a fault of ours, which refuses
all, stops the campaign, and is mended."""


UNSAID: Mapping[Unsaid, str] = {
    "opted_out": "the number opted out while it rang, and whoever answered was told nothing",
    "cancelled": "it was cancelled while it rang, and whoever answered was told nothing",
}


class RetryPolicy(Request):
    """When a member of a campaign is called again.

    Attributes:
        max_attempts: calls in all; 1: nobody is called again.
        busy_seconds, no_answer_seconds, failed_seconds: until the next one.
        machine: what a machine that answers is: the end, or one more attempt.
    """

    max_attempts: int = Field(default=1, ge=1, le=10)
    busy_seconds: float = Field(default=600.0, ge=1, le=604_800, allow_inf_nan=False)
    no_answer_seconds: float = Field(default=3_600.0, ge=1, le=604_800, allow_inf_nan=False)
    failed_seconds: float = Field(default=600.0, ge=1, le=604_800, allow_inf_nan=False)
    machine: Literal["done", "retry"] = "done"


def what_next(ended: EndedAttempt, campaign: Mapping[str, Any] | None) -> CallNext:
    """Return what becomes of a call.

    Args:
        ended: its last attempt.
        campaign: the arguments of its campaign; None for a single call, which is never tried again by itself.
    """
    policy = RetryPolicy.model_validate((campaign or {}).get("retry") or {})
    if ended.state != "ended":
        return _without_call(ended, policy, single=campaign is None)
    if ended.unsaid is not None:
        return CallNext(ended.unsaid, UNSAID[ended.unsaid], outcome="unsaid")
    outcome = outcome_of(ended)
    if outcome == "answered":
        return CallNext("done", "answered", outcome=outcome)
    if outcome == "machine":
        again = policy.machine == "retry" and ended.attempts < min(2, policy.max_attempts)
        wait = policy.no_answer_seconds
        return CallNext("waiting" if again else "done", "a machine answered", wait, outcome)
    if ended.asked_to_end:
        return CallNext("cancelled", "it was ended before anybody answered", outcome=outcome)
    return _not_reached(ended, outcome, policy)


def outcome_of(ended: EndedAttempt) -> str:
    """Return in a word how a call ended."""
    if ended.status != "completed":
        return ended.status or "failed"
    by = ended.answered_by or ""
    return "machine" if by.startswith("machine") or by == "fax" else "answered"


def _without_call(ended: EndedAttempt, policy: RetryPolicy, *, single: bool) -> CallNext:
    if ended.state == "refused":
        if not single and ended.error_code not in BY_CODE and ended.refusals < MOST_UNKNOWN:
            why = ended.error or "the provider refused it, and nobody knows why"
            return CallNext("waiting", why, policy.failed_seconds, "refused", counted=False)
        again = _may_pass(ended.error_code) and ended.attempts < min(2, policy.max_attempts)
        reason = ended.error or "the provider refused the number"
        return CallNext("waiting" if again else "failed", reason, policy.failed_seconds, "refused")
    if ended.state == "ambiguous":
        return CallNext("ambiguous", ended.error or "nobody knows whether it was called", outcome="ambiguous")
    if ended.untaken_seconds >= LONGEST_HALT_SECONDS and not _is_ours(ended.error_code):
        return CallNext("failed", ended.error or "no call could be made for a day", outcome=ended.state)
    return CallNext("waiting", ended.error or "the provider made no call", VOID_WAIT_SECONDS)


def _may_pass(code: int | None) -> bool:
    """Tell whether a refusal may be a carrier's fault, so that one later attempt may go through."""
    found = None if code is None else BY_CODE.get(code)
    return found is not None and found.retry_once


def _is_ours(code: int | None) -> bool:
    """Tell whether an attempt was halted for all numbers: whoever is to be called is not at fault."""
    found = None if code is None else BY_CODE.get(code)
    return code is not None and not (found and found.country)


def _not_reached(ended: EndedAttempt, outcome: str, policy: RetryPolicy) -> CallNext:
    sip = "" if ended.sip_code is None else f" (SIP {ended.sip_code})"
    reason = f"{outcome.replace('-', ' ')}{sip}"
    if ended.sip_code in BAD_NUMBER | REFUSED:
        return CallNext("failed", reason, outcome=outcome)
    if ended.attempts < _most_attempts(ended, outcome, policy):
        waits = {"busy": policy.busy_seconds, "no-answer": policy.no_answer_seconds}
        return CallNext("waiting", reason, waits.get(outcome, policy.failed_seconds), outcome)
    return CallNext("exhausted" if policy.max_attempts > 1 else "failed", reason, outcome=outcome)


def _most_attempts(ended: EndedAttempt, outcome: str, policy: RetryPolicy) -> int:
    if outcome != "failed":
        return policy.max_attempts
    return min(policy.max_attempts, MOST_AFTER_PASSING if ended.sip_code in PASSING else MOST_AFTER_FAILURE)
