"""Bulk mail: a parent whose members are mails, sent in small parts that may run again."""

import hashlib
import json
import math
import time
from bisect import bisect_right
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, cast

from pydantic import Field, ValidationError, field_validator

from processors.addresses import parse
from processors.bulk_items import MAX_BULK_BYTES, items_of, kind_of
from processors.email_delivery import Batch, Brake, MailInHand, Post
from processors.emails import Mail, SendEmail
from processors.errors import EffectInDoubt, InvalidArgument, Postponed, TransientError, TransportFault, TransportRests
from processors.interfaces import EndedPart, Member, MemberEnd, Members, Pauses, Report
from processors.results import Request, Result, sentence_of

MAX_ITEM_BYTES = 1_000_000
ITEM_KEYS = frozenset(Mail.model_fields)
ROLES = ("to_email", "cc", "bcc")
ITEM_REQUIRED = ("to_email", "subject", "body")
TEMPLATE_REQUIRED = ("to_email",)
LONG_CHARACTERS = 256
"""A text at least so long that is the first item's, too, is looked at once."""

LISTED_FAILURES = 1_000
COUNTED = (
    "sent", "deferred", "refused", "invalid", "duplicate", "suppressed", "skipped", "expired", "cancelled", "unknown",
)  # fmt: skip
LISTED_STATES = ("deferred", "refused", "invalid", "skipped", "unknown")
FAILED_STATES = ("deferred", "refused", "invalid", "unknown")

NOT_TO_BE_MAILED = ("duplicate", "suppressed", "skipped")
"""Who was left out on purpose: no failure of the bulk."""

LOOKED_BACK = 200
"""Mails whose failures are counted: the last ones that ended."""

FAILURES = frozenset({"refused", "unknown"})
"""What counts against a bulk: a server's word, or its silence; a bad address reaches no server."""

LOOK_SECONDS = 1.0
"""How often a run asks whether its bulk was paused."""

Resendable = Literal["deferred", "refused", "invalid", "skipped", "expired", "cancelled", "unknown"]
RESENT: tuple[Resendable, ...] = ("cancelled", "deferred", "expired", "refused")
"""What is sent again unless one says otherwise: no server took it."""


class SendBulkEmails(Request):
    """The figures of a bulk; its mails are rows.

    Attributes:
        max_failure_rate: the part of the last 200 mails from which on the bulk pauses itself; 1 for never.
        resent: the states of another bulk's mails that this one sends again.
    """

    batch_size: int = Field(default=50, ge=1, le=1_000)
    delay_between_batches: float = Field(default=1.0, ge=0, le=86_400, allow_inf_nan=False)
    max_failure_rate: float = Field(default=0.2, ge=0, le=1, allow_inf_nan=False)
    resent: list[str] | None = None


class SendBatch(Request):
    """A part of a bulk: the members at positions first .. first + count - 1."""

    bulk_id: str
    first: int
    count: int
    max_failure_rate: float = 1.0


class ResendFailed(Request):
    """Which of an ended bulk's mails are sent again."""

    states: Annotated[list[Resendable], Field(strict=False, min_length=1)] = list(RESENT)

    @field_validator("states")
    @classmethod
    def _once(cls, value: list[Resendable]) -> list[Resendable]:
        return sorted(set(value))


class BulkEmailsSent(Result):
    """What became of a bulk; `total` is the sum of the counters."""

    status: Literal["completed", "completed_with_failures", "failed", "cancelled"]
    bulk_id: str
    total: int
    batches: int
    sent: int = 0
    deferred: int = 0
    refused: int = 0
    invalid: int = 0
    duplicate: int = 0
    skipped: int = 0
    suppressed: int = 0
    expired: int = 0
    cancelled: int = 0
    unknown: int = 0
    pending: int = 0
    by_code: dict[str, int] = {}
    failures: list[dict[str, Any]] = []
    failures_truncated: bool = False
    duration_s: float = Field(ge=0)
    per_second: float = Field(ge=0)

    def failure(self) -> str | None:
        """Nothing was sent, and not because nobody was to be mailed."""
        return None if self.status != "failed" else f"None of the {self.total} mails was sent."


def check_bulk(emails: Any) -> Iterator[dict[str, Any]]:
    """Check the items of a bulk and return them as rows; an item that is an earlier mail to the same people is marked.

    A bad address is its item's outcome, later; anything else that is wrong refuses the bulk.

    Raises:
        InvalidArgument: at the first bad item, named by its place; or the whole is too much.
    """
    return _checked_items(items_of("emails", emails, "dict", "mails"))


