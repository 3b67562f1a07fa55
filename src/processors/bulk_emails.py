"""Bulk mail: a parent whose members are mails, sent in small parts that may run again."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, cast

from pydantic import Field, ValidationError

from processors.bulk_items import MAX_BULK_BYTES, items_of, kind_of
from processors.email_delivery import Batch, MailInHand, Post
from processors.emails import Mail, SendEmail
from processors.errors import EffectInDoubt, InvalidArgument, Postponed, TransientError, TransportFault
from processors.interfaces import Member, MemberEnd, Members, Report
from processors.results import Request, Result, sentence_of

MAX_ITEM_BYTES = 1_000_000
ITEM_KEYS = frozenset(Mail.model_fields)
ITEM_REQUIRED = ("to_email", "subject", "body")
LISTED_FAILURES = 1_000
COUNTED = ("sent", "deferred", "refused", "invalid", "duplicate", "suppressed", "skipped", "unknown")
LISTED_STATES = ("deferred", "refused", "invalid", "skipped", "unknown")


class SendBulkEmails(Request):
    """The figures of a bulk; its mails are rows."""

    batch_size: int = Field(default=50, ge=1, le=1_000)
    delay_between_batches: float = Field(default=1.0, ge=0, le=86_400, allow_inf_nan=False)


class SendBatch(Request):
    """A part of a bulk: the members at positions first .. first + count - 1."""

    bulk_id: str
    first: int
    count: int


class BulkEmailsSent(Result):
    """What became of a bulk; `total` is the sum of the counters."""

    status: Literal["completed", "completed_with_failures", "failed"]
    bulk_id: str
    total: int
    sent: int = 0
    deferred: int = 0
    refused: int = 0
    invalid: int = 0
    duplicate: int = 0
    skipped: int = 0
    suppressed: int = 0
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
    """Check the items of a bulk and return them as rows; an item that repeats an earlier one whole is marked.

    A bad address is its item's outcome, later; anything else that is wrong refuses the bulk.

    Raises:
        InvalidArgument: at the first bad item, named by its place; or the whole is too much.
    """
    return _checked_items(items_of("emails", emails, "dict", "mails"))


def deliver_batch(request: SendBatch, members: Members, post: Post, report: Report) -> dict[str, int]:
    """Send a part of a bulk; members that are done are passed over, so that it may run again.

    Returns:
        How many ended in each state.

    Raises:
        Postponed: a server put some off; their rows say when they are tried again.
        TransientError: the transport is at fault, or a mail cannot be composed now; what was not sent stays open,
            unless this is the last attempt.
        EffectInDoubt: a former run may still be sending one; all others are done.
    """
    ends: list[MemberEnd] = []
    requests: list[tuple[int, SendEmail]] = []
    for member in members.waiting(request.bulk_id, request.first, request.count):
        checked = _checked_member(member)
        if isinstance(checked, MemberEnd):
            ends.append(checked)
        else:
            requests.append((member.position, checked))
    batch, fault = Batch(post, requests, report, len(requests)), None
    try:
        batch.send()
    except TransportFault as error:
        fault = error
    finally:
        ends += [end for mail in batch.mails.values() if (end := _end_of(batch, mail, last=post.last_attempt))]
        post.persist(lambda: members.close_all(request.bulk_id, ends))
    open_mails = [mail for mail in batch.mails.values() if mail.error is None and mail.wait() is not None]
    put_off = [wait for mail in open_mails if (wait := mail.wait()) and not mail.untried()]
    error = fault or next((mail.error for mail in batch.mails.values() if isinstance(mail.error, TransientError)), None)
    if error is not None and not post.last_attempt:
        raise error
    if fault is not None and not put_off:
        done = {end.position for end in ends}
        left = [MemberEnd(at, "deferred", {"text": str(fault)}) for at, _ in requests if at not in done]
        post.persist(lambda: members.close_all(request.bulk_id, left))
        ends += left
        batch.give_up(str(fault))
    elif put_off:
        raise _postponed(open_mails, min(put_off))
    elif any(mail.untried() for mail in open_mails):
        raise TransientError("Some mails were not sent, and no reason was given; they are tried again.")
    return dict(Counter(end.state for end in ends))


def conclude_bulk(
    *, tally: Mapping[str, int], failures: Sequence[Mapping[str, Any]], seconds: float, bulk_id: str
) -> BulkEmailsSent:
    """Add up the members of a bulk."""
    total = sum(tally.values())
    sent = tally.get("sent", 0)
    listed = [_listed(row) for row in failures[:LISTED_FAILURES]]
    bad = total - sent - tally.get("duplicate", 0) - tally.get("suppressed", 0)
    by_code: dict[str, int] = {}
    for row in listed:
        key = f"{row.get('code') or row['state']}"
        by_code[key] = by_code.get(key, 0) + 1
    return BulkEmailsSent(
        status="completed" if not bad else "completed_with_failures" if sent else "failed",
        bulk_id=bulk_id,
        total=total,
        **{state: tally.get(state, 0) for state in COUNTED},
        pending=tally.get("waiting", 0),
        by_code=by_code,
        failures=listed,
        failures_truncated=bad - tally.get("waiting", 0) > len(listed),
        duration_s=max(0.0, round(seconds, 3)),
        per_second=round(sent / seconds, 3) if seconds > 0 else 0.0,
    )


def _checked_member(member: Member) -> SendEmail | MemberEnd:
    """Return a member's mail, or its end where there is none to be sent."""
    if "duplicate_of" in member.arguments:
        return MemberEnd(member.position, "duplicate", {"duplicate_of": member.arguments["duplicate_of"]})
    try:
        return SendEmail.model_validate(member.arguments)
    except ValidationError as error:
        return MemberEnd(member.position, "invalid", {"text": sentence_of(error)})


