"""Bulk mail: a parent whose members are mails, sent in small parts that may run again."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, cast

from pydantic import Field, ValidationError

from processors.bulk_items import MAX_BULK_BYTES, items_of, kind_of
from processors.email_delivery import Post, deliver
from processors.emails import Mail, SendEmail
from processors.errors import EffectInDoubt, InvalidArgument, TransientError, TransportFault
from processors.interfaces import Members, Report
from processors.results import Request, Result, sentence_of

MAX_ITEM_BYTES = 1_000_000
ITEM_KEYS = frozenset({"to_email", "subject", "body", "from_email", "cc", "bcc", "critical", "list_name"})
ITEM_REQUIRED = ("to_email", "subject", "body")
LISTED_FAILURES = 1_000
FAULTS_IN_A_ROW = 3
COUNTED = ("sent", "deferred", "refused", "invalid", "duplicate", "suppressed", "unknown")
LISTED_STATES = ("deferred", "refused", "invalid", "unknown")


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
        TransientError: some were put off, or three in a row met a fault of the transport, so that the rest was not
            tried; they stay open for the next attempt.
        EffectInDoubt: a former run may still be sending one; all others are done.
    """
    waiting = members.waiting(request.bulk_id, request.first, request.count)
    tally: dict[str, int] = {}
    put_off, faults, doubt = "", 0, None
    for index, member in enumerate(waiting):
        percent = 100 * index / len(waiting)
        report(percent, f"{index} of {len(waiting)} mails")
        state, outcome = "deferred", {"text": put_off}
        if faults < FAULTS_IN_A_ROW:  # else each would wait for a dead server once more, or repeat a bad login
            try:
                state, outcome = _member_outcome(member.arguments, member.position, post, _at(percent, report))
                faults = 0
            except EffectInDoubt as error:
                doubt = error
                continue
            except TransientError as error:
                faults = faults + 1 if isinstance(error, TransportFault) else 0
                put_off = str(error)
                outcome = {"text": put_off}
        if state != "deferred" or post.last_attempt:
            members.close(request.bulk_id, member.position, state, outcome)
            tally[state] = tally.get(state, 0) + 1
    if doubt is not None and (post.last_attempt or not put_off):
        raise doubt
    if put_off and not post.last_attempt:
        raise TransientError(put_off)
    return tally


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


def _at(percent: float, report: Report) -> Report:
    """Return a report for one mail of many: it says what is done, not how far the whole is."""

    def within(percent_of_mail: float, text: str) -> None:  # noqa: ARG001 - the one mail's own figure
        report(percent, text)

    return cast("Report", within)


def _member_outcome(
    arguments: Mapping[str, Any], position: int, post: Post, report: Report
) -> tuple[str, dict[str, Any]]:
    if "duplicate_of" in arguments:
        return "duplicate", {"duplicate_of": arguments["duplicate_of"]}
    try:
        request = SendEmail.model_validate(arguments)
    except ValidationError as error:
        return "invalid", {"text": sentence_of(error)}
    sent = deliver(request, post, report, position)
    states = {"sent": "sent", "partial": "sent", "failed": "refused" if sent.refused else "invalid"}
    return states.get(sent.status, sent.status), sent.as_json()


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