class BulkBrake:
    """Stops a bulk's mails where it is paused, and pauses it where too many of the last ones failed.

    Args:
        bulk_id: the bulk.
        rate: the part of the last `LOOKED_BACK` mails that may fail.
        pauses: pauses it.
        last: the states of those that ended last, the last one first.
        clock: seconds.
    """

    def __init__(
        self,
        bulk_id: str,
        rate: float,
        pauses: Pauses,
        last: Sequence[str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._bulk_id = bulk_id
        self._rate = rate
        self._pauses = pauses
        self._failed = deque((state in FAILURES for state in reversed(last)), LOOKED_BACK)
        self._clock = clock
        self._looked_at = -math.inf
        self._pulled = False

    def pulled(self) -> bool:
        """Tell whether the bulk is paused; asks at most once a second."""
        if not self._pulled and self._clock() - self._looked_at >= LOOK_SECONDS:
            self._looked_at = self._clock()
            self._pulled = self._pauses.paused(self._bulk_id)
        return self._pulled

    def note(self, states: Sequence[str]) -> None:
        """Count a mail, and pause the bulk where too many failed."""
        self._failed.append("accepted" not in states and not FAILURES.isdisjoint(states))
        failed = sum(self._failed)
        if not self._pulled and len(self._failed) == LOOKED_BACK and failed > self._rate * LOOKED_BACK:
            why = f"{failed} of the last {LOOKED_BACK} mails were refused or are unknown"
            self._pauses.pause(self._bulk_id, f"{why}; max_failure_rate is {self._rate:g}.")
            self._pulled = True


def deliver_batch(
    request: SendBatch, members: Members, post: Post, report: Report, brake: Brake | None = None
) -> dict[str, int]:
    """Send a part of a bulk; members that are done are passed over, so that it may run again.

    Returns:
        How many ended in each state.

    Raises:
        Postponed: a server put some off, and their rows say when they are tried again; or the bulk is paused.
        TransientError: the transport is at fault, or a mail cannot be composed now; what was not sent stays open,
            unless this is the last attempt.
        EffectInDoubt: a former run may still be sending one; all others are done.
    """
    waiting = members.waiting(request.bulk_id, request.first, request.count)
    checked = [(member.position, _checked_member(member)) for member in waiting]
    ends = [one for _, one in checked if isinstance(one, MemberEnd)]
    requests = [(position, one) for position, one in checked if isinstance(one, SendEmail)]
    batch = Batch(post, requests, report, len(requests), brake)
    try:
        fault = _sent(batch, last=post.last_attempt)
    finally:
        ends += [end for mail in batch.mails.values() if (end := _end_of(batch, mail, last=post.last_attempt))]
        post.persist(lambda: members.close_all(request.bulk_id, ends, post.run))
    open_mails = [mail for mail in batch.mails.values() if mail.error is None and mail.wait() is not None]
    put_off = [wait for mail in open_mails if (wait := mail.wait()) and not mail.untried()]
    error = fault or next((mail.error for mail in batch.mails.values() if isinstance(mail.error, TransientError)), None)
    if error is not None and (not post.last_attempt or isinstance(error, TransportRests)):
        raise error
    done = {end.position for end in ends}
    left = [position for position, _ in requests if position not in done]
    if left and brake is not None and brake.pulled():
        raise Postponed("The bulk is paused.", 0.0)
    if fault is not None and not put_off:
        batch.give_up(str(fault))
        given_up = [end for position in left if (end := _given_up(batch, position, str(fault)))]
        post.persist(lambda: members.close_all(request.bulk_id, given_up, post.run))
        ends += given_up
        done |= {end.position for end in given_up}
        put_off = [wait for mail in open_mails if mail.position not in done and (wait := mail.wait())]
    if put_off:
        raise _postponed([mail for mail in open_mails if mail.position not in done], min(put_off))
    if fault is None and any(mail.untried() for mail in open_mails):
        raise TransientError("Some mails were not sent, and no reason was given; they are tried again.")
    return dict(Counter(end.state for end in ends))


def ends_of_left(left: Sequence[tuple[int, str | None]], parts: Sequence[EndedPart]) -> list[MemberEnd]:
    """Return what became of the members that no task has ended.

    Args:
        left: their positions, and what is known of their mails: `accepted`, `unknown`, `duplicate`, or None where none
            went out.
        parts: the tasks that ended without success.
    """
    ordered = sorted(parts, key=lambda part: part.first)
    starts = [part.first for part in ordered]

    def part_of(at: int) -> EndedPart | None:
        before = bisect_right(starts, at)
        part = ordered[before - 1] if before else None
        return part if part is not None and at < part.first + part.count else None

    return [_end_of_left(at, known, part_of(at)) for at, known in left]


def bulk_progress(tally: Mapping[str, int], put_off: int, per_second: float) -> dict[str, Any]:
    """Return how far a bulk is.

    Args:
        tally: how many members stand in each state.
        put_off: how many of those that wait were put off by their server.
        per_second: how many are sent a second, of late.
    """
    waiting, total = tally.get("waiting", 0), sum(tally.values())
    return {
        "done": total - waiting,
        "total": total,
        "sent": tally.get("sent", 0),
        "failed": sum(tally.get(state, 0) for state in FAILED_STATES),
        "deferred": put_off,
        "per_second": round(per_second, 1),
        "eta_s": math.ceil(waiting / per_second) if per_second else None,
    }


def counted_by_code(ends: Iterable[MemberEnd]) -> dict[str, int]:
    """Return how many mails that were not sent have which reply, with its enhanced code; without one, which state."""
    return dict(Counter(_code_of(end.state, end.outcome or {}) for end in ends))


def conclude_bulk(
    *,
    tally: Mapping[str, int],
    by_code: Mapping[str, int],
    failures: Sequence[Mapping[str, Any]],
    seconds: float,
    bulk_id: str,
    batch_size: int,
    cancelled: bool = False,
) -> BulkEmailsSent:
    """Add up the members of a bulk, as a whole or where it was cancelled.

    Args:
        tally: how many members stand in each state.
        by_code: what `counted_by_code` tells of all in `LISTED_STATES`.
        failures: the first of these, as rows.
        seconds: since it was submitted.
        bulk_id: the bulk.
        batch_size: how many mails one task had.
        cancelled: whether it was.
    """
    total = sum(tally.values())
    sent = tally.get("sent", 0)
    listed = [_listed(row) for row in failures[:LISTED_FAILURES]]
    bad = total - sent - sum(tally.get(state, 0) for state in NOT_TO_BE_MAILED)
    ended = "completed" if not bad else "completed_with_failures" if sent else "failed"
    return BulkEmailsSent(
        status="cancelled" if cancelled else ended,
        bulk_id=bulk_id,
        total=total,
        batches=math.ceil(total / batch_size),
        **{state: tally.get(state, 0) for state in COUNTED},
        pending=tally.get("waiting", 0),
        by_code=dict(by_code),
        failures=listed,
        failures_truncated=sum(tally.get(state, 0) for state in LISTED_STATES) > len(listed),
        duration_s=max(0.0, round(seconds, 3)),
        per_second=round(sent / seconds, 3) if seconds > 0 else 0.0,
    )


def _sent(batch: Batch, *, last: bool) -> TransportFault | None:
    """Send a batch; returns the fault that ended it."""
    try:
        batch.send()
    except TransportFault as fault:
        if last and not isinstance(fault, TransportRests):
            batch.look_at_all()  # what no run came to may have reached somebody, too, or wait for its own time
        return fault
    return None


def _checked_member(member: Member) -> SendEmail | MemberEnd:
    """Return a member's mail, or its end where there is none to be sent."""
    if "duplicate_of" in member.arguments:
        return MemberEnd(member.position, "duplicate", {"duplicate_of": member.arguments["duplicate_of"]})
    try:
        return SendEmail.model_validate(member.arguments)
    except ValidationError as error:
        return MemberEnd(member.position, "invalid", {"text": sentence_of(error)})


def _end_of_left(position: int, known: str | None, part: EndedPart | None) -> MemberEnd:
    """Return the end of a member that no task has ended: what is known of its mail counts before the task's end."""
    if known == "duplicate":
        return MemberEnd(position, known, None)
    if known is not None:
        return MemberEnd(position, "sent" if known == "accepted" else "unknown", {"text": "Its task ended before it."})
    if part is None or part.fate != "failed":
        return MemberEnd(position, part.fate if part else "cancelled", None)
    return MemberEnd(position, "deferred", {"text": part.error})


def _end_of(batch: Batch, mail: MailInHand, *, last: bool) -> MemberEnd | None:
    """Return the end of a member whose mail is done; None for one that is still open."""
    if isinstance(mail.error, TransientError) and not last:
        return None
    if mail.error is not None:
        state = "deferred" if isinstance(mail.error, TransientError) else "invalid"
        return MemberEnd(mail.position, state, {"text": str(mail.error)})
    if mail.wait() is not None:
        return None
    sent = batch.summary(mail)
    states = {"sent": "sent", "partial": "sent", "failed": "refused" if sent.refused else "invalid"}
    return MemberEnd(mail.position, states.get(sent.status, sent.status), sent.as_json())


def _given_up(batch: Batch, position: int, why: str) -> MemberEnd | None:
    """Return the end of a member that the transport did not let out; one that somebody has is not sent again.

    None where a server has put somebody else of it off.
    """
    mail = batch.mails[position]
    if mail.has_reached_somebody() or mail.wait() is not None:
        return _end_of(batch, mail, last=True)
    return MemberEnd(position, "deferred", {"text": why})


def _postponed(mails: Sequence[MailInHand], wait: float) -> Postponed:
    """Return the error that lets a batch go on later."""
    if any(mail.rest > 0 for mail in mails):
        return EffectInDoubt("It is not known yet whether a mail arrived: a former run may still be sending it.", wait)
    return Postponed(f"{len(mails)} mails were put off by their server.", wait)


def _checked_items(items: Sequence[Any]) -> Iterator[dict[str, Any]]:
    seen: dict[bytes, int] = {}
    long: dict[str, str] = {}
    lengths: dict[str, int] = {}
    size = 0
    for index, given in enumerate(items):
        item = _checked_item(index, given)
        if index == 0:
            long = {key: text for key, text in item.items() if key not in ROLES and _is_long(text)}
            lengths = {key: len(json.dumps({key: text})) for key, text in long.items()}
        same = [key for key, text in long.items() if item.get(key) == text]
        people = {role: item[role] for role in ROLES if role in item}
        own = {key: value for key, value in item.items() if key not in people and key not in same}
        content = json.dumps(own, sort_keys=True)
        length = len(content) + len(json.dumps(people)) + sum(lengths[key] for key in same)
        size += length
        if length > MAX_ITEM_BYTES or size > MAX_BULK_BYTES:
            what = f"item {index} has {length} bytes" if length > MAX_ITEM_BYTES else f"{size} bytes at item {index}"
            raise InvalidArgument(
                f"emails: at most {MAX_ITEM_BYTES} bytes an item and {MAX_BULK_BYTES} in all; got {what}."
            )
        identity = content + json.dumps([same, *(_mailboxes(people.get(role)) for role in ROLES)])
        first = seen.setdefault(hashlib.sha256(identity.encode()).digest()[:16], index)
        yield item if first == index else {**item, "duplicate_of": first}


def _is_long(value: Any) -> bool:
    return isinstance(value, str) and len(value) >= LONG_CHARACTERS


def _mailboxes(given: str | Sequence[str] | None) -> list[str]:
    """Return recipients without what does not make them others: names, capital letters, and being alone in a list."""
    return [_mailbox(text) for text in ([given] if isinstance(given, str) else given or [])]


def _mailbox(text: str) -> str:
    try:
        return parse(text).addr_spec.lower()
    except ValueError:
        return text


def _checked_item(index: int, item: Any) -> dict[str, Any]:
    if not isinstance(item, Mapping):
        raise InvalidArgument(f"emails[{index}]: must be a dict; got {kind_of(item)}.")
    fields = cast("Mapping[str, Any]", item)
    required = TEMPLATE_REQUIRED if "template" in fields else ITEM_REQUIRED
    unknown, missing = set(fields) - ITEM_KEYS, [key for key in required if key not in fields]
    if unknown or missing:
        instead = "" if "template" in fields or missing[:1] == ["to_email"] else " and no 'template' that makes it"
        problem = f"unknown key {min(map(str, unknown))!r}" if unknown else f"no {missing[0]!r}{instead}"
        raise InvalidArgument(f"emails[{index}]: {problem}; the keys are {', '.join(sorted(ITEM_KEYS))}.")
    try:
        return Mail.model_validate(dict(fields)).model_dump(exclude_unset=True)
    except ValidationError as error:
        raise InvalidArgument(f"emails[{index}]: {sentence_of(error)}.") from error


def _first_refusal(outcome: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a server said of the first recipient that it did not take; nothing where it said nothing."""
    refusals: dict[str, Any] = {**outcome.get("refused", {}), **outcome.get("deferred", {})}
    return next(iter(refusals.values()), dict[str, Any]())


def _code_of(state: str, outcome: Mapping[str, Any]) -> str:
    first = _first_refusal(outcome)
    return " ".join(str(part) for part in (first.get("code"), first.get("enhanced")) if part) or state


def _listed(row: Mapping[str, Any]) -> dict[str, Any]:
    outcome = cast("Mapping[str, Any]", row["outcome"] or {})
    first = _first_refusal(outcome)
    left_out = {**outcome.get("invalid", {}), **outcome.get("skipped", {})}
    text = first.get("text") or outcome.get("text") or next(iter(left_out.values()), "")
    return {
        "index": row["position"],
        "email": row["arguments"].get("to_email"),
        "state": row["state"],
        "code": first.get("code"),
        "text": text,
    }