def _end_of(batch: Batch, mail: MailInHand, *, last: bool) -> MemberEnd | None:
    """Return the end of a member whose mail is done; None for one that is still open."""
    if isinstance(mail.error, TransientError) and not last:
        return None
    if mail.error is not None:
        return MemberEnd(mail.position, "invalid", {"text": str(mail.error)})
    if mail.wait() is not None:
        return None
    sent = batch.summary(mail)
    states = {"sent": "sent", "partial": "sent", "failed": "refused" if sent.refused else "invalid"}
    return MemberEnd(mail.position, states.get(sent.status, sent.status), sent.as_json())


def _postponed(mails: Sequence[MailInHand], wait: float) -> Postponed:
    """Return the error that lets a batch go on later."""
    if any(mail.rest > 0 for mail in mails):
        return EffectInDoubt("It is not known yet whether a mail arrived: a former run may still be sending it.", wait)
    return Postponed(f"{len(mails)} mails were put off by their server.", wait)


def _checked_items(items: Sequence[Any]) -> Iterator[dict[str, Any]]:
    seen: dict[bytes, int] = {}
    size = 0
    for index, given in enumerate(items):
        item = _checked_item(index, given)
        text = json.dumps(item, sort_keys=True)
        size += len(text)
        if len(text) > MAX_ITEM_BYTES or size > MAX_BULK_BYTES:
            what = (
                f"item {index} has {len(text)} bytes" if len(text) > MAX_ITEM_BYTES else f"{size} bytes at item {index}"
            )
            raise InvalidArgument(
                f"emails: at most {MAX_ITEM_BYTES} bytes an item and {MAX_BULK_BYTES} in all; got {what}."
            )
        first = seen.setdefault(hashlib.sha256(text.encode()).digest()[:16], index)
        yield item if first == index else {**item, "duplicate_of": first}


def _checked_item(index: int, item: Any) -> dict[str, Any]:
    if not isinstance(item, Mapping):
        raise InvalidArgument(f"emails[{index}]: must be a dict; got {kind_of(item)}.")
    fields = cast("Mapping[str, Any]", item)
    unknown, missing = set(fields) - ITEM_KEYS, [key for key in ITEM_REQUIRED if key not in fields]
    if unknown or missing:
        problem = f"unknown key {min(map(str, unknown))!r}" if unknown else f"no {missing[0]!r}"
        raise InvalidArgument(f"emails[{index}]: {problem}; the keys are {', '.join(sorted(ITEM_KEYS))}.")
    try:
        return Mail.model_validate(dict(fields)).model_dump(exclude_unset=True)
    except ValidationError as error:
        raise InvalidArgument(f"emails[{index}]: {sentence_of(error)}.") from error


def _listed(row: Mapping[str, Any]) -> dict[str, Any]:
    outcome = cast("Mapping[str, Any]", row["outcome"] or {})
    refusals: dict[str, Any] = {**outcome.get("refused", {}), **outcome.get("deferred", {})}
    first = cast("dict[str, Any]", next(iter(refusals.values()), dict[str, Any]()))
    text = first.get("text") or outcome.get("text") or next(iter(outcome.get("invalid", {}).values()), "")
    return {
        "index": row["position"],
        "email": row["arguments"].get("to_email"),
        "state": row["state"],
        "code": first.get("code"),
        "text": text,
    }
