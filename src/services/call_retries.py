"""Which call may be repeated: one that failed for good, by what is known of it and of its repetitions."""

from dataclasses import dataclass
from typing import Any

from processors.call_interfaces import CallRow
from processors.calls import CallOptions, CampaignOptions, RetryFailedCall
from processors.campaigns import QueueBulkCalls
from processors.errors import InvalidArgument, PermanentError
from processors.phone_numbers import masked
from records.task_records import TaskRecord, TaskState
from services.call_lines import options_of, own_options, with_usual
from services.campaign_members import member_record
from services.wiring import parts

GIVEN = ("from_number", "webhook_url", "status_callback_url", "call_metadata")
"""What a caller may say of a repetition; all else of the original holds for it."""

OF_A_CAMPAIGN = CampaignOptions.model_fields.keys() - CallOptions.model_fields.keys()

REPEATABLE = frozenset({"failed", "exhausted", "excluded", "expired", "cancelled"})


@dataclass(frozen=True, slots=True)
class Former:
    """What is known of the call that is to be repeated.

    Attributes:
        found: whether it is known here.
        retries: which repetition of it this one is: 1, 2, …
    """

    found: bool
    retries: int


def check_number(request: RetryFailedCall) -> None:
    """Refuse another number than that of the call which is to be repeated, where that one is known.

    Raises:
        InvalidArgument: it is another one.
    """
    original = parts().calls.read(request.original_task_id)
    number = _number_of_member(request.original_task_id) if original is None else original.to_number
    if number not in {None, request.to_number}:
        raise InvalidArgument(
            f"to_number: must be the number of call {request.original_task_id}, {masked(number or '')}; got "
            f"{masked(request.to_number)}: call another number by queue_outbound_call."
        )


def inherited(request: RetryFailedCall) -> RetryFailedCall:
    """Return a repetition with what the original was told, where it says nothing itself: it says the same words.

    Raises:
        InvalidArgument: the original is known, but not what it was to say, and when.
    """
    options = _options_of(request.original_task_id)
    if options is None and parts().calls.read(request.original_task_id) is not None:
        raise InvalidArgument(
            f"original_task_id: what call {request.original_task_id} was to say, and its calling hours, are not kept "
            "any more: call the number by queue_outbound_call."
        )
    if options is None:
        return request
    shared = {name: getattr(options, name) for name in CampaignOptions.model_fields}
    told = {name: value for name in GIVEN if (value := getattr(request, name)) not in (None, {})}
    return request.model_copy(update=shared | told)


def arguments_of(request: RetryFailedCall) -> dict[str, Any]:
    """Return what is stored of a repetition: a worker of the version before refuses the names that it does not know."""
    arguments = request.model_dump(mode="json")
    return {name: value for name, value in arguments.items() if value is not None or name not in OF_A_CAMPAIGN}


def _options_of(task_id: str) -> CampaignOptions | None:
    """Return what was said of a call, made or not, when it was submitted."""
    call = parts().calls.read(task_id)
    if call is not None:
        return options_of(call)
    if (member := member_record(task_id)) is not None:
        campaign = parts().tasks.read(member.parent_id or "")
        return None if campaign is None else with_usual(QueueBulkCalls.model_validate(campaign.kwargs))
    record = parts().tasks.read(task_id)
    return own_options(record) if record is not None and record.category == "twilio_calls" else None


def _number_of_member(task_id: str) -> str | None:
    """Return the number of a campaign's member; None where this is the id of none."""
    member = member_record(task_id)
    return None if member is None else member.kwargs["to_number"]


def _record_of(task_id: str) -> TaskRecord | None:
    """Return the record of a task, or the one that a campaign's member would have: not all members have a call yet."""
    return parts().tasks.read(task_id) or member_record(task_id)


def why_not_again(task_id: str) -> str | None:
    """Tell in a few words why the call of a task that failed is not made again, by any way of repeating it, or None."""
    return next((why for call in _in_place_of(_first_of(task_id)) if (why := _not_failed(call)) is not None), None)


