"""Retrying by hand: a failed task is submitted again as a new one, linked both ways."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast
from uuid import NAMESPACE_OID, uuid5

from pydantic import ValidationError

from processors.errors import EffectUnknown, InvalidArgument
from processors.interfaces import Report
from processors.json_text import is_same
from processors.redaction import MASK, unmasked
from processors.results import Request, sentence_of
from processors.scheduling import FailedRetried, ListFailedTasks, RetryFailedTasks, SkippedTask
from records.task_records import DUE_HEADER, MOST_BYTES, Draft, TaskRecord, TaskState
from services.celery_app import celery_app
from services.limiting import limit_keys_of
from services.on_first_use import on_first_use
from services.own_tasks import CONTEXT, check_signature
from services.parent_progress import BULK_EMAILS, CAMPAIGN, CHANNEL, MAIL_BATCH, NOTIFICATION
from services.positional_arguments import masked, names_of
from services.status import story_of, unknown_task
from services.submission import MAX_ARGUMENT_BYTES, check_size, json_size, shown, storable, submit_retries
from services.wiring import parts

if TYPE_CHECKING:
    from services import call_retries, notification_retries, uploads
else:
    call_retries, notification_retries, uploads = on_first_use(
        "services", "call_retries", "notification_retries", "uploads"
    )

AT_ONCE = 10_000
"""How many are retried, and told as skipped, at most: who asks again goes on behind those."""

PAGE = 100
RETRIED_BY_ANOTHER = "it was retried by somebody else just now"


def failed_tasks(wanted: ListFailedTasks, after: str | None) -> list[dict[str, Any]]:
    """Return the whole story of tasks that failed, the newest failure first.

    Args:
        wanted: which, and how many at most.
        after: the id of the last one of those that were returned before.

    Raises:
        InvalidArgument: the task `after` has not failed, and so is in no page.
        UnknownTask: no task has the id `after`.
    """
    last = None if after is None else _read(after)
    if last is not None and last.state is not TaskState.FAILURE:
        raise InvalidArgument(
            f"after: task {after} has not failed, it is {last.state}; pass the id of the last one of the page before."
        )
    records = parts().tasks.failed(wanted, wanted.limit, last, MOST_BYTES)
    incidents = parts().incidents.of([record.id for record in records])
    return [story_of(record, incidents[record.id]) for record in records]


def retry_failed(request: RetryFailedTasks, report: Report, until: datetime) -> FailedRetried:
    """Submit again each task that had failed as the request says by a moment; tells which were skipped and why.

    Args:
        request: which.
        report: is told how far it is.
        until: when it was to be done. What fails later is not meant, such as what another has retried since.
    """
    retried: list[str] = []
    skipped: list[SkippedTask] = []
    last: TaskRecord | None = None
    while (left := AT_ONCE - len(retried)) and (page := parts().tasks.unretried(request, min(PAGE, left), until, last)):
        report(100 * len(retried) / AT_ONCE, f"{len(retried)} retried, {len(skipped)} skipped")
        reasons = _retry_all(page, request.max_retries)
        retried += [id_of_retry(record.id) for record in page if record.id not in reasons]
        told = [SkippedTask(task_id=task_id, why=why) for task_id, why in reasons.items()]
        skipped += told[: AT_ONCE - len(skipped)]  # the result goes into a record
        last = page[-1]
    return FailedRetried(retried=retried, skipped=skipped)


def _retry_all(page: Sequence[TaskRecord], max_retries: int) -> dict[str, str]:
    """Submit failed tasks again, in one transaction but for notifications; tells of each that was skipped why."""
    reasons: dict[str, str] = {}
    drafts: list[Draft] = []
    for record in page:
        try:
            if why := reason_to_skip(record, max_retries):
                reasons[record.id] = why
            elif record.name != NOTIFICATION:
                drafts.append(_draft(record, record.args, record.kwargs))
            elif not _retry_notification(record, notification_retries.arguments_of(record, {})):
                reasons[record.id] = RETRIED_BY_ANOTHER
        except InvalidArgument as error:  # of this one alone: the others go on
            reasons[record.id] = str(error)
    new = _submit(drafts)
    late = {record.id for record in page} & {draft.retry_of for draft in drafts if draft.id not in new}
    return reasons | dict.fromkeys(late, RETRIED_BY_ANOTHER)


def replay(task_id: str, arguments: Mapping[str, Any] | None) -> str:
    """Submit one failed task again; whoever does so again with the same arguments gets the same new task.

    Args:
        task_id: the failed task, which may be quarantined, or a replay that was cancelled.
        arguments: by name, what replaces its own arguments, positional ones too; one that is given as it is shown,
            masked, stays what it is.

    Returns:
        The id of the new task.

    Raises:
        InvalidArgument: it cannot be replayed, was replayed with other arguments, or does not take these.
        UnknownTask: no task has this id.
    """
    record = _read(task_id)
    if why := reason_to_refuse(record):
        raise InvalidArgument(f"task_id: task {task_id} cannot be replayed: {why}.")
    args, kwargs = _edited(record, arguments or {})
    if record.name == NOTIFICATION:
        _retry_notification(record, kwargs)
    else:
        _submit([_draft(record, args, kwargs)])
    return _replayed_as(task_id, args, kwargs)


def reason_to_skip(record: TaskRecord, max_retries: int) -> str | None:
    """Tell in a few words why a failed task is not retried with many others, or None."""
    if record.error_type == "Quarantined":
        return "it is quarantined: it killed its worker too often"
    if record.retry_count >= max_retries:
        return f"it was retried {record.retry_count} times already"
    return reason_to_refuse(record) or _doubt_of_another(record)


def reason_to_refuse(record: TaskRecord) -> str | None:
    """Tell in a few words why a task cannot be retried at all, or None."""
    is_retry = record.retry_of is not None
    is_notification = record.name == NOTIFICATION
    partly = is_notification and record.state is TaskState.SUCCESS and record.result["status"] == "partial"
    failed = record.state is TaskState.FAILURE or (is_retry and record.state is TaskState.REVOKED)
    if not failed and not partly:
        return f"it is {record.state}, and only what has failed can be, or a replay that was cancelled"
    if is_notification:
        return notification_retries.reason_to_refuse(record)
    if record.is_parent or record.parent_id:
        return _instead(record)
    if doubt := _doubt(record):
        return doubt
    never_ran = record.run == 0 and not is_retry  # it failed because what it was to follow did; a retry follows nothing
    if record.message.get("embed") or never_ran:
        return "it is part of a workflow that has failed as a whole"
    return None


def _instead(record: TaskRecord) -> str:
    """Tell in a few words why a bulk or a part of something is not retried, and what is to be called instead."""
    whole = record.parent_id or record.id
    what = "it is a bulk" if record.is_parent else f"it is a part of task {whole}"
    if record.name == CHANNEL:
        return f"it is a channel of notification {whole}: replay that one, which repeats what did not deliver alone"
    if record.name in {BULK_EMAILS, MAIL_BATCH}:
        return f"{what}: see resend_failed({whole!r}), which sends the mails again that nobody got"
    if record.name == CAMPAIGN:
        return f"{what} of calls: see get_campaign({whole!r}), and retry_failed_call for its members"
    return f"{what}, which ends as a whole: submit what is missing of it anew"


def id_of_retry(task_id: str) -> str:
    """Return the id of the task that retries this one: made from its own, so that all who retry it mean one task."""
    return str(uuid5(NAMESPACE_OID, f"{task_id}:retry"))


def _retry_notification(record: TaskRecord, arguments: Mapping[str, Any]) -> bool:
    return notification_retries.submit(record, arguments, id_of_retry(record.id))


def _draft(record: TaskRecord, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Draft:
    """Return the task that retries another one, which knows what that one has done.

    Raises:
        InvalidArgument: it cannot be retried; nothing was written.
    """
    looks = {"kwargsrepr": shown(kwargs)}
    if args != record.args:
        looks["argsrepr"] = shown(masked(record.name, args))
    draft = Draft(
        id=id_of_retry(record.id),
        name=record.name,
        category=record.category,
        queue=record.queue,
        priority=record.priority,
        args=args,
        kwargs=kwargs,
        message=_due_now(record.message) | looks,
        retry_of=record.id,
        retry_count=record.retry_count + 1,
        origin="retry",
        tenant=record.tenant,
        tags=record.tags,
        limit_keys=limit_keys_of(record.name, kwargs) or record.limit_keys,
    )
    parts().effects.carry_over(record.id, draft.id)  # before it is submitted: it may refuse
    parts().deliveries.carry_over(record.id, draft.id)
    return draft


def _submit(drafts: Sequence[Draft]) -> set[str]:
    """Submit tasks that retry others; returns the ids of those that nobody else had retried."""
    new = submit_retries(drafts)
    for draft in drafts:
        if draft.id in new:
            uploads.keep_for(draft.id, {"args": draft.args, "kwargs": draft.kwargs})
    return new


def _due_now(message: Mapping[str, Any]) -> dict[str, Any]:
    """Return a task's message without the moment at which that one was due."""
    headers = {key: value for key, value in message.get("headers", {}).items() if key != DUE_HEADER}
    return {key: value for key, value in {**message, "headers": headers}.items() if value}