def checked_original(request: RetryFailedCall, own_id: str) -> Former:
    """Return what is known of the call that is to be repeated, now.

    Raises:
        PermanentError: it, what it repeated, or another repetition of one of them is live, in doubt or done; or waits.
        InvalidArgument: it was another number's.
    """
    check_number(request)
    original = request.original_task_id
    made = _checked_others(original, own_id)
    ids = {call.id for call in made}
    for task_id in _same_task(original):
        if task_id not in ids:
            _check_task(task_id)
    known = original in ids or _record_of(original) is not None
    return Former(known, len({one.id for one in _in_place_of(original)} - {original, own_id}) + 1)


def check_replay(own_id: str) -> None:
    """Refuse the call of a task that was submitted again, where another one came before it in the same call's place.

    Raises:
        PermanentError: that one is live, in doubt or done; or waits.
    """
    record = parts().tasks.read(own_id)
    if record is not None and record.retry_of is not None:
        _checked_others(own_id, own_id)


def _checked_others(task_id: str, own_id: str) -> list[CallRow]:
    """Return the calls that are, or were, to be made in the place of a task's, beside one's own.

    Raises:
        PermanentError: one of them is live, in doubt or done; or waits, and came first.
    """
    in_place = _in_place_of(_first_of(task_id))
    made = [one for one in in_place if one.id != own_id]
    later = in_place[next((at for at, one in enumerate(in_place) if one.id == own_id), len(in_place)) :]
    for call in made:
        if call in later and call.state == "waiting":
            continue  # it came after this one, and heeds it
        if (why := _not_failed(call)) is not None:
            raise PermanentError(f"The call was not made: {why}.")
    return made


def _first_of(task_id: str) -> str:
    """Return the call that was wanted first, which a call repeats, or repeats a repetition of."""
    seen = [task_id]
    while (story := parts().calls.story(seen[-1])) is not None and story["retry_of"] not in {None, *seen}:
        seen.append(story["retry_of"])
    return seen[-1]


def _in_place_of(task_id: str) -> list[CallRow]:
    """Return the call of a task and all that were to be made in its place, whichever way they were asked for."""
    calls, found = parts().calls, dict[str, CallRow]()
    for one in _same_task(task_id):
        own = calls.read(one)
        found |= {call.id: call for call in [*([] if own is None else [own]), *calls.retries(one)]}
    return list(found.values())


def _same_task(task_id: str) -> list[str]:
    """Return the tasks of which each was submitted again as the next one, this one among them."""
    tasks = parts().tasks
    before, after = [task_id], [task_id]
    while (record := tasks.read(before[0])) is not None and record.retry_of is not None:
        before.insert(0, record.retry_of)
    while (record := tasks.read(after[-1])) is not None and record.retried_as is not None:
        after.append(record.retried_as)
    return [*before, *after[1:]]


def _check_task(task_id: str) -> None:
    """Refuse a task that has not made its call yet, and may."""
    record = _record_of(task_id)
    if record is None:
        return
    if record.category != "twilio_calls":
        raise PermanentError(f"The call was not made: task {task_id} is no call, it is {record.name}.")
    if record.state not in {TaskState.FAILURE, TaskState.REVOKED}:
        raise PermanentError(f"The call was not made: the call of task {task_id} is still to be made.")
    if record.result and record.result.get("state") == "duplicate":
        raise PermanentError(f"The call was not made: {record.error}.")


def _not_failed(call: CallRow) -> str | None:
    """Tell why a call is not to be repeated, or None."""
    if call.state in REPEATABLE or (call.state == "waiting" and _was_given_up(call)):
        return None
    attempt = parts().calls.last_attempt(call.id)
    in_doubt = attempt is not None and attempt.state in {"sending", "unknown", "ambiguous"}
    if in_doubt:
        return f"it is not known what became of call {call.id}"
    told = {"done": "was answered", "opted_out": "ended because the number opted out", "waiting": "is still to be made"}
    return f"call {call.id} {told.get(call.state, 'is going on')}"


def _was_given_up(call: CallRow) -> bool:
    """Tell whether a single call waits that its task will never make."""
    record = None if call.campaign_id else parts().tasks.read(call.id)
    return record is not None and record.final