def _doubt(record: TaskRecord) -> str | None:
    """Tell in a few words what nobody knows of a task, or None: a retry could do it twice."""
    if parts().deliveries.in_doubt(record.id):
        return "it is in doubt whether its mail arrived"
    if record.category == "twilio_calls" and parts().calls.in_doubt(record.id):
        return "it is in doubt whether its call was made: see get_effects_in_doubt"
    if record.category == "twilio_calls" and (why := call_retries.why_not_again(record.id)):
        return why
    if parts().effects.in_doubt(record.id):
        return "it is in doubt whether an effect of it happened: see get_effects_in_doubt"
    return None


def _doubt_of_another(record: TaskRecord) -> str | None:
    """Tell in a few words that a task failed of an effect of another task that is still unknown, or None."""
    if record.error_type != EffectUnknown.__name__:
        return None
    key = parts().effects.unknown_in(record.error or "")
    return key and f"it is in doubt whether the effect {key!r} of another task happened: see get_effects_in_doubt"


def _edited(record: TaskRecord, arguments: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """Return the task's arguments with these instead of its own, by their names, checked as a submit checks them."""
    json_size(record.name, arguments)
    if record.name == NOTIFICATION:
        return [], notification_retries.arguments_of(record, arguments)
    celery_app.loader.import_default_modules()
    task = cast("Any", celery_app).tasks.get(record.name)
    takes: type[Request] | None = getattr(task, "request_model", None)
    places = _places(record, task) if arguments and task is not None and takes is None else {}
    stored = record.kwargs | {name: record.args[place] for name, place in places.items()}
    edited = _unmasked(storable(arguments), stored, places)
    args = list(record.args)
    for name in edited.keys() & places.keys():
        args[places[name]] = edited[name]
    kwargs = record.kwargs | {name: value for name, value in edited.items() if name not in places}
    if json_size(record.name, _whole(record.args, record.kwargs)) > MAX_ARGUMENT_BYTES:
        # It was stored larger than a submit takes: only what is new counts.
        check_size(record.name, {name: value for name, value in edited.items() if value != stored.get(name)})
    else:
        check_size(record.name, _whole(args, kwargs))
    try:
        if takes is not None:
            takes.model_validate(kwargs, context=CONTEXT)
        elif task is not None and arguments:
            check_signature(task, args, kwargs)
    except ValidationError as error:
        raise InvalidArgument(sentence_of(error)) from error
    return args, kwargs


def _places(record: TaskRecord, task: Any) -> dict[str, int]:
    """Return where a record's positional arguments stand by the names that the task's function gives them.

    What goes into its `*args` has no name. A name of a keyword argument means that one.
    """
    names = names_of(task)[: len(record.args)]
    return {name: place for place, name in enumerate(names) if name not in record.kwargs}


def _unmasked(given: Mapping[str, Any], stored: Mapping[str, Any], places: Mapping[str, int]) -> dict[str, Any]:
    """Return edited arguments with the secrets that came back masked; a positional one is shown without its name."""
    nameless = {name: value for name, value in given.items() if name in places and value != MASK}
    named = {name: value for name, value in given.items() if name not in nameless}
    return unmasked(named, stored) | {name: unmasked(value, stored[name], 1, name) for name, value in nameless.items()}


def _whole(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Return all arguments as what their size is taken of."""
    return [args, kwargs] if args else kwargs


def _replayed_as(task_id: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    """Return the id under which a task was replayed, if it was with these arguments: whoever came first has decided.

    Raises:
        InvalidArgument: it was with others.
    """
    new_id = _read(task_id).retried_as or id_of_retry(task_id)
    stored = parts().tasks.read(new_id)
    if stored is None or not is_same([stored.args, stored.kwargs], [args, kwargs]):
        why = "whose record was removed since" if stored is None else "with other arguments: replay that one"
        raise InvalidArgument(f"task_id: task {task_id} was replayed already, as {new_id}, {why}.")
    return new_id


def _read(task_id: str) -> TaskRecord:
    record = parts().tasks.read(task_id)
    if record is None:
        raise unknown_task(task_id)
    return record
